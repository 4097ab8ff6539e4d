package diag

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Shape is what a line does over time.
type Shape uint8

// The shapes.
const (
	ShapeUnclear   Shape = iota // too few samples, or none of the others
	ShapeFlat                   // no more than the noise of a level
	ShapeGrowth                 // its low-water mark rises through the whole span
	ShapeBurst                  // most of the rise came in few steps
	ShapeBreathing              // it goes up and comes back
	ShapeFalling                // its high-water mark sinks through the whole span
)

var shapeNames = [...]string{"unclear", "flat", "growth", "burst", "breathing", "falling"}

// String is the shape in one word.
func (s Shape) String() string { return shapeNames[int(s)%len(shapeNames)] }

// Trend is what a line did over its samples. It says nothing of what was before or comes after: a level that breathes more slowly than
// it was watched is growth over that span.
type Trend struct {
	Shape Shape
	// PerMinute is how fast it climbs, with the interval that holds the rate in 95 of 100 cases: of ShapeGrowth and, below 0, of
	// ShapeFalling alone. 0 otherwise.
	PerMinute, Low, High float64
	From, To             float64 // the first level and the last that are known
	Rise                 float64 // by how much the low-water mark rose
	Span                 time.Duration
	Samples              int // in which the level is known
	// Born and Died are how many came and went in a minute, NaN where it is not known: see [Line.Born].
	Born, Died float64
	// Stayed: those alone were judged that had been seen for so long, which leaves out what comes and goes; 0: the level was.
	Stayed time.Duration
}

const (
	// MinSamples is how many samples a shape takes.
	MinSamples = 8
	// minRise is how much a count must have risen. Of twelve that come and go by chance, all come once in 4096 times.
	minRise      = 12
	minRiseBytes = 4 << 20

	minStayed  = 6  // samples of those that stay
	leastPart  = 60 // seconds that a later part of the span must have to be judged by itself
	mostPoints = 60 // that are judged; of more, the lowest of equal times each
	mostSteps  = 12 // into which a rise is parted
)

// stayShares are the parts of the span that a socket must have stayed, at the most, to be one of those that stay: the less, the more
// is seen of the late ones; the more, the less is left of what comes and goes.
var stayShares = [...]float64{0.06, 0.2, 0.42}

// Trend judges one line of t, a track of s: the whole span, and where that does not climb, whether a later part does, behind a time in
// which the line lay still.
func (s *Series) Trend(t *Track, l *Line) Trend {
	level := s.points(l.Values)
	whole := s.trendOf(l, level)
	if len(level) < MinSamples {
		return whole
	}
	if r := whole; t.climbs(l, level, &r) {
		return r
	}
	for begin := level.span() / 2; level.span()-begin >= leastPart; begin = (begin + level.span()) / 2 {
		i := slices.IndexFunc(level, func(p point) bool { return p.t-level[0].t >= begin })
		if len(level)-i < MinSamples {
			break
		}
		if r := s.trendOf(l, level[i:]); t.climbs(l, level[i:], &r) && level[:i+1].still(r.Rise) {
			return r
		}
	}
	need := l.Kind.leastRise()
	whole.Shape = level.marks().shape(need)
	if c, ok := level.mirrored().marks().climb(need); ok {
		whole.Shape = ShapeFalling
		whole.PerMinute, whole.Low, whole.High = -c.rate*60, -(c.rate+c.sure)*60, min(c.sure-c.rate, 0)*60
	}
	return whole
}

// trendOf is what is known of a line over some of its points, but for the shape.
func (s *Series) trendOf(l *Line, level points) Trend {
	r := Trend{Samples: len(level), From: math.NaN(), To: math.NaN(), Born: math.NaN(), Died: math.NaN()}
	if len(level) > 0 {
		r.From, r.To, r.Span = level[0].v, level[len(level)-1].v, time.Duration(level.span()*float64(time.Second))
		r.Born, r.Died = s.points(l.Born).since(level[0].t).perMinute(), s.points(l.Died).since(level[0].t).perMinute()
	}
	return r
}

// climbs tells whether a line climbs over the points of its level, and how fast.
func (t *Track) climbs(l *Line, level points, r *Trend) bool {
	against := []points{level}
	for _, p := range t.judged(l, level, r.Span) {
		c, ok := p.marks().climb(l.Kind.leastRise())
		if ok && !slices.ContainsFunc(against, func(p points) bool { return p.contradict(c) }) {
			r.Shape, r.Rise, r.Stayed = ShapeGrowth, c.rise, p.stayed
			r.PerMinute, r.Low, r.High = c.rate*60, max(c.rate-c.sure, 0)*60, (c.rate+c.sure)*60
			return true
		}
		against = append(against, p.points)
	}
	return false
}

// still: the points lie low beside a rise that follows them. What was as high before may come back.
func (p points) still(rise float64) bool {
	low, high := p.bounds()
	return high-low <= rise/2 && high-p[len(p)-1].v <= rise/4
}

// judgedPoints are the level, or those that have been seen for so long.
type judgedPoints struct {
	points
	stayed time.Duration
}

// judged is what may climb: those that stay, where that is known of enough samples, or the level.
func (t *Track) judged(l *Line, level points, span time.Duration) (list []judgedPoints) {
	last := -1
	for _, share := range stayShares {
		i := len(stayAges) - 1
		for i >= 0 && stayAges[i].Seconds() > span.Seconds()*share {
			i--
		}
		if i < 0 || i == last || l.stayed[i] == nil {
			continue
		}
		last = i
		if p := t.stayed(l, i).since(level[0].t); len(p) >= minStayed {
			list = append(list, judgedPoints{p, stayAges[i]})
		}
	}
	if list == nil {
		list = append(list, judgedPoints{level, 0})
	}
	return list
}

// leastRise is how much a line must have risen to be said to grow.
func (k LineKind) leastRise() float64 {
	switch k {
	case LineRSS, LinePSS:
		return minRiseBytes
	case LineCPU:
		return math.Inf(1)
	}
	return minRise
}

// perMinute is the rate of a count of events, NaN where it is not known.
func (p points) perMinute() float64 {
	if len(p) < 2 {
		return math.NaN()
	}
	return p.rise() / p.span() * 60
}

// since are the points from a time on.
func (p points) since(t float64) points {
	for i := range p {
		if p[i].t >= t {
			return p[i:]
		}
	}
	return nil
}

// stayed are those that were seen for at least an age, at the time of the sample that saw the youngest of them first: how late after
// that they were counted says nothing of when they came.
func (t *Track) stayed(l *Line, age int) (p points) {
	for i, v := range l.stayed[age] {
		q := point{float64(t.reached[age][i]), float64(v)}
		switch n := len(p); {
		case v != v || q.t != q.t: // not known
		case n > 0 && p[n-1].t == q.t:
			p[n-1] = q // fewer of the same
		default:
			p = append(p, q)
		}
	}
	return p
}

// String is what the line did, in words: the rate of what grows, or the shape and the level, and what came and went in a minute.
func (t Trend) String() string {
	if t.Samples == 0 {
		return "not known"
	}
	s := fmt.Sprintf("%s, %.0f then %.0f", t.Shape, t.From, t.To)
	if t.PerMinute != 0 {
		s = fmt.Sprintf("%s, %.1f a minute (95 %%: %.1f to %.1f)", t.Shape, t.PerMinute, t.Low, t.High)
	}
	if !math.IsNaN(t.Born) && !math.IsNaN(t.Died) {
		s += fmt.Sprintf("; %.1f came and %.1f went a minute", t.Born, t.Died)
	}
	return s
}
