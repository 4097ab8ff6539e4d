package scan

import (
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

// related reports whether one of the processes descends from the other. The first of all processes, from which all do, is
// nobody's relative: it opens no connections for others.
func (f *family) related(a, b int) bool {
	return a != 1 && b != 1 && (f.isAncestor(a, b) || f.isAncestor(b, a))
}

// passesTo reports whether b can have a connection of a's that a holds still: a child has those of its parent, and gives them to
// its descendants. Those further up have handed over to their child long before.
func (f *family) passesTo(a, b int) bool { return a != 1 && f.parent[b] == a || f.isAncestor(b, a) }

// siblings reports whether two processes have one parent, other than the first of all.
func (f *family) siblings(a, b int) bool { return f.parent[a] > 1 && f.parent[a] == f.parent[b] }

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
