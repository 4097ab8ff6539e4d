package screen

import (
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// A group with a connection of which no timer is known has no number of those without one.
func TestGroupTimers(t *testing.T) {
	var g group
	add := func(timer netlinkss.Timer) string {
		g.add(socket{held: &diag.HeldSocket{Socket: &netlinkss.Socket{State: netlinkss.Estab, Timer: timer}}}, 0)
		return g.withoutTimer().text
	}
	for _, step := range []struct {
		timer netlinkss.Timer
		want  string
	}{{netlinkss.TimerOff, "1"}, {netlinkss.TimerKeepalive, "1"}, {netlinkss.TimerUnknown, "-"}, {netlinkss.TimerOff, "-"}} {
		if got := add(step.timer); got != step.want {
			t.Errorf("behind one with timer %s: %q, want %q", step.timer, got, step.want)
		}
	}
	if g.estab != 4 {
		t.Errorf("%d in ESTAB, want 4", g.estab)
	}
}
