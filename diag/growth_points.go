package diag

import (
	"math"
	"slices"
)

// point is a value v, t seconds after the first sample of its series.
type point struct{ t, v float64 }

type points []point

// points are the known values.
func (s *Series) points(values []float64) points {
	p := make(points, 0, len(values))
	for i, v := range values {
		if !math.IsNaN(v) {
			p = append(p, point{s.Times[i].Sub(s.Times[0]).Seconds(), v})
		}
	}
	return p
}

func (p points) span() float64 { return p[len(p)-1].t - p[0].t }

func (p points) rise() float64 { return p[len(p)-1].v - p[0].v }

func (p points) mirrored() points {
	m := make(points, len(p))
	for i := range p {
		m[i] = point{p[i].t, -p[i].v}
	}
	return m
}

// low is the low-water mark: the lowest point of each of n equal times, or the points themselves where they are no more.
func (p points) low(n int) points {
	if len(p) <= n {
		return p
	}
	width := p.span() / float64(n)
	marks := make(points, 0, n)
	in := -1
	for _, q := range p {
		window := min(int((q.t-p[0].t)/width), n-1)
		switch {
		case window != in:
			in, marks = window, append(marks, q)
		case q.v < marks[len(marks)-1].v:
			marks[len(marks)-1] = q
		}
	}
	return marks
}

// marks are the points that are judged: no more than [mostPoints], and no denser at one end than at the other, as they are when older
// ones were given up.
func (p points) marks() points {
	gaps := make([]float64, 0, len(p))
	for i := 1; i < len(p); i++ {
		gaps = append(gaps, p[i].t-p[i-1].t)
	}
	n := mostPoints
	if len(gaps) > 0 {
		slices.Sort(gaps)
		if wide := gaps[len(gaps)*9/10]; wide > 2.5*gaps[len(gaps)/2] {
			n = min(n, max(int(p.span()/wide), MinSamples))
		}
	}
	return p.low(n)
}

// at is the value at a time, on the straight line between the two points around it.
func (p points) at(t float64) float64 {
	i, ok := slices.BinarySearchFunc(p, t, func(q point, t float64) int {
		switch {
		case q.t < t:
			return -1
		case q.t > t:
			return 1
		}
		return 0
	})
	switch {
	case ok:
		return p[i].v
	case i == 0:
		return p[0].v
	case i == len(p):
		return p[i-1].v
	}
	a, b := p[i-1], p[i]
	return a.v + (b.v-a.v)*(t-a.t)/(b.t-a.t)
}

// steps are the rises in n equal times.
func (p points) steps(n int) []float64 {
	list := make([]float64, n)
	last := p[0].v
	for i := range list {
		v := p.at(p[0].t + p.span()*float64(i+1)/float64(n))
		list[i], last = v-last, v
	}
	return list
}

// climb is a line that climbs steadily: by rate a second, give or take sure.
type climb struct{ rise, rate, sure float64 }

// climb tells whether the points rise steadily, by need at the least.
func (p points) climb(need float64) (climb, bool) {
	if len(p) >= minStayed && p.rise() >= need {
		if ups, downs := p.ways(); downs <= ups/10 {
			return p.count(need)
		}
		if c, ok := p.drift(need); ok {
			return c, true
		}
	}
	for _, n := range []int{12, 8, 6} {
		if len(p) < 2*n {
			continue
		}
		if c, ok := p.low(n).drift(need); ok && !p.jumps() && p.regular(c.rise) {
			return c, true
		}
	}
	return climb{}, false
}

// ways is how far the points go up in all, and how far down.
func (p points) ways() (ups, downs float64) {
	for i := 1; i < len(p); i++ {
		d := p[i].v - p[i-1].v
		ups, downs = ups+max(d, 0), downs+max(-d, 0)
	}
	return ups, downs
}

// count tells whether a line that all but never falls is a count of things that come one by one or in small numbers, through the
// whole span. What comes in a few bursts has few steps, whatever their size; and of a curve that flattens more came early.
func (p points) count(need float64) (climb, bool) {
	rise, m := p.rise(), float64(len(p)-1)
	if rise < need || p.bursts() {
		return climb{}, false
	}
	parts := p.steps(min(max(int(rise/need*4), 4), mostSteps, len(p)-1))
	filled := 0
	for _, d := range parts {
		if d > rise/float64(len(parts))/4 {
			filled++
		}
	}
	if filled*10 < len(parts)*7 || slices.Max(parts) > rise/2 {
		return climb{}, false
	}
	deviation, rough := p.deviation()
	least := math.Sqrt(rise / 5) // of what comes almost by the clock
	deviation, rough = max(deviation, least), max(rough, least)
	if !p.lasts(min(deviation, rough)) {
		return climb{}, false
	}
	// Of what comes by chance at an even rate no slope tells more than the number that came.
	return climb{rise, rise / p.span(), (studentOf(m-1)*deviation + 1) / p.span()}, true
}

// bursts: the rise came in few steps.
func (p points) bursts() bool {
	squares := 0.0
	for i := 1; i < len(p); i++ {
		d := p[i].v - p[i-1].v
		squares += d * d
	}
	rise := p.rise()
	return rise*rise/squares < min(6, float64(len(p)-1)*0.55)
}

// drift tells whether the points rise by more than a walk would by chance whose steps are as uneven as theirs, and evenly.
func (p points) drift(need float64) (climb, bool) {
	rise, span, m := p.rise(), p.span(), float64(len(p)-1)
	if m < 4 || rise < need {
		return climb{}, false
	}
	deviation, rough := p.deviation()
	if rise < deviation*chance(m-1) || p.back() > 0.4*rise || !p.lasts(min(deviation, rough)) {
		return climb{}, false
	}
	return climb{rise, p.rate(), (studentOf(m-1)*deviation + 1) / span}, true
}

// deviation is that of the whole rise, from how uneven the steps are; and rough is the same from how each differs from the one before, of
// which a curve knows nothing.
func (p points) deviation() (all, rough float64) {
	slope, last := p.rise()/p.span(), 0.0
	for i := 1; i < len(p); i++ {
		dt := p[i].t - p[i-1].t
		z := (p[i].v - p[i-1].v - slope*dt) / math.Sqrt(dt)
		all += z * z
		if i > 1 {
			rough += (z - last) * (z - last) / 2
		}
		last = z
	}
	free := float64(len(p) - 2)
	return math.Sqrt(all / free * p.span()), math.Sqrt(rough / free * p.span())
}

// lasts: the rise is no curve that flattens, nor one that has ended. deviation is that of the whole rise.
func (p points) lasts(deviation float64) bool {
	rise, span, area := p.rise(), p.span(), 0.0
	for i := 1; i < len(p); i++ {
		area += ((p[i].v+p[i-1].v)/2 - p[0].v) * (p[i].t - p[i-1].t)
	}
	// The area under an even rise is half, with the deviation of a bridge.
	if area/(rise*span) > 0.55+2*deviation/rise/math.Sqrt(12) {
		return false
	}
	late := p[len(p)-1].v - p.at(p[0].t+span*0.8)
	return late >= 0.3*rise/5-1.5*deviation*math.Sqrt(0.2)
}

// back is by how much the points come back from the highest before.
func (p points) back() float64 {
	most, top := 0.0, math.Inf(-1)
	for _, q := range p {
		top = max(top, q.v)
		most = max(most, top-q.v)
	}
	return most
}

// jumps: a few steps stand out of what is quiet otherwise, and are most of the rise.
func (p points) jumps() bool {
	steps := make([]float64, 0, len(p))
	sizes := make([]float64, 0, len(p))
	for i := 1; i < len(p); i++ {
		d := p[i].v - p[i-1].v
		steps, sizes = append(steps, d), append(sizes, math.Abs(d))
	}
	slices.Sort(steps)
	slices.Sort(sizes)
	few, sum := max(len(steps)*15/100, 3), 0.0
	for _, d := range steps[len(steps)-few:] {
		sum += d
	}
	return sum >= 0.7*p.rise() && sizes[len(sizes)/2] < sum/float64(few)/10
}

// regular: what comes back by more than half of a rise must have done so often, and through the whole span: else it may just be
// between two times.
func (p points) regular(rise float64) bool {
	deep := p.back()
	if deep <= rise/2 {
		return true
	}
	var falls [4]int
	top, low, falling := p[0].v, p[0].v, false
	for _, q := range p {
		if falling {
			low = min(low, q.v)
			if falling = q.v < low+deep/3; !falling {
				top = q.v
			}
			continue
		}
		top = max(top, q.v)
		if q.v <= top-deep/3 {
			falls[min(int(4*(q.t-p[0].t)/p.span()), 3)]++
			low, falling = q.v, true
		}
	}
	return slices.Min(falls[:]) > 0 && falls[0]+falls[1]+falls[2]+falls[3] >= 6
}

// rate is the median of the slopes between points that are half of the span apart at the least (Theil and Sen, without the short
// distances, which say little of what comes by chance).
func (p points) rate() float64 {
	slopes := make([]float64, 0, len(p)*len(p)/4)
	for i := range p {
		for k := len(p) - 1; k > i && p[k].t-p[i].t >= p.span()/2; k-- {
			slopes = append(slopes, (p[k].v-p[i].v)/(p[k].t-p[i].t))
		}
	}
	slices.Sort(slopes)
	n := len(slopes)
	return (slopes[n/2] + slopes[(n-1)/2]) / 2
}

// contradict: the level does not rise where those that stay become more, early or late.
func (p points) contradict(c climb) bool {
	third := len(p) / 3
	noise := 0.0
	for i := 1; i < len(p); i++ {
		d := p[i].v - p[i-1].v - c.rate*(p[i].t-p[i-1].t)
		noise += d * d / 2 / float64(len(p)-1)
	}
	slack := 3 * math.Sqrt(noise*2/float64(third))
	early, middle, late := p[:third].mean(), p[third:len(p)-third].mean(), p[len(p)-third:].mean()
	expected := c.rate * p.span() / 3
	return late-early < expected-slack || late-middle < 0.4*expected-slack
}

func (p points) mean() (m float64) {
	for _, q := range p {
		m += q.v / float64(len(p))
	}
	return m
}

// shape tells what does not climb.
func (p points) shape(need float64) Shape {
	low, high := p.bounds()
	values := make([]float64, 0, len(p))
	for _, q := range p {
		values = append(values, q.v)
	}
	slices.Sort(values)
	third := len(p) / 3
	net := p[len(p)-third:].mean() - p[:third].mean()
	switch {
	case high-low < max(need, 7*math.Sqrt(max(values[len(values)/2], 0))):
		return ShapeFlat
	case net >= 0.5*(high-low) && p.rise() >= need && p.back() < net/2 && p.bursts():
		return ShapeBurst
	case math.Abs(net) < 0.5*(high-low) && p.back() >= need:
		return ShapeBreathing
	}
	return ShapeUnclear
}

// bounds are the lowest and the highest value.
func (p points) bounds() (low, high float64) {
	low, high = p[0].v, p[0].v
	for _, q := range p {
		low, high = min(low, q.v), max(high, q.v)
	}
	return low, high
}

// chance is how many deviations a rise must have so that it comes by chance once in 2000 times; df are its degrees of freedom.
func chance(df float64) float64 { return 3.29 + 10/df + 40/(df*df) }

// studentOf is Student's t for 95 of 100 cases.
func studentOf(df float64) float64 { return 1.96 + 2.4/df + 3/(df*df) }
