package scan

import (
	"cmp"
	"context"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/sockleak/sockleak/procfd"
)

// early is who held which sockets while these were listed: what [procfd.FS.Owners] finds, without waiting for the end of the list. A socket
// belongs to the process with the most descriptors, and among those with as many to that with the lowest number.
type early struct {
	began time.Duration // the host's uptime
	pids  []int         // in that order
	table []earlySocket // an open hash table, a power of two, at most two thirds full
	taken int
	seed  uint64 // odd, and not foreseeable

	owners []procfd.Owner // as pids; number 0 for one that has ended
}

// earlySocket is a socket and the place of its process, plus one; 0: free.
type earlySocket struct{ inode, owner uint32 }

// readEarly reads every process with the iterators. What it cannot read is not among it.
func readEarly(ctx context.Context, src *Source) *early {
	e := &early{began: src.FS.Uptime(), table: make([]earlySocket, 16), seed: rand.Uint64() | 1}
	pids, err := src.FS.PIDs()
	if err != nil {
		return e
	}
	type process struct{ pid, open int }
	counted := src.FS.CountDescriptors(os.Getpid()) > 0 // since Linux 6.2
	list := make([]process, 0, len(pids))
	for _, pid := range pids {
		if open := src.FS.CountDescriptors(pid); open > 0 || !counted { // else it has none
			list = append(list, process{pid, open})
		}
	}
	all := 0
	for _, p := range list {
		all += p.open
	}
	e.table = make([]earlySocket, 1<<bits.Len(uint(max(all*3/2, 15))))
	slices.SortFunc(list, func(a, b process) int { return cmp.Or(b.open-a.open, a.pid-b.pid) })
	for i, p := range list {
		e.pids = append(e.pids, p.pid)
		_ = src.owners(ctx, p.pid, p.open, false, func(inode uint64) { e.add(uint32(inode), uint32(i+1)) }) // what it told is so
		if ctx.Err() != nil {
			return e
		}
	}
	return e
}

func (e *early) place(inode uint32) *earlySocket {
	mask := uint64(len(e.table) - 1)
	for i := uint64(inode) * e.seed >> (64 - bits.Len64(mask)); ; i = (i + 1) & mask {
		if s := &e.table[i]; s.inode == inode || s.owner == 0 {
			return s
		}
	}
}

func (e *early) add(inode, owner uint32) {
	if inode == 0 {
		return
	}
	if 3*(e.taken+1) > 2*len(e.table) {
		old := e.table
		e.table = make([]earlySocket, 2*len(old))
		for _, s := range old {
			if s.owner != 0 {
				*e.place(s.inode) = s
			}
		}
	}
	if s := e.place(inode); s.owner == 0 {
		*s = earlySocket{inode, owner}
		e.taken++
	}
}

// identify finds out who the processes are. One that has begun since is another one than was read.
func (e *early) identify(fs *procfd.FS) {
	e.owners = make([]procfd.Owner, len(e.pids))
	beside(len(e.pids), func(i int) {
		if o, ok := fs.Owner(e.pids[i]); ok && (&procfd.Process{Start: o.Start}).At(e.began) > clockTick {
			e.owners[i] = o
		}
	})
}

// owner is the place of the process of a socket; false when it is not known, or the process has ended.
func (e *early) owner(inode uint64) (at int, ok bool) {
	s := e.place(uint32(inode))
	if s.owner == 0 || e.owners[s.owner-1].PID == 0 {
		return 0, false
	}
	return int(s.owner - 1), true
}

// clockTick is the unit of the times at which processes began.
const clockTick = 10 * time.Millisecond
