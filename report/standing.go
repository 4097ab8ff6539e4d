package report

import (
	"strconv"
	"time"

	"github.com/sockleak/sockleak/diag"
)

// standing is what the findings say of one process in a few numbers.
type standing struct {
	proc   *diag.Proc
	counts counts
	leaked int           // sockets, over the findings of severity leak: each is in one of them only
	risks  int           // findings of severity risk
	worst  *diag.Finding // the largest of the worst severity; nil when there is nothing but words
	since  time.Duration // when the oldest socket of that severity was left, at the least; 0: not known
	growth diag.Growth
}

// sound reports whether nothing is wrong with the process. A finding of severity info is a word and no more.
func (s *standing) sound() bool { return s.worst == nil }

// leaking reports whether a leak of the process is proved.
func (s *standing) leaking() bool { return s.worst != nil && s.worst.Severity == diag.Leak }

// standings lists the processes of a result in its order.
func standings(r *diag.Result) []*standing {
	var list []*standing
	of := map[*diag.Proc]*standing{}
	for _, p := range r.Procs() {
		s := &standing{proc: p, counts: countsOf(p), growth: r.GrowthOf(p)}
		list, of[p] = append(list, s), s
	}
	for _, f := range r.Findings {
		if s := of[f.Proc]; s != nil && f.Severity != diag.Info {
			s.add(f)
		}
	}
	return list
}

func (s *standing) add(f *diag.Finding) {
	if f.Severity == diag.Leak {
		s.leaked += f.Sockets
	} else {
		s.risks++
	}
	switch {
	case s.worst == nil || f.Severity > s.worst.Severity:
		s.worst, s.since = f, leftSince(f)
		return
	case f.Severity < s.worst.Severity:
		return
	case f.Sockets > s.worst.Sockets:
		s.worst = f
	}
	s.since = max(s.since, leftSince(f))
}

// leftSince is when the oldest socket of a finding was left, at the least; 0 when it cannot be told.
func leftSince(f *diag.Finding) (oldest time.Duration) {
	if f.Onset != nil {
		return f.Onset.Oldest
	}
	for i := range f.Samples {
		s := &f.Samples[i]
		left := s.Held
		if !left.Known() {
			left = s.Idle
		}
		if left.Known() {
			oldest = max(oldest, left.D)
		}
	}
	return oldest
}

// atLeast shows people "≥ 12m" and programs ms; 0 is not known.
func atLeast(d time.Duration) Cell {
	if d <= 0 {
		return Cell{Text: "-"}
	}
	return Cell{Text: "≥ " + diag.FormatDuration(d), Raw: strconv.FormatInt(d.Milliseconds(), 10), num: true}
}
