package diag

import (
	"slices"
	"strings"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// What fixtures say of the samples that were taken before, and of the last look itself:
//
//	every 2s
//	count 31
//	pipe 42 100 4                    process 42 had 100 pipes in the first sample, and 4 more in each that followed; or another kind
//	churn 42 8080 20                 in each sample 20 sockets accepted there that are in no other
//
// and on a line of sockets of the last look
//
//	fd 10-40 … born=60s+-2s*         each was opened so long before; the others were there all the time
type seriesFixture struct {
	every time.Duration
	count int
	kinds []kindOver
	churn []churnOf
	born  map[uint64]time.Duration // by cookie
}

type kindOver struct {
	pid, from, step int
	kind            procfd.Kind
}

type churnOf struct{ pid, port, sockets int }

// series reads a line of the section.
func (p *fixtureParser) series(words []string) {
	f := &p.f.seriesFixture
	switch words[0] {
	case "every":
		f.every = p.duration(words[1])
	case "count":
		f.count = p.number(words[1])
	case "churn":
		f.churn = append(f.churn, churnOf{p.number(words[1]), p.number(words[2]), p.number(words[3])})
	default:
		kind := procfd.Kind(0)
		for kind < procfd.NumKinds && kind.String() != words[0] {
			kind++
		}
		if kind == procfd.NumKinds {
			p.fail("unknown word %q", words[0])
		}
		f.kinds = append(f.kinds, kindOver{p.number(words[1]), p.number(words[2]), p.number(words[3]), kind})
	}
}

// bornWord reads when the n-th socket of a range was opened.
func (p *fixtureParser) bornWord(cookie uint64, words []string, n int) {
	for _, w := range words {
		if value, ok := strings.CutPrefix(w, "born="); ok {
			if p.f.born == nil {
				p.f.born = map[uint64]time.Duration{}
			}
			p.f.born[cookie] = p.duration(nth(value, n))
		}
	}
}

// series is what was measured up to a look; nil when nothing was.
func (f *seriesFixture) series(last *Snapshot) *Series {
	if f.count == 0 {
		return nil
	}
	s := &Series{}
	for i := range f.count {
		s.Measure(f.sample(last, i))
	}
	return s
}

// sample is what the i-th sample saw of what is in the last look.
func (f *seriesFixture) sample(last *Snapshot, i int) *Snapshot {
	before := time.Duration(f.count-1-i) * f.every
	there := func(cookie uint64) bool {
		born, told := f.born[cookie]
		return !told || born >= before
	}
	snap := &Snapshot{At: last.At.Add(-before)}
	for _, space := range last.Spaces {
		seen := &Space{Netns: space.Netns}
		for _, p := range space.Procs {
			q, process := *p, *p.Process
			q.Process = &process
			q.Held = slices.DeleteFunc(slices.Clone(p.Held), func(h HeldSocket) bool { return !there(h.Cookie) })
			q.Dark = slices.DeleteFunc(slices.Clone(p.Dark), func(d DarkSocket) bool { return !there(d.Cookie) })
			f.beside(&q, i)
			process.ByKind[procfd.KindSocket] -= len(p.Held) - len(q.Held) + len(p.Dark) - len(q.Dark)
			process.Open -= len(p.Held) - len(q.Held) + len(p.Dark) - len(q.Dark)
			seen.Procs = append(seen.Procs, &q)
		}
		snap.Spaces = append(snap.Spaces, seen)
	}
	return snap
}

// beside adds what is not in the last look.
func (f *seriesFixture) beside(p *Proc, i int) {
	for _, k := range f.kinds {
		if k.pid == p.PID {
			n := k.from + k.step*i
			p.ByKind[k.kind] = n
			p.Open += n - k.from - k.step*(f.count-1) // the last look tells how many are open
		}
	}
	for _, c := range f.churn {
		for n := range c.sockets {
			if c.pid == p.PID && i < f.count-1 {
				h := accepted(1<<24+i<<12+n, uint16(c.port))
				h.State, h.FDs = netlinkss.Estab, []int{1 << 20}
				p.Held = append(p.Held, *h)
			}
		}
	}
}
