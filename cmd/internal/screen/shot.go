package screen

import (
	"slices"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
	"github.com/sockleak/sockleak/report"
)

// procID is a process of the look; the zero value is all of them.
type procID struct {
	pid   int
	start uint64
}

func idOf(p *procfd.Process) procID { return procID{p.PID, p.Start} }

// want is what of a look is wanted.
type want struct {
	scope procID // the process that is shown
	by    string // the grouping of leakscan's sockets
}

// shot is what the screen keeps of a frame. Nothing in it changes any more, so it may be shown while the next look is taken.
type shot struct {
	want  want
	again bool // of a frame that was shown before, in another way
	at    time.Time
	took  time.Duration

	result *diag.Result // nil for tcpstat
	mark   string
	answer string // the sentence of the verdict
	tone   report.Tone
	procs  []*diag.Proc
	scope  *diag.Proc // nil when all are shown, or the one that was wanted is not there
	gaps   []diag.Gap

	stat *stat // nil for leakscan

	span   time.Duration // of the series
	gauges []gauge

	sockets  sockets // of the scope
	groups   []group
	unlisted int // sockets of the scope that were counted and not kept
}

// sockets are those of the processes that are shown. They stay where the look has them: here are eight bytes for each.
type sockets struct {
	procs []*diag.Proc
	refs  []ref
}

// ref is the place of a socket: that of its process, and of it among those held, or from -1 downwards among the dark ones.
type ref struct{ proc, place int32 }

// socket is one of a process: held or dark is nil.
type socket struct {
	proc *diag.Proc
	held *diag.HeldSocket
	dark *diag.DarkSocket
}

func (s *sockets) at(i int32) socket {
	r := s.refs[i]
	p := s.procs[r.proc]
	if r.place < 0 {
		return socket{proc: p, dark: &p.Dark[-1-r.place]}
	}
	return socket{proc: p, held: &p.Held[r.place]}
}

func socketsOf(procs []*diag.Proc) sockets {
	n := 0
	for _, p := range procs {
		n += len(p.Held) + len(p.Dark)
	}
	s := sockets{procs: procs, refs: make([]ref, 0, n)}
	for k, p := range procs {
		for i := range p.Held {
			s.refs = append(s.refs, ref{int32(k), int32(i)})
		}
		for i := range p.Dark {
			s.refs = append(s.refs, ref{int32(k), int32(-1 - i)})
		}
	}
	return s
}

// unlisted counts the sockets of the processes that were counted and not kept.
func unlisted(procs []*diag.Proc) (n int) {
	for _, p := range procs {
		n += p.Usual.Timer + p.Usual.NoTimer
		for i := range p.Held {
			if p.Held[i].Counted {
				n--
			}
		}
	}
	return n
}

func (s socket) sample(uptime time.Duration) (v diag.Sample) {
	if s.dark != nil {
		v = s.dark.Sample()
	} else {
		v = s.held.Sample(uptime)
	}
	v.PID = s.proc.PID
	return v
}

// taker makes shots. It is used by the goroutine that samples, between two looks, and remembers how large groups were.
type taker struct {
	trends trends
}

// take copies of a frame what is wanted. The frame may change afterwards.
func (t *taker) take(f *Frame, w want) *shot {
	s := &shot{want: w, took: f.Took}
	if f.Stat != nil {
		s.at, s.gaps = f.Stat.Snapshot.At, f.Stat.Snapshot.Gaps
		s.stat = t.statOf(f.Stat)
	}
	if f.Result != nil {
		t.leakscan(s, f.Result)
	}
	if f.Series != nil {
		s.span = f.Series.Span()
		s.gauges = gaugesOf(f.Series.Times, tracksOf(f.Series, s))
	}
	return s
}

func (t *taker) leakscan(s *shot, r *diag.Result) {
	s.result, s.at, s.gaps = r, r.Snapshot.At, r.Gaps
	s.procs = r.Procs()
	for _, p := range s.procs {
		if idOf(p.Process) == s.want.scope {
			s.scope = p
		}
	}
	shown := s.procs
	judged := *r
	if s.want.scope != (procID{}) {
		shown = []*diag.Proc{s.scope}
		judged.Findings = slices.DeleteFunc(slices.Clone(r.Findings), func(f *diag.Finding) bool { return f.Proc != s.scope })
		if s.scope == nil { // it has ended
			shown = nil
		}
	}
	s.mark, s.answer, s.tone = report.Verdict(&judged)
	s.sockets, s.unlisted = socketsOf(shown), unlisted(shown)
	s.groups = groupsOf(&s.sockets, s.want.by, r.Snapshot.Host.Uptime)
	t.trends.follow(s.want, s.groups)
}

// tracksOf are the tracks of what is shown.
func tracksOf(series *diag.Series, s *shot) []*diag.Track {
	if s.want.scope == (procID{}) {
		return series.Tracks
	}
	for _, t := range series.Tracks {
		if (procID{t.PID, t.Start}) == s.want.scope {
			return []*diag.Track{t}
		}
	}
	return nil
}
