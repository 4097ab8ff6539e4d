// Package scan looks at processes and their sockets, and has the rules judge them.
package scan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Scan is a diagnosis of processes: a look, a second one if that would settle something, and the judgement.
type Scan struct {
	Source     *Source
	PIDs       []int
	Selected   bool // the PIDs were found by name or port: one that has ended since is no error
	Thresholds diag.Thresholds
	Rules      []*diag.Rule
	Gaps       []diag.Gap // of finding the PIDs
}

// Run looks and judges.
func (s *Scan) Run(ctx context.Context) (*diag.Result, error) {
	start := time.Now()
	history := &diag.History{}
	if err := s.lookAgain(ctx, history); err != nil {
		return nil, err
	}
	if wait := s.Thresholds.Wait(); wait > 0 && s.Source.From == "" && diag.Unsettled(history, s.Thresholds) {
		s.Source.Detail("looking a second time in %s: one look cannot prove all that it saw", wait)
		if err := Sleep(ctx, wait); err != nil {
			return nil, err
		}
		if err := s.lookAgain(ctx, history); err != nil {
			return nil, err
		}
	}
	result := diag.Check(history, s.Thresholds, s.Rules)
	result.Took = time.Since(start)
	return result, nil
}

// Sleep waits for d, or until the context is cancelled.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ErrInterrupted
	}
}

// ErrInterrupted: the context was cancelled.
var ErrInterrupted = errors.New("interrupted")

// lookAgain adds one look to the history.
func (s *Scan) lookAgain(ctx context.Context, h *diag.History) error {
	snap := &diag.Snapshot{Began: time.Now(), Host: s.Source.FS.Host(), Gaps: s.Gaps}
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
func (s *Scan) processes() (byNetns map[uint64][]*procfd.Process, order []uint64, err error) {
	byNetns = map[uint64][]*procfd.Process{}
	for _, pid := range s.PIDs {
		p, err := s.Source.FS.Identify(pid)
		if errors.Is(err, procfd.ErrGone) && s.Selected {
			continue
		}
		if err != nil {
			return nil, nil, goneHint(err)
		}
		if p.TGID != 0 && p.TGID != pid {
			return nil, nil, hint.Add(fmt.Errorf("%d is a thread and no process", pid), "its process is %d", p.TGID)
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
		return hint.Add(err, "it does not exist, has ended meanwhile, or is hidden from you (hidepid); ps -e lists what you may see")
	}
	return err
}

// space reads one network namespace and joins its sockets to the processes.
func (s *Scan) space(ctx context.Context, host procfd.Host, netns uint64, procs []*procfd.Process) (*diag.Space, error) {
	fs := s.Source.FS
	path := "" // of the namespace, for entering it
	if own := fs.Netns(); netns != 0 && netns != own && s.Source.From == "" {
		path = fs.NetnsPath(procs[0])
	}
	space := &diag.Space{Netns: netns}
	// Not to be let in is told by the sockets; the thresholds then are the kernel's defaults.
	_ = netlinkss.InNetns(path, func() error {
		space.Sysctls = fs.NetSysctls()
		return nil
	})
	list, err := s.Source.Open(path, procs[0].PID)
	if err != nil {
		return nil, err
	}
	defer list.Close()
	space.Gaps = append(space.Gaps, list.Gaps...)
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
func (s *Scan) mptcp(ctx context.Context, space *diag.Space, list *Sockets, join *diag.Join) {
	if list.Conn == nil || !join.HasMPTCP() {
		return
	}
	for sock, err := range list.Dump(ctx, netlinkss.Request{Protocol: netlinkss.ProtocolMPTCP}) {
		if err != nil {
			space.Gaps = append(space.Gaps, diag.Gap{What: "MPTCP connections that the peer has closed", Why: err.Error()})
			return
		}
		join.AddMPTCP(sock)
	}
}

// withoutInfo names the sockets that a file has without TCP_INFO: nothing can be proved of them. /proc/net/tcp has a
// gap of its own.
func (s *Scan) withoutInfo(space *diag.Space) {
	if s.Source.From == "" {
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
func (s *Scan) askMasked(space *diag.Space, uptime time.Duration) {
	threshold, _ := s.Thresholds.IdleIn(space)
	for _, p := range space.Procs {
		var asker *procfd.Asker
		for i := range p.Held {
			h := &p.Held[i]
			if h.State != netlinkss.Estab || h.Keepalive != diag.KeepaliveUnknown || !diag.Idle(h.Socket, uptime).AtLeast(threshold) {
				continue
			}
			if asker == nil {
				var err error
				if asker, err = s.Source.FS.Ask(p.Process); err != nil {
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
