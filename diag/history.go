package diag

import (
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// History is the looks that were taken, the oldest first. The last is judged; the earlier ones prove
// what one look cannot.
type History struct {
	looks []*look
}

// look is a snapshot with its sockets by what identifies them.
type look struct {
	*Snapshot
	held  map[uint64]*HeldSocket  // by cookie
	dark  map[darkKey]*DarkSocket // by process and inode
	procs map[procKey]bool
}

type procKey struct {
	pid   int
	start uint64
}

type darkKey struct {
	pid   int
	start uint64
	fd    int
	inode uint64
}

// Add appends a look. It must be younger than those before it.
func (h *History) Add(s *Snapshot) {
	l := &look{Snapshot: s, held: map[uint64]*HeldSocket{}, dark: map[darkKey]*DarkSocket{}, procs: map[procKey]bool{}}
	for _, space := range s.Spaces {
		for _, p := range space.Procs {
			l.procs[procKey{p.PID, p.Start}] = true
			for i := range p.Held {
				// Only the states whose length one look may not prove.
				if c := p.Held[i].Cookie; c != 0 && p.Held[i].State == netlinkss.CloseWait {
					l.held[c] = &p.Held[i]
				}
			}
			for i := range p.Dark {
				d := &p.Dark[i]
				l.dark[darkKey{p.PID, p.Start, d.FD, d.Inode}] = d
			}
		}
	}
	h.looks = append(h.looks, l)
}

// Last is the youngest look, nil before the first.
func (h *History) Last() *Snapshot {
	if len(h.looks) == 0 {
		return nil
	}
	return h.looks[len(h.looks)-1].Snapshot
}

// since is the least time between what the look l read and what the last one did.
func (h *History) since(l *look) time.Duration {
	began := h.Last().Began
	if began.IsZero() {
		began = h.Last().At
	}
	return max(began.Sub(l.At), 0)
}

// earlier walks the looks before the last, from the youngest to the oldest, while f returns true.
func (h *History) earlier(f func(*look) bool) {
	for i := len(h.looks) - 2; i >= 0; i-- {
		if !f(h.looks[i]) {
			return
		}
	}
}

// Held is the lower bound of the time that s has been in its state, by the last look's clock or by
// what an earlier look proved already plus the time since. uptime is the host's.
func (h *History) Held(s *HeldSocket, uptime time.Duration) Span {
	best := Held(s.Socket, uptime)
	h.earlier(func(l *look) bool {
		was, ok := l.held[s.Cookie]
		if !ok || was.State != s.State {
			return false
		}
		then := Held(was.Socket, uptime)
		if since := h.since(l); then.D+since > best.D {
			best = Span{D: then.D + since, Source: "two looks at the same cookie"}
		}
		return true
	})
	return best
}

// Moved reports whether payload went either way between the earlier looks and the last one.
func (h *History) Moved(s *HeldSocket) bool {
	moved := false
	h.earlier(func(l *look) bool {
		was, ok := l.held[s.Cookie]
		if ok {
			moved = was.Info.BytesAcked != s.Info.BytesAcked || was.Info.BytesReceived != s.Info.BytesReceived ||
				was.Info.BytesSent != s.Info.BytesSent || was.RecvQ != s.RecvQ
		}
		return ok && !moved
	})
	return moved
}

// Entered reports whether s is proven to have come into its state within d: the look before the last is
// no older, and saw the process, and s not in that state.
func (h *History) Entered(p *Proc, s *HeldSocket, d time.Duration) bool {
	entered := false
	h.earlier(func(l *look) bool {
		_, was := l.held[s.Cookie]
		entered = !was && l.procs[procKey{p.PID, p.Start}] && h.Last().At.Sub(l.At) <= d
		return false
	})
	return entered
}

// Dark is how long the descriptor is proven to have been dark: the time between the first look that
// saw it so, on the same socket, and the last. Zero and not known after one look.
func (h *History) Dark(p *Proc, d *DarkSocket) Span {
	key := darkKey{p.PID, p.Start, d.FD, d.Inode}
	var span Span
	h.earlier(func(l *look) bool {
		was, ok := l.dark[key]
		if !ok || was.Local != d.Local || was.Info.SegsOut != d.Info.SegsOut {
			return false // or it was connected meanwhile, or tried to
		}
		span = Span{D: h.since(l), Source: "two looks at the same inode"}
		return true
	})
	return span
}
