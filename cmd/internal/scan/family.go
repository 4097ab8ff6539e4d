package scan

import (
	"context"
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
	switch {
	case s.Source.From != "":
		return f
	case s.everybody:
		f.parent = s.parents // all that could be read, but for this process itself, from which nobody descends
	default:
		f.parent, _ = s.Source.FS.Parents() // without it, nobody descends from anybody
	}
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

// circle is whom some processes descend from, and who they are: it tells of many others at once who is a relative of any.
type circle struct {
	*family
	members, above, parents map[int]bool
}

func (f *family) circle(pids []int) *circle {
	c := &circle{f, map[int]bool{}, map[int]bool{}, map[int]bool{}}
	for _, pid := range pids {
		c.parents[f.parent[pid]] = true
		if pid == 1 {
			continue // from whom all descend: it opens no connections for others, and is nobody's relative
		}
		c.members[pid] = true
		f.ancestors(pid, func(ancestor int) bool {
			known := c.above[ancestor]
			c.above[ancestor] = true
			return !known
		})
	}
	delete(c.above, 1)
	return c
}

// related reports whether one of the processes descends from pid, or pid from one of them.
func (c *circle) related(pid int) bool {
	below := false
	c.ancestors(pid, func(ancestor int) bool {
		below = c.members[ancestor]
		return !below
	})
	return c.above[pid] || below
}

// siblings reports whether one of the processes has the same parent as pid, other than the first of all.
func (c *circle) siblings(pid int) bool { return c.parent[pid] > 1 && c.parents[c.parent[pid]] }

// passesTo reports whether b can have a connection of a's that a holds still: a child has those of its parent, and gives them to
// its descendants. Those further up have handed over to their child long before.
func (f *family) passesTo(a, b int) bool { return a != 1 && f.parent[b] == a || f.isAncestor(b, a) }

func (f *family) isAncestor(ancestor, pid int) (found bool) {
	f.ancestors(pid, func(a int) bool {
		found = a == ancestor
		return !found
	})
	return found
}

// ancestors walks upwards from a process while visit returns true. In a ring it comes to an end, too.
func (f *family) ancestors(pid int, visit func(ancestor int) bool) {
	for range f.parent {
		parent, ok := f.parent[pid]
		if !ok || !visit(parent) {
			return
		}
		pid = parent
	}
}

// How many descendants are looked at with a process, and how many descriptors they may have together, unless everybody
// is to be asked.
const (
	mostKin    = 128
	mostKinFDs = 8192
)

// kin adds the descendants of the processes to the join: what they have inherited is the process's doing.
func (l *look) kin(ctx context.Context, join *diag.Join) {
	scanned := map[int]bool{}
	for _, p := range l.space.Procs {
		scanned[p.PID] = true
	}
	left, fds := mostKin, mostKinFDs
	for _, p := range l.space.Procs {
		skipped := 0
		for _, pid := range l.family().descendants(p.PID) {
			if netns, known := l.netnsOf[pid]; scanned[pid] || known && netns != p.Netns {
				continue
			}
			fds -= l.Source.FS.CountDescriptors(pid)
			if left--; (left < 0 || fds < 0) && !l.Deep {
				skipped++
				continue
			}
			scanned[pid] = true // a grandchild is of the nearest that is scanned
			l.addKin(ctx, join, p, pid)
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
func (l *look) addKin(ctx context.Context, join *diag.Join, of *diag.Proc, pid int) {
	p, err := l.Source.FS.Identify(pid)
	if err != nil || p.Netns != of.Netns {
		return
	}
	if err := l.readDescriptors(ctx, p); err != nil {
		return
	}
	if p.ByKind[procfd.KindSocket] > 0 {
		join.Kin(of, p)
	}
}

// parents notes the executable of each process's parent.
func (l *look) parents() {
	judged, names := l.judged(), map[int]string{}
	for _, p := range judged {
		if p.Exe != "" {
			names[p.PID] = p.Exe
		}
	}
	for _, p := range judged {
		name, known := names[p.PPID]
		if !known && p.PPID > 0 {
			_, name, _ = l.Source.FS.Names(p.PPID)
			names[p.PPID] = name
		}
		p.Parent = name
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
