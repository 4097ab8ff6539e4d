package scan

import (
	"context"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Watch looks at processes again and again, and judges each look beside those before it. What it holds does not grow with the looks.
type Watch struct {
	*Scan
	// Choose finds the processes anew before each look but the first; nil: they were named.
	Choose func() error

	history diag.History
	series  diag.Series
	known   known
	share   map[int]*shareClock
}

// Look looks once more. Of processes that were named the error wraps [procfd.ErrGone] when all of them have ended.
func (w *Watch) Look(ctx context.Context) (*diag.Result, error) {
	start := time.Now()
	first := w.history.Last() == nil
	if first {
		w.history.Apart, w.history.Series = w.Thresholds.Wait(), &w.series
		w.Scan.known = &w.known
	}
	if !first && w.Choose != nil {
		w.PIDs, w.Gaps = w.PIDs[:0], nil
		if err := w.Choose(); err != nil {
			w.PIDs = w.PIDs[:0]
			w.Gaps = append(w.Gaps, diag.Gap{What: "processes", Why: err.Error()})
		}
	}
	if err := w.lookAgain(ctx, &w.history); err != nil {
		return nil, err
	}
	if first && w.Choose == nil {
		w.remember(w.history.Last())
	}
	w.readShares(w.history.Last())
	w.known.learn(w.history.Last())
	w.series.Measure(w.history.Last())
	result := diag.Check(&w.history, w.Thresholds, w.Rules)
	w.series.Add(result)
	w.history.Thin()
	result.Took = time.Since(start)
	return result, nil
}

// Series is what was measured in the looks so far. It changes with the next one.
func (w *Watch) Series() *diag.Series { return &w.series }

// shareClock is when the PSS of a process is read again.
type shareClock struct {
	next time.Time
	pss  uint64
}

const (
	// shareCost is how many times as long as a reading of PSS took nothing more is read of it: the kernel walks over all pages.
	shareCost = 200
	// mostShares is of how many processes PSS is read.
	mostShares = 32
)

// readShares reads PSS where it is not too dear. In between the last value stands.
func (w *Watch) readShares(snap *diag.Snapshot) {
	shares := map[int]*shareClock{}
	for _, space := range snap.Spaces {
		for _, p := range space.Procs {
			if len(shares) == mostShares {
				break
			}
			c := w.share[p.PID]
			if c == nil {
				c = &shareClock{}
			}
			shares[p.PID] = c
			if began := time.Now(); began.After(c.next) {
				if w.Source.FS.ReadPSS(p.Process) != nil {
					c.next, c.pss = began.Add(time.Minute), 0
					continue
				}
				took := time.Since(began)
				c.next, c.pss = began.Add(shareCost*took), p.PSS
			}
			p.PSS = c.pss
		}
	}
	w.share = shares
}

// fullEvery: of so many looks at a process one reads its descriptors in full.
const fullEvery = 15

// known is what the last look found, for the next one.
type known struct {
	procs map[int]*knownProc
	now   map[uint32]uint64 // cookies by inode, of the dump at hand
}

type knownProc struct {
	*procfd.Process
	cookies map[uint32]uint64 // of what it held, by inode
	left    int               // looks until all is read in full
}

// learn takes what a look found.
func (k *known) learn(snap *diag.Snapshot) {
	procs := map[int]*knownProc{}
	for _, space := range snap.Spaces {
		if len(space.Procs) != 1 {
			continue // many at once are not read this way
		}
		p := space.Procs[0]
		kp := k.procs[p.PID]
		if kp == nil || kp.Start != p.Start {
			kp = &knownProc{cookies: map[uint32]uint64{}, left: fullEvery}
		}
		kp.Process = p.Process
		kp.left--
		clear(kp.cookies)
		for i := range p.Held {
			if h := &p.Held[i]; h.Cookie != 0 && h.Space == nil {
				kp.cookies[h.Inode] = h.Cookie
			}
		}
		procs[p.PID] = kp
	}
	k.procs = procs
}

// knows reports whether most of a process's descriptors are known.
func (k *known) knows(p *procfd.Process) bool {
	return k != nil && k.procs[p.PID] != nil && k.procs[p.PID].Start == p.Start && k.procs[p.PID].left > 0
}

// before is what is known of a process; nil: it is to be read in full.
func (k *known) before(p *procfd.Process) *knownProc {
	if k == nil {
		return nil
	}
	kp := k.procs[p.PID]
	if kp == nil || kp.Start != p.Start {
		return nil
	}
	if kp.left <= 0 {
		kp.left = fullEvery
		return nil
	}
	return kp
}

// living tells which of the sockets that the process held are in the lists.
func (k *known) living(kp *knownProc, lists [][]netlinkss.Socket) func(inode uint64) bool {
	if k.now == nil {
		k.now = map[uint32]uint64{}
	}
	clear(k.now)
	for _, list := range lists {
		for i := range list {
			k.now[list[i].Inode] = list[i].Cookie
		}
	}
	return func(inode uint64) bool {
		cookie := kp.cookies[uint32(inode)]
		return cookie != 0 && k.now[uint32(inode)] == cookie
	}
}
