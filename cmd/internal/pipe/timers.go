//go:build linux

package pipe

import (
	"container/heap"
	"time"
)

// timers holds the pairs that are to be looked at by a certain time, the next one first.
type timers []*pair

// set has p looked at by when, since the loop's epoch. A zero when takes p out.
func (t *timers) set(p *pair, when time.Duration) {
	switch {
	case when <= 0 && p.timerPos >= 0:
		heap.Remove(t, p.timerPos)
	case when <= 0:
	case p.timerPos < 0:
		p.when = when
		heap.Push(t, p)
	case p.when != when:
		p.when = when
		heap.Fix(t, p.timerPos)
	}
}

// next returns the pair to be looked at first, nil if there is none.
func (t timers) next() *pair {
	if len(t) == 0 {
		return nil
	}
	return t[0]
}

// The methods of heap.Interface.

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].when < t[j].when }

func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].timerPos, t[j].timerPos = i, j
}

func (t *timers) Push(x any) {
	p := x.(*pair)
	p.timerPos = len(*t)
	*t = append(*t, p)
}

func (t *timers) Pop() any {
	old := *t
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	p.timerPos = -1
	return p
}
