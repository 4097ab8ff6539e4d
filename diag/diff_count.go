package diag

import (
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// idleLimit is how long a connection may be idle where nobody judged: as long as in the diagnosis of the other side, or the kernel's own.
func (c *comparison) idleLimit() time.Duration {
	for _, s := range c.sides {
		if s.Result == nil {
			continue
		}
		for _, space := range s.Result.Snapshot.Spaces {
			d, _ := s.Result.Thresholds.IdleIn(space)
			return d
		}
	}
	return DefaultKeepaliveTime
}

// change counts the same on both sides.
func (c *comparison) change(key string, count func(*sideCount) int) Change {
	ch := Change{Key: key, Unlike: c.unlike}
	for i, s := range c.sides {
		ch.N[i] = NotKnown
		if !s.blind {
			ch.N[i] = count(s)
		}
	}
	return ch
}

// counted: there is any on one side.
func (c Change) counted() bool { return max(c.N[0], c.N[1]) > 0 }

// listCounts lists states, timers and suspects.
func (c *comparison) listCounts() {
	for i := range NumStates {
		state := netlinkss.State(i)
		name := state.String()
		if i == NumStates-1 {
			name = "unknown"
		}
		ch := c.change(name, func(s *sideCount) int { return s.inState(state) })
		if ch.counted() || state == netlinkss.Estab || state == netlinkss.CloseWait || state == netlinkss.TimeWait {
			c.States = append(c.States, ch)
		}
	}
	if c.judged() {
		dark := c.change(DarkState, (*sideCount).dark)
		dark.Unlike = false
		c.States = append(c.States, dark)
	}
	c.Timers = append(c.Timers, c.change("estab_no_timer", (*sideCount).estabNoTimer), c.change("estab_timer", (*sideCount).estabTimer))
	for i := range NumTimers {
		name := "unknown"
		if i < NumTimers-1 {
			name = netlinkss.Timer(i).String()
		}
		if ch := c.change(name, func(s *sideCount) int { return s.withTimer(i) }); ch.counted() {
			c.Timers = append(c.Timers, ch)
		}
	}
	c.Suspects = []Change{
		c.change(SuspectCloseWait, c.closeWaitHeld),
		c.change(SuspectFinWait2, (*sideCount).finWait2Held),
		c.change(SuspectIdle, c.idleHeld),
	}
	c.unheld = c.sides[0].NoInodes && c.sides[1].NoInodes
}

// judged: both sides have a diagnosis.
func (c *comparison) judged() bool { return c.sides[0].Result != nil && c.sides[1].Result != nil }

// inState counts a state. No process holds what is in TIME-WAIT, so without all sockets it is what the diagnosis has counted.
func (s *sideCount) inState(state netlinkss.State) int {
	n := s.matrix.State(state)
	switch {
	case state == netlinkss.Estab:
		n += s.usual.Timer + s.usual.NoTimer
	case state == netlinkss.TimeWait && !s.whole && s.Result != nil:
		n = 0
		for _, space := range s.Result.Snapshot.Spaces {
			n += space.TimeWait
		}
	}
	return n
}

func (s *sideCount) dark() (n int) {
	for _, p := range s.Result.Procs() {
		n += len(p.Dark)
	}
	return n
}

func (s *sideCount) estabNoTimer() int {
	if s.NoTimers {
		return NotKnown
	}
	return s.matrix[netlinkss.Estab][netlinkss.TimerOff] + s.usual.NoTimer
}

func (s *sideCount) estabTimer() int {
	if s.NoTimers {
		return NotKnown
	}
	return s.inState(netlinkss.Estab) - s.estabNoTimer()
}

// withTimer counts over all states. Which timer runs on what was not kept is not known.
func (s *sideCount) withTimer(timer int) (n int) {
	if s.NoTimers || s.usual.Timer > 0 && timer != int(netlinkss.TimerOff) {
		return NotKnown
	}
	for state := range s.matrix {
		n += s.matrix[state][timer]
	}
	if timer == int(netlinkss.TimerOff) {
		n += s.usual.NoTimer
	}
	return n
}

// finWait2Held is not known without inodes: a process may long have closed what is in FIN-WAIT-2.
func (s *sideCount) finWait2Held() int {
	if s.NoInodes {
		return NotKnown
	}
	return s.finWait2
}

// heldUnlike: one side alone tells what is held.
func (c *comparison) heldUnlike(s *sideCount) bool {
	return s.NoInodes && c.sides[0].NoInodes != c.sides[1].NoInodes
}

func (c *comparison) closeWaitHeld(s *sideCount) int {
	if c.heldUnlike(s) {
		return NotKnown
	}
	return s.closeWait
}

func (c *comparison) idleHeld(s *sideCount) int {
	if s.NoTimers || s.noClocks > 0 || c.heldUnlike(s) {
		return NotKnown
	}
	return s.idle
}

// listKinds sums the descriptors of all processes by kind.
func (c *comparison) listKinds() {
	if !c.judged() {
		return
	}
	c.Kinds = []Change{{Key: "open", N: [2]int{c.sides[0].open(), c.sides[1].open()}}}
	for k := range procfd.NumKinds {
		ch := Change{Key: k.String(), N: [2]int{c.sides[0].ofKind(k), c.sides[1].ofKind(k)}}
		if ch.counted() {
			c.Kinds = append(c.Kinds, ch)
		}
	}
}

// open counts the descriptors of all processes; not known when one could not be read.
func (s *sideCount) open() (n int) {
	for _, p := range s.Result.Procs() {
		if p.Open < 0 {
			return NotKnown
		}
		n += p.Open
	}
	return n
}

func (s *sideCount) ofKind(k procfd.Kind) (n int) {
	if s.open() == NotKnown {
		return NotKnown
	}
	for _, p := range s.Result.Procs() {
		n += p.ByKind[k]
	}
	return n
}
