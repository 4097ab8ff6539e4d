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

// less is compare < 0, without branches that a mixed stream makes guesswork.
func (k groupKey) less(o groupKey) bool {
	_, borrow := bits.Sub64(k.lo, o.lo, 0)
	_, borrow = bits.Sub64(k.hi, o.hi, borrow)
	return borrow != 0
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
	r.sockets++
	switch s.State {
	case netlinkss.Estab:
		r.estab++
		if s.Timer != netlinkss.TimerOff {
			r.estabTimer++
		}
	case netlinkss.CloseWait:
		r.closeWait++
	case netlinkss.Listen:
		return // its queues count connections
	}
	r.recvQ += uint64(s.RecvQ)
	r.sendQ += uint64(s.SendQ)
	if clocks {
		r.idle = max(r.idle, idleOf(s))
	}
}

const (
	firstRows = 1 << 7
	maxRows   = 1 << 14 // a row's number and one more fit in rowBits, and its number in a uint16
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
		t.slots[at] = slot(h, i)
	}
}

func slot(hash uint64, row int) uint32 {
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
	want := slot(h, -1)
	for at := h & mask; ; at = (at + 1) & mask {
		s := t.slots[at]
		if s == 0 {
			n := len(t.rows)
			if n == cap(t.rows) {
				return nil
			}
			t.slots[at] = slot(h, n)
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

// sorted lists the numbers of the rows in the order of their keys: by one byte of the key after the
// other, from the last, but for those that are the same in all.
func (t *table) sorted(w *scratch) []uint16 {
	order, other := w.orders(len(t.rows))
	var vary groupKey
	for i := range t.rows {
		order[i] = uint16(i)
		vary.hi |= t.rows[i].key.hi ^ t.rows[0].key.hi
		vary.lo |= t.rows[i].key.lo ^ t.rows[0].key.lo
	}
	for shift := range 16 {
		if vary.byteAt(shift) == 0 {
			continue
		}
		var next [257]int // where the next row of each byte goes
		for i := range t.rows {
			next[1+int(t.rows[i].key.byteAt(shift))]++
		}
		for i := 1; i < len(next); i++ {
			next[i] += next[i-1]
		}
		for _, i := range order {
			b := t.rows[i].key.byteAt(shift)
			other[next[b]] = i
			next[b]++
		}
		order, other = other, order
	}
	return order
}

// byteAt is one of the sixteen bytes, 0 the last.
func (k groupKey) byteAt(n int) byte {
	if n < 8 {
		return byte(k.lo >> (8 * n))
	}
	return byte(k.hi >> (8 * (n - 8)))
}
