// Package scan looks at processes and their sockets, and has the rules judge them.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// Scan is a diagnosis of processes: a look, a second one if that would settle something, and the judgement.
type Scan struct {
	Source     *Source
	PIDs       []int
	Selected   bool // the PIDs were found and not named: one that has ended since is no error
	Thresholds diag.Thresholds
	Rules      []*diag.Rule
	Gaps       []diag.Gap // of finding the PIDs
	everybody  bool       // every process was wanted
	sought     bool       // processes were wanted by what they are called, or where they are
	// parents and netnsOf are those of all processes of this look, by PID.
	parents map[int]int
	netnsOf map[int]uint64
	// inUse is how many sockets the reader's own namespace had before they were read, and found how many were by namespace.
	inUse int
	found map[uint64]int
	// seen are the processes of the first look, by PID: the second is at the same ones.
	seen map[int]uint64
	// Deep asks every connection for its options and every process for the sockets of those that are scanned, whatever
	// that costs.
	Deep bool
	// barred is how many processes a look could not even ask for their names.
	barred int
	// known is what a look before found, in a series of them.
	known *known
}

// Run looks and judges.
func (s *Scan) Run(ctx context.Context) (*diag.Result, error) {
	start := time.Now()
	history := &diag.History{}
	if err := s.lookAgain(ctx, history); err != nil {
		return nil, err
	}
	if wait := s.Thresholds.Wait(); wait > 0 && s.Source.From == "" && diag.Unsettled(history, s.Thresholds, s.Rules) {
		s.Source.Detail("looking a second time in %s: one look cannot prove all that it saw", wait)
		if err := Sleep(ctx, wait); err != nil {
			return nil, err
		}
		s.remember(history.Last())
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
	s.inUse, s.found = s.socketsNow(), map[uint64]int{}
	loaded := s.iterate()
	byNetns, order, err := s.processes()
	if err2 := loaded(); err == nil {
		err = err2
	}
	if err != nil {
		return err
	}
	if s.seen != nil && len(order) == 0 && s.known != nil {
		return fmt.Errorf("the processes that were watched: %w", procfd.ErrGone)
	}
	if s.seen != nil && len(order) == 0 {
		return hint.Add(fmt.Errorf("all of the processes ended between two looks"), "--settle 0 reports what one look shows")
	}
	family := sync.OnceValue(s.family)
	for _, netns := range order {
		space, err := s.readSpace(ctx, byNetns[netns], func() *look {
			return &look{Scan: s, began: snap.Began, host: snap.Host, family: family, space: &diag.Space{Netns: netns}}
		})
		if err != nil {
			return err
		}
		if ctx.Err() != nil { // in a step whose failure is a mere gap
			return ErrInterrupted
		}
		if space != nil {
			snap.Spaces = append(snap.Spaces, space)
		}
	}
	snap.At = time.Now()
	snap.Gaps = append(snap.Gaps, s.endedSince(snap)...)
	snap.Gaps = append(snap.Gaps, s.hidden()...)
	snap.Gaps = append(snap.Gaps, s.unseenSuspects(ctx, snap)...)
	h.Add(snap)
	return nil
}

// readSpace reads the namespace that the processes live in. It is entered through the first of them; where that one ends
// before it is, the next one leads there, unless it was named. Nil: all have ended.
func (s *Scan) readSpace(ctx context.Context, procs []*procfd.Process, newLook func() *look) (*diag.Space, error) {
	for ; len(procs) > 0; procs = procs[1:] {
		l := newLook()
		err := l.read(ctx, procs)
		if err == nil && len(l.space.Procs) == 0 {
			return nil, nil // its own network needs nobody to be entered through
		}
		if err == nil {
			return l.space, nil
		}
		if ctx.Err() != nil || !s.mayEnd() || s.Source.FS.SameProcess(procs[0]) {
			return nil, err
		}
	}
	return nil, nil
}

// remember notes the processes of a look.
func (s *Scan) remember(snap *diag.Snapshot) {
	s.seen = map[int]uint64{}
	for _, space := range snap.Spaces {
		for _, p := range space.Procs {
			s.seen[p.PID] = p.Start
		}
	}
}

// endedSince names the processes of the first look that are not in this one: what they held has ended with them.
func (s *Scan) endedSince(snap *diag.Snapshot) []diag.Gap {
	left := len(s.seen)
	for _, space := range snap.Spaces {
		left -= len(space.Procs)
	}
	if left <= 0 {
		return nil
	}
	return []diag.Gap{{What: "processes", Count: left, Minor: true, Why: "they have ended since the first look"}}
}

// mayEnd reports whether it is no error that a process has ended.
func (s *Scan) mayEnd() bool { return s.Selected || s.seen != nil }

// processes identifies the processes, by the inode of their network namespace.
func (s *Scan) processes() (byNetns map[uint64][]*procfd.Process, order []uint64, err error) {
	byNetns = map[uint64][]*procfd.Process{}
	s.barred, s.parents, s.netnsOf = 0, map[int]int{}, map[int]uint64{}
	procs, errs := make([]*procfd.Process, len(s.PIDs)), make([]error, len(s.PIDs))
	beside(len(s.PIDs), func(i int) { procs[i], errs[i] = s.Source.FS.Identify(s.PIDs[i]) })
	for i, pid := range s.PIDs {
		p, err := procs[i], errs[i]
		if err == nil {
			s.parents[pid], s.netnsOf[pid] = p.PPID, p.Netns
			err = ended(p)
		}
		if errors.Is(err, procfd.ErrGone) && s.mayEnd() {
			continue
		}
		if errors.Is(err, fs.ErrPermission) && s.Selected {
			s.barred++
			continue
		}
		if err != nil {
			return nil, nil, s.unseen(pid, err)
		}
		if start, ok := s.seen[pid]; p.Kernel && s.Selected || s.seen != nil && (!ok || start != p.Start) {
			continue // or the number belongs to another one by now
		}
		if p.TGID != 0 && p.TGID != pid {
			return nil, nil, hint.Add(fmt.Errorf("%d is a thread and no process", pid), "its process is %d", p.TGID)
		}
		if _, ok := byNetns[p.Netns]; !ok {
			order = append(order, p.Netns)
		}
		byNetns[p.Netns] = append(byNetns[p.Netns], p)
	}
	s.Source.nameContainers(byNetns)
	return byNetns, order, nil
}

// beside calls f with every number below n, on all processors.
func beside(n int, f func(i int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	workers.Wait()
}

// ended is an error for a process that is one no more.
func ended(p *procfd.Process) error {
	if p.Ended() {
		return hint.Add(fmt.Errorf("process %d: %w: it is a zombie", p.PID, procfd.ErrGone), "its parent, %d, has not asked yet how it ended", p.PPID)
	}
	return nil
}

func goneHint(err error) error {
	if errors.Is(err, procfd.ErrGone) && hint.Of(err) == "" {
		return hint.Add(err, "it does not exist, or has ended meanwhile; ps -e lists what you may see")
	}
	return err
}
