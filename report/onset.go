package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockleak/sockleak/diag"
)

// began says in one line when the sockets of a finding were left behind, and how fast they came.
func began(o *diag.Onset) string {
	parts := []string{onsetRange(o)}
	pace := onsetPace(o)
	if drawn(o) {
		parts = append(parts, sparkline(o.Buckets))
		pace += fmt.Sprintf("; █ is %d in %s", slices.Max(o.Buckets), diag.FormatDuration(o.Width))
	}
	if o.Source != "" {
		pace += " (" + o.Source + ")"
	}
	return strings.Join(append(parts, pace), "  ")
}

func onsetRange(o *diag.Onset) string {
	least := ""
	if lowerBound(o.Source) {
		least = "≥ "
	}
	oldest, youngest := least+diag.FormatDuration(o.Oldest), least+diag.FormatDuration(o.Youngest)
	if oldest == youngest {
		return oldest + " ago"
	}
	return oldest + " to " + youngest + " ago"
}

// lowerBound reports whether a source tells no more than the least time: two looks that saw the same, a clock that answers to
// keepalive probes restart, and time-outs that backed off. The clocks of payload are exact, but where the closed window stands
// for it that nothing was sent.
func lowerBound(source string) bool {
	return slices.ContainsFunc([]string{"two looks", "last_ack_recv", "rto and backoff", "snd_wnd"}, func(s string) bool {
		return strings.Contains(source, s)
	})
}

// atOnce is how near to each other things are that happen at once.
const atOnce = time.Second

// drawn reports whether there is something to see in a histogram.
func drawn(o *diag.Onset) bool {
	return o.Oldest-o.Youngest >= atOnce && len(o.Buckets) > 1 && total(o.Buckets) > 2
}

// onsetPace is the rate, or what can be said in its place.
func onsetPace(o *diag.Onset) string {
	s := rate(o.PerMinute)
	switch {
	case s == "":
		s = withoutRate(o)
	case !o.Ongoing:
		s += ", and none since"
	}
	if o.Ongoing {
		s += ", and it goes on"
	}
	return s
}

// fewOnsets is below how many sockets nothing is said of their distances.
const fewOnsets = 10

func withoutRate(o *diag.Onset) string {
	n := total(o.Buckets)
	switch {
	case o.Oldest-o.Youngest < atOnce:
		return "all at once"
	case n < fewOnsets:
		return "too few for a rate"
	}
	if most := slices.Max(o.Buckets); most*5 >= n*4 {
		return fmt.Sprintf("%d of %d within %s", most, n, diag.FormatDuration(o.Width))
	}
	if n, least := runs(o.Buckets); n > 1 && least > 1 {
		return fmt.Sprintf("in %d bursts", n)
	}
	return "at no even rate"
}

// runs counts the groups of buckets that nothing is between, and the sockets in the smallest of them.
func runs(buckets []int) (n, least int) {
	in := 0 // of the group that is being counted
	for i, b := range buckets {
		in += b
		if b > 0 && (i+1 == len(buckets) || buckets[i+1] == 0) {
			if n++; n == 1 || in < least {
				least = in
			}
			in = 0
		}
	}
	return n, least
}

func total(buckets []int) (n int) {
	for _, b := range buckets {
		n += b
	}
	return n
}

// sparkline draws a bar per bucket, a dot where nothing is: the lowest bar is something.
func sparkline(buckets []int) string {
	const bars = "▁▂▃▄▅▆▇█"
	levels := []rune(bars)
	most := slices.Max(buckets)
	var b strings.Builder
	for _, n := range buckets {
		if n <= 0 {
			b.WriteRune('·')
			continue
		}
		b.WriteRune(levels[(n*len(levels)+most-1)/most-1])
	}
	return b.String()
}

// rate writes how many a minute, in the unit in which it is one or more; "" for none.
func rate(perMinute float64) string {
	if perMinute <= 0 || math.IsInf(perMinute, 0) || math.IsNaN(perMinute) {
		return ""
	}
	n, unit := perMinute, "a minute"
	switch {
	case n >= 1:
	case n*60 >= 1:
		n, unit = n*60, "an hour"
	default:
		n, unit = n*60*24, "a day"
	}
	if n < 0.1 {
		return "less than 0.1 " + unit
	}
	digits := 0
	if n < 9.95 {
		digits = 1
	}
	return strings.TrimSuffix(strconv.FormatFloat(n, 'f', digits, 64), ".0") + " " + unit
}

// wireOnset is null in JSON where it cannot be told.
type wireOnset struct {
	OldestMS   int64    `json:"oldest_ms"`
	YoungestMS int64    `json:"youngest_ms"`
	BucketMS   int64    `json:"bucket_ms"`
	Buckets    []int    `json:"buckets"`
	PerMinute  *float64 `json:"per_minute"`
	Ongoing    bool     `json:"ongoing"`
	Source     string   `json:"source"`
}

func wireOnsetOf(o *diag.Onset) *wireOnset {
	if o == nil {
		return nil
	}
	return &wireOnset{
		OldestMS: o.Oldest.Milliseconds(), YoungestMS: o.Youngest.Milliseconds(), BucketMS: o.Width.Milliseconds(),
		Buckets: append([]int{}, o.Buckets...), PerMinute: rounded(o.PerMinute), Ongoing: o.Ongoing, Source: o.Source,
	}
}

// rounded is a rate without the digits that nobody measured, null for none.
func rounded(perMinute float64) *float64 {
	if rate(perMinute) == "" {
		return nil
	}
	n := math.Round(perMinute*1e6) / 1e6
	return &n
}

// rateCell is a rate for programs, empty for none.
func rateCell(perMinute float64) Cell {
	n := rounded(perMinute)
	if n == nil {
		return Cell{}
	}
	s := strconv.FormatFloat(*n, 'f', -1, 64)
	return Cell{Text: s, Raw: s, num: true}
}

// onsetCells are an onset for programs.
func onsetCells(o *diag.Onset) []Cell {
	if o == nil {
		return unknown(4)
	}
	return []Cell{duration(o.Oldest), duration(o.Youngest), rateCell(o.PerMinute), text(strconv.FormatBool(o.Ongoing))}
}

// growth says where the leaks of a process lead, "" when nothing is known.
func growth(g diag.Growth) string {
	pace := rate(g.PerMinute)
	if pace == "" {
		return ""
	}
	n, unit, _ := strings.Cut(pace, " a")
	s := n + " leaked sockets a" + unit
	if n == "1" {
		s = n + " leaked socket a" + unit
	}
	var ends []string
	if g.FDsIn > 0 {
		ends = append(ends, "the descriptor limit in "+diag.FormatDuration(g.FDsIn))
	}
	if g.PortsIn > 0 {
		ends = append(ends, fmt.Sprintf("the local ports to %s within %s", g.PortsPeer, diag.FormatDuration(g.PortsIn)))
	}
	if len(ends) > 0 {
		s += ": " + strings.Join(ends, ", ")
	}
	return s
}
