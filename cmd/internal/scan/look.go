package scan

import (
	"context"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// look is one network namespace, while it is read.
type look struct {
	*Scan
	began  time.Time
	host   procfd.Host
	family func() *family
	space  *diag.Space
	list   *Sockets
	join   *diag.Join
	listed []uint16             // the ports that were asked for; nil: all
	whole  [][]netlinkss.Socket // every socket of the list, where all of them had to wait; else nil
	told   told                 // by iterators
	// waiting is what those processes wait for that were asked.
	waiting map[*diag.Proc]*procfd.Waits
}

// read reads the namespace and joins its sockets to the processes, which live in it.
func (l *look) read(ctx context.Context, procs []*procfd.Process) error {
	fs := l.Source.FS
	at := Place{Netns: l.space.Netns, PID: procs[0].PID}
	if own := fs.Netns(); l.space.Netns != 0 && l.space.Netns != own && l.Source.From == "" {
		at.Path = fs.NetnsPath(procs[0])
	} else if l.space.Netns == 0 && l.Source.From == "" && fs.Foreign() && !fs.InNetnsOf(procs[0].PID) {
		at.Path = fs.NetnsPath(procs[0]) // that it may not be entered does not make it the reader's own
	}
	// Not to be let in is told by the sockets; the thresholds then are the kernel's defaults.
	_ = netlinkss.InNetns(at.Path, func() error {
		l.space.Sysctls = fs.NetSysctls()
		return nil
	})
	var err error
	if l.list, err = l.Source.Open(at); err != nil {
		return err
	}
	defer l.list.Close()
	switch {
	case l.iterated():
		l.space.Source = diag.SourceIterators
	case l.list.Conn == nil && l.Source.From == "":
		l.space.Source = l.list.Name
	}
	l.space.Gaps = append(l.space.Gaps, l.list.Gaps...)
	if fs.OneNetns() && l.Source.From == "" {
		l.space.Gaps = append(l.space.Gaps, gapOneNetns)
	}
	l.space.Orphans = l.orphans(procs[0].PID)
	if l.join, err = l.joinSockets(ctx, procs); err != nil {
		return err
	}
	(&resolver{look: l, seenAbroad: map[uint64]error{}, spaces: map[uint64]*diag.Space{}}).run(ctx)
	if err := l.nobodys(ctx); err != nil {
		return err
	}
	l.mptcp(ctx)
	l.legs(ctx)
	if l.list.After != nil {
		l.space.Gaps = append(l.space.Gaps, l.list.After(diag.ByPeer)...)
	}
	l.space.Late = max(l.Source.FS.Uptime()-l.space.Ended, 0)
	l.join.Space()
	for _, p := range l.space.Procs {
		p.Unlike = l.told.unlike[p.Process]
		for _, kin := range p.Kin {
			kin.Unlike = l.told.unlike[kin.Process]
		}
	}
	if l.found != nil {
		l.found[l.netns()] = l.join.Sockets()
	}
	if l.Source.From != "" {
		withoutInfo(l.space)
	}
	l.askMasked()
	l.enrich(ctx)
	return nil
}

// orphans is how many sockets of the host no process holds, -1 when that is not told.
func (l *look) orphans(pid int) int {
	stat, err := l.Source.FS.Sockstat(pid)
	if err != nil || l.Source.From != "" {
		return -1
	}
	return stat.Orphan
}

// mptcp asks for the state of MPTCP connections, if there are any.
func (l *look) mptcp(ctx context.Context) {
	if l.list.Conn == nil || !l.join.HasMPTCP() {
		return
	}
	for sock, err := range l.list.Dump(ctx, netlinkss.Request{Protocol: netlinkss.ProtocolMPTCP}) {
		if err != nil {
			l.space.Gaps = append(l.space.Gaps, diag.Gap{What: "MPTCP connections that the peer has closed", Why: err.Error()})
			return
		}
		l.join.AddMPTCP(sock, l.Thresholds.Grace)
	}
}

// legs reads connections a second time that may belong to some that have ended.
func (l *look) legs(ctx context.Context) {
	legs := l.join.Legs(l.Thresholds.Grace)
	if legs == nil {
		return
	}
	began := time.Now()
	l.recall(ctx, legs, "connections have ended whose other legs may be open")
	legs.Done(began, time.Since(began))
}

// recall lists every socket once more, for those that were counted and not kept.
func (l *look) recall(ctx context.Context, r *diag.Recall, why string) {
	l.Source.Detail("reading the sockets once more: %s", why)
	request := netlinkss.Request{Attrs: netlinkss.AttrInfo, States: netlinkss.AllStates &^ (netlinkss.Listen.Mask() | netlinkss.TimeWait.Mask())}
	if err := l.list.Each(ctx, request, func() func(*netlinkss.Socket) { return r.Add }); err != nil {
		l.space.Gaps = append(l.space.Gaps, diag.Gap{What: "sockets, read once more", Why: err.Error()})
	}
}

// withoutInfo names the sockets that a file has without TCP_INFO: nothing can be proved of them. /proc/net/tcp has a
// gap of its own.
func withoutInfo(space *diag.Space) {
	for _, p := range space.Procs {
		n := 0
		for i := range p.Held {
			switch h := &p.Held[i]; h.State {
			case netlinkss.Estab, netlinkss.CloseWait, netlinkss.FinWait2:
				if h.InfoLen() < netlinkss.InfoHasClocks {
					n++
				}
			}
		}
		if n > 0 {
			p.Gaps = append(p.Gaps, diag.Gap{
				What: "TCP_INFO of sockets of " + diag.Subject(p.Process), Count: n,
				Why: "the dump was recorded without it, and so nothing can be proved of them: ss -i records it",
			})
		}
	}
}

// askMasked asks the sockets whose keepalive another timer hides, where the answer bears on a verdict.
// Those that cannot be asked stay unknown, and the rule says so.
func (l *look) askMasked() {
	for _, p := range l.space.Procs {
		var asker *procfd.Asker
		for i := range p.Held {
			h := &p.Held[i]
			if h.State != netlinkss.Estab || h.Keepalive != diag.KeepaliveUnknown {
				continue
			}
			if threshold, _ := l.Thresholds.IdleOf(p, h); !diag.Idle(h.Socket, l.host.Uptime).AtLeast(threshold) {
				continue
			}
			if asker == nil {
				var err error
				if asker, err = l.Source.FS.Ask(p.Process); err != nil {
					break
				}
			}
			if a, err := asker.Socket(h.SocketFD()); err == nil {
				h.Ask(a.KeepAlive)
			}
		}
		if asker != nil {
			asker.Close()
		}
	}
}
