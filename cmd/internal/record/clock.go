package record

import (
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// The kernel tells for how long nothing was sent. That number grows in every sample; when it was sent last does not change. So a
// recording has the moment: the host's uptime at the beginning of the sample, in ms, less the clock, modulo 2³². The clock is read
// back as the uptime of a sample less the moment, which in the sample that wrote it is what the kernel told, to the ms.
//
// A row is read somewhat behind that uptime, some ms now and some ms then, so a silent socket's moment comes out each time a little
// other. The recorded one stays as long as all else of the row is as it was and the new one is not later, and no more earlier than the
// sample took (see slack). So a clock that is read back is never more than the kernel told, and less by no more than the row's own
// reading was uncertain: it is what the kernel would have told earlier in the same look. A span that is a lower bound stays one. A
// later moment is written down, so the recorded one is soon that of the promptest reading, and is written no more.
//
// A timer's expiry is kept as a deadline in the same way. What runs until then was once taken from a limit, so there more is less: the
// deadline stays as long as the new one is not later.

// clocked tells the sockets whose clocks run: a listener's are 0.
func clocked(s *netlinkss.Socket) bool {
	return s.InfoLen() >= netlinkss.InfoHasClocks && s.State != netlinkss.Listen
}

// now is a sample's time, in which its rows are read.
type now struct {
	up    uint32 // ms, modulo 2³²
	slack uint32 // how much behind it a row may have been read, ms
}

// Bounds of how far clocks of a silent socket may seem to move between two samples.
const (
	tick     = 20 * time.Millisecond // of the kernel's clocks, and of the uptime
	mostLook = time.Minute
)

func nowOf(up, look time.Duration) now {
	return now{up: uint32(up / time.Millisecond), slack: uint32((min(max(look, 0), mostLook) + tick) / time.Millisecond)}
}

// moments are what a row has of its clocks.
type moments struct{ sent, recv, ack, expires uint32 }

func (r *socketRow) moments() moments {
	m := moments{r.sent, r.sent + uint32(r.recvAfter), r.sent + uint32(r.ackAfter), uint32(r.expiresAfter)}
	if netlinkss.Timer(r.timer) != netlinkss.TimerOff {
		m.expires += m.ack
	}
	return m
}

func (r *socketRow) setMoments(m moments) {
	r.sent, r.recvAfter, r.ackAfter = m.sent, int32(m.recv-m.sent), int32(m.ack-m.sent)
	if netlinkss.Timer(r.timer) != netlinkss.TimerOff {
		m.expires -= m.ack
	}
	r.expiresAfter = int32(m.expires)
}

// setClocks puts down the clocks of s.
func (r *socketRow) setClocks(s *netlinkss.Socket, n now) {
	m := moments{s.Info.LastDataSent, s.Info.LastDataRecv, s.Info.LastAckRecv, uint32(min(max(s.Expires/time.Millisecond, 0), 1<<32-1))}
	if r.clocked = clocked(s); r.clocked {
		m.sent, m.recv, m.ack = n.up-m.sent, n.up-m.recv, n.up-m.ack
	}
	if s.Timer != netlinkss.TimerOff {
		m.expires += n.up
	}
	r.setMoments(m)
}

// restoreClocks is the inverse of setClocks.
func (r *socketRow) restoreClocks(s *netlinkss.Socket, n now) {
	m := r.moments()
	if r.clocked {
		m.sent, m.recv, m.ack = n.up-m.sent, n.up-m.recv, n.up-m.ack
	}
	if s.Timer != netlinkss.TimerOff {
		m.expires -= n.up
	}
	s.Info.LastDataSent, s.Info.LastDataRecv, s.Info.LastAckRecv = m.sent, m.recv, m.ack
	s.Expires = time.Duration(m.expires) * time.Millisecond
}

// settle keeps the moments of was as far as those of r are the same, but for when the row was read. It reports whether all else is
// as it was.
func (r *socketRow) settle(was *socketRow, n now) bool {
	still := *was
	read, before := r.moments(), was.moments()
	still.setMoments(read)
	if still != *r {
		return false
	}
	if r.clocked {
		read.sent, read.recv, read.ack = n.keepClock(read.sent, before.sent), n.keepClock(read.recv, before.recv), n.keepClock(read.ack, before.ack)
	}
	if netlinkss.Timer(r.timer) != netlinkss.TimerOff {
		read.expires = n.keepDeadline(read.expires, before.expires)
	}
	r.setMoments(read)
	return true
}

// keepClock is the recorded moment where the one that was read is the same: the clock that it gives is not more than what the kernel
// told.
func (n now) keepClock(read, was uint32) uint32 {
	if later := was - read; later <= n.slack && later <= n.up-read {
		return was
	}
	return read
}

// keepDeadline is the recorded deadline where the one that was read is the same: it is not before that.
func (n now) keepDeadline(read, was uint32) uint32 {
	if later := was - read; later <= n.slack && was-n.up >= read-n.up {
		return was
	}
	return read
}
