package diag

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"

	"github.com/sockleak/sockleak/procfd"
)

// index tells which descriptors are open on a socket, by its inode. A host may have a million of them, so it has no pointers and
// some thirty bytes for each. It grows with [index.admit]; from then on any number of goroutines may look up and mark.
//
// Descriptors are numbered through all processes of the join, each one's in the order of its Sockets. Those on one socket are a ring:
// nearly every ring is one descriptor.
type index struct {
	slots []slot // an open hash table, at most half full
	seed  uint64 // odd, and not foreseeable: nobody can choose inodes that collide
	taken int

	base []uint32 // of each process, the number of its first descriptor
	fds  []indexed
}

// indexed is a descriptor. Of those on one socket, the first has what is known of that.
type indexed struct {
	mark  uint64 // 0, or the cookie of the socket that was found, plus one
	next  uint32 // on the same socket; the last one's is the first
	proc  uint16 // the low part of the number of its process
	more  uint8  // the high part
	facts facts  // whoever has marked it writes them
}

func (d *indexed) process() int32 { return int32(d.more)<<16 | int32(d.proc) }

// slot is the last descriptor on the socket of an inode; inode 0 is free.
type slot struct{ inode, last uint32 }

// facts are what is remembered of a socket, kept or not.
type facts uint8

const (
	factKept       facts = 1 << iota
	factConnection       // not listening, nor closed
	factConnected        // opened from here, or about to be
	factMPTCP            // ESTAB, and a part of an MPTCP connection
	factNoTimer
	factQuiet // nothing has moved for the grace
)

// roomForKin is for how many descriptors of descendants there is room without the index moving.
const roomForKin = 1024

func newIndex(processes, descriptors int) index {
	return index{
		slots: make([]slot, slotsFor(descriptors)), seed: rand.Uint64() | 1,
		base: make([]uint32, 0, processes), fds: make([]indexed, 0, descriptors+roomForKin),
	}
}

// slotsFor is a power of two.
func slotsFor(descriptors int) int { return 1 << bits.Len(uint(max(2*descriptors-1, 15))) }

// slot is where an inode stands, or would.
func (x *index) slot(inode uint32) *slot {
	i := uint64(inode) * x.seed >> (64 - bits.Len(uint(len(x.slots)-1)))
	for {
		s := &x.slots[i]
		if s.inode == inode || s.inode == 0 {
			return s
		}
		i = (i + 1) & uint64(len(x.slots)-1)
	}
}

// admit adds the descriptors of the next process.
func (x *index) admit(sockets []procfd.SocketFD) {
	proc, base := len(x.base), len(x.fds)
	x.base = append(x.base, uint32(base))
	for k, s := range sockets {
		d := uint32(base + k)
		x.fds = append(x.fds, indexed{next: d, proc: uint16(proc), more: uint8(proc >> 16)})
		if s.Inode == 0 || s.Inode > math.MaxUint32 { // no socket that sock_diag can show
			continue
		}
		if 2*(x.taken+1) > len(x.slots) {
			x.grow()
		}
		at := x.slot(uint32(s.Inode))
		if at.inode == 0 {
			x.taken++
			at.inode = uint32(s.Inode)
		} else {
			x.fds[d].next, x.fds[at.last].next = x.fds[at.last].next, d
		}
		at.last = d
	}
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]slot, 2*len(old))
	for _, s := range old {
		if s.inode != 0 {
			*x.slot(s.inode) = s
		}
	}
}

// find is the first descriptor on a socket.
func (x *index) find(inode uint64) (first uint32, ok bool) {
	if inode == 0 || inode > math.MaxUint32 {
		return 0, false
	}
	s := x.slot(uint32(inode))
	if s.inode == 0 {
		return 0, false
	}
	return x.fds[s.last].next, true
}

// found is find for a socket that was found.
func (x *index) found(inode uint64) (first uint32, ok bool) {
	first, ok = x.find(inode)
	return first, ok && atomic.LoadUint64(&x.fds[first].mark) != 0
}

// mark notes that a socket was found; false when one was before, and same is whether that is the same socket.
func (x *index) mark(first uint32, cookie uint64) (marked, same bool) {
	m := &x.fds[first].mark
	if atomic.CompareAndSwapUint64(m, 0, markOf(cookie)) {
		return true, true
	}
	return false, atomic.LoadUint64(m) == markOf(cookie)
}

func markOf(cookie uint64) uint64 { return max(cookie+1, 1) }

// is reports whether the socket that was found has this cookie.
func (x *index) is(first uint32, cookie uint64) bool {
	return atomic.LoadUint64(&x.fds[first].mark) == markOf(cookie)
}

// alone reports whether one descriptor is all that is open on the socket.
func (x *index) alone(first uint32) bool { return x.fds[first].next == first }

// ring walks the descriptors on a socket, in the order in which they were admitted.
func (x *index) ring(first uint32, f func(d uint32)) {
	for d := first; ; {
		f(d)
		if d = x.fds[d].next; d == first {
			return
		}
	}
}

// procs walks the processes that have a descriptor on a socket, each once.
func (x *index) procs(first uint32, f func(proc int32)) {
	last := int32(-1)
	x.ring(first, func(d uint32) {
		if p := x.fds[d].process(); p != last {
			last = p
			f(p)
		}
	})
}
