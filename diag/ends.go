package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// What the sockets of a finding have in common, as lines of evidence: who is at the other end, what waits for them, what they
// carried, what they are set to. Each is nil when nothing is known of any.

// maxEnds is how many holders of other ends are named.
const maxEnds = 3

// endsOf names who holds the other ends of sockets that are on this host, those with the most first.
func endsOf(items []*HeldSocket) []Evidence {
	ends := endHolders(items)
	if len(ends) == 0 {
		return nil
	}
	var names []string
	for _, e := range ends[:min(len(ends), maxEnds)] {
		names = append(names, e.String())
	}
	value := strings.Join(names, ", ")
	if more := len(ends) - maxEnds; more > 0 {
		value += " and " + strconv.Itoa(more) + " more"
	}
	found := 0
	for _, h := range items {
		if h.End != nil {
			found++
		}
	}
	source := "sock_diag, the same addresses the other way round"
	if found < len(items) {
		source += fmt.Sprintf("; found for %d of %d", found, len(items))
	}
	return []Evidence{{"other end", value, source}}
}

// endHolder is one process that has other ends, or nobody, or somebody who was not found.
type endHolder struct {
	first   Holder
	nobody  bool
	unseen  bool
	sockets int
}

// String is name[pid] fd N for one, "name[pid] (12 sockets)" for more.
func (e endHolder) String() string {
	switch {
	case e.unseen:
		return "a process that was not found (" + count(e.sockets, "socket", "sockets") + ")"
	case e.nobody:
		return "nobody (" + count(e.sockets, "socket", "sockets") + ")"
	case e.sockets == 1:
		return e.first.String()
	}
	return fmt.Sprintf("%s[%d] (%d sockets)", e.first.Name, e.first.PID, e.sockets)
}

// endHolders counts the other ends by process, those with the most first.
func endHolders(items []*HeldSocket) []endHolder {
	byPID := map[int]*endHolder{} // 0: nobody, -1: not found
	counted := map[int]bool{}
	for _, h := range items {
		if h.End == nil {
			continue
		}
		switch {
		case h.End.unseen():
			addEnd(byPID, Holder{PID: -1})
		case len(h.End.Holders) == 0:
			addEnd(byPID, Holder{})
		}
		clear(counted)
		for _, holder := range h.End.Holders {
			if !counted[holder.PID] { // with several descriptors it is one socket yet
				counted[holder.PID] = true
				addEnd(byPID, holder)
			}
		}
	}
	list := make([]endHolder, 0, len(byPID))
	for _, e := range byPID {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b endHolder) int {
		return cmp.Or(cmp.Compare(b.sockets, a.sockets), cmp.Compare(a.first.PID, b.first.PID))
	})
	return list
}

func addEnd(byPID map[int]*endHolder, h Holder) {
	e := byPID[h.PID]
	if e == nil {
		e = &endHolder{first: h, nobody: h.PID == 0, unseen: h.PID < 0}
		byPID[h.PID] = e
	}
	e.sockets++
}

// watchOf counts the sockets that something waits for, and those that nothing does.
func watchOf(p *Pass, items []*HeldSocket) []Evidence {
	watched, abandoned := 0, 0
	for _, h := range items {
		switch h.Watch {
		case procfd.Watched:
			watched++
		case procfd.Abandoned:
			abandoned++
		}
	}
	if watched+abandoned == 0 {
		return nil
	}
	source := "epoll sets in /proc/PID/fdinfo, sleeping threads"
	if abandoned > 0 && p.Proc.EventLoop {
		source += "; in no epoll set and no thread sleeps on it: it will never be told anything again"
	}
	return []Evidence{{"watched", fmt.Sprintf("%d, abandoned: %d", watched, abandoned), source}}
}

// neverCarried counts the sockets that no payload ever went over, either way.
func neverCarried(items []*HeldSocket) []Evidence {
	n := 0
	for _, h := range items {
		if h.InfoLen() >= netlinkss.InfoHasDataSegs && h.Info.DataSegsIn == 0 && h.Info.DataSegsOut == 0 {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return []Evidence{{"never carried data", strconv.Itoa(n), "tcp_info.data_segs_in and data_segs_out 0"}}
}

// timeout is a setting that ends a wait.
type timeout struct {
	name string
	set  func(*Options) bool
}

var (
	optReceive = timeout{"SO_RCVTIMEO", func(o *Options) bool { return o.ReceiveTimeout > 0 }}
	optSend    = timeout{"SO_SNDTIMEO", func(o *Options) bool { return o.SendTimeout > 0 }}
	optUser    = timeout{"TCP_USER_TIMEOUT", func(o *Options) bool { return o.UserTimeout > 0 }}
)

// optionsOf counts the sockets that have time-outs set, and says after how long keepalive would ask on those that have it.
func optionsOf(items []*HeldSocket, timeouts ...timeout) []Evidence {
	asked := 0
	set := make([]int, len(timeouts))
	var idle spanRange
	for _, h := range items {
		o := h.Options
		if o == nil {
			continue
		}
		asked++
		for i, t := range timeouts {
			if t.set(o) {
				set[i]++
			}
		}
		if !o.KeepAlive {
			continue
		}
		idle.add(Span{D: o.KeepIdle, Exact: true, Source: sourceOptions})
	}
	if asked == 0 {
		return nil
	}
	var parts []string
	for i, t := range timeouts {
		parts = append(parts, t.name+" on "+strconv.Itoa(set[i]))
	}
	list := []Evidence{{"time-outs", strings.Join(parts, ", ") + " of " + strconv.Itoa(asked), sourceOptions}}
	if idle.least.Known() {
		list = append(list, Evidence{"keepalive time", idle.String(), sourceOptions + ": TCP_KEEPIDLE"})
	}
	return list
}

const sourceOptions = "getsockopt through a pidfd"
