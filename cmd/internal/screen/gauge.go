package screen

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// gauge is one number over time, as the screen has it: its own copy.
type gauge struct {
	key     diag.LineKey
	label   string
	unit    unit
	points  []float64 // of all the time, see [binned]
	now     float64
	change  float64 // since the first that is known; NaN when there is none
	partial bool    // now is that of a part of the processes: the others' is not known
	group   gaugeGroup
	rank    int // the lowest are shown first where there is no room for all
	style   style
}

// gaugeGroup is what gauges stand below each other for.
type gaugeGroup uint8

const (
	gaugeFDs gaugeGroup = iota
	gaugeTCP
	gaugeRest
	numGaugeGroups
)

// Born and died are no lines of the series, but those of all its groups together.
const (
	lineBorn = diag.NumLineKinds + iota
	lineDied
)

// gaugesOf copies the lines of some tracks, added up.
func gaugesOf(times []time.Time, tracks []*diag.Track) []gauge {
	var list []gauge
	for _, key := range keysOf(tracks) {
		values, partial := sumOf(tracks, key, len(times))
		list = append(list, newGauge(key, values, partial))
	}
	list = append(list, flowsOf(times, tracks)...)
	for i := range list {
		list[i].describe(tracks)
	}
	slices.SortStableFunc(list, func(a, b gauge) int { return orderOf(a.key) - orderOf(b.key) })
	return list
}

func newGauge(key diag.LineKey, values []float64, partial bool) gauge {
	g := gauge{key: key, points: binned(values, mostPoints), partial: partial, now: math.NaN(), change: math.NaN()}
	if n := len(values); n > 0 {
		g.now = values[n-1]
		g.change = g.now - firstKnown(values)
	}
	return g
}

func firstKnown(values []float64) float64 {
	for _, v := range values {
		if !math.IsNaN(v) {
			return v
		}
	}
	return math.NaN()
}

// keysOf lists the lines of the tracks, without those of single groups.
func keysOf(tracks []*diag.Track) []diag.LineKey {
	var keys []diag.LineKey
	seen := map[diag.LineKey]bool{}
	for _, t := range tracks {
		for _, l := range t.Lines {
			if l.Kind != diag.LineGroup && !seen[l.LineKey] {
				seen[l.LineKey] = true
				keys = append(keys, l.LineKey)
			}
		}
	}
	return keys
}

// sumOf adds up the lines of one key, n values each. partial: of some track that has not ended the last value is not known.
func sumOf(tracks []*diag.Track, key diag.LineKey, n int) (sum []float64, partial bool) {
	sum = slices.Repeat([]float64{math.NaN()}, n)
	for _, t := range tracks {
		i := slices.IndexFunc(t.Lines, func(l *diag.Line) bool { return l.LineKey == key })
		if i < 0 {
			partial = partial || !t.Ended && mayBeUnknown(t, key.Kind)
			continue
		}
		for k, v := range t.Lines[i].Values[:min(n, len(t.Lines[i].Values))] {
			switch {
			case math.IsNaN(v):
			case math.IsNaN(sum[k]):
				sum[k] = v
			default:
				sum[k] += v
			}
		}
		partial = partial || !t.Ended && math.IsNaN(t.Lines[i].Last())
	}
	return sum, partial
}

// mayBeUnknown reports whether no line of that kind means that it could not be read, and not that there is nothing.
func mayBeUnknown(t *diag.Track, kind diag.LineKind) bool {
	switch kind {
	case diag.LineFDs:
		return !slices.ContainsFunc(t.Lines, func(l *diag.Line) bool { return l.Kind == diag.LineOpen })
	case diag.LineOpen, diag.LinePSS:
		return true
	}
	return false
}

// flowsOf are how many sockets come and go in a second, by the groups of the tracks; none when those are not followed.
func flowsOf(times []time.Time, tracks []*diag.Track) []gauge {
	var born, died [][]float64
	for _, t := range tracks {
		for _, l := range t.OfKind(diag.LineGroup) {
			if len(l.Born) == len(times) && len(l.Died) == len(times) { // nil where only the level is known
				born, died = append(born, l.Born), append(died, l.Died)
			}
		}
	}
	if len(born) == 0 || len(times) == 0 {
		return nil
	}
	return []gauge{flow(lineBorn, times, born), flow(lineDied, times, died)}
}

// flow is the rate of some counts of events together. Its change is how many there were.
func flow(kind diag.LineKind, times []time.Time, counts [][]float64) gauge {
	rates := slices.Repeat([]float64{math.NaN()}, len(times))
	for i := 1; i < len(times); i++ {
		events := 0.0
		for _, c := range counts {
			events += c[i] - c[i-1] // what is not known makes all unknown
		}
		if d := times[i].Sub(times[i-1]).Seconds(); d > 0 {
			rates[i] = events / d
		}
	}
	g := newGauge(diag.LineKey{Kind: kind}, rates, false)
	g.change = 0
	for _, c := range counts {
		g.change += c[len(c)-1]
	}
	return g
}

// The states whose sockets stay when nobody closes them.
var stuckStates = []string{netlinkss.CloseWait.String(), netlinkss.FinWait2.String(), netlinkss.SynSent.String()}

// describe says what a gauge shows, and how much it matters.
func (g *gauge) describe(tracks []*diag.Track) {
	g.label = g.key.Name
	switch g.key.Kind {
	case diag.LineOpen:
		g.group, g.rank, g.label = gaugeFDs, 1, "descriptors"
		g.limit(tracks)
	case diag.LineFDs:
		g.group, g.rank = gaugeFDs, 14
		if g.key.Name == procfd.KindSocket.String() {
			g.rank = 8
		}
		g.label = "  " + g.label
	case diag.LineState:
		g.group, g.rank = gaugeTCP, 12
		switch {
		case g.key.Name == netlinkss.Estab.String():
			g.rank = 6
		case slices.Contains(stuckStates, g.key.Name):
			g.rank = 4
		}
	case diag.LineTimer:
		g.group, g.rank, g.label = gaugeTCP, 3, "  "+g.label
		if g.key.Name == "timer" {
			g.rank, g.label = 11, "  with timer"
		}
	default:
		g.group = gaugeRest
		g.describeRest()
	}
}

func (g *gauge) describeRest() {
	switch g.key.Kind {
	case diag.LineLeaked:
		g.rank = 2
		if g.now > 0 {
			g.style = alarm
		}
	case diag.LineRSS:
		g.rank, g.label, g.unit = 5, "RSS", unitBytes
	case diag.LinePSS:
		g.rank, g.label, g.unit = 13, "PSS", unitBytes
	case diag.LineCPU:
		g.rank, g.label, g.unit = 7, "CPU", unitShare
	case lineBorn:
		g.rank, g.label, g.unit = 9, "born/s", unitRate
	case lineDied:
		g.rank, g.label, g.unit = 10, "died/s", unitRate
	}
}

// nearLimit is the share of its limit from which a number is alarming, as the rule fd-limit has it.
const nearLimit = 0.8

// limit names the limit of one process's descriptors.
func (g *gauge) limit(tracks []*diag.Track) {
	if len(tracks) != 1 || tracks[0].Limit == 0 || tracks[0].Limit == procfd.NoLimit {
		return
	}
	g.label = fmt.Sprintf("fds of %d", tracks[0].Limit)
	if g.now >= nearLimit*float64(tracks[0].Limit) {
		g.style = alarm
	}
}

// orderOf is the place of a line among the others: as the series has the kinds, the states as the kernel has them.
func orderOf(key diag.LineKey) int {
	place := 0
	switch key.Kind {
	case diag.LineTimer:
		return orderOf(diag.LineKey{Kind: diag.LineState, Name: netlinkss.Estab.String()}) + 1 // they are those in ESTAB
	case diag.LineState:
		for s := netlinkss.Estab; s <= netlinkss.BoundInactive; s++ {
			if s.String() == key.Name {
				place = 10 * int(s)
			}
		}
		if place == 0 {
			place = 500
		}
	case diag.LineFDs:
		for k := range procfd.NumKinds {
			if k.String() == key.Name {
				place = int(k)
			}
		}
	case lineBorn, lineDied: // behind what is leaked
		return orderOf(diag.LineKey{Kind: diag.LineLeaked}) + 1 + int(key.Kind-lineBorn)
	}
	return 1000*int(key.Kind) + place
}
