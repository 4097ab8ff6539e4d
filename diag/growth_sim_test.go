package diag

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sockleak/sockleak/internal/raced"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// life is a socket, or another descriptor, from when it is opened to when it is closed, in seconds.
type life struct{ begin, end float64 }

var ever = math.Inf(1)

// model makes up the lives of an observation of so many seconds. Those who were there before it began at a time below 0.
type model struct {
	name  string
	grows bool
	lives func(r *rand.Rand, span float64) []life
}

// poisson has rate arrivals a second in a span of time, each with a life of the mean life.
func poisson(r *rand.Rand, from, to, rate, mean float64) (list []life) {
	for t := from + r.ExpFloat64()/rate; t < to; t += r.ExpFloat64() / rate {
		list = append(list, life{t, t + mean*r.ExpFloat64()})
	}
	return list
}

// churn is the traffic of a healthy program, in balance: from none to 200 connections a second in a minute, of short lives beside the span.
func churn(r *rand.Rand, span float64) []life {
	rate := min([]float64{0, 5, 20, 200}[r.IntN(4)], 15000/span)
	if rate == 0 {
		return nil
	}
	mean := min([]float64{0.05, 0.3, 1, 5}[r.IntN(4)], span/60)
	return poisson(r, -10*mean, span, rate, mean)
}

// leak loses rate a second, by chance or by the clock.
func leak(rate float64) model { return leakAmong(fmt.Sprintf("leak of %g/s", rate), rate, churn) }

// slowChurn is what hides a slow leak: hundreds of connections that live for a good part of the span.
func slowChurn(r *rand.Rand, span float64) []life { return poisson(r, -span, span, 200, span/12) }

func leakAmong(name string, rate float64, churn func(r *rand.Rand, span float64) []life) model {
	return model{name, true, func(r *rand.Rand, span float64) []life {
		list := churn(r, span)
		for range r.IntN(200) {
			list = append(list, life{-1, ever})
		}
		if r.IntN(2) == 0 {
			return append(list, poisson(r, 0, span, rate, ever)...)
		}
		for t := r.Float64() / rate; t < span; t += 1 / rate {
			list = append(list, life{t, ever})
		}
		return list
	}}
}

// lateLeak begins to lose one a second after a good part of the observation.
var lateLeak = model{"late leak of 1/s", true, func(r *rand.Rand, span float64) []life {
	return append(churn(r, span), poisson(r, span*(0.3+0.5*r.Float64()), span, 1, ever)...)
}}

// following opens and closes so that the number is level(t), the oldest first or the youngest.
func following(r *rand.Rand, span float64, level func(t float64) float64) []life {
	step, youngest := span/600, r.IntN(2) == 0
	var list []life
	var open []int
	for t := -step; t < span; t += step {
		want := int(max(level(max(t, 0)), 0))
		for len(open) < want {
			list, open = append(list, life{t, ever}), append(open, len(list))
		}
		for len(open) > want {
			i := 0
			if youngest {
				i = len(open) - 1
			}
			list[open[i]].end = t
			open = slices.Delete(open, i, i+1)
		}
	}
	return list
}

func healthy() []model {
	follow := func(name string, of func(r *rand.Rand, span float64) func(t float64) float64) model {
		return model{name: name, lives: func(r *rand.Rand, span float64) []life {
			return append(following(r, span, of(r, span)), churn(r, span)...)
		}}
	}
	size := func(r *rand.Rand) float64 { return 15 * math.Pow(40, r.Float64()) } // 15 to 600
	return []model{
		{name: "churn", lives: func(r *rand.Rand, span float64) []life {
			mean := span / []float64{1000, 100, 20, 5, 1}[r.IntN(5)]
			return poisson(r, -10*mean, span, min(200, 3000/mean), mean)
		}},
		follow("one burst", func(r *rand.Rand, span float64) func(float64) float64 {
			at, n := r.Float64()*span, size(r)
			return func(t float64) float64 { return 20 + n*step(t, at) }
		}),
		follow("several bursts", func(r *rand.Rand, span float64) func(float64) float64 {
			var at, n []float64
			for range 2 + r.IntN(4) {
				at, n = append(at, r.Float64()*span), append(n, size(r))
			}
			return func(t float64) (v float64) {
				for i := range at {
					v += n[i] * step(t, at[i])
				}
				return v
			}
		}),
		follow("sawtooth", func(r *rand.Rand, span float64) func(float64) float64 {
			period, phase, n := span*(0.02+0.88*r.Float64()), r.Float64(), size(r)
			return func(t float64) float64 { return 10 + n*math.Mod(t/period+phase, 1) }
		}),
		follow("garbage collection", func(r *rand.Rand, span float64) func(float64) float64 {
			return collected(r, span, size(r))
		}),
		follow("warm-up", func(r *rand.Rand, span float64) func(float64) float64 {
			tau, n := span*(0.03+0.3*r.Float64()), size(r)
			return func(t float64) float64 { return n * (1 - math.Exp(-t/tau)) }
		}),
		follow("days", func(r *rand.Rand, span float64) func(float64) float64 {
			period, phase, n := span/(1+3*r.Float64()), r.Float64(), size(r)
			return func(t float64) float64 { return n * (1 + math.Sin(2*math.Pi*(t/period+phase))) / 2 }
		}),
		follow("bounded queue", func(r *rand.Rand, span float64) func(float64) float64 {
			return bounded(r, span)
		}),
	}
}

func step(t, at float64) float64 {
	if t < at {
		return 0
	}
	return 1
}

// collected climbs until it is collected, at uneven times of which there are some in the span.
func collected(r *rand.Rand, span, n float64) func(float64) float64 {
	period := span / (1.5 + 20*r.Float64())
	var at []float64
	for t := -period * r.Float64(); t < span; t += period * (0.6 + 0.8*r.Float64()) {
		at = append(at, t)
	}
	return func(t float64) float64 {
		i, _ := slices.BinarySearch(at, t)
		if i == 0 {
			return 10
		}
		return 10 + n*(t-at[i-1])/period
	}
}

// bounded walks between two bounds, back and forth several times in a span.
func bounded(r *rand.Rand, span float64) func(float64) float64 {
	most := 15 + r.IntN(100)
	steps := most * most * (2 + r.IntN(6))
	v, walk := r.IntN(most), make([]int, steps)
	for i := range walk {
		v = min(max(v+2*r.IntN(2)-1, 0), most)
		walk[i] = v
	}
	return func(t float64) float64 { return float64(walk[min(int(t/span*float64(steps)), steps-1)]) }
}

// plan is when samples are taken: every so many seconds, so often.
type plan struct {
	every float64
	count int
}

var minutePlans = []plan{{2, 31}, {1, 61}, {5, 13}}

// longPlan has parts that are judged by themselves.
var longPlan = plan{10, 61}

// times are those of a plan, each late by a little, and some left out.
func (p plan) times(r *rand.Rand) (list []float64) {
	rough := r.IntN(2) == 0
	for i := range p.count {
		t := float64(i) * p.every
		if rough && i > 0 && i < p.count-1 {
			if r.IntN(20) == 0 {
				continue
			}
			t += p.every * 0.2 * r.Float64()
		}
		list = append(list, t)
	}
	return list
}

// observed is what a history has of the lives: sockets with their cookies, or a number of pipes.
func observed(lives []life, times []float64, sockets bool) (*History, *Line) {
	slices.SortFunc(lives, func(a, b life) int { return cmp.Compare(a.begin, b.begin) })
	all := make([]HeldSocket, len(lives))
	for i := range all {
		all[i] = HeldSocket{Direction: Accepted, FDs: []int{10 + i}, Socket: &netlinkss.Socket{State: netlinkss.Estab, Cookie: uint64(i + 1), Inode: uint32(i + 1), Local: someAddr}}
	}
	s := &Series{}
	p := &Proc{Process: &procfd.Process{PID: 1, Start: 1, Name: "app", SoftLimit: 1 << 20}}
	look := seriesLook(0, p)
	var open []int // lives that are not over
	begun := 0
	for _, t := range times {
		for begun < len(lives) && lives[begun].begin <= t {
			open = append(open, begun)
			begun++
		}
		open = slices.DeleteFunc(open, func(i int) bool { return lives[i].end <= t })
		p.Held, p.Open = p.Held[:0], len(open)
		if sockets {
			for _, i := range open {
				p.Held = append(p.Held, all[i])
			}
			p.ByKind[procfd.KindSocket] = len(open)
		} else {
			p.ByKind[procfd.KindPipe] = len(open)
		}
		look.At = seriesBegin.Add(time.Duration(t * float64(time.Second)))
		s.Measure(look)
	}
	h := &History{Series: s}
	h.Add(look)
	if sockets {
		return h, s.Track(1, 1).Line(LineGroup, "accepted on :8080")
	}
	return h, s.Track(1, 1).Line(LineFDs, procfd.KindPipe.String())
}

var someAddr = accepted(1, 8080).Local

// verdicts counts what was said of the series of one model.
type verdicts struct{ series, wrong, rated int }

// simulated are the verdicts by model.
type simulated struct {
	healthy, leaks map[string]*verdicts
	hidden         map[string]*verdicts // leaks among so many that come and go slowly that a minute does not always tell
}

// simulate judges n series of each model.
func simulate(seed uint64, n int) simulated {
	r := rand.New(rand.NewPCG(seed, 1))
	s := simulated{map[string]*verdicts{}, map[string]*verdicts{}, map[string]*verdicts{}}
	for range n {
		for _, m := range healthy() {
			trendOf(r, m, minutePlans[r.IntN(3)], r.IntN(2) == 0, s.healthy)
			trendOf(r, m, longPlan, r.IntN(2) == 0, s.healthy)
		}
		for _, rate := range []float64{0.5, 2, 5, 20, 50} {
			trendOf(r, leak(rate), minutePlans[r.IntN(3)], true, s.leaks)
		}
		trendOf(r, leak(0.1), plan{10, 40}, true, s.leaks)
		trendOf(r, lateLeak, longPlan, true, s.leaks)
		trendOf(r, leak(5), minutePlans[r.IntN(3)], false, s.hidden)
		for _, rate := range []float64{0.5, 5, 50} {
			trendOf(r, leakAmong(fmt.Sprintf("leak of %g/s in slow churn", rate), rate, slowChurn), minutePlans[r.IntN(3)], true, s.hidden)
		}
	}
	return s
}

func trendOf(r *rand.Rand, m model, p plan, sockets bool, counts map[string]*verdicts) {
	times := p.times(r)
	span := times[len(times)-1]
	lives := m.lives(r, span)
	h, l := observed(lives, times, sockets)
	name := m.name
	if !sockets {
		name += ", counted"
	}
	v := counts[name]
	if v == nil {
		v = &verdicts{}
		counts[name] = v
	}
	v.series++
	found := Check(h, Thresholds{Grace: DefaultGrace}, []*Rule{growth}).Findings
	if len(found) > 0 != m.grows {
		v.wrong++
		return
	}
	if m.grows {
		trend := h.Series.Trend(h.Series.Track(1, 1), l)
		left, from := 0, span-trend.Span.Seconds()
		span -= from
		for _, life := range lives {
			if life.begin > from && life.end == ever {
				left++
			}
		}
		rate := float64(left) / span * 60
		if math.Abs(trend.PerMinute-rate) <= rate/10 {
			v.rated++
		}
	}
}

// totalOf adds up the verdicts, and lists them.
func totalOf(counts map[string]*verdicts) (all verdicts, list []string) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		v := counts[name]
		all.series, all.wrong, all.rated = all.series+v.series, all.wrong+v.wrong, all.rated+v.rated
		list = append(list, fmt.Sprintf("%-28s %5d series, %3d wrong, %5d within 10 %%", name, v.series, v.wrong, v.rated))
	}
	return all, list
}

func TestGrowthSimulated(t *testing.T) {
	series := 20
	if raced.On {
		series = 4
	}
	s := simulate(7, series)
	for what, counts := range map[string]map[string]*verdicts{"false alarms": s.healthy, "misses": s.leaks} {
		all, list := totalOf(counts)
		t.Logf("%s: %d of %d\n%s", what, all.wrong, all.series, lines(list))
		if all.wrong*100 >= all.series {
			t.Errorf("%s: %d of %d", what, all.wrong, all.series)
		}
	}
}

func (v *verdicts) add(o verdicts) {
	v.series, v.wrong, v.rated = v.series+o.series, v.wrong+o.wrong, v.rated+o.rated
}

func (v *verdicts) percent() float64 { return 100 * float64(v.wrong) / float64(v.series) }

// BenchmarkGrowth judges thousands of series.
func BenchmarkGrowth(b *testing.B) {
	var all [3]verdicts
	seed := uint64(100)
	for b.Loop() {
		seed++
		s := simulate(seed, 50)
		for i, counts := range []map[string]*verdicts{s.healthy, s.leaks, s.hidden} {
			total, list := totalOf(counts)
			all[i].add(total)
			b.Log(lines(list))
		}
	}
	b.ReportMetric(all[0].percent(), "%false-alarms")
	b.ReportMetric(all[1].percent(), "%misses")
	b.ReportMetric(all[2].percent(), "%misses-hidden")
	b.ReportMetric(100*float64(all[1].rated)/float64(all[1].series-all[1].wrong), "%within-10%")
	b.ReportMetric(float64(all[0].series+all[1].series), "series")
}
