package diag

import (
	"math"
	"time"

	"github.com/sockleak/sockleak/procfd"
)

// Series is what was measured over time: numbers and no sockets. Its memory is bounded, however many looks are added: beyond
// [Series.Most] samples every second of those before the last is given up, and each process follows at most [MostGroups] groups.
type Series struct {
	// Most is how many samples are kept; 0: [DefaultMost].
	Most int

	Times  []time.Time // of the samples, the oldest first
	Tracks []*Track    // in the order in which they were first seen

	byProc map[procKey]*Track
}

const (
	// DefaultMost is how many samples a series keeps unless told.
	DefaultMost = 900
	// MostGroups is how many groups of sockets one process is followed by. What is further is counted together.
	MostGroups = 64
)

// Track is one process over time, or a host's sockets (PID 0).
type Track struct {
	PID   int
	Start uint64 // with PID its identity; 0 for a host
	Name  string
	Limit uint64 // soft limit of descriptors at the last sample; 0 or [procfd.NoLimit]: none is known
	Ended bool   // it was not in the last sample
	Lines []*Line

	byKey map[LineKey]*Line
	alive map[uint64]aliveIn // by cookie: the sockets of the last sample
	first int                // the sample that saw it first
}

type aliveIn struct {
	group string
	seen  uint32 // the number of the sample
}

// LineKind is what a line counts.
type LineKind uint8

// The kinds, in the order in which they are shown.
const (
	LineOpen   LineKind = iota // descriptors
	LineFDs                    // descriptors of one kind; Name is [procfd.Kind.String]
	LineState                  // TCP sockets in one state; Name is as ss has it
	LineTimer                  // connections in ESTAB; Name is "no timer" or "timer"
	LineGroup                  // TCP sockets of one group; Name is [GroupLine]
	LineLeaked                 // sockets in findings of severity leak; Name is "leaked"
	LineRSS                    // bytes
	LinePSS                    // bytes
	LineCPU                    // share of one processor since the sample before: 1 is all of it
	NumLineKinds
)

// LineKey identifies a line of a track.
type LineKey struct {
	Kind LineKind
	Name string
}

// Line is one number over time.
type Line struct {
	LineKey
	Values []float64 // one for each of [Series.Times]; NaN: not known then
	// Born and Died are how many sockets of the group have come and gone since the first sample, by cookie: nil but for LineGroup.
	// What comes and goes between two samples is in neither.
	Born, Died []float64
}

// Last is the youngest value, NaN when it is not known.
func (l *Line) Last() float64 {
	if len(l.Values) == 0 {
		return math.NaN()
	}
	return l.Values[len(l.Values)-1]
}

// Track finds a process of the series; nil when it was never seen.
func (s *Series) Track(pid int, start uint64) *Track { return s.byProc[procKey{pid, start}] }

// Line finds a line; nil when there is none.
func (t *Track) Line(kind LineKind, name string) *Line { return t.byKey[LineKey{kind, name}] }

// OfKind lists the lines of one kind, in the order in which they were first seen.
func (t *Track) OfKind(kind LineKind) []*Line {
	var list []*Line
	for _, l := range t.Lines {
		if l.Kind == kind {
			list = append(list, l)
		}
	}
	return list
}

// Span is the time between the first sample and the last.
func (s *Series) Span() time.Duration {
	if len(s.Times) == 0 {
		return 0
	}
	return s.Times[len(s.Times)-1].Sub(s.Times[0])
}

// Add measures a judged look. It must be younger than those before it.
func (s *Series) Add(r *Result) {
	n := len(s.Times)
	s.Times = append(s.Times, r.Snapshot.At)
	for _, t := range s.Tracks {
		t.Ended = true
	}
	for _, p := range r.Procs() {
		t := s.trackOf(p, n)
		t.Ended, t.Limit = false, p.SoftLimit
		t.measure(p, n)
		t.set(LineKey{LineLeaked, "leaked"}, n, float64(leakedBy(r, p)))
	}
	s.pad()
	s.thin()
}

func leakedBy(r *Result, p *Proc) (n int) {
	for _, f := range r.Findings {
		if f.Proc == p && f.Severity == Leak {
			n += f.Sockets
		}
	}
	return n
}

func (s *Series) trackOf(p *Proc, n int) *Track {
	key := procKey{p.PID, p.Start}
	t := s.byProc[key]
	if t == nil {
		t = &Track{PID: p.PID, Start: p.Start, Name: p.Name, first: n, byKey: map[LineKey]*Line{}, alive: map[uint64]aliveIn{}}
		if s.byProc == nil {
			s.byProc = map[procKey]*Track{}
		}
		s.byProc[key] = t
		s.Tracks = append(s.Tracks, t)
	}
	return t
}

// set puts the value of sample n; a line that was not there counted nothing since its process was first seen.
func (t *Track) set(key LineKey, n int, v float64) *Line {
	l := t.byKey[key]
	if l == nil {
		l = &Line{LineKey: key}
		for i := range n {
			before := 0.0
			if i < t.first {
				before = math.NaN()
			}
			l.Values = append(l.Values, before)
		}
		if key.Kind == LineGroup {
			l.Born, l.Died = make([]float64, n), make([]float64, n)
		}
		t.byKey[key] = l
		t.Lines = append(t.Lines, l)
	}
	for len(l.Values) < n {
		l.Values = append(l.Values, math.NaN())
	}
	l.Values = append(l.Values[:n], v)
	return l
}

// measure takes the numbers of a process.
func (t *Track) measure(p *Proc, n int) {
	if p.Open >= 0 {
		t.set(LineKey{LineOpen, "open"}, n, float64(p.Open))
		for k, count := range p.ByKind {
			if key := (LineKey{LineFDs, procfd.Kind(k).String()}); count > 0 || t.byKey[key] != nil {
				t.set(key, n, float64(count))
			}
		}
	}
	t.set(LineKey{LineRSS, "rss"}, n, float64(p.RSS))
}

// pad gives every line a value for every sample.
func (s *Series) pad() {
	n := len(s.Times)
	for _, t := range s.Tracks {
		for _, l := range t.Lines {
			missing := math.NaN()
			if !t.Ended && l.Kind != LinePSS && l.Kind != LineOpen && l.Kind != LineFDs {
				missing = 0
			}
			for len(l.Values) < n {
				l.Values = append(l.Values, missing)
			}
			if l.Kind == LineGroup {
				l.Born, l.Died = lengthen(l.Born, n), lengthen(l.Died, n)
			}
		}
	}
}

// lengthen repeats the last value: a count of events that goes on.
func lengthen(v []float64, n int) []float64 {
	for len(v) < n {
		last := 0.0
		if len(v) > 0 {
			last = v[len(v)-1]
		}
		v = append(v, last)
	}
	return v
}

// thin gives up every second sample but the last where they are too many.
func (s *Series) thin() {
	most := s.Most
	if most <= 0 {
		most = DefaultMost
	}
	if len(s.Times) <= max(most, 4) {
		return
	}
	s.Times = everySecond(s.Times)
	for _, t := range s.Tracks {
		t.first /= 2
		for _, l := range t.Lines {
			l.Values, l.Born, l.Died = everySecond(l.Values), everySecond(l.Born), everySecond(l.Died)
		}
	}
}

// everySecond keeps the last of each two, so the youngest stays.
func everySecond[T any](list []T) []T {
	n := len(list)
	kept := list[:0]
	for i := (n - 1) % 2; i < n; i += 2 {
		kept = append(kept, list[i])
	}
	return kept
}
