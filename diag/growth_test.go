package diag

import (
	"math"
	"testing"
	"time"

	"github.com/sockleak/sockleak/procfd"
)

// pipesOver is a series of a process with so many pipes in each sample; below 0: they could not be counted.
func pipesOver(every time.Duration, most int, pipes ...int) (*Series, *Track) {
	s := &Series{Most: most}
	for i, n := range pipes {
		p := seriesProc(1)
		p.Open = min(n, 0) + max(n, 0)
		p.ByKind[procfd.KindPipe] = max(n, 0)
		s.Measure(seriesLook(time.Duration(i)*every, p))
	}
	return s, s.Track(1, 1)
}

func upTo(n int, f func(i int) int) (list []int) {
	for i := range n {
		list = append(list, f(i))
	}
	return list
}

func TestShapes(t *testing.T) {
	stairs := func(i int) int { return i / 10 * 50 }
	for _, tt := range []struct {
		name  string
		want  Shape
		pipes []int
	}{
		{"steady", ShapeGrowth, upTo(30, func(i int) int { return 100 + 2*i })},
		{"with samples that are not known", ShapeGrowth, upTo(30, func(i int) int {
			if i%5 == 2 {
				return -1
			}
			return 100 + 2*i
		})},
		{"low-water marks of a saw", ShapeGrowth, upTo(60, func(i int) int { return 100 + 3*i + i%5*20 })},
		{"too few samples", ShapeUnclear, upTo(7, func(i int) int { return 100 + 50*i })},
		{"enough samples", ShapeGrowth, upTo(8, func(i int) int { return 100 + 50*i })},
		{"eleven more", ShapeFlat, upTo(12, func(i int) int { return 100 + i })},
		{"twelve more", ShapeGrowth, upTo(13, func(i int) int { return 1 + i })},
		{"flat", ShapeFlat, upTo(30, func(i int) int { return 100 + i*7%5 })},
		{"a burst", ShapeBurst, upTo(30, func(i int) int { return 100 + 200*(i/15) })},
		{"stairs", ShapeBurst, upTo(40, stairs)},
		{"a saw", ShapeBreathing, upTo(40, func(i int) int { return 10 + i%20*10 })},
		{"came back", ShapeBreathing, upTo(40, func(i int) int { return 10 + 10*min(i, 39-i) })},
		{"fell at the end", ShapeUnclear, append(upTo(29, func(i int) int { return 100 + 10*i }), 200)},
		{"falling", ShapeFalling, upTo(30, func(i int) int { return 1000 - 10*i })},
		{"warm-up", ShapeUnclear, upTo(60, func(i int) int { return int(500 * (1 - math.Exp(-float64(i)/15))) })},
	} {
		s, track := pipesOver(2*time.Second, 0, tt.pipes...)
		if got := s.Trend(track, track.Line(LineFDs, "pipe")); got.Shape != tt.want {
			t.Errorf("%s: %+v, want %s", tt.name, got, tt.want)
		}
	}
}

// What is thinned out has other distances than what came later, and grows as fast.
func TestTrendAfterThinning(t *testing.T) {
	for _, n := range []int{16, 30, 31, 33, 65, 100, 500} {
		s, track := pipesOver(2*time.Second, 16, upTo(n, func(i int) int { return 100 + 4*i })...)
		got := s.Trend(track, track.Line(LineFDs, "pipe"))
		if got.Shape != ShapeGrowth || math.Abs(got.PerMinute-120) > 1e-6 || got.Low > 120 || got.High < 120 || got.Rise < 12 {
			t.Errorf("%d samples, of which %d are left: %+v", n, len(s.Times), got)
		}
	}
	p := &Series{Most: 40}
	held := crowdOf(2000, func(c int) *HeldSocket { return accepted(c, 80) })
	for i := range 1000 { // one more a second, among four that live for a second
		n := 100 + i
		look := append(held[:n:n], held[1500+4*i%500], held[1501+4*i%496])
		p.Measure(seriesLook(time.Duration(i)*time.Second, seriesProc(1, look...)))
	}
	track := p.Track(1, 1)
	got := p.Trend(track, track.Line(LineGroup, "accepted on :80"))
	if got.Shape != ShapeGrowth || math.Abs(got.PerMinute-60) > 3 || got.Stayed == 0 || len(p.Times) > 40 {
		t.Errorf("of %d samples: %+v", len(p.Times), got)
	}
}

// Churn is told as what it is: as many born as died, and a steady level.
func TestTrendOfChurn(t *testing.T) {
	s := &Series{}
	for i := range 30 {
		held := crowdOf(40, func(c int) *HeldSocket { return accepted(i*20+c, 80) })
		s.Measure(seriesLook(time.Duration(i)*time.Second, seriesProc(1, held...)))
	}
	track := s.Track(1, 1)
	got := s.Trend(track, track.Line(LineGroup, "accepted on :80"))
	want := Trend{Shape: ShapeFlat, From: 40, To: 40, Span: 29 * time.Second, Samples: 30, Born: 1200, Died: 1200}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if says := got.String(); says != "flat, 40 then 40; 1200.0 came and 1200.0 went a minute" {
		t.Errorf("it says %q", says)
	}
}

func TestTrendSays(t *testing.T) {
	s, track := pipesOver(time.Second, 0, upTo(30, func(i int) int { return 100 + 2*i })...)
	pipes := track.Line(LineFDs, "pipe")
	if says := s.Trend(track, pipes).String(); says != "growth, 120.0 a minute (95 %: 103.5 to 136.5)" {
		t.Errorf("it says %q", says)
	}
	pipes.Values = []float64{math.NaN()}
	if says := s.Trend(track, pipes).String(); says != "not known" {
		t.Errorf("of nothing it says %q", says)
	}
}

// Where cookies prove it, growth is what was born less what died.
func TestTrendBalance(t *testing.T) {
	s := &Series{}
	for i := range 31 {
		held := crowdOf(10+3*i, func(c int) *HeldSocket { return accepted(c, 80) })
		s.Measure(seriesLook(time.Duration(i)*2*time.Second, seriesProc(1, append(held, accepted(5000+i, 80))...)))
	}
	track := s.Track(1, 1)
	got := s.Trend(track, track.Line(LineGroup, "accepted on :80"))
	if got.Shape != ShapeGrowth || got.PerMinute != 90 || got.Born-got.Died != 90 || got.From != 11 || got.To != 101 {
		t.Errorf("%+v", got)
	}
}

// A leak that begins late is judged from a time on at which nothing had grown yet.
func TestTrendOfLatePart(t *testing.T) {
	for _, tt := range []struct {
		name string
		want Shape
		at   func(i int) int
	}{
		{"late", ShapeGrowth, func(i int) int { return 100 + 3*max(i-200, 0) }},
		{"after as much came and went", ShapeBreathing, func(i int) int { return 100 + 3*max(i-200, 0) + 3*max(0, min(i, 120)-20, 0)*max(1-i/121, 0) }},
	} {
		s, track := pipesOver(2*time.Second, 0, upTo(300, tt.at)...)
		got := s.Trend(track, track.Line(LineFDs, "pipe"))
		if got.Shape != tt.want {
			t.Errorf("%s: %+v", tt.name, got)
		}
		if got.Shape == ShapeGrowth && (math.Abs(got.PerMinute-90) > 9 || got.Span > 310*time.Second) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

// A rising load of short connections is no growth: the level climbs, and nothing stays.
func TestTrendOfLoad(t *testing.T) {
	s := &Series{}
	for i := range 60 {
		held := crowdOf(10+5*i, func(c int) *HeldSocket { return accepted(1000*i+c, 80) })
		s.Measure(seriesLook(time.Duration(i)*2*time.Second, seriesProc(1, held...)))
	}
	track := s.Track(1, 1)
	if got := s.Trend(track, track.Line(LineGroup, "accepted on :80")); got.Shape == ShapeGrowth {
		t.Errorf("%+v", got)
	}
}

func TestTrendOfMemory(t *testing.T) {
	s := &Series{}
	for i := range 30 {
		p := seriesProc(1)
		p.RSS = uint64(100<<20 + i<<20)
		p.PSS = uint64(100<<20 + i<<10)
		p.CPU = time.Duration(i*i) * time.Second
		s.Measure(seriesLook(time.Duration(i)*time.Second, p))
	}
	track := s.Track(1, 1)
	if got := s.Trend(track, track.Line(LineRSS, "rss")); got.Shape != ShapeGrowth || got.PerMinute != 60<<20 {
		t.Errorf("RSS: %+v", got)
	}
	for kind, name := range map[LineKind]string{LinePSS: "pss", LineCPU: "cpu"} {
		if got := s.Trend(track, track.Line(kind, name)); got.Shape == ShapeGrowth {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func BenchmarkTrend(b *testing.B) {
	s, track := pipesOver(2*time.Second, 0, upTo(900, func(i int) int { return 100 + 4*i + i*7919%50 })...)
	l := track.Line(LineFDs, "pipe")
	b.ReportAllocs()
	for b.Loop() {
		if s.Trend(track, l).Shape != ShapeGrowth {
			b.Fatal("no growth")
		}
	}
}

// What leaks by the clocks of some sockets leads nowhere while the descriptors were seen not to climb.
func TestRefutes(t *testing.T) {
	seen := Trend{Span: time.Minute, Samples: 30, From: 500, To: 503}
	for _, tt := range []struct {
		trend     Trend
		perMinute float64
		want      bool
	}{
		{seen, 300, true},
		{seen, 10, false}, // so few may be hidden
		{Trend{Span: time.Minute, Samples: 30, From: 500, To: 790}, 300, false},
		{Trend{Span: time.Minute, Samples: 3, From: 500, To: 503}, 300, false},
		{Trend{}, 300, false},
	} {
		if got := tt.trend.refutes(tt.perMinute); got != tt.want {
			t.Errorf("%+v refutes %v a minute: %v", tt.trend, tt.perMinute, got)
		}
	}
}
