package main

import (
	"context"
	"errors"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// scan looks at processes, a second time if that would settle something, and judges what it saw.
type scan struct {
	src        *source
	pids       []int
	selected   bool // the pids were found by name or port: one that has ended since is no error
	thresholds diag.Thresholds
	rules      []*diag.Rule
	gaps       []diag.Gap // of finding the pids
}

func (s *scan) run(ctx context.Context) (*diag.Result, error) {
	start := time.Now()
	history := &diag.History{}
	if err := s.lookAgain(ctx, history); err != nil {
		return nil, err
	}
	if wait := s.thresholds.Wait(); wait > 0 && s.src.from == "" && diag.Unsettled(history, s.thresholds) {
		s.src.ui.detail("looking a second time in %s: one look cannot prove all that it saw", wait)
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		if err := s.lookAgain(ctx, history); err != nil {
			return nil, err
		}
	}
	result := diag.Check(history, s.thresholds, s.rules)
	result.Took = time.Since(start)
	return result, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errInterrupted
	}
}

var errInterrupted = errors.New("interrupted")

// lookAgain adds one look to the history.
func (s *scan) lookAgain(ctx context.Context, h *diag.History) error {
	snap := &diag.Snapshot{Began: time.Now(), Host: s.src.fs.Host(), Gaps: s.gaps}
	byNetns, order, err := s.processes()
	if err != nil {
		return err
	}
	for _, netns := range order {
		space, err := s.space(ctx, snap.Host, netns, byNetns[netns])
		if err != nil {
			return err
		}
		snap.Spaces = append(snap.Spaces, space)
	}
	snap.At = time.Now()
	h.Add(snap)
	return nil
}

// processes identifies the processes, by the inode of their network namespace.
func (s *scan) processes() (byNetns map[uint64][]*procfd.Process, order []uint64, err error) {
	byNetns = map[uint64][]*procfd.Process{}
	for _, pid := range s.pids {
		p, err := s.src.fs.Identify(pid)
		if errors.Is(err, procfd.ErrGone) && s.selected {
			continue
		}
		if err != nil {
			return nil, nil, goneHint(err)
		}
		if p.TGID != 0 && p.TGID != pid {
			return nil, nil, hint(usage("%d is a thread and no process", pid), "its process is %d", p.TGID)
		}
		if _, ok := byNetns[p.Netns]; !ok {
			order = append(order, p.Netns)
		}
		byNetns[p.Netns] = append(byNetns[p.Netns], p)
	}
	return byNetns, order, nil
}

func goneHint(err error) error {
	if errors.Is(err, procfd.ErrGone) {
		return hint(err, "it does not exist, has ended meanwhile, or is hidden from you (hidepid); ps -e lists what you may see")
	}
	return err
}

// space reads one network namespace and joins its sockets to the processes.
func (s *scan) space(ctx context.Context, host procfd.Host, netns uint64, procs []*procfd.Process) (*diag.Space, error) {
	fs := s.src.fs
	path := "" // of the namespace, for entering it
	if own := fs.Netns(); netns != 0 && netns != own && s.src.from == "" {
		path = fs.NetnsPath(procs[0])
	}
	space := &diag.Space{Netns: netns}
	// Not to be let in is told by the sockets; the thresholds then are the kernel's defaults.
	_ = netlinkss.InNetns(path, func() error {
		space.Sysctls = fs.NetSysctls()
		return nil
	})
	list, err := s.src.open(path, procs[0].PID)
	if err != nil {
		return nil, err
	}
	defer list.close()
	space.Gaps = append(space.Gaps, list.gaps...)
	join, err := s.join(ctx, space, list, procs)
	if err != nil {
		return nil, err
	}
	(&resolver{scan: s, list: list, join: join, kernel: host.Kernel}).run(ctx)
	s.mptcp(ctx, space, list, join)
	join.Space()
	s.withoutInfo(space)
	s.askMasked(space, host.Uptime)
	return space, nil
}

// mptcp asks for the state of MPTCP connections, if there are any.
func (s *scan) mptcp(ctx context.Context, space *diag.Space, list *sockets, join *diag.Join) {
	if list.conn == nil || !join.HasMPTCP() {
		return
	}
	for sock, err := range list.dump(ctx, netlinkss.Request{Protocol: netlinkss.ProtocolMPTCP}) {
		if err != nil {
			space.Gaps = append(space.Gaps, diag.Gap{What: "MPTCP connections that the peer has closed", Why: err.Error()})
			return
		}
		join.AddMPTCP(sock)
	}
}

// withoutInfo names the sockets that a file has without TCP_INFO: nothing can be proved of them. /proc/net/tcp has a
// gap of its own.
func (s *scan) withoutInfo(space *diag.Space) {
	if s.src.from == "" {
		return
	}
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
func (s *scan) askMasked(space *diag.Space, uptime time.Duration) {
	threshold, _ := s.thresholds.IdleIn(space)
	for _, p := range space.Procs {
		var asker *procfd.Asker
		for i := range p.Held {
			h := &p.Held[i]
			if h.State != netlinkss.Estab || h.Keepalive != diag.KeepaliveUnknown || !diag.Idle(h.Socket, uptime).AtLeast(threshold) {
				continue
			}
			if asker == nil {
				var err error
				if asker, err = s.src.fs.Ask(p.Process); err != nil {
					break
				}
			}
			if a, err := asker.Socket(procfd.SocketFD{FD: h.FD(), Inode: uint64(h.Inode)}); err == nil {
				h.Ask(a.KeepAlive)
			}
		}
		if asker != nil {
			asker.Close()
		}
	}
}
