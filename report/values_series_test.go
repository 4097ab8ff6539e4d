package report

import (
	"fmt"
	"math"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// sampled is how many samples the series of these tests have, sampleEvery apart.
const (
	sampled     = 40
	sampleEvery = 15 * time.Second
)

// overAWhile is the growing proxy with what was measured of it over ten minutes, and a worker that has ended.
func overAWhile() *diag.Result { return measuredAs(growing(), "worker") }

// measuredAs gives a result a series, in which names from outside are name.
func measuredAs(r *diag.Result, name string) *diag.Result {
	s := &diag.Series{}
	p := r.Procs()[0]
	last := *p.Process
	ended := &diag.Proc{Process: &procfd.Process{PID: 4250, Start: 5, Name: name, Open: 9, SoftLimit: 64}, Space: p.Space}
	for i := range sampled {
		look := *r.Snapshot
		look.At = noon.Add(time.Duration(i+1-sampled) * sampleEvery)
		space := *look.Spaces[0]
		space.Procs = look.Spaces[0].Procs
		if i < sampled/2 {
			space.Procs = append([]*diag.Proc{ended}, space.Procs...)
		}
		look.Spaces = []*diag.Space{&space}
		s.Add(&diag.Result{Snapshot: &look, Findings: r.Findings})
	}
	*p.Process = last
	t := s.Track(p.PID, p.Start)
	t.Name, t.Lines = p.Name, measured(name)
	gone := s.Track(4250, 5)
	gone.Lines = []*diag.Line{lineOf(diag.LineOpen, "open", func(i int) float64 {
		if i >= sampled/2 {
			return math.NaN()
		}
		return 9
	})}
	r.Series, r.Rules = s, diag.Rules()
	return r
}

func lineOf(kind diag.LineKind, name string, at func(i int) float64) *diag.Line {
	l := &diag.Line{LineKey: diag.LineKey{Kind: kind, Name: name}}
	for i := range sampled {
		l.Values = append(l.Values, at(i))
		if kind == diag.LineGroup {
			l.Born = append(l.Born, math.Floor(float64(i)*2.5))
			l.Died = append(l.Died, math.Floor(float64(i)*0.5))
		}
	}
	return l
}

// measured are lines of every kind: some climb, some breathe, some are not known in part, and there are more groups than colours.
func measured(name string) []*diag.Line {
	climb := func(from, step float64) func(int) float64 {
		return func(i int) float64 { return math.Floor(from + step*float64(i)) }
	}
	breathe := func(level, depth float64) func(int) float64 {
		return func(i int) float64 { return math.Round(level + depth*math.Sin(float64(i)/3)) }
	}
	lines := []*diag.Line{
		lineOf(diag.LineOpen, "open", climb(2200, 10.25)),
		lineOf(diag.LineFDs, "socket", climb(990, 10.25)),
		lineOf(diag.LineFDs, "pipe", func(int) float64 { return 1204 }),
		lineOf(diag.LineFDs, "epoll", func(int) float64 { return 1 }),
		lineOf(diag.LineState, "ESTAB", climb(520, 10)),
		lineOf(diag.LineState, "CLOSE-WAIT", climb(22, 1)),
		lineOf(diag.LineState, "LISTEN", func(int) float64 { return 1 }),
		lineOf(diag.LineState, "FIN-WAIT-2", breathe(30, 12)),
		lineOf(diag.LineState, "SYN-SENT", func(int) float64 { return 0 }),
		lineOf(diag.LineTimer, "no timer", climb(500, 10)),
		lineOf(diag.LineTimer, "timer", breathe(20, 3)),
		lineOf(diag.LineLeaked, "leaked", climb(600, 10.2)),
		lineOf(diag.LineRSS, "rss", climb(212<<20, 31457)),
		lineOf(diag.LinePSS, "pss", func(i int) float64 {
			if i < 5 || i > 20 && i < 24 {
				return math.NaN()
			}
			return 180<<20 + 30000*float64(i)
		}),
		lineOf(diag.LineCPU, "cpu", func(i int) float64 {
			if i == 0 {
				return math.NaN()
			}
			return 0.12 + 0.08*math.Abs(math.Sin(float64(i)))
		}),
		lineOf(diag.LineGroup, "accepted on :8080", climb(500, 9.5)),
		lineOf(diag.LineGroup, "to 10.0.0.9:5432", climb(20, 1)),
		lineOf(diag.LineGroup, "to "+name, breathe(12, 2)),
	}
	for k := range 9 {
		lines = append(lines, lineOf(diag.LineGroup, fmt.Sprintf("to 10.0.1.%d:443", k), breathe(float64(4+k), float64(k)/3)))
	}
	return lines
}

// hostSeries is what was counted of a host over the same time.
func hostSeries(name string) *diag.Series {
	s := &diag.Series{}
	for i := range sampled {
		s.Times = append(s.Times, noon.Add(time.Duration(i+1-sampled)*sampleEvery))
	}
	lines := measured(name)
	kept := lines[:0]
	for _, l := range lines {
		if l.Kind == diag.LineState || l.Kind == diag.LineTimer || l.Kind == diag.LineGroup {
			kept = append(kept, l)
		}
	}
	s.Tracks = []*diag.Track{{Name: name, Lines: kept}}
	return s
}
