package screen

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sockleak/sockleak/report"
)

// mostPoints is how many points of a number over time are kept for its plot: no terminal shows more.
const mostPoints = 240

// binned are at most n points of v, the oldest first. A point is the largest value of its time, so that no burst is lost; NaN where
// none is known.
func binned(v []float64, n int) []float64 {
	if len(v) <= n {
		return append([]float64(nil), v...)
	}
	points := make([]float64, n)
	for i := range points {
		points[i] = math.NaN()
		for _, x := range v[i*len(v)/n : (i+1)*len(v)/n] {
			if !math.IsNaN(x) && !(x <= points[i]) {
				points[i] = x
			}
		}
	}
	return points
}

// leastRange is the share of a number that the height of its plot stands for at the least: less is noise.
const leastRange = 0.05

// plotStyle is quiet where nothing moves.
func plotStyle(v []float64) style {
	for _, x := range v {
		if !math.IsNaN(x) && x != firstKnown(v) {
			return plot
		}
	}
	return dim
}

// sparkline draws v over w columns, the youngest at the right end. Its lowest bar is the least of v, or 0 where that is near.
func (p *palette) sparkline(v []float64, w int) string {
	if w <= 0 {
		return ""
	}
	v = binned(v, w)
	least, most := math.Inf(1), math.Inf(-1)
	for _, x := range v {
		if !math.IsNaN(x) {
			least, most = min(least, x), max(most, x)
		}
	}
	if least*2 < most {
		least = 0
	}
	height := max(most-least, math.Abs(most)*leastRange)
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", w-len(v)))
	for _, x := range v {
		b.WriteRune(p.bar(x, least, height))
	}
	return b.String()
}

func (p *palette) bar(x, least, height float64) rune {
	switch {
	case math.IsNaN(x):
		return ' '
	case height <= 0:
		return p.bars[0]
	}
	n := len(p.bars)
	return p.bars[min(max(int((x-least)/height*float64(n)), 0), n-1)]
}

// unit is what a number counts.
type unit uint8

const (
	unitCount unit = iota
	unitBytes
	unitShare // 1 is all of it
	unitRate  // a second
)

// text writes a number; "-" is not known.
func (u unit) text(x float64) string {
	switch {
	case math.IsNaN(x):
		return "-"
	case u == unitBytes:
		return report.ByteText(uint64(max(x, 0)))
	case u == unitShare:
		return strconv.FormatFloat(x*100, 'f', 1, 64) + " %"
	case u == unitRate:
		return decimal(x)
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}

// decimal has one digit behind the point where that says something.
func decimal(x float64) string {
	if x < 100 && x != math.Trunc(x) {
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}

// change writes by how much a number has gone up or down; "" for neither.
func (u unit) change(x float64) string {
	if math.IsNaN(x) {
		return ""
	}
	sign := "+"
	if x < 0 {
		sign = "−"
	}
	s := u.text(math.Abs(x))
	if u == unitShare {
		s = strings.TrimSuffix(s, " %") // percent of what would be a question
	}
	if strings.Trim(s, "0. BiKMG%") == "" {
		return ""
	}
	return fmt.Sprintf("%s%s", sign, s)
}
