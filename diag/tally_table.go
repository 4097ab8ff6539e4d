package diag

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"

	"github.com/sockleak/sockleak/netlinkss"
)

// groupKey is what a group's sockets share: the sixteen bytes of an address, or a number. Keys of one
// tally are of one kind, and their order is that of the bytes.
type groupKey struct{ hi, lo uint64 }

func numberKey(n uint32) groupKey { return groupKey{lo: uint64(n)} }

// mappedPrefix is what the lower half of a v4-mapped address has before the IPv4 address.
const mappedPrefix = 0xffff << 32

// addrKey: v4 and v4-mapped are the same sixteen bytes, and no address, of either family, is the zero key.
func addrKey(a netip.Addr) groupKey {
	var k groupKey
	if a.Is4() { // As16 takes some nanoseconds more
		b := a.As4()
		k.lo = mappedPrefix | uint64(binary.BigEndian.Uint32(b[:]))
	} else {
		b := a.As16()
		k = groupKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
	}
	if k.hi == 0 && k.lo == mappedPrefix {
		return groupKey{}
	}
	return k
}

func (k groupKey) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return netip.AddrFrom16(b).Unmap()
}

func (k groupKey) compare(o groupKey) int {
	return cmp.Or(cmp.Compare(k.hi, o.hi), cmp.Compare(k.lo, o.lo))
}

func (k groupKey) less(o groupKey) bool { return k.below(o) == 1 }

// below is 1 for less and 0 for not, without a branch: which of two is less is guesswork in a merge.
func (k groupKey) below(o groupKey) int {
	_, borrow := bits.Sub64(k.lo, o.lo, 0)
	_, borrow = bits.Sub64(k.hi, o.hi, borrow)
	return int(borrow)
}

// row is a group as a table holds it: 56 bytes, no pointer. A group of more than 2³² - 1 sockets has
// several, in several runs.
type row struct {
	key          groupKey
	recvQ, sendQ uint64
	idle         idle
	sockets      uint32
	estab        uint32
	estabTimer   uint32
	closeWait    uint32
}

// idle is the longest idle time as one number, so that the larger is the longer: 0 is not known, 2·ms+1
// is by last_data_sent, 2·ms+2 by last_data_recv.
type idle uint64

func idleOf(s *netlinkss.Socket) idle {
	if !hasClocks(s) {
		return 0
	}
	if s.Info.LastDataSent < s.Info.LastDataRecv {
		return 2*idle(s.Info.LastDataSent) + 1
	}
	return 2*idle(s.Info.LastDataRecv) + 2
}

func (r *row) add(s *netlinkss.Socket, clocks bool) {
	i := idle(0)
	if clocks {
		i = idleOf(s)
	}
	r.count(s.State, s.Timer, s.RecvQ, s.SendQ, i)
}

func (r *row) count(state netlinkss.State, timer netlinkss.Timer, recvQ, sendQ uint32, i idle) {
	r.sockets++
	switch state {
	case netlinkss.Estab:
		r.estab++
		if timer != netlinkss.TimerOff {
			r.estabTimer++
		}
	case netlinkss.CloseWait:
		r.closeWait++
	case netlinkss.Listen:
		return // its queues count connections
	}
	r.recvQ += uint64(recvQ)
	r.sendQ += uint64(sendQ)
	r.idle = max(r.idle, i)
}

const (
	firstRows = 1 << 7
	maxRows   = 1 << 14 // a row's number and one more fit in rowBits
	rowBits   = 15
	rowMask   = 1<<rowBits - 1
)

// table finds rows by key, with open addressing. Peers choose their addresses, so the hash has secrets.
type table struct {
	limit   int // rows; 0: maxRows
	rows    []row
	slots   []uint32 // the row's number plus one, and above rowBits a part of its hash; 0: free. Twice as many as rows, a power of two
	secrets [3]uint64
}

func (t *table) start() {
	if t.slots != nil {
		return
	}
	if t.limit == 0 {
		t.limit = maxRows
	}
	t.secrets = [3]uint64{rand.Uint64(), rand.Uint64(), rand.Uint64()}
	t.resize(min(firstRows, t.limit))
}

// resize makes room for n rows.
func (t *table) resize(n int) {
	t.rows = append(make([]row, 0, n), t.rows...)
	t.slots = make([]uint32, 1<<bits.Len(uint(2*n-1)))
	mask := uint64(len(t.slots) - 1)
	for i := range t.rows {
		h := t.hash(t.rows[i].key)
		at := h & mask
		for t.slots[at] != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = rowSlot(h, i)
	}
}

func rowSlot(hash uint64, row int) uint32 {
	return uint32(hash>>(32+rowBits))<<rowBits | uint32(row+1)
}

// hash folds two products with secrets: hash/maphash takes six times as long for sixteen bytes.
func (t *table) hash(k groupKey) uint64 {
	hi, lo := bits.Mul64(k.hi^t.secrets[0], k.lo^t.secrets[1])
	hi, lo = bits.Mul64(hi^lo, t.secrets[2]|1)
	return hi ^ lo
}

// row is the row of k, a new one if there is none; nil when there is no room for it.
func (t *table) row(k groupKey) *row {
	h := t.hash(k)
	mask := uint64(len(t.slots) - 1)
	want := rowSlot(h, -1)
	for at := h & mask; ; at = (at + 1) & mask {
		s := t.slots[at]
		if s == 0 {
			n := len(t.rows)
			if n == cap(t.rows) {
				return nil
			}
			t.slots[at] = rowSlot(h, n)
			t.rows = append(t.rows, row{key: k})
			return &t.rows[n]
		}
		if s&^rowMask == want {
			if r := &t.rows[s&rowMask-1]; r.key == k {
				return r
			}
		}
	}
}

// full: there is no room, and none can be made.
func (t *table) full() bool { return len(t.rows) >= t.limit }

func (t *table) clear() {
	t.rows = t.rows[:0]
	clear(t.slots)
}

// sortItem is a row's number, with the half of its key that is sorted by.
type sortItem struct {
	half uint64
	row  uint32
}

// sorted lists the rows in the order of their keys.
func (t *table) sorted(w *scratch) []sortItem {
	items, other := w.items(len(t.rows))
	for i := range items {
		items[i].row = uint32(i)
	}
	for _, high := range [...]bool{false, true} {
		for i := range items {
			k := &t.rows[items[i].row].key
			items[i].half = k.lo
			if high {
				items[i].half = k.hi
			}
		}
		items, other = sortByHalf(items, other)
	}
	return items
}

// sortByHalf sorts by one byte after the other, from the last, but for those that are the same in all. What is even stays in order.
// The first of what it returns is the sorted one of the two.
func sortByHalf(items, other []sortItem) (sorted, spare []sortItem) {
	vary := uint64(0)
	for i := range items {
		vary |= items[i].half ^ items[0].half
	}
	for shift := 0; shift < 64; shift += 8 {
		if byte(vary>>shift) == 0 {
			continue
		}
		var next [256]int // where the next item of each byte goes
		for i := range items {
			next[byte(items[i].half>>shift)]++
		}
		at := 0
		for b, n := range next {
			next[b] = at
			at += n
		}
		for _, it := range items {
			b := byte(it.half >> shift)
			other[next[b]] = it
			next[b]++
		}
		items, other = other, items
	}
	return items, other
}
