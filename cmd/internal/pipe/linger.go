//go:build linux

package pipe

import (
	"time"

	"golang.org/x/sys/unix"
)

// The kernel does not say when a send buffer is empty, so it is asked after these delays.
const (
	minLingerDelay = 5 * time.Millisecond
	maxLingerDelay = 250 * time.Millisecond
)

// A linger is a pair of which one side is gone, by a reset that came after its FIN.
type linger struct {
	d     *direction // from the side that is gone
	other *end       // the side that is still there
	cause Cause      // of the end
	err   error
	delay time.Duration // until the next look
}

func (p *pair) startLingering(g linger) {
	p.state, p.linger = lingering, g
	back := &p.up
	if g.d == &p.up {
		back = &p.down
	}
	back.done, back.rest = true, nil
	if g.d.done { // passEnd may have left the FIN to a plain close
		_ = unix.Shutdown(g.other.fd, unix.SHUT_WR)
	}
	p.keepLingering()
}

// keepLingering passes on what is left, and ends the pair when the other side has acknowledged it all.
func (p *pair) keepLingering() {
	g := &p.linger
	g.d.flush(p)
	if p.state != lingering {
		return
	}
	if g.other.broken || !p.discard(g.other) || g.d.done && unacknowledged(g.other.fd) == 0 {
		p.end(g.cause, g.err, true)
		return
	}
	g.delay = min(max(2*g.delay, minLingerDelay), maxLingerDelay)
	p.rearm()
}

// discard throws away what e has sent, for one turn: unread, it would turn the close into a reset that overtakes what e
// is still to get. It returns false if e is broken.
func (p *pair) discard(e *end) bool {
	for range moveTurn {
		if !e.readable {
			return true
		}
		n, err := unix.Read(e.fd, p.loop.buf[:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			e.readable = false
		case err != nil:
			return false
		case n == 0:
			e.readable = false
		}
	}
	p.again()
	return true
}
