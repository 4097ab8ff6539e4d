package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Listed judges the processes that a list names as holders of its sockets, as `ss -tanoiep` prints them: nothing else is known of them.
type Listed struct {
	Path       string
	Thresholds diag.Thresholds
	Rules      []*diag.Rule
	Keep       func(*diag.Proc) bool // nil: all
}

// mostListed is how many descriptors a list may name.
const mostListed = 4 << 20

// Run reads the file twice: who holds what, and the sockets.
func (l *Listed) Run(ctx context.Context) (*diag.Result, error) {
	start := time.Now()
	read := &listReading{file: listFile{path: l.Path}}
	procs, err := read.holders()
	if err != nil {
		return nil, err
	}
	space := &diag.Space{Orphans: -1}
	join := diag.NewJoin(space, procs)
	if err := read.sockets(ctx, join); err != nil {
		gap, ok := Incomplete(err)
		if !ok {
			return nil, err
		}
		space.Gaps = append(space.Gaps, gap)
	}
	join.Space()
	read.restore(space)
	if l.Keep != nil {
		space.Procs = slices.DeleteFunc(space.Procs, func(p *diag.Proc) bool { return !l.Keep(p) })
	}
	if len(space.Procs) == 0 {
		return nil, fmt.Errorf("%s: it names no such process", l.Path)
	}
	withoutInfo(space)
	space.Gaps = append(space.Gaps, lossGaps(read.losses, netlinkss.LossClocks, netlinkss.LossUIDs)...)
	space.Gaps = append(space.Gaps, diag.Gap{
		What: "descriptors of the processes", Minor: true, Why: "the list names those alone that are on its sockets; what else they hold is not known",
	})
	history := &diag.History{}
	history.Add(&diag.Snapshot{Spaces: []*diag.Space{space}})
	result := diag.Check(history, l.Thresholds, read.fit(l.Rules))
	result.Took = time.Since(start)
	return result, nil
}

// listReading is a list while it is read.
type listReading struct {
	file   listFile
	losses []netlinkss.Loss
	inodes bool // the list has them
}

// rows walks over the list. Where it has no inodes, rows get numbers in place of them, and lose them again at the end.
func (r *listReading) rows(f func(row int, list *netlinkss.List, s *netlinkss.Socket) error) error {
	var failed error
	row := 0
	for list, s := range r.file.each(&r.losses, func(err error) bool { failed = err; return false }) {
		if row++; !r.inodes && s.State != netlinkss.TimeWait { // of which it is not told whether somebody holds it
			s.Inode = uint32(row)
		}
		if err := f(row, list, s); err != nil {
			return err
		}
	}
	return failed
}

// holders collects the processes. A descriptor that the list does not tell gets a number of its own below 0.
func (r *listReading) holders() ([]*procfd.Process, error) {
	if err := r.look(); err != nil {
		return nil, err
	}
	byPID := map[int]*procfd.Process{}
	descriptors := 0
	err := r.rows(func(row int, list *netlinkss.List, s *netlinkss.Socket) error {
		for _, u := range list.Users() {
			if descriptors++; descriptors > mostListed || row > math.MaxInt32 {
				return fmt.Errorf("%s: it names more than %d descriptors", r.file.path, mostListed)
			}
			p := byPID[u.PID]
			if p == nil {
				p = &procfd.Process{PID: u.PID, Name: u.Name, Open: -1, Listed: true, FDTask: u.PID, NetTask: u.PID}
				byPID[u.PID] = p
			}
			fd := u.FD
			if fd < 0 {
				fd = -1 - row
			}
			p.Sockets = append(p.Sockets, procfd.SocketFD{FD: fd, Inode: uint64(s.Inode)})
		}
		return nil
	})
	if _, incomplete := Incomplete(err); err != nil && !incomplete {
		return nil, err
	}
	return r.sorted(byPID)
}

// fit leaves out the rule that needs to know which sockets nobody holds, and how long a queue may be, if the list does not tell.
func (r *listReading) fit(rules []*diag.Rule) []*diag.Rule {
	if r.inodes {
		return rules
	}
	return slices.DeleteFunc(slices.Clone(rules), func(rule *diag.Rule) bool { return rule.Name == "accept-queue" })
}

// look tells whether the list has inodes.
func (r *listReading) look() error {
	errFound := errors.New("found")
	err := r.rows(func(_ int, list *netlinkss.List, s *netlinkss.Socket) error {
		if list.Lack()&netlinkss.LackInode == 0 && s.Inode != 0 {
			r.inodes = true
			return errFound
		}
		return nil
	})
	if _, incomplete := Incomplete(err); incomplete || errors.Is(err, errFound) {
		return nil
	}
	return err
}

var errNoHolders = errors.New("it does not say who holds its sockets")

func (r *listReading) sorted(byPID map[int]*procfd.Process) ([]*procfd.Process, error) {
	if len(byPID) == 0 {
		return nil, hint.Add(fmt.Errorf("%s: %w", r.file.path, errNoHolders),
			"ss -tanoiep names processes, and sockleak record keeps all that leakscan needs; --proc-root takes a copy of that host's /proc of the same moment")
	}
	procs := slices.SortedFunc(maps.Values(byPID), func(a, b *procfd.Process) int { return cmp.Compare(a.PID, b.PID) })
	for _, p := range procs {
		slices.SortFunc(p.Sockets, func(a, b procfd.SocketFD) int { return a.FD - b.FD })
	}
	return procs, nil
}

// sockets adds the sockets to the join.
func (r *listReading) sockets(ctx context.Context, join *diag.Join) error {
	return r.rows(func(_ int, _ *netlinkss.List, s *netlinkss.Socket) error {
		if ctx.Err() != nil {
			return ErrInterrupted
		}
		join.Add(s)
		return nil
	})
}

// restore takes back what stood for inodes and descriptors.
func (r *listReading) restore(space *diag.Space) {
	for _, p := range space.Procs {
		for i := range p.Held {
			h := &p.Held[i]
			if !r.inodes {
				h.Inode = 0
			}
			for k, fd := range h.FDs {
				h.FDs[k] = max(fd, -1)
			}
			for k, other := range h.Others {
				h.Others[k].FD = max(other.FD, -1)
			}
		}
	}
}
