package scan

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// enrich adds what the lists of sockets and descriptors do not have.
func (l *look) enrich(ctx context.Context) {
	if l.Source.From != "" {
		return // of another host, or another time
	}
	l.parents()
	l.ends(ctx)
	l.tickets()
	l.waits()
	l.holders(ctx)
	l.forked()
	l.flags()
	l.options()
	l.destinations(ctx)
}

// selfPID is the reader's own number in the proc filesystem that it reads; 0 when it is not in there.
func selfPID(fs *procfd.FS) int {
	link, err := os.Readlink(fs.SelfPath())
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(link)
	return pid
}

// anyHeld reports whether f holds of a socket of the process.
func anyHeld(p *diag.Proc, f func(*diag.HeldSocket) bool) bool {
	for i := range p.Held {
		if f(&p.Held[i]) {
			return true
		}
	}
	return false
}

func isConnection(h *diag.HeldSocket) bool {
	return h.State != netlinkss.Listen && h.State != netlinkss.Unconn && h.State != netlinkss.BoundInactive
}

// mostEnds is how many other ends are looked up in one namespace.
const mostEnds = 2048

// ends looks up the other ends of connections that stay on this host, as far as a verdict may rest on them: first of
// those that are half closed or have something queued, then of those that are silent.
func (l *look) ends(ctx context.Context) {
	if l.list.Conn == nil {
		return
	}
	left := mostEnds
	defer func() {
		if left < 0 && !l.Deep {
			l.space.Gaps = append(l.space.Gaps, diag.Gap{
				What: "other ends on this host", Count: -left, Minor: true, Why: fmt.Sprintf("%d were looked up, and no more", mostEnds),
			})
		}
	}()
	for _, want := range []func(*diag.Proc, *diag.HeldSocket) bool{isUnfinished, l.isSilent} {
		for _, p := range l.space.Procs {
			for i := range p.Held {
				h := &p.Held[i]
				if !isLocal(h) || h.Space != nil || h.End != nil || !want(p, h) {
					continue
				}
				if left--; left >= 0 || l.Deep {
					l.end(ctx, h)
				}
			}
		}
	}
}

// isLocal: both addresses are this host's, as far as that can be told without its list of addresses.
func isLocal(h *diag.HeldSocket) bool {
	local, peer := h.Local.Addr().Unmap(), h.Peer.Addr().Unmap()
	return peer.IsValid() && h.Peer.Port() != 0 && (local == peer || local.IsLoopback() && peer.IsLoopback())
}

func isUnfinished(_ *diag.Proc, h *diag.HeldSocket) bool {
	switch h.State {
	case netlinkss.CloseWait, netlinkss.FinWait1, netlinkss.FinWait2:
		return true
	case netlinkss.Estab:
		return h.SendQ > 0 || h.RecvQ > 0
	}
	return false
}

func (l *look) isSilent(p *diag.Proc, h *diag.HeldSocket) bool {
	threshold, _ := l.Thresholds.IdleOf(p, h)
	return h.State == netlinkss.Estab && diag.Idle(h.Socket, l.host.Uptime).AtLeast(threshold)
}

// end looks one up. That it is not there is nothing to tell: it may be anything between closed and behind a filter.
func (l *look) end(ctx context.Context, h *diag.HeldSocket) {
	family, local, peer := h.Family, h.Local, h.Peer
	if h.IsIPv4() { // the two ends may differ in family, and are in one table
		family, local, peer = netlinkss.Inet, netlinkss.Unmap(local), netlinkss.Unmap(peer)
	}
	end, err := l.list.Conn.Lookup(ctx, netlinkss.Request{Attrs: netlinkss.AttrInfo}, family, peer, local, h.Interface, 0)
	if err == nil {
		h.End = &diag.End{Socket: end}
	}
}

// wantedEnds are the other ends whose holders are to be found, by inode. The look's own processes are filled in: others may
// have a descriptor on the same end.
// A connection that several processes hold has an end for each of them.
func (l *look) wantedEnds() map[uint64][]*diag.End {
	ends := map[uint64][]*diag.End{}
	for _, p := range l.space.Procs {
		for i := range p.Held {
			end := p.Held[i].End
			if end == nil || end.Inode == 0 {
				continue
			}
			end.Holders = l.join.Holders(uint64(end.Inode))
			ends[uint64(end.Inode)] = append(ends[uint64(end.Inode)], end)
		}
	}
	return ends
}

// tickets asks the sockets that have had something unread for long whether it is what TLS leaves there: that is nobody's fault.
func (l *look) tickets() {
	for _, p := range l.space.Procs {
		var asker *procfd.Asker
		for i := range p.Held {
			h := &p.Held[i]
			if h.State != netlinkss.Estab || h.RecvQ == 0 || h.RecvQ > procfd.MaxTickets || !diag.Idle(h.Socket, l.host.Uptime).AtLeast(l.Thresholds.Grace) {
				continue
			}
			if asker == nil {
				var err error
				if asker, err = l.Source.FS.Ask(p.Process); err != nil {
					break // then it is data like any other
				}
			}
			h.Tickets, _ = asker.Tickets(h.SocketFD())
		}
		if asker != nil {
			asker.Close()
		}
	}
}

// waits asks what the processes wait for, where some socket of theirs may have been abandoned.
func (l *look) waits() {
	l.waiting = map[*diag.Proc]*procfd.Waits{}
	for _, p := range l.judged() {
		if p.Usual.Quiet && anyHeld(p, isConnection) || anyHeld(p, l.mayBeAbandoned) {
			l.askWaits(p)
		}
	}
}

func (l *look) askWaits(p *diag.Proc) {
	waits, err := l.Source.FS.Waits(p.Process)
	if err != nil {
		return // then it is not known
	}
	p.EventLoop = waits.Sets > 0
	l.waiting[p] = waits
	if open := l.watched(p); open > 0 && waits.Blind != nil {
		l.space.Gaps = append(l.space.Gaps, diag.Gap{
			What: "what waits for inherited sockets of " + diag.Subject(p.Process), Count: open, Why: l.unasked(p, waits.Blind),
		})
	}
}

// watched notes what waits for the connections of a process, and counts those that it may have inherited and of which nothing tells
// whether it knows of them.
func (l *look) watched(p *diag.Proc) (open int) {
	waits := l.waiting[p]
	for i := range p.Held {
		h := &p.Held[i]
		if !isConnection(h) {
			continue
		}
		h.Watch = waits.Watched(h.SocketFD())
		if h.Watch == procfd.WatchUnknown && diag.MayBeLeft(p, h, l.Thresholds, l.host.Uptime) {
			open++
		}
	}
	return open
}

// mayBeAbandoned: nothing has come or gone for the grace.
func (l *look) mayBeAbandoned(h *diag.HeldSocket) bool {
	return isConnection(h) && diag.Idle(h.Socket, l.host.Uptime).AtLeast(l.Thresholds.Grace)
}

// options asks the connections themselves, if that is wanted.
func (l *look) options() {
	if !l.Deep {
		return
	}
	for _, p := range l.space.Procs {
		asker, err := l.Source.FS.Ask(p.Process)
		if err != nil {
			l.join.Unread(p, "options of sockets", 0, l.unasked(p, err))
			continue
		}
		refused := 0
		for i := range p.Held {
			h := &p.Held[i]
			if !isConnection(h) {
				continue
			}
			a, err := asker.Socket(h.SocketFD())
			if err != nil {
				refused++
				continue
			}
			if h.Keepalive == diag.KeepaliveUnknown {
				h.Ask(a.KeepAlive)
			}
			h.Options = &diag.Options{
				KeepAlive: a.KeepAlive, KeepIdle: a.KeepAliveIdle, KeepInterval: a.KeepAliveInterval, KeepCount: a.KeepAliveCount,
				UserTimeout: a.UserTimeout, ReceiveTimeout: a.ReceiveTimeout, SendTimeout: a.SendTimeout, Linger: a.Linger,
			}
		}
		asker.Close()
		if refused > 0 {
			p.Gaps = append(p.Gaps, diag.Gap{
				What: "options of sockets of " + diag.Subject(p.Process), Count: refused, Minor: true,
				Why: "they could not be asked, or were closed meanwhile",
			})
		}
	}
}

// destinations counts the local ports that are taken towards the peers of the processes.
func (l *look) destinations(ctx context.Context) {
	busy := l.join.Busy()
	if busy == nil {
		return
	}
	if l.whole != nil { // which spares a second list, a sixth of a look
		for _, block := range l.whole {
			for i := range block {
				busy.Add(&block[i])
			}
		}
		l.whole = nil
		busy.Settle()
		return
	}
	add := func() func(*netlinkss.Socket) { return busy.Add }
	if err := l.list.Each(ctx, netlinkss.Request{Ports: busy.Ports()}, add); err != nil {
		l.space.Gaps = append(l.space.Gaps, diag.Gap{What: "local ports towards busy peers", Minor: true, Why: err.Error()})
		return
	}
	busy.Settle()
}
