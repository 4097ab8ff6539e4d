package procfd

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

// Wanted is a set of sockets, by inode, whose processes are looked for by [FS.Owners]. It takes 24 bytes for each when
// it was made for as many as it gets, and no pointer.
//
// Slots number the sockets in the order in which they were added, for what a caller keeps of each in an array of its own.
type Wanted struct {
	table   []wanted
	seed    uint64 // the inodes come from others, who should not choose where they stand
	n       int
	missing atomic.Int64  // without an owner
	last    atomic.Uint32 // the last owner when none is missing, unowned until then
}

// wanted is one place of the table; without an inode it is free.
type wanted struct {
	inode uint64
	slot  uint32
	owner uint32 // the place of a process in the order in which they are asked, or unowned
}

// unowned comes behind all processes.
const unowned = math.MaxUint32

// NewWanted makes a set for n sockets, which grows when it gets more.
func NewWanted(n int) *Wanted {
	return &Wanted{table: make([]wanted, places(n)), seed: rand.Uint64()}
}

// places leaves a third of the table free.
func places(n int) int { return max(n, 16)*3/2 + 1 }

// Add adds a socket and returns its slot. added is false when its inode was there already: one socket that was listed
// twice, or two of one number, which the kernel counts in 32 bits and gives out again. 0 is no inode: its slot is -1.
func (w *Wanted) Add(inode uint64) (slot int, added bool) {
	if inode == 0 {
		return -1, false
	}
	if places(w.n) > len(w.table) {
		w.grow()
	}
	e := w.place(inode)
	if e.inode == inode {
		return int(e.slot), false
	}
	*e = wanted{inode, uint32(w.n), unowned}
	w.n++
	return int(e.slot), true
}

// Len is how many sockets are in the set.
func (w *Wanted) Len() int { return w.n }

// Each tells of each socket the index of its process in what [FS.Owners] returned, -1: not found. The slots come in no
// order.
func (w *Wanted) Each(f func(slot, process int)) {
	for i := range w.table {
		if e := &w.table[i]; e.inode != 0 {
			f(int(e.slot), int(int32(e.owner))) // unowned is -1
		}
	}
}

func (w *Wanted) grow() {
	old := w.table
	w.table = make([]wanted, places(w.n*3/2))
	for _, e := range old {
		if e.inode != 0 {
			*w.place(e.inode) = e
		}
	}
}

// place is where an inode stands, or the free place where it would. Inodes that follow each other, as those of a process's
// sockets do, are neighbours, four in a line of the processor's cache.
func (w *Wanted) place(inode uint64) *wanted {
	h := (inode>>2 ^ w.seed) * 0x9e3779b97f4a7c15
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	i, _ := bits.Mul64(h, uint64(len(w.table))/4)
	i = i*4 + inode&3
	for ; ; i++ {
		if i == uint64(len(w.table)) {
			i = 0
		}
		if e := &w.table[i]; e.inode == inode || e.inode == 0 {
			return e
		}
	}
}

// reset takes the owners away.
func (w *Wanted) reset() {
	for i := range w.table {
		w.table[i].owner = unowned
	}
	w.missing.Store(int64(w.n))
	w.last.Store(unowned)
	if w.n == 0 {
		w.last.Store(0)
	}
}

// claim gives a socket to a process, unless it is that of an earlier one, and reports whether it is the process's now.
// Several goroutines may claim at the same time.
func (w *Wanted) claim(inode uint64, process uint32) bool {
	if inode == 0 {
		return false
	}
	e := w.place(inode)
	if e.inode == 0 {
		return false
	}
	for {
		owner := atomic.LoadUint32(&e.owner)
		if owner <= process {
			return owner == process
		}
		if atomic.CompareAndSwapUint32(&e.owner, owner, process) {
			if owner == unowned && w.missing.Add(-1) == 0 {
				w.complete()
			}
			return true
		}
	}
}

// complete notes the last owner: it and what comes behind it can get nothing more.
func (w *Wanted) complete() {
	last := uint32(0)
	for i := range w.table {
		if e := &w.table[i]; e.inode != 0 {
			last = max(last, atomic.LoadUint32(&e.owner))
		}
	}
	w.last.Store(last)
}

// over reports whether a process can get nothing, as all sockets belong to earlier ones or to itself.
func (w *Wanted) over(process uint32) bool { return process >= w.last.Load() }

// replace gives the sockets of each process to another one, or to nobody, and returns how many nobody has.
func (w *Wanted) replace(by []uint32) (missing int) {
	for i := range w.table {
		e := &w.table[i]
		if e.inode == 0 {
			continue
		}
		if e.owner != unowned {
			e.owner = by[e.owner]
		}
		if e.owner == unowned {
			missing++
		}
	}
	w.missing.Store(int64(missing))
	if missing > 0 {
		w.last.Store(unowned)
	}
	return missing
}
