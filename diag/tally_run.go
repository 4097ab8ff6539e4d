package diag

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"slices"
)

// Spill holds what a tally cannot, a temporary file as a rule. A tally writes each byte of it once, from
// the first on, and again from the first after [Tally.Reset]. Failing to write is no error of the tally,
// which keeps in memory what was not taken; failing to read is one of [Tally.Groups].
type Spill interface {
	io.WriterAt
	io.ReaderAt
}

// run is the groups of a table that was full, sorted by key.
//
// A group is a head byte, the key less the one before it, and what its head says that it has, in this
// order and all as uvarints. A v4 peer with one ESTAB socket takes 5 bytes, 9 with its idle time.
type run struct {
	groups int
	size   int64
	sum    uint32 // crc32 Castagnoli
	off    int64  // in the tally's Spill, when mem does not have it
	inMem  bool
	mem    []byte
}

// What the head byte of a group says.
const (
	runHigh    = 1 << iota // the key's higher half is another one: its difference comes first, and the lower is whole
	runSockets             // more than one
	runEstab
	runTimer
	runCloseWait
	runIdle
	runRecvQ
	runSendQ
)

// maxRunRow is the most that a group takes: its head and nine uvarints.
const maxRunRow = 1 + 9*binary.MaxVarintLen64

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errRun = errors.New("the temporary data is not what was written")

// scratch is what sorting, writing and reading need, kept for the next time.
type scratch struct {
	order   [2][]sortItem
	run     []byte
	cursors []cursor
	heap    []mergeItem
	window  []byte
}

func (w *scratch) items(n int) (a, b []sortItem) {
	for i := range w.order {
		w.order[i] = slices.Grow(w.order[i][:0], n)[:n]
	}
	return w.order[0], w.order[1]
}

// room is the row of k when the table has none for it, or a full one.
func (t *Tally) room(k groupKey) *row {
	if t.table.full() || t.table.row(k) != nil {
		t.flush()
	} else {
		t.table.resize(min(2*cap(t.table.rows), t.table.limit))
	}
	return t.table.row(k)
}

// flush makes a run of the table and empties it.
func (t *Tally) flush() {
	b := t.scratch.run[:0]
	var last groupKey
	for _, it := range t.table.sorted(&t.scratch) {
		r := &t.table.rows[it.row]
		b = appendRow(b, last, r)
		last = r.key
	}
	t.scratch.run = b
	t.keep(b, len(t.table.rows))
	t.table.clear()
}

// keep puts a run into Spill, or into memory.
func (t *Tally) keep(b []byte, groups int) {
	n := len(t.runs)
	t.runs = slices.Grow(t.runs, 1)[:n+1] // with the memory of what was there before a Reset
	r := &t.runs[n]
	*r = run{groups: groups, size: int64(len(b)), sum: crc32.Checksum(b, castagnoli), off: t.spilled, mem: r.mem[:0]}
	if t.Spill != nil {
		if n, err := t.Spill.WriteAt(b, t.spilled); err == nil && n == len(b) {
			t.spilled += r.size
			return
		}
	}
	r.inMem, r.mem = true, append(r.mem, b...)
}

func appendRow(b []byte, last groupKey, r *row) []byte {
	at := len(b)
	b = append(b, 0)
	head := byte(0)
	key := r.key.lo - last.lo
	if r.key.hi != last.hi {
		head, key = runHigh, r.key.lo
		b = binary.AppendUvarint(b, r.key.hi-last.hi)
	}
	b = binary.AppendUvarint(b, key)
	if r.sockets != 1 {
		head |= runSockets
		b = binary.AppendUvarint(b, uint64(r.sockets))
	}
	for i, n := range [...]uint64{uint64(r.estab), uint64(r.estabTimer), uint64(r.closeWait), uint64(r.idle), r.recvQ, r.sendQ} {
		if n != 0 {
			head |= runEstab << i
			b = binary.AppendUvarint(b, n)
		}
	}
	b[at] = head
	return b
}

// rowReader reads one group. What is not there, or too large, is bad and 0.
type rowReader struct {
	b   []byte
	bad bool
}

func (d *rowReader) number(most uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > most {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// has is a number if its bit of the head is set, and without if it is not.
func (d *rowReader) has(bit byte, most, without uint64) uint64 {
	if bit == 0 {
		return without
	}
	return d.number(most)
}

// decodeRow reads one group into r, which has the one before it, and returns what follows it.
func decodeRow(b []byte, r *row) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	head, d := b[0], rowReader{b: b[1:]}
	if head&runHigh != 0 {
		r.key.hi += d.number(math.MaxUint64 - r.key.hi)
		r.key.lo = 0
	}
	r.key.lo += d.number(math.MaxUint64 - r.key.lo)
	r.sockets = uint32(d.has(head&runSockets, math.MaxUint32, 1))
	r.estab = uint32(d.has(head&runEstab, math.MaxUint32, 0))
	r.estabTimer = uint32(d.has(head&runTimer, math.MaxUint32, 0))
	r.closeWait = uint32(d.has(head&runCloseWait, math.MaxUint32, 0))
	r.idle = idle(d.has(head&runIdle, 2*math.MaxUint32+2, 0))
	r.recvQ = d.has(head&runRecvQ, math.MaxUint64, 0)
	r.sendQ = d.has(head&runSendQ, math.MaxUint64, 0)
	return d.b, !d.bad
}

// cursor reads the groups of a run or of a table, in the order of their keys.
type cursor struct {
	row  *row // valid until the next one is asked for
	left int  // groups to come

	rows  []row // of a table
	order []sortItem

	buf  []byte // what was read and not decoded yet
	hold row
	more source
}

// source is what a cursor has to read of its run.
type source struct {
	from     io.ReaderAt
	window   []byte
	off, end int64
	sum, got uint32
}

// next moves on to the next group. There is one: left says so.
func (c *cursor) next() error {
	c.left--
	if c.rows != nil {
		c.row = &c.rows[c.order[len(c.order)-1-c.left].row]
		return nil
	}
	if len(c.buf) < maxRunRow && c.more.off < c.more.end {
		var err error
		if c.buf, err = c.more.fill(c.buf); err != nil {
			return err
		}
	}
	first, last := c.row == nil, c.hold.key
	rest, ok := decodeRow(c.buf, &c.hold)
	if !ok || !first && !last.less(c.hold.key) {
		return errRun
	}
	c.buf, c.row = rest, &c.hold
	if c.left == 0 && (len(c.buf) > 0 || c.more.off < c.more.end || c.more.got != c.more.sum) {
		return errRun
	}
	return nil
}

// fill reads on, behind rest, which may be a part of the window.
func (s *source) fill(rest []byte) ([]byte, error) {
	have := copy(s.window, rest)
	n := int(min(int64(len(s.window)-have), s.end-s.off))
	b := s.window[have : have+n]
	if got, err := s.from.ReadAt(b, s.off); got < n {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	s.off += int64(n)
	s.got = crc32.Update(s.got, castagnoli, b)
	return s.window[:have+n], nil
}
