package record

import (
	"fmt"
	"strconv"
)

// column is one number of a row. What set cannot hold, get does not give back, which is how a reader finds it out.
type column[R any] struct {
	name string
	get  func(*R) int64
	set  func(*R, int64)
}

// words is a column of text, which a row has from its birth and keeps.
type words[R any] struct {
	name   string
	append func([]byte, *R) []byte // without quotes, in need of no escape
	same   func(a, b *R) bool
	copy   func(to, from *R)
	set    func(*R, string) error
}

// table are rows of one kind, each in a slot that is its name as long as it lives. They lie in blocks, so that a growing table is
// never copied.
type table[R comparable] struct {
	name   string
	cols   []column[R]
	texts  []words[R]
	blocks []*[blockRows]R
	live   bits
	count  int // of rows that live
	// moved tells rows that changed in another way than most do, so that these stand by themselves; nil: there are none.
	moved func(was, now *R) bool
	// check holds a row that was read to what is known beside it; nil: there is nothing.
	check func(*R) error
}

const blockRows = 1 << 10

// bits is a set of slots.
type bits []uint64

func (b bits) has(i uint32) bool { return int(i/64) < len(b) && b[i/64]&(1<<(i%64)) != 0 }

func (b *bits) add(i uint32) {
	for int(i/64) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

func (b bits) remove(i uint32) { b[i/64] &^= 1 << (i % 64) }

func (t *table[R]) row(slot uint32) *R { return &t.blocks[slot/blockRows][slot%blockRows] }

// slots is one more than the highest slot that there may be.
func (t *table[R]) slots() uint32 { return uint32(len(t.live)) * 64 }

// each walks the rows that live, in the order of their slots.
func (t *table[R]) each(f func(slot uint32, row *R) error) error {
	for slot := range t.slots() {
		if t.live.has(slot) {
			if err := f(slot, t.row(slot)); err != nil {
				return err
			}
		}
	}
	return nil
}

// bear has a row live in a slot, with all zero.
func (t *table[R]) bear(slot uint32) *R {
	for int(slot/blockRows) >= len(t.blocks) {
		t.blocks = append(t.blocks, nil)
	}
	if t.blocks[slot/blockRows] == nil { // so that one high slot takes no more than its own block
		t.blocks[slot/blockRows] = new([blockRows]R)
	}
	t.live.add(slot)
	t.count++
	row := t.row(slot)
	*row = *new(R)
	return row
}

func (t *table[R]) bury(slot uint32) {
	t.live.remove(slot)
	t.count--
}

// clear forgets all rows, and keeps the memory.
func (t *table[R]) clear() {
	clear(t.live)
	t.count = 0
}

// group is a part of a table on its way to a line: rows that are new, or rows that changed, as columns of differences.
type group[R comparable] struct {
	t     *table[R]
	n     int
	slots []byte
	last  uint32
	cols  []numbers
	texts [][]byte
	first []bool // by column of text: something stands in it
	prev  R      // of new ones, the row before
}

// numbers is a list of numbers as text.
type numbers struct {
	text  []byte
	other bool // there is one that is not 0
}

func (c *numbers) add(v int64) {
	c.other = c.other || v != 0
	if uint64(v) < 10 {
		c.text = append(c.text, byte('0'+v), ',')
		return
	}
	c.text = append(strconv.AppendInt(c.text, v, 10), ',')
}

func newGroup[R comparable](t *table[R]) *group[R] {
	return &group[R]{t: t, cols: make([]numbers, len(t.cols)), texts: make([][]byte, len(t.texts)), first: make([]bool, len(t.texts))}
}

// slot notes whose numbers follow. Most come in the order of their slots, so the distance is short.
func (g *group[R]) slot(slot uint32) {
	g.slots = append(strconv.AppendInt(g.slots, int64(slot)-int64(g.last), 10), ',')
	g.last = slot
	g.n++
}

// born takes a new row, as the difference to the one before.
func (g *group[R]) born(slot uint32, row *R) {
	g.slot(slot)
	for i := range g.t.cols {
		get := g.t.cols[i].get
		g.cols[i].add(get(row) - get(&g.prev))
	}
	for i := range g.t.texts {
		w := &g.t.texts[i]
		g.texts[i] = append(g.texts[i], '"')
		if !w.same(row, &g.prev) {
			g.first[i] = true
			g.texts[i] = w.append(g.texts[i], row)
		}
		g.texts[i] = append(g.texts[i], '"', ',')
	}
	g.prev = *row
}

// changed takes what is another than it was.
func (g *group[R]) changed(slot uint32, was, now *R) {
	g.slot(slot)
	for i := range g.t.cols {
		get := g.t.cols[i].get
		g.cols[i].add(get(now) - get(was))
	}
}

// appendTo ends the group; a column in which all is 0 is left out.
func (g *group[R]) appendTo(b []byte, name string) []byte {
	if g.n == 0 {
		return b
	}
	b = appendList(append(append(b, '"'), name...), `":{"slot":[`, g.slots)
	for i := range g.cols {
		if c := &g.cols[i]; c.other {
			b = append(append(b, `,"`...), g.t.cols[i].name...)
			b = appendList(b, `":[`, c.text)
		}
		g.cols[i] = numbers{text: g.cols[i].text[:0]}
	}
	for i := range g.texts {
		if g.first[i] {
			b = append(append(b, `,"`...), g.t.texts[i].name...)
			b = appendList(b, `":[`, g.texts[i])
		}
		g.texts[i], g.first[i] = g.texts[i][:0], false
	}
	g.n, g.slots, g.last, g.prev = 0, g.slots[:0], 0, *new(R)
	return append(b, '}', ',')
}

// appendList appends a list whose last comma is one too many.
func appendList(b []byte, open string, list []byte) []byte {
	b = append(b, open...)
	if len(list) > 0 {
		list = list[:len(list)-1]
	}
	return append(append(b, list...), ']')
}

// read takes the table's part of a line: {"gone":[…],"new":{…},"mod":{…},"moved":{…}}.
func (t *table[R]) read(l *lexer) error {
	return l.object(func(name string) error {
		switch name {
		case "gone":
			return t.readGone(l)
		case "new":
			return t.readNew(l)
		case "mod", "moved":
			return t.readMod(l)
		}
		return fmt.Errorf("%s: unknown part %.40q", t.name, name)
	})
}

func (t *table[R]) readGone(l *lexer) error {
	return t.readSlots(l, func(slot uint32) error {
		if !t.live.has(slot) {
			return fmt.Errorf("%s: there is none in slot %d", t.name, slot)
		}
		t.bury(slot)
		return nil
	})
}

func (t *table[R]) readSlots(l *lexer, f func(slot uint32) error) error {
	var slot int64
	return l.ints(func(d int64) error {
		if slot += d; slot < 0 || slot >= maxSockets {
			return fmt.Errorf("%s: slot %d, want 0 to %d", t.name, slot, maxSockets-1)
		}
		return f(uint32(slot))
	})
}

// readGroup begins with the slots, and goes on with columns.
func (t *table[R]) readGroup(l *lexer, take func(slot uint32) error, col func(c *column[R]) error, text func(w *words[R]) error) error {
	began := false
	return l.object(func(name string) error {
		if !began {
			if began = true; name != "slot" {
				return fmt.Errorf("%s: %.40q, want slot", t.name, name)
			}
			return t.readSlots(l, take)
		}
		for i := range t.cols {
			if t.cols[i].name == name {
				return col(&t.cols[i])
			}
		}
		for i := range t.texts {
			if t.texts[i].name == name && text != nil {
				return text(&t.texts[i])
			}
		}
		return fmt.Errorf("%s: unknown column %.40q", t.name, name)
	})
}

func (t *table[R]) readNew(l *lexer) error {
	var rows []*R
	err := t.readGroup(l, func(slot uint32) error {
		if t.live.has(slot) {
			return fmt.Errorf("%s: there is one in slot %d", t.name, slot)
		}
		rows = append(rows, t.bear(slot))
		return nil
	}, func(c *column[R]) error {
		var sum int64
		return t.readColumn(l, c, rows, func(_ *R, d int64) int64 { sum += d; return sum })
	}, func(w *words[R]) error { return t.readTexts(l, w, rows) })
	return t.checked(err, rows)
}

func (t *table[R]) checked(err error, rows []*R) error {
	for i := 0; i < len(rows) && err == nil && t.check != nil; i++ {
		err = t.check(rows[i])
	}
	return err
}

func (t *table[R]) readMod(l *lexer) error {
	var rows []*R
	err := t.readGroup(l, func(slot uint32) error {
		if !t.live.has(slot) {
			return fmt.Errorf("%s: there is none in slot %d", t.name, slot)
		}
		rows = append(rows, t.row(slot))
		return nil
	}, func(c *column[R]) error {
		return t.readColumn(l, c, rows, func(row *R, d int64) int64 { return c.get(row) + d })
	}, nil)
	return t.checked(err, rows)
}

// readColumn sets one field of all rows.
func (t *table[R]) readColumn(l *lexer, c *column[R], rows []*R, value func(row *R, d int64) int64) error {
	i := 0
	err := l.ints(func(d int64) error {
		if i == len(rows) {
			return fmt.Errorf("%s: %s has more than the %d values that there are rows", t.name, c.name, len(rows))
		}
		v := value(rows[i], d)
		if c.set(rows[i], v); c.get(rows[i]) != v {
			return fmt.Errorf("%s: %s is %d, out of its range", t.name, c.name, v)
		}
		i++
		return nil
	})
	return t.whole(err, c.name, i, len(rows))
}

func (t *table[R]) whole(err error, name string, got, want int) error {
	if err == nil && got != want {
		return fmt.Errorf("%s: %s has %d values, want %d", t.name, name, got, want)
	}
	return err
}

// readTexts sets a column of text; an empty one is the one before.
func (t *table[R]) readTexts(l *lexer, w *words[R], rows []*R) error {
	i := 0
	err := l.list(func() error {
		word, err := l.text()
		if err != nil {
			return err
		}
		if i == len(rows) {
			return fmt.Errorf("%s: %s has more than the %d values that there are rows", t.name, w.name, len(rows))
		}
		switch {
		case word != "":
			if err := w.set(rows[i], word); err != nil {
				return fmt.Errorf("%s: %s: %w", t.name, w.name, err)
			}
		case i > 0:
			w.copy(rows[i], rows[i-1])
		}
		i++
		return nil
	})
	return t.whole(err, w.name, i, len(rows))
}
