package diag

import (
	"math"
	"slices"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Series is what was measured over time: numbers, and of the sockets the cookies of the last sample alone. Its memory is bounded,
// however many looks are added: beyond [Series.Most] samples, or mostValues numbers, half of them are given up, so that those that are
// left are spread evenly; each process follows at most [MostGroups] groups; and of processes that have ended the last [MostEnded] are kept.
//
// [Series.Measure] before [Check] lets the rules see the look that they judge; [Series.Add] then adds what they found. With Add
// alone the rules see the looks before.
type Series struct {
	// Most is how many samples are kept; 0: [DefaultMost].
	Most int

	Times  []time.Time // of the samples, the oldest first
	Tracks []*Track    // in the order in which they were first seen

	byProc map[procKey]*Track
	began  time.Time // the first sample that was ever taken
	gen    uint32    // samples ever taken
}

const (
	// DefaultMost is how many samples a series keeps unless told.
	DefaultMost = 900
	// MostGroups is how many groups of sockets one process is followed by. What is further is counted together.
	MostGroups = 64
	// MostEnded is how many processes that have ended are kept.
	MostEnded = 64

	mostValues   = 8 << 20 // numbers of all lines together
	fewestValues = 64      // samples that are kept, however many lines there are
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
	known []knowledge // for each of [Series.Times], what could be counted then
	// reached are the first looks at the youngest of [Line.stayed], in seconds after the first sample of the series.
	reached [len(stayAges)][]float32
	seen    uint32 // the number of the last sample that it was in

	sockets *socketTrack // nil for a host
	cpu     time.Duration
	cpuAt   time.Time // of cpu; the zero time before the first
}

// knowledge is what could be counted of a process in a sample.
type knowledge uint8

const (
	knowsFDs    knowledge = 1 << iota // its descriptors
	knowsStates                       // its TCP sockets by state and timer
	knowsGroups                       // and by group
)

// of is what must be known for a line of a kind to say 0 of what was not there.
func (k LineKind) of() knowledge {
	switch k {
	case LineOpen, LineFDs:
		return knowsFDs
	case LineState, LineTimer:
		return knowsStates
	case LineGroup:
		return knowsGroups
	}
	return 0
}

// LineKind is what a line counts.
type LineKind uint8

// The kinds, in the order in which they are shown.
const (
	LineOpen   LineKind = iota // descriptors
	LineFDs                    // descriptors of one kind; Name is [procfd.Kind.String]
	LineState                  // TCP sockets in one state; Name is as ss has it, [DarkState] for those that are not listed
	LineTimer                  // connections in ESTAB; Name is "no timer", "timer" or "timer not told"
	LineGroup                  // sockets of one group; Name is [GroupLine]; of a host that which it is grouped by, and its key
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
	// Born and Died are how many sockets have come into the group and gone from it since the first sample, by cookie: nil but for
	// LineGroup, NaN where it is not known. What comes and goes between two samples is in neither; what moves to another group has
	// gone from the one and come into the other.
	Born, Died []float64

	born, died float64 // so far
	// stayed are how many have been seen for at least each of stayAges, for each of [Series.Times]: nil but for LineGroup.
	stayed [len(stayAges)][]float32
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

// Measure adds a look. It must be younger than those before it: another is left out.
func (s *Series) Measure(snap *Snapshot) {
	if !s.begin(snap.At) {
		return
	}
	for _, space := range snap.Spaces {
		for _, p := range space.Procs {
			t := s.trackOf(procKey{p.PID, p.Start}, p.Name)
			t.sample(s)
			t.Limit = p.SoftLimit
			t.measure(p, s)
		}
	}
	s.end()
}

// Add measures a look that was judged, unless [Series.Measure] has, and takes what was found in it.
func (s *Series) Add(r *Result) {
	s.Measure(r.Snapshot)
	n := len(s.Times) - 1
	if !s.Times[n].Equal(r.Snapshot.At) {
		return
	}
	for _, p := range r.Procs() {
		if t := s.Track(p.PID, p.Start); t != nil && t.seen == s.gen {
			t.set(LineKey{LineLeaked, "leaked"}, n, float64(leakedBy(r, p)))
		}
	}
}

func leakedBy(r *Result, p *Proc) (n int) {
	for _, f := range r.Findings {
		if f.Proc == p && f.Severity == Leak {
			n += f.Sockets
		}
	}
	return n
}

// begin opens a sample.
func (s *Series) begin(at time.Time) bool {
	switch n := len(s.Times); {
	case n == 0:
		s.began = at
	case !at.After(s.Times[n-1]):
		return false
	}
	s.Times = append(s.Times, at)
	s.gen++
	return true
}

func (s *Series) trackOf(key procKey, name string) *Track {
	t := s.byProc[key]
	if t == nil {
		t = &Track{PID: key.pid, Start: key.start, byKey: map[LineKey]*Line{}}
		if s.byProc == nil {
			s.byProc = map[procKey]*Track{}
		}
		s.byProc[key] = t
		s.Tracks = append(s.Tracks, t)
	}
	t.Name = name // a process may change it
	return t
}

// sample notes that the last sample of s has the process. What is known of it is told by what is measured.
func (t *Track) sample(s *Series) {
	t.seen, t.Ended = s.gen, false
	t.known = padded(t.known, len(s.Times), 0)
}

// set puts the value of sample n. A line that was not there counted nothing in those samples that would have shown it.
func (t *Track) set(key LineKey, n int, v float64) *Line {
	l := t.byKey[key]
	if l == nil {
		l = t.newLine(key, n)
	}
	l.Values = padded(l.Values, n, math.NaN())
	l.Values = append(l.Values[:n], v)
	return l
}

func (t *Track) newLine(key LineKey, n int) *Line {
	l := &Line{LineKey: key, Values: make([]float64, 0, n+1)}
	for i := range n {
		l.Values = append(l.Values, math.NaN())
		if t.known[i]&key.Kind.of() != 0 {
			l.Values[i] = 0
		}
	}
	if key.Kind == LineGroup {
		l.Born, l.Died = slices.Clone(l.Values), slices.Clone(l.Values)
	}
	t.byKey[key] = l
	t.Lines = append(t.Lines, l)
	return l
}

// count is set for a number that has a line only once it was over 0.
func (t *Track) count(kind LineKind, name string, n int, v int) {
	if key := (LineKey{kind, name}); v > 0 || t.byKey[key] != nil {
		t.set(key, n, float64(v))
	}
}

// measure takes the numbers of a process.
func (t *Track) measure(p *Proc, s *Series) {
	n := len(s.Times) - 1
	if p.Open >= 0 {
		t.known[n] |= knowsFDs | knowsStates
		t.set(LineKey{LineOpen, "open"}, n, float64(p.Open))
		for k, count := range p.ByKind {
			t.count(LineFDs, procfd.Kind(k).String(), n, count)
		}
		t.states(p, n)
		t.groups(p, s)
	}
	if p.RSS > 0 {
		t.set(LineKey{LineRSS, "rss"}, n, float64(p.RSS))
	}
	if p.PSS > 0 {
		t.set(LineKey{LinePSS, "pss"}, n, float64(p.PSS))
	}
	if at := s.Times[n]; !t.cpuAt.IsZero() && p.CPU >= t.cpu {
		t.set(LineKey{LineCPU, "cpu"}, n, float64(p.CPU-t.cpu)/float64(at.Sub(t.cpuAt)))
	}
	t.cpu, t.cpuAt = p.CPU, s.Times[n]
}

// The names of LineTimer.
const (
	lineTimer   = "timer"
	lineNoTimer = "no timer"
	lineUntold  = "timer not told"
)

// states counts the process's sockets by state, and those in ESTAB by whether a timer runs.
func (t *Track) states(p *Proc, n int) {
	var m Matrix
	m[netlinkss.Estab][netlinkss.TimerOff] = p.Usual.NoTimer
	m[netlinkss.Estab][netlinkss.TimerKeepalive] = p.Usual.Timer
	untold := 0
	for i := range p.Held {
		h := &p.Held[i]
		if h.Counted {
			continue
		}
		m.add(h.Socket)
		if h.State == netlinkss.Estab && h.Timer == netlinkss.TimerUnknown {
			untold++
		}
	}
	t.matrix(&m, untold, n)
	t.count(LineState, DarkState, n, len(p.Dark))
}

// matrix takes the states and timers. Of untold in ESTAB no timer is known.
func (t *Track) matrix(m *Matrix, untold, n int) {
	for state := range NumStates {
		t.count(LineState, netlinkss.State(state).String(), n, m.State(netlinkss.State(state)))
	}
	estab, off := m.State(netlinkss.Estab), m[netlinkss.Estab][netlinkss.TimerOff]
	t.count(LineTimer, lineTimer, n, estab-off-untold)
	t.count(LineTimer, lineNoTimer, n, off)
	t.count(LineTimer, lineUntold, n, untold)
}

// end closes a sample.
func (s *Series) end() {
	ended := 0
	for _, t := range s.Tracks {
		if t.Ended = t.seen != s.gen; t.Ended {
			t.sockets = nil
			ended++
		}
	}
	if ended > MostEnded {
		s.forget(ended - MostEnded)
	}
	s.pad()
	s.thin()
}

// forget drops the n processes that ended first.
func (s *Series) forget(n int) {
	seen := make([]uint32, 0, len(s.Tracks))
	for _, t := range s.Tracks {
		seen = append(seen, t.seen)
	}
	slices.Sort(seen)
	last := seen[n-1]
	s.Tracks = slices.DeleteFunc(s.Tracks, func(t *Track) bool {
		drop := n > 0 && t.Ended && t.seen <= last
		if drop {
			n--
			delete(s.byProc, procKey{t.PID, t.Start})
		}
		return drop
	})
}

// pad gives every line a value for every sample: 0 where it would have been counted.
func (s *Series) pad() {
	n := len(s.Times)
	for _, t := range s.Tracks {
		t.known = padded(t.known, n, 0)
		padAges(&t.reached, n)
		for _, l := range t.Lines {
			missing := math.NaN()
			if t.known[n-1]&l.Kind.of() != 0 {
				missing = 0
			}
			l.Values = padded(l.Values, n-1, math.NaN())
			l.Values = padded(l.Values, n, missing)
			if l.Kind == LineGroup {
				l.Born, l.Died = padded(l.Born, n, math.NaN()), padded(l.Died, n, math.NaN())
			}
			padAges(&l.stayed, n)
		}
	}
}

func padAges(ages *[len(stayAges)][]float32, n int) {
	for i := range ages {
		if ages[i] != nil {
			ages[i] = padded(ages[i], n, notKnown32)
		}
	}
}

// padded is a list of at least n values.
func padded[T any](list []T, n int, missing T) []T {
	for len(list) < n {
		list = append(list, missing)
	}
	return list
}
