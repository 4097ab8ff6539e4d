package diag

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"
)

// Group counts the sockets that share a key.
type Group struct {
	key groupKey

	Sockets      int
	Estab        int
	EstabTimer   int // ESTAB with any timer
	EstabNoTimer int // ESTAB with timer off
	CloseWait    int
	OldestIdle   Span   // not known without [Tally.Idle]
	RecvQ        uint64 // bytes; listeners, whose queues count connections, left out
	SendQ        uint64
}

// span is the idle time for a reader. uptime is the host's.
func (i idle) span(uptime time.Duration) Span {
	switch {
	case i == 0:
		return Span{}
	case i%2 == 1:
		return clock(uint32(i/2), sourceSent, uptime)
	}
	return clock(uint32(i/2-1), sourceRecv, uptime)
}

// sum is a group while its rows are added up.
type sum struct {
	Group
	idle idle
}

func (s *sum) add(r *row) {
	s.key = r.key
	s.Sockets += int(r.sockets)
	s.Estab += int(r.estab)
	s.EstabTimer += int(r.estabTimer)
	s.EstabNoTimer += int(r.estab) - int(r.estabTimer)
	s.CloseWait += int(r.closeWait)
	s.RecvQ += r.recvQ
	s.SendQ += r.sendQ
	s.idle = max(s.idle, r.idle)
}

// groupSorts order groups; ties go by key.
var groupSorts = map[string]func(a, b *Group) int{
	"sockets":    func(a, b *Group) int { return cmp.Compare(b.Sockets, a.Sockets) },
	"estab":      func(a, b *Group) int { return cmp.Compare(b.Estab, a.Estab) },
	"timer":      func(a, b *Group) int { return cmp.Compare(b.EstabTimer, a.EstabTimer) },
	"no-timer":   func(a, b *Group) int { return cmp.Compare(b.EstabNoTimer, a.EstabNoTimer) },
	"close-wait": func(a, b *Group) int { return cmp.Compare(b.CloseWait, a.CloseWait) },
	"idle":       func(a, b *Group) int { return cmp.Compare(b.OldestIdle.D, a.OldestIdle.D) },
	"recv-q":     func(a, b *Group) int { return cmp.Compare(b.RecvQ, a.RecvQ) },
	"send-q":     func(a, b *Group) int { return cmp.Compare(b.SendQ, a.SendQ) },
	"key":        func(_, _ *Group) int { return 0 },
}

// GroupSorts lists what [Tally.Groups] sorts by.
func GroupSorts() []string {
	return []string{"sockets", "estab", "timer", "no-timer", "close-wait", "idle", "recv-q", "send-q", "key"}
}

// Groups lists the first n groups, the largest by the named order first ("sockets" when it has no such
// name), and says how many groups there are. It holds n groups and no more; 0 lists all, at some 100 bytes
// each. The error is that of reading back what was spilled, and then there is no list.
func (t *Tally) Groups(order string, n int) (top []Group, total int, err error) {
	by, ok := groupSorts[order]
	if !ok {
		by = groupSorts["sockets"]
	}
	best := topGroups{n: n, by: by}
	sockets := 0
	err = t.each(func(s *sum) {
		total++
		sockets += s.Sockets
		s.OldestIdle = s.idle.span(t.Filter.Uptime)
		best.add(&s.Group)
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read groups back: %w", err)
	}
	if counted := t.IPv4.Total() + t.IPv6.Total(); sockets != counted {
		return nil, 0, fmt.Errorf("groups of %d sockets, %d were counted: a merged tally has changed", sockets, counted)
	}
	return best.sorted(), total, nil
}

// each hands over every group once, whole; s is valid during the call.
func (t *Tally) each(yield func(s *sum)) error {
	if t.By == ByContainer {
		return t.eachContainer(yield)
	}
	return t.eachKey(yield)
}

// eachKey has a group for each key.
func (t *Tally) eachKey(yield func(s *sum)) error {
	if len(t.runs) == 0 && len(t.parts) == 0 {
		s := &sum{}
		for i := range t.table.rows {
			*s = sum{}
			s.add(&t.table.rows[i])
			yield(s)
		}
		return nil
	}
	t.open()
	return t.merge(yield)
}

// topGroups keeps the first n groups of an order, in a heap with the last of them on top.
type topGroups struct {
	n    int // 0: all
	by   func(a, b *Group) int
	list []Group
}

func (h *topGroups) compare(a, b *Group) int { return cmp.Or(h.by(a, b), a.key.compare(b.key)) }

func (h *topGroups) add(g *Group) {
	switch {
	case h.n <= 0:
		h.list = append(h.list, *g)
	case len(h.list) < h.n:
		h.list = append(h.list, *g)
		h.up(len(h.list) - 1)
	case h.compare(g, &h.list[0]) < 0:
		h.list[0] = *g
		h.down()
	}
}

func (h *topGroups) up(i int) {
	for i > 0 && h.compare(&h.list[i], &h.list[(i-1)/2]) > 0 {
		h.Swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h *topGroups) down() {
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(h.list) {
			return
		}
		if child+1 < len(h.list) && h.compare(&h.list[child+1], &h.list[child]) > 0 {
			child++
		}
		if h.compare(&h.list[child], &h.list[i]) <= 0 {
			return
		}
		h.Swap(i, child)
		i = child
	}
}

// sorted is the list in order. Comparing in place spares two copies a comparison.
func (h *topGroups) sorted() []Group {
	sort.Sort(h)
	return h.list
}

func (h *topGroups) Len() int           { return len(h.list) }
func (h *topGroups) Less(i, k int) bool { return h.compare(&h.list[i], &h.list[k]) < 0 }
func (h *topGroups) Swap(i, k int)      { h.list[i], h.list[k] = h.list[k], h.list[i] }

// mergeItem is a cursor in the heap of a merge, with the key that it stands on.
type mergeItem struct {
	key groupKey
	at  int
}

// Windows on runs that were spilled: together, and the least of one.
const (
	allWindows  = 256 << 10
	leastWindow = 4 * maxRunRow
)

// open sets a cursor before each run and table, of this tally and of those merged into it.
func (t *Tally) open() {
	w := &t.scratch
	w.cursors = w.cursors[:0]
	spilled := 0
	for part := range t.all {
		for i := range part.runs {
			if !part.runs[i].inMem {
				spilled++
			}
		}
	}
	size := max(allWindows/max(spilled, 1), leastWindow)
	w.window = slices.Grow(w.window[:0], spilled*size)[:spilled*size]
	window := w.window
	for part := range t.all {
		if rows := part.table.rows; len(rows) > 0 {
			w.cursors = append(w.cursors, cursor{left: len(rows), rows: rows, order: part.table.sorted(&part.scratch)})
		}
		for i := range part.runs {
			r := &part.runs[i]
			c := cursor{left: r.groups}
			if r.inMem {
				c.buf = r.mem
			} else {
				c.more = source{from: part.Spill, window: window[:size], off: r.off, end: r.off + r.size, sum: r.sum}
				window = window[size:]
			}
			w.cursors = append(w.cursors, c)
		}
	}
}

// all yields the tally and what was merged into it.
func (t *Tally) all(yield func(*Tally) bool) {
	if !yield(t) {
		return
	}
	for _, p := range t.parts {
		if !yield(p) {
			return
		}
	}
}

// merge hands over the groups of the cursors in the order of their keys, those of the same key as one.
func (t *Tally) merge(yield func(s *sum)) error {
	cursors := t.scratch.cursors
	heap := t.scratch.heap[:0]
	for i := range cursors {
		if err := cursors[i].next(); err != nil {
			return err
		}
		heap = append(heap, mergeItem{cursors[i].row.key, i})
	}
	t.scratch.heap = heap
	for i := len(heap)/2 - 1; i >= 0; i-- {
		sink(heap, i)
	}
	s := &sum{}
	for len(heap) > 0 {
		*s = sum{}
		key := heap[0].key
		for len(heap) > 0 && heap[0].key == key {
			c := &cursors[heap[0].at]
			s.add(c.row)
			if c.left == 0 {
				heap[0] = heap[len(heap)-1]
				heap = heap[:len(heap)-1]
			} else {
				if err := c.next(); err != nil {
					return err
				}
				heap[0].key = c.row.key
			}
			sink(heap, 0)
		}
		yield(s)
	}
	return nil
}

// sink restores a heap whose item i may be larger than those under it.
func sink(heap []mergeItem, i int) {
	if i >= len(heap) {
		return
	}
	item := heap[i]
	for {
		child := 2*i + 1
		if child >= len(heap) {
			break
		}
		if child+1 < len(heap) {
			child += heap[child+1].key.below(heap[child].key)
		}
		if !heap[child].key.less(item.key) {
			break
		}
		heap[i] = heap[child]
		i = child
	}
	heap[i] = item
}
