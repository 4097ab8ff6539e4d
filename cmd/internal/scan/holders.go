package scan

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// sharers are who else holds the connections of a look, and the other ends whose holders are searched for.
type sharers struct {
	found []procfd.Holder
	ends  map[uint64][]*diag.End // by inode
	names map[int]string
}

// holders finds who else holds the sockets of the processes, and who holds the other ends. A connection comes to another
// process by inheritance, so those who may have inherited it are asked first. Strangers, who can have been sent one through a unix
// socket, are many: they are asked when something rests on it, or when everybody is to be.
func (l *look) holders(ctx context.Context) {
	s := sharers{ends: l.wantedEnds(), names: map[int]string{}}
	some, alone := false, false // alone: something is held alone, if strangers have no part in it
	for _, p := range l.judged() {
		some = some || p.Usual.Timer+p.Usual.NoTimer > 0 || anyHeld(p, isConnection)
		alone = alone || anyHeld(p, func(h *diag.HeldSocket) bool { return l.mayBeLeft(p, h) })
	}
	if !some {
		return
	}
	relatives, siblings, strangers := l.others()
	near, far := l.within(siblings, mostSiblingFDs)
	denied := l.search(&s, append(relatives, near...))
	strangers = append(strangers, far...)
	skipped := len(strangers)
	if l.Deep || alone || len(s.ends) > 0 {
		asked, left := l.within(strangers, mostStrangerFDs)
		l.search(&s, asked)
		if skipped = len(left); skipped > 0 {
			l.space.Gaps = append(l.space.Gaps, diag.Gap{
				What: "other holders of the sockets", Minor: !alone, // else it is open whether something is held alone
				Why: fmt.Sprintf("%d processes with many descriptors were not searched: --deep does", skipped),
			})
		}
	}
	l.share(ctx, &s)
	l.dropShared()
	l.dropPassing(ctx)
	for _, p := range l.judged() {
		p.Alone = skipped == 0 && !slices.ContainsFunc(denied, func(pid int) bool { return l.family().passesTo(pid, p.PID) })
		if !p.Alone && skipped == 0 && anyHeld(p, func(h *diag.HeldSocket) bool { return l.mayBeLeft(p, h) }) {
			l.space.Gaps = append(l.space.Gaps, diag.Gap{
				What: "other holders of the sockets of " + diag.Subject(p.Process),
				Why: "its parent or a descendant may not be read, so it is open whether it holds alone what it was started with: " +
					RightsOf(l.Source.FS).Remedy(toList|toRead, ""),
			})
		}
	}
}

// dropShared takes out the holders that have their descriptors in one table with the process: a close in either is one in both.
func (l *look) dropShared() {
	type pair struct{ a, b int }
	same := map[pair]bool{}
	for _, p := range l.judged() {
		for i := range p.Held {
			h := &p.Held[i]
			h.Others = slices.DeleteFunc(h.Others, func(o diag.Holder) bool {
				if o.PID == p.PID {
					return false // a thread's own table
				}
				key := pair{p.PID, o.PID}
				if _, ok := same[key]; !ok {
					same[key] = l.Source.FS.SharesTable(p.PID, o.PID)
				}
				return same[key]
			})
		}
	}
}

const (
	// passing is longer than another reader has a copy of a socket that it asks.
	passing = 20 * time.Millisecond
	// forking is longer than a child has the descriptors of its parent that are close-on-exec, between fork and exec, on a host that
	// is not overloaded.
	forking = 300 * time.Millisecond
)

// mostAgain is how many descriptors of others are looked at twice.
const mostAgain = 20_000

// dropPassing takes out the holders that have a connection no more a moment later.
func (l *look) dropPassing(ctx context.Context) {
	again := 0
	for _, p := range l.judged() {
		for i := range p.Held {
			again += len(p.Held[i].Others)
		}
	}
	if again == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(passing):
	}
	left, young := mostAgain, map[int]bool{}
	for _, p := range l.judged() {
		for i := range p.Held {
			h := &p.Held[i]
			h.Others = slices.DeleteFunc(h.Others, func(o diag.Holder) bool {
				forked, known := young[o.PID]
				if !known && o.PID != p.PID { // else a thread of its own
					forked = l.Source.FS.StartedWithin(o.PID, forking+time.Since(l.began))
					young[o.PID] = forked
				}
				left--
				return forked || left >= 0 && l.Source.FS.Closed(procfd.Holder{PID: o.PID, FD: o.FD, Task: o.Task, Inode: uint64(h.Inode)})
			})
		}
	}
}

// forked marks what processes that were started just now hold together with their parents: between fork and exec, a child has all that
// its parent has.
func (l *look) forked() {
	children, parents, wanted := []*diag.Proc{}, []int{}, map[uint64]bool{}
	for _, p := range l.judged() {
		// What counts is when the descriptors were listed.
		if l.host.Uptime == 0 || p.At(l.host.Uptime) > forking || p.PPID <= 0 {
			continue
		}
		children = append(children, p)
		if !slices.Contains(parents, p.PPID) {
			parents = append(parents, p.PPID)
		}
		for i := range p.Held {
			wanted[uint64(p.Held[i].Inode)] = true
		}
		for i := range p.Dark {
			wanted[p.Dark[i].Inode] = true
		}
	}
	if len(wanted) == 0 {
		return
	}
	type held struct {
		pid   int
		inode uint64
	}
	theirs := map[held]bool{}
	found, _ := l.Source.FS.Search(parents, func(inode uint64) bool { return wanted[inode] })
	for _, f := range found {
		theirs[held{f.PID, f.Inode}] = true
	}
	for _, p := range children {
		for i := range p.Held {
			h := &p.Held[i]
			h.Passing = theirs[held{p.PPID, uint64(h.Inode)}]
		}
		p.Dark = slices.DeleteFunc(p.Dark, func(d diag.DarkSocket) bool { return theirs[held{p.PPID, d.Inode}] })
	}
}

// mayBeLeft: nothing waits for it, and its process has inherited it.
func (l *look) mayBeLeft(p *diag.Proc, h *diag.HeldSocket) bool {
	return h.Watch == procfd.Abandoned && diag.MayBeLeft(p, h, l.Thresholds, l.host.Uptime)
}

// flags asks whether the descriptors that are shared or left would be given to every program that the process starts.
func (l *look) flags() {
	for _, p := range l.judged() {
		for i := range p.Held {
			h := &p.Held[i]
			if len(h.Others) == 0 && !l.mayBeLeft(p, h) {
				continue
			}
			info, err := l.Source.FS.FDInfo(p.Process, h.SocketFD())
			switch {
			case err != nil:
			case info.CloseOnExec:
				h.CloseOnExec = diag.FlagOn
			default:
				h.CloseOnExec = diag.FlagOff
			}
		}
	}
}

// search asks processes, and returns those that may not be read.
func (l *look) search(s *sharers, pids []int) (denied []int) {
	found, denied := l.Source.FS.Search(pids, func(inode uint64) bool { return l.join.IsConnection(inode) || s.ends[inode] != nil })
	for _, f := range found {
		if _, ok := s.names[f.PID]; !ok {
			s.names[f.PID], _, _ = l.Source.FS.Names(f.PID)
		}
		for _, end := range s.ends[f.Inode] {
			end.Holders = append(end.Holders, s.holder(f))
		}
	}
	s.found = append(s.found, found...)
	return denied
}

func (s *sharers) holder(f procfd.Holder) diag.Holder {
	return diag.Holder{PID: f.PID, FD: f.FD, Task: f.Task, Name: s.names[f.PID]}
}

// share tells the processes who else holds their sockets. Of those that were counted and not kept, more has to be known now.
func (l *look) share(ctx context.Context, s *sharers) {
	inodes := make([]uint64, 0, len(s.found))
	for _, f := range s.found {
		inodes = append(inodes, f.Inode)
	}
	if recall := l.join.Shared(inodes); recall != nil {
		l.recall(ctx, recall, "others hold connections of the processes")
		for _, p := range recall.Settle() {
			switch {
			case l.waiting[p] != nil:
				l.watched(p)
			case p.Usual.Quiet:
				l.askWaits(p)
			}
		}
	}
	for _, f := range s.found {
		l.join.Share(f.Inode, s.holder(f))
	}
}

// others are the processes that are not of the look: ancestors and descendants; siblings, who may have the same connection from
// their parent; and all the others.
func (l *look) others() (relatives, siblings, strangers []int) {
	all, err := l.Source.FS.PIDs()
	if err != nil {
		return nil, nil, nil
	}
	known := map[int]bool{selfPID(l.Source.FS): true}
	for _, p := range l.judged() {
		known[p.PID] = true
	}
	pids := make([]int, 0, len(l.space.Procs))
	for _, p := range l.space.Procs {
		pids = append(pids, p.PID)
	}
	circle := l.family().circle(pids)
	for _, pid := range all {
		switch {
		case known[pid]:
		case circle.related(pid):
			relatives = append(relatives, pid)
		case circle.siblings(pid):
			siblings = append(siblings, pid)
		default:
			strangers = append(strangers, pid)
		}
	}
	return relatives, siblings, strangers
}

// How many descriptors are read of siblings in any case, and of all the others when something rests on it.
const (
	mostSiblingFDs  = 2_000
	mostStrangerFDs = 200_000
)

// within takes the smaller ones of the processes, as far as it goes.
func (l *look) within(pids []int, fds int) (list, left []int) {
	counts := map[int]int{}
	for _, pid := range pids {
		counts[pid] = l.Source.FS.CountDescriptors(pid)
	}
	list = slices.Clone(pids)
	slices.SortStableFunc(list, func(a, b int) int { return counts[a] - counts[b] })
	for i, pid := range list {
		if fds -= counts[pid]; fds < 0 && !l.Deep {
			return list[:i], list[i:]
		}
	}
	return list, nil
}
