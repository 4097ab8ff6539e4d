package record

import (
	"fmt"
	bits64 "math/bits"

	"github.com/sockleak/sockleak/netlinkss"
)

// tracker is a table as the writer has it: it knows a row again, and tells what has changed.
type tracker[R comparable] struct {
	table[R]
	same func(a, b *R) bool // whether two rows are of one thing

	index map[uint32]uint32 // by hash: slots
	ids   []uint32          // by slot: the hash under which it is in index
	next  []uint32          // by slot: the one that was asked for behind it in the sample before
	last  uint32            // the one that was asked for last
	free  []uint32          // slots
	seen  bits              // in this sample

	born, changed, moved *group[R]

	flush func() error // writes a line of what is in the groups
	key   bool         // all rows are written at the end, so none is now
}

// lineRows is how many rows stand in a line at the most.
const lineRows = 4096

func newTracker[R comparable](t *table[R], same func(a, b *R) bool) *tracker[R] {
	tr := &tracker[R]{table: *t, same: same, index: map[uint32]uint32{}}
	tr.born, tr.changed, tr.moved = newGroup(&tr.table), newGroup(&tr.table), newGroup(&tr.table)
	return tr
}

// begin begins a sample.
func (t *tracker[R]) begin(key bool) {
	clear(t.seen)
	t.key, t.last = key, 0
}

// hashStep leads from the hash of a row to that of the next one that cannot be told from it.
const hashStep = 0x9e3779b1

// find is the slot of a row, a new one where the sample before had none like it. taken reports whether the row in a slot that this
// sample has used is this very one, and may be nil.
func (t *tracker[R]) find(row *R, hash uint32, taken func(slot uint32) bool) (slot uint32, fresh bool, err error) {
	if t.last < uint32(len(t.next)) { // most rows come in the order in which they came before
		if slot = t.next[t.last]; t.live.has(slot) && !t.seen.has(slot) && t.ids[slot] == hash && t.same(t.row(slot), row) {
			t.use(slot)
			return slot, false, nil
		}
	}
	for ; ; hash += hashStep {
		slot, ok := t.index[hash]
		switch {
		case !ok:
			slot, err = t.allot(hash)
			t.use(slot)
			return slot, true, err
		case t.seen.has(slot):
			if taken != nil && taken(slot) {
				return slot, false, nil
			}
		case t.same(t.row(slot), row):
			t.use(slot)
			return slot, false, nil
		}
	}
}

func (t *tracker[R]) use(slot uint32) {
	t.seen.add(slot)
	for int(max(slot, t.last)) >= len(t.next) {
		t.next = append(t.next, 0)
	}
	t.next[t.last] = slot
	t.last = slot
}

// allot takes a slot for a new row.
func (t *tracker[R]) allot(hash uint32) (slot uint32, err error) {
	if n := len(t.free); n > 0 {
		slot, t.free = t.free[n-1], t.free[:n-1]
	} else if slot = uint32(len(t.ids)); slot < maxSockets {
		t.ids = append(t.ids, 0)
	} else {
		return 0, fmt.Errorf("more than %d %s", maxSockets, t.name)
	}
	t.ids[slot] = hash
	t.index[hash] = slot
	t.bear(slot)
	return slot, nil
}

// put gives the row in a slot its values.
func (t *tracker[R]) put(slot uint32, fresh bool, row *R) error {
	was := t.row(slot)
	switch {
	case t.key:
	case fresh:
		t.born.born(slot, row)
	case *was == *row:
		return nil
	case t.table.moved != nil && t.table.moved(was, row):
		t.moved.changed(slot, was, row)
	default:
		t.changed.changed(slot, was, row)
	}
	*was = *row
	if t.born.n+t.changed.n+t.moved.n >= lineRows {
		return t.flush()
	}
	return nil
}

// end lets go of rows that the sample did not have, and writes what there is to write.
func (t *tracker[R]) end(line func(gone []byte) error) error {
	var gone numbers
	var last uint32
	for i, word := range t.live {
		for rest := word &^ t.seenWord(i); rest != 0; rest &= rest - 1 {
			slot := uint32(i*64 + bits64.TrailingZeros64(rest))
			delete(t.index, t.ids[slot])
			t.free = append(t.free, slot)
			t.bury(slot)
			gone.add(int64(slot) - int64(last))
			last = slot
		}
	}
	if t.key {
		gone.text = nil
		if err := t.all(); err != nil {
			return err
		}
	}
	return line(gone.text)
}

func (t *tracker[R]) seenWord(i int) uint64 {
	if i < len(t.seen) {
		return t.seen[i]
	}
	return 0
}

// all writes every row.
func (t *tracker[R]) all() error {
	return t.each(func(slot uint32, row *R) error {
		t.born.born(slot, row)
		if t.born.n >= lineRows {
			return t.flush()
		}
		return nil
	})
}

// appendTo appends the table's part of a line, nil when there is nothing to say.
func (t *tracker[R]) appendTo(b, gone []byte) []byte {
	if len(gone)+t.born.n+t.changed.n+t.moved.n == 0 {
		return nil
	}
	b = append(append(append(b, `{"`...), t.name...), `":{`...)
	if len(gone) > 0 {
		b = append(appendList(b, `"gone":[`, gone), ',')
	}
	b = t.moved.appendTo(t.changed.appendTo(t.born.appendTo(b, "new"), "mod"), "moved")
	b[len(b)-1] = '}' // in place of the last comma
	return b
}

// sockets is the tracker of sockets, which several holders may share.
type sockets struct {
	*tracker[socketRow]
	pointers []*netlinkss.Socket // by slot: those of this sample
	quiet    bits                // those of which the clocks alone may have moved
	is       *netlinkss.Socket   // that taken asks for
	isTaken  func(slot uint32) bool
}

// taken: the row in the slot is of this very socket.
func (s *sockets) taken(slot uint32) bool {
	return s.is != nil && int(slot) < len(s.pointers) && s.pointers[slot] == s.is
}

// point notes whose row it is.
func (s *sockets) point(slot uint32, sock *netlinkss.Socket) {
	for int(slot) >= len(s.pointers) {
		s.pointers = append(s.pointers, nil)
	}
	s.pointers[slot] = sock
}
