package scan

import (
	"context"
	"fmt"
	"iter"
	"math"

	"github.com/sockleak/sockleak/cmd/internal/record"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// Recorder takes samples for a recording.
type Recorder struct {
	*Watch
	// Whole has every socket of the namespaces recorded, and not only those of the processes.
	Whole bool
	// Raw takes the bytes that the kernel sent of all sockets of a namespace; nil: they are not wanted. Without Whole they are read for
	// themselves.
	Raw func(netns uint64, b []byte) error

	err error // of reading or taking what is beside the look
}

// mostOwned is from how many descriptors on a recording of a whole host does without the holders of those sockets of which there is
// nothing to say: a kilobyte each while they are recorded.
const mostOwned = 250_000

// Sample looks once. A second look may be needed to settle what the first leaves open: see [Recorder.Unsettled]. The sample is valid
// until the next one.
func (r *Recorder) Sample(ctx context.Context) (*record.Sample, *diag.Result, error) {
	if r.Source.SiftFrom == 0 {
		r.Source.SiftFrom = math.MaxInt // a recording of processes has all that they hold
		if r.Whole {
			r.Source.SiftFrom = mostOwned
		}
	}
	result, err := r.Look(ctx)
	if err != nil {
		return nil, nil, err
	}
	s := &record.Sample{Snapshot: result.Snapshot}
	switch {
	case r.Whole:
		s.Rest = r.rest(ctx, result.Snapshot)
	case r.Raw != nil:
		for range r.rest(ctx, result.Snapshot) { // the tap takes it
			continue
		}
	}
	return s, result, nil
}

// Unsettled reports whether another look would prove what those so far leave open.
func (r *Recorder) Unsettled() bool {
	return r.Thresholds.Wait() > 0 && diag.Unsettled(&r.history, r.Thresholds, r.Rules)
}

// Err is what went wrong beside the looks since it was asked for: the last sample lacks it.
func (r *Recorder) Err() error {
	err := r.err
	r.err = nil
	return err
}

// rest lists the sockets of the namespaces that no process of the look is known to hold, in a dump of its own.
func (r *Recorder) rest(ctx context.Context, snap *diag.Snapshot) iter.Seq2[uint64, *netlinkss.Socket] {
	return func(yield func(uint64, *netlinkss.Socket) bool) {
		held := map[uint64]bool{} // by identity
		for _, space := range snap.Spaces {
			for _, p := range space.Procs {
				for i := range p.Held {
					held[identity(p.Held[i].Socket)] = true
				}
			}
		}
		for _, space := range r.spaces(snap) {
			more, err := r.restOf(ctx, space, held, yield)
			if err != nil {
				r.err = fmt.Errorf("sockets of no process: %w", err)
			}
			if !more || err != nil {
				return
			}
		}
	}
}

// identity tells sockets of one look apart; what no process holds has none where there are no cookies.
func identity(s *netlinkss.Socket) uint64 {
	if s.Cookie != 0 {
		return s.Cookie
	}
	return uint64(s.Inode) << 32
}

// spaces are the namespaces of a look, and the reader's own.
func (r *Recorder) spaces(snap *diag.Snapshot) []Place {
	own := r.Source.FS.Netns()
	list := []Place{{Netns: own}}
	for _, space := range snap.Spaces {
		if space.Netns != own && space.Netns != 0 && len(space.Procs) > 0 {
			p := space.Procs[0].Process
			list = append(list, Place{space.Netns, r.Source.FS.NetnsPath(p), p.PID})
		}
	}
	return list
}

// rawAttrs are those that the kernel gives to anybody who asks.
const rawAttrs = netlinkss.AttrMemInfo | netlinkss.AttrInfo | netlinkss.AttrCong | netlinkss.AttrTOS | netlinkss.AttrTClass | netlinkss.AttrSkMem | netlinkss.AttrShutdown

func (r *Recorder) restOf(ctx context.Context, space Place, held map[uint64]bool, yield func(uint64, *netlinkss.Socket) bool) (more bool, err error) {
	list, err := r.Source.Open(space)
	if err != nil {
		return false, err
	}
	defer list.Close()
	request := netlinkss.Request{Attrs: netlinkss.AttrInfo}
	var untaken error
	if r.Raw != nil && list.Conn != nil {
		request.Attrs = rawAttrs
		list.Conn.Tap(func(b []byte) {
			if untaken == nil {
				untaken = r.Raw(space.Netns, b)
			}
		})
	}
	for s, err := range list.Dump(ctx, request) {
		if err != nil {
			return false, err
		}
		if id := identity(s); id != 0 && held[id] {
			continue
		}
		if !yield(space.Netns, s) {
			return false, untaken
		}
	}
	return true, untaken
}
