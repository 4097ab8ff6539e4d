package diag

import (
	"slices"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// History is the looks that were taken, the oldest first. The last is judged; the earlier ones prove
// what one look cannot.
type History struct {
	// Series is what was measured over the looks and before, nil when nothing was.
	Series *Series
	// Apart is how far a look must be from the last to prove anything beside it: what does not happen for a moment may happen in the
	// next. 0: any look does.
	Apart time.Duration
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
				if c := p.Held[i].Cookie; c != 0 && needsLooks(&p.Held[i]) {
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

// earlier walks the looks before the last, from the youngest that is far enough from it to the oldest, while f returns true.
func (h *History) earlier(f func(*look) bool) {
	for i := len(h.looks) - 2; i >= 0; i-- {
		if h.since(h.looks[i]) < h.Apart {
			continue
		}
		if !f(h.looks[i]) {
			return
		}
	}
}

// mostPast is how many sockets the looks before the last keep together, a kilobyte each.
const mostPast = 50_000

// Thin bounds what the looks before the last take, for a history that goes on: of those that lie close together beside their age only
// the oldest stays, of each only what a later look is compared with, and all of them together have a bounded number of sockets. The
// sockets of a look that was given up are no more than not seen in it.
func (h *History) Thin() {
	if len(h.looks) < 2 {
		return
	}
	last := len(h.looks) - 1
	h.looks[last-1].detach()
	past := h.looks[:0:0]
	for i, l := range h.looks[:last] {
		// The oldest stays, and then each that is about half as old as the one before it or younger; so do those that will soon be
		// far enough from the last.
		if n := len(past); i == 0 || h.since(l) <= 2*h.Apart || 2*h.since(h.looks[i+1]) < h.since(past[n-1]) {
			past = append(past, l)
		}
	}
	room := mostPast
	for i, l := range slices.Backward(past) {
		if room -= len(l.held) + len(l.dark); room < 0 && i < len(past)-1 {
			past = past[i+1:]
			break
		}
	}
	h.looks = append(past, h.looks[last])
}

// detach lets go of the snapshot: what is compared is copied out of it.
func (l *look) detach() {
	if len(l.Spaces) == 0 {
		return
	}
	l.Snapshot = &Snapshot{Began: l.Began, At: l.At}
	// The maps' values are pointers into these, which never grow.
	held, sockets := make([]HeldSocket, 0, len(l.held)), make([]netlinkss.Socket, 0, len(l.held))
	for cookie, was := range l.held {
		sockets = append(sockets, *was.Socket)
		held = append(held, HeldSocket{Socket: &sockets[len(sockets)-1]})
		if was.End != nil {
			held[len(held)-1].End = &End{Socket: was.End.Clone()}
		}
		l.held[cookie] = &held[len(held)-1]
	}
	dark := make([]DarkSocket, 0, len(l.dark))
	for key, was := range l.dark {
		dark = append(dark, *was)
		l.dark[key] = &dark[len(dark)-1]
	}
}

// needsLooks tells the sockets of whose condition one look may not prove the length.
func needsLooks(h *HeldSocket) bool {
	switch h.State {
	case netlinkss.CloseWait, netlinkss.FinWait1, netlinkss.FinWait2, netlinkss.Closing, netlinkss.LastAck, netlinkss.SynSent:
		return true
	case netlinkss.Estab:
		return h.RecvQ > 0 || h.SendQ > 0
	}
	return false
}

// sourceLooks is the source of a span that no clock tells.
const sourceLooks = "two looks at the same cookie"

// lasted is the lower bound of how long something holds of s, by clock at the last look, or by clock at an earlier one plus
// the time since, as long as same says that nothing has changed between that look and the last. Its source names what it is the sum of.
func (h *History) lasted(s *HeldSocket, clock func(*HeldSocket) Span, same func(was, now *HeldSocket) bool) Span {
	best := clock(s)
	h.earlier(func(l *look) bool {
		was, ok := l.held[s.Cookie]
		if !ok || was.State != s.State || !same(was, s) {
			return false
		}
		then := clock(was)
		if since := h.since(l); then.D+since > best.D {
			best = Span{D: then.D + since, Source: sourceLooks}
			if then.D > 0 {
				best.Source = then.Source + ", and " + sourceLooks
			}
		}
		return true
	})
	return best
}

// twice reports whether the look before the last saw s, in the same state and with same holding between the two.
func (h *History) twice(s *HeldSocket, same func(was, now *HeldSocket) bool) bool {
	twice := false
	h.earlier(func(l *look) bool {
		was, ok := l.held[s.Cookie]
		twice = ok && was.State == s.State && same(was, s)
		return false
	})
	return twice
}

// seen reports whether the look before the last saw s, in the same state.
func (h *History) seen(s *HeldSocket) bool {
	return h.twice(s, func(_, _ *HeldSocket) bool { return true })
}

// Held is the lower bound of the time that s has been in its state. uptime is the host's.
func (h *History) Held(s *HeldSocket, uptime time.Duration) Span {
	return h.lasted(s, func(s *HeldSocket) Span { return Held(s.Socket, uptime) }, func(_, _ *HeldSocket) bool { return true })
}

// Moved reports whether payload went either way between the earlier looks and the last one.
func (h *History) Moved(s *HeldSocket) bool {
	moved := false
	h.earlier(func(l *look) bool {
		was, ok := l.held[s.Cookie]
		ok = ok && was.State == s.State
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
		was, ok := l.held[s.Cookie]
		entered = (!ok || was.State != s.State) && l.procs[procKey{p.PID, p.Start}] && h.Last().At.Sub(l.At) <= d
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
