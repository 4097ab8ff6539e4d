//go:build linux

package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

// summary is a row's figures.
type summary struct {
	wall, cpu         lab.Spread[time.Duration]
	rss               lab.Spread[int64]
	overWall, overCPU lab.Spread[float64] // over the floor of the same round
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
	return summary{lab.SpreadOf(wall), lab.SpreadOf(cpu), lab.SpreadOf(rss), lab.SpreadOf(overWall), lab.SpreadOf(overCPU)}
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
