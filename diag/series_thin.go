package diag

import (
	"cmp"
	"time"
)

// tooMany reports whether samples have to be given up.
func (s *Series) tooMany() bool {
	n, lines := len(s.Times), 0
	if n > max(cmp.Or(max(s.Most, 0), DefaultMost), 4) {
		return true
	}
	for _, t := range s.Tracks {
		lines += len(t.Lines)
	}
	return n > fewestValues && n*lines > mostValues
}

// thin gives up a third of the samples or more where they are too many: those that are left are spread evenly over the whole span, the first and
// the last among them.
func (s *Series) thin() {
	if !s.tooMany() {
		return
	}
	keep := s.spread(max(len(s.Times)*2/3, 3))
	for _, t := range s.Tracks {
		if l := t.Line(LineCPU, "cpu"); l != nil {
			s.joinShares(l.Values, keep)
		}
		t.known = these(t.known, keep)
		pickAges(&t.reached, keep)
		for _, l := range t.Lines {
			l.Values, l.Born, l.Died = these(l.Values, keep), these(l.Born, keep), these(l.Died, keep)
			pickAges(&l.stayed, keep)
		}
	}
	s.Times = these(s.Times, keep)
}

// spread chooses n samples at the most: the first of each of equal times, which are twice as long whenever they are too many, and the
// last of all.
func (s *Series) spread(n int) []int {
	width := bornTick
	for s.Span()/width > time.Duration(n-2) {
		width *= 2
	}
	last := len(s.Times) - 1
	keep := make([]int, 0, n)
	in := time.Duration(-1)
	for i, t := range s.Times {
		if at := t.Sub(s.Times[0]) / width; at != in || i == last {
			in, keep = at, append(keep, i)
		}
	}
	return keep
}

// joinShares lets the samples that stay have the mean of the shares since the one before that stays.
func (s *Series) joinShares(v []float64, keep []int) {
	for k := len(keep) - 1; k > 0; k-- {
		from, to := keep[k-1], keep[k]
		used := 0.0
		for i := from + 1; i <= to; i++ {
			used += v[i] * s.Times[i].Sub(s.Times[i-1]).Seconds()
		}
		v[to] = used / s.Times[to].Sub(s.Times[from]).Seconds()
	}
}

// these keeps some of a list in its memory. A list that is not there stays so.
func these[T any](list []T, keep []int) []T {
	if list == nil {
		return nil
	}
	for k, i := range keep {
		list[k] = list[i]
	}
	return list[:len(keep)]
}

func pickAges(ages *[len(stayAges)][]float32, keep []int) {
	for i := range ages {
		ages[i] = these(ages[i], keep)
	}
}
