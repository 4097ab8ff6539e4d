package scan

import (
	"fmt"
	"slices"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// family is who descends from whom, of all processes that can be seen.
type family struct {
	parent   map[int]int
	children map[int][]int
}

func (s *Scan) family() *family {
	f := &family{children: map[int][]int{}}
	if s.Source.From != "" {
		return f
	}
	f.parent, _ = s.Source.FS.Parents() // without it, nobody descends from anybody
	for child, parent := range f.parent {
		f.children[parent] = append(f.children[parent], child)
	}
	for _, list := range f.children {
		slices.Sort(list)
	}
	return f
}

// descendants are the children of a process, their children, and so on. The table was read while it changed, so it may
// have a ring.
func (f *family) descendants(pid int) []int {
	seen := map[int]bool{pid: true}
	list := []int{pid}
	for i := 0; i < len(list); i++ {
		for _, child := range f.children[list[i]] {
			if !seen[child] {
				seen[child] = true
				list = append(list, child)
			}
		}
	}
	return list[1:]
}

// related reports whether one of the processes descends from the other.
func (f *family) related(a, b int) bool { return f.isAncestor(a, b) || f.isAncestor(b, a) }

func (f *family) isAncestor(ancestor, pid int) bool {
	for range f.parent {
		parent, ok := f.parent[pid]
		if !ok {
			return false
		}
		if parent == ancestor {
			return true
		}
		pid = parent
	}
	return false
}

// How many descendants are looked at with a process, and how many descriptors they may have together, unless everybody
// is to be asked.
const (
	mostKin    = 128
	mostKinFDs = 8192
)

// kin adds the descendants of the processes to the join: what they have inherited is the process's doing.
func (l *look) kin(join *diag.Join) {
	scanned := map[int]bool{}
	for _, p := range l.space.Procs {
		scanned[p.PID] = true
	}
	left, fds := mostKin, mostKinFDs
	for _, p := range l.space.Procs {
		skipped := 0
		for _, pid := range l.family().descendants(p.PID) {
			if scanned[pid] {
				continue
			}
			fds -= l.Source.FS.CountDescriptors(pid)
			if left--; (left < 0 || fds < 0) && !l.Deep {
				skipped++
				continue
			}
			scanned[pid] = true // a grandchild is of the nearest that is scanned
			l.addKin(join, p, pid)
		}
		if skipped > 0 {
			p.Gaps = append(p.Gaps, diag.Gap{
				What: "descendants of " + diag.Subject(p.Process), Count: skipped, Minor: true,
				Why: "they are many, so it was not looked what they have inherited: --deep does",
			})
		}
	}
}

// addKin adds one. What has ended, lives in another namespace or may not be read has no part in it; that it may not be read is
// told where somebody is said to hold a socket alone.
func (l *look) addKin(join *diag.Join, of *diag.Proc, pid int) {
	p, err := l.Source.FS.Identify(pid)
	if err != nil || p.Netns != of.Netns {
		return
	}
	if err := l.Source.FS.ReadDescriptors(p, nil); err != nil {
		return
	}
	if p.ByKind[procfd.KindSocket] > 0 {
		join.Kin(of, p)
	}
}

// parents notes the executable of each process's parent.
func (l *look) parents() {
	for _, p := range l.judged() {
		if p.PPID > 0 {
			_, p.Parent = l.Source.FS.Names(p.PPID)
		}
	}
}

// judged are the processes of the look and their kin.
func (l *look) judged() []*diag.Proc {
	list := slices.Clone(l.space.Procs)
	for _, p := range l.space.Procs {
		list = append(list, p.Kin...)
	}
	return list
}

// How many descriptors of other processes are read in search of who else holds a socket, at the least; a process with more of
// its own is worth half as many.
const mostOtherFDs = 10_000

// others picks the processes to be searched: those that descend from one of the look's or the other way round, and then the smaller
// ones, as far as it goes. skipped are the rest, with their descriptors.
func (l *look) others() (pids []int, skipped, fds int) {
	all, err := l.Source.FS.PIDs()
	if err != nil {
		return nil, 0, 0
	}
	own := 0
	known := map[int]bool{selfPID(l.Source.FS): true}
	for _, p := range l.judged() {
		known[p.PID] = true
		own += max(p.Open, 0)
	}
	type candidate struct {
		pid, fds int
		related  bool
	}
	var list []candidate
	for _, pid := range all {
		if known[pid] {
			continue
		}
		c := candidate{pid: pid, fds: l.Source.FS.CountDescriptors(pid)}
		for _, p := range l.space.Procs {
			c.related = c.related || l.family().related(pid, p.PID)
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		if a.related != b.related {
			if a.related {
				return -1
			}
			return 1
		}
		return a.fds - b.fds
	})
	left := max(mostOtherFDs, own/2)
	for _, c := range list {
		if left -= c.fds; left < 0 && !c.related && !l.Deep {
			skipped++
			fds += c.fds
			continue
		}
		pids = append(pids, c.pid)
	}
	return pids, skipped, fds
}

// holders finds who else holds the sockets of the processes, and who holds the other ends.
func (l *look) holders() {
	shared := map[uint64][]*diag.HeldSocket{}
	for _, p := range l.judged() {
		for i := range p.Held {
			if h := &p.Held[i]; isConnection(h) {
				shared[uint64(h.Inode)] = append(shared[uint64(h.Inode)], h)
			}
		}
	}
	ends := l.wantedEnds()
	if len(shared)+len(ends) == 0 {
		return
	}
	pids, skipped, fds := l.others()
	found, denied := l.Source.FS.Search(pids, func(inode uint64) bool { return shared[inode] != nil || ends[inode] != nil })
	names := map[int]string{}
	for _, f := range found {
		if _, ok := names[f.PID]; !ok {
			names[f.PID], _ = l.Source.FS.Names(f.PID)
		}
		holder := diag.Holder{PID: f.PID, FD: f.FD, Task: f.Task, Name: names[f.PID]}
		for _, h := range shared[f.Inode] {
			h.Others = append(h.Others, holder)
		}
		if end := ends[f.Inode]; end != nil {
			end.Holders = append(end.Holders, holder)
		}
	}
	// Of those that may not be read, one counts by which a socket is inherited. The first of all processes is everybody's
	// ancestor, and opens no connections for others.
	for _, p := range l.judged() {
		p.Alone = skipped == 0 && !slices.ContainsFunc(denied, func(pid int) bool {
			return pid != 1 && l.family().related(pid, p.PID)
		})
	}
	if skipped > 0 {
		l.space.Gaps = append(l.space.Gaps, diag.Gap{
			What: "other holders of the sockets", Minor: true,
			Why: fmt.Sprintf("%d processes with %d descriptors were not searched: --deep does", skipped, fds),
		})
	}
}
