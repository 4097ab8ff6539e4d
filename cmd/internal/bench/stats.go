package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// spread is the middle of some figures and their ends. The zero value is of none.
type spread[T ~int64 | ~float64] struct{ median, least, most T }

func spreadOf[T ~int64 | ~float64](figures []T) (s spread[T]) {
	if len(figures) == 0 {
		return s
	}
	sorted := slices.SortedFunc(slices.Values(figures), cmp.Compare[T])
	n := len(sorted)
	return spread[T]{(sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[0], sorted[n-1]}
}

// summary is a row's figures.
type summary struct {
	wall, cpu         spread[time.Duration]
	rss               spread[int64]
	overWall, overCPU spread[float64] // over the floor of the same round
}

func (r *row) summary(floor *row) (s summary) {
	var wall, cpu []time.Duration
	var rss []int64
	var overWall, overCPU []float64
	for _, m := range r.Runs {
		wall, cpu, rss = append(wall, m.Wall), append(cpu, m.CPU), append(rss, m.RSS)
		i := slices.IndexFunc(floor.Runs, func(f run) bool { return f.Round == m.Round })
		if i >= 0 && floor.Runs[i].Wall > 0 && floor.Runs[i].CPU > 0 {
			overWall = append(overWall, float64(m.Wall)/float64(floor.Runs[i].Wall))
			overCPU = append(overCPU, float64(m.CPU)/float64(floor.Runs[i].CPU))
		}
	}
	return summary{spreadOf(wall), spreadOf(cpu), spreadOf(rss), spreadOf(overWall), spreadOf(overCPU)}
}

// floor is the first row.
func (s *section) floor() *row { return s.Rows[0] }

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func times(x float64) string { return fmt.Sprintf("%.2f", x) }

// with writes a spread: the median, and in brackets the ends.
func with[T ~int64 | ~float64](s spread[T], f func(T) string) string {
	return fmt.Sprintf("%s (%s to %s)", f(s.median), f(s.least), f(s.most))
}
