package diag

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sockleak/sockleak/procfd"
)

// What fixtures say of who belongs to whom, in addition to the words of fixture_test.go:
//
//	netns orphans=900 max_orphans=1000 took=200ms    how long its dump took
//	process 42 node exe=/usr/bin/node parent=/bin/sh ppid=1 uptime=4m alone
//	kin 77 cat uptime=4m alone       a descendant of process 42, which is not judged; its descriptors follow
//	kin 43                           a descendant that is a process of this look as well
//	fd 5-9 same=42:10                the five sockets that descriptors 10 to 14 of process 42 are open on
//	fd 5 same=42:10 task=99          in the own table of thread 99
//	fd 10 … others=77:cat:5,78:cat:5 descriptors of processes that are not in the look
//	nobody 3 ESTAB LOCAL PEER        # want accept-queue of 42 3
//	destination 10.0.0.1 10.0.0.9:5432 used=25000 timewait=20000 range=32768-60999
//
// They are applied after the join, as a scan does.
type family struct {
	kin   []kinOf
	after []func(*Join)
	judge *procfd.Process // of whom the next kin are
	// shared are the inodes that processes beside the look hold.
	shared []uint64
	took   time.Duration
}

type kinOf struct {
	pid   int
	child *procfd.Process
}

func (f *family) addKin(j *Join) {
	for _, k := range f.kin {
		j.Kin(procOf(j, k.pid), k.child)
	}
}

func (f *family) settle(j *Join) {
	for _, set := range f.after {
		set(j)
	}
}

func procOf(j *Join, pid int) *Proc {
	i := slices.IndexFunc(j.procs, func(p *Proc) bool { return p.PID == pid })
	return j.procs[i]
}

// spaceWord reads a word of a line netns.
func (p *fixtureParser) spaceWord(key, value string) {
	if key == "took" {
		took := p.duration(value)
		p.space.took = took
		p.space.after = append(p.space.after, func(j *Join) { j.space.Took = took })
		return
	}
	switch n := p.number(value); key {
	case "orphans":
		p.space.after = append(p.space.after, func(j *Join) { j.space.Orphans = n })
	case "max_orphans":
		p.space.sysctls.MaxOrphans = n
	default:
		p.fail("unknown sysctl %q", key)
	}
}

// familyWord reads a word of a line process or kin.
func (p *fixtureParser) familyWord(key, value string) {
	pid := p.proc.PID
	after := func(set func(*Proc)) {
		p.space.after = append(p.space.after, func(j *Join) { set(procOf(j, pid)) })
	}
	switch key {
	case "exe":
		p.proc.Exe = value
	case "ppid":
		p.proc.PPID = p.number(value)
	case "uptime":
		p.proc.Uptime = p.duration(value)
	case "parent":
		after(func(q *Proc) { q.Parent = value })
	case "alone":
		after(func(q *Proc) { q.Alone = true })
	default:
		p.fail("unknown word %q of a process", key)
	}
}

func (p *fixtureParser) kinOrDestination(words []string) {
	switch words[0] {
	case "kin":
		of := p.proc
		if slices.ContainsFunc(p.space.kin, func(k kinOf) bool { return k.child == p.proc }) {
			of = p.space.judge
		}
		p.space.judge = of
		if len(words) == 2 {
			p.space.kin = append(p.space.kin, kinOf{of.PID, &procfd.Process{PID: p.number(words[1]), Start: 1}})
			return
		}
		p.process(words[1:])
		last := len(p.space.procs) - 1
		p.space.procs = p.space.procs[:last]
		p.space.kin = append(p.space.kin, kinOf{of.PID, p.proc})
	case "destination":
		d := Destination{Local: netip.MustParseAddr(words[1]), Peer: p.addrPort(words[2], 0)}
		for _, w := range words[3:] {
			key, value, _ := strings.Cut(w, "=")
			switch key {
			case "used":
				d.Used = p.number(value)
			case "timewait":
				d.TimeWait = p.number(value)
			case "range":
				low, high, _ := strings.Cut(value, "-")
				d.Low, d.High = p.number(low), p.number(high)
			default:
				p.fail("unknown word %q of a destination", w)
			}
		}
		pid := p.proc.PID
		p.space.after = append(p.space.after, func(j *Join) {
			q := procOf(j, pid)
			q.Destinations = append(q.Destinations, d)
		})
	default:
		p.fail("unknown word %q", words[0])
	}
}

// nobody reads [COUNT] STATE LOCAL PEER.
func (p *fixtureParser) nobody(words []string, mark string) {
	n := 1
	if words[0][0] >= '0' && words[0][0] <= '9' {
		n, words = p.number(words[0]), words[1:]
	}
	rule, holder, _ := strings.Cut(strings.TrimPrefix(mark, "want "), " of ")
	if rule != "" && !strings.Contains(rule, " ") {
		rule = Leak.String() + " " + rule
	}
	for i := range n {
		p.space.sockets = append(p.space.sockets, p.socket(words, i+1))
		if mark != "" {
			p.space.marks = append(p.space.marks, holder+" "+rule)
		}
	}
}

// shared takes the i-th set of the descriptors just read, n of them, to be open on a socket that stands in the fixture already.
func (p *fixtureParser) shared(words []string, n, i int) bool {
	whose, ok := strings.CutPrefix(words[0], "same=")
	if !ok {
		return false
	}
	pid, fd, _ := strings.Cut(whose, ":")
	inode := uint64(p.number(pid)*100_000 + p.number(fd) + i)
	task := 0
	for _, w := range words[1:] {
		value, ok := strings.CutPrefix(w, "task=")
		if !ok {
			p.fail("unknown word %q of a shared descriptor", w)
		}
		task = p.number(value)
	}
	for k := range n {
		s := &p.proc.Sockets[len(p.proc.Sockets)-1-k]
		s.Inode, s.Task = inode, task
	}
	return true
}

// heldWords reads what a scan finds out about a socket after the join.
func (p *fixtureParser) heldWords(inode uint64, words []string) {
	pid := p.proc.PID
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		var set func(*HeldSocket)
		switch key {
		case "others":
			var others []Holder
			for _, o := range strings.Split(value, ",") {
				others = append(others, p.holder(o))
			}
			p.space.shared = append(p.space.shared, inode)
			set = func(h *HeldSocket) { h.Others = append(h.Others, others...) }
		default:
			continue
		}
		p.space.after = append(p.space.after, func(j *Join) {
			q := procOf(j, pid)
			for i := range q.Held {
				if h := &q.Held[i]; uint64(h.Inode) == inode {
					set(h)
				}
			}
		})
	}
}

// holder reads PID:NAME:FD.
func (p *fixtureParser) holder(word string) Holder {
	parts := strings.Split(word, ":")
	if len(parts) != 3 {
		p.fail("want PID:NAME:FD, not %q", word)
	}
	return Holder{PID: p.number(parts[0]), Name: parts[1], FD: p.number(parts[2])}
}
