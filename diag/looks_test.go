package diag

import (
	"testing"
	"time"

	"github.com/sockleak/sockleak/procfd"
)

// FixtureLooks are the looks of a fixture, what is judged by, and the result. With sifted, what is usual is counted and not kept.
func FixtureLooks(t testing.TB, file string, sifted bool) ([]*Snapshot, Thresholds, *Result) {
	t.Helper()
	f := readFixture(t, file)
	var s *sieve
	if sifted {
		s = &sieve{thresholds: f.thresholds, uptime: f.uptime}
	}
	h := f.looked(asDumped, s)
	return h.snapshots(), f.thresholds, Check(h, f.thresholds, Rules())
}

// RandomLooks are two looks at a namespace by chance.
func RandomLooks(t testing.TB, seed uint64, sifted bool) ([]*Snapshot, Thresholds, *Result) {
	t.Helper()
	thresholds := Thresholds{Grace: DefaultGrace, Settle: DefaultSettle}
	var s *sieve
	if sifted {
		s = &sieve{thresholds: thresholds, uptime: 10 * day}
	}
	c := newMixed(seed)
	h := &History{}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for range 2 {
		h.Add(&Snapshot{At: at, Host: procfd.Host{Uptime: c.uptime}, Spaces: []*Space{c.look(s)}})
		at = at.Add(DefaultSettle)
	}
	return h.snapshots(), thresholds, Check(h, thresholds, Rules())
}

func (h *History) snapshots() (list []*Snapshot) {
	for _, l := range h.looks {
		list = append(list, l.Snapshot)
	}
	return list
}

// ResultText is all that a result says.
func ResultText(r *Result) string { return resultText(r) }
