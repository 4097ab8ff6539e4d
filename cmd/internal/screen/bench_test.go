package screen

import (
	"testing"
	"time"
)

// crowd is how many sockets the process of these benchmarks has.
const crowd = 19_000

// crowded is a screen of such a process, and two looks at it.
func crowded(keys ...string) (*stage, [2]*Frame) {
	s := newStage(Options{Color: true})
	s.resize(200, 60)
	var frames [2]*Frame
	for i := range frames {
		r := resultOf(noon.Add(time.Duration(i)*time.Second), someGaps, madeProcess(4242, "proxy").leak(crowd))
		frames[i] = &Frame{Result: r, Series: series(900)}
	}
	s.feed(frames[0])
	s.press(keys...)
	return s, frames
}

// BenchmarkTake is what the goroutine that looks does for the screen behind each look.
func BenchmarkTake(b *testing.B) {
	s, frames := crowded()
	b.ReportAllocs()
	for b.Loop() {
		if len(s.taker.take(frames[1], s.want).groups) != 5 {
			b.Fatal("not all groups")
		}
	}
}

// BenchmarkFrame is what each look costs the screen then, by what it shows.
func BenchmarkFrame(b *testing.B) {
	for _, bb := range []struct {
		name string
		keys []string
	}{
		{"findings", nil}, {"finding", []string{"enter"}}, {"groups", []string{"tab"}}, {"group", []string{"tab", "g", "g", "enter"}},
		{"filter", []string{"tab", "g", "g", "enter", "/", "9", "enter"}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s, frames := crowded(bb.keys...)
			shots := [2]*shot{s.taker.take(frames[0], s.want), s.taker.take(frames[1], s.want)}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				s.look(shots[i%2])
				if len(s.view()) < 1000 {
					b.Fatal("nothing is shown")
				}
			}
		})
	}
}

// BenchmarkKey is what a key costs then.
func BenchmarkKey(b *testing.B) {
	s, _ := crowded("tab", "g", "g", "enter")
	b.ReportAllocs()
	for b.Loop() {
		s.press("down")
		_ = s.view()
	}
}
