package scan

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/sockleak/sockleak/cmd/internal/record"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// Side reads a file for a comparison: a recording is judged by its last sample, a list where it names the holders of its sockets.
func (r *Replay) Side(ctx context.Context) (*diag.Side, error) {
	r.Brief = true
	result, err := r.Run(ctx)
	if errors.Is(err, record.ErrNotRecording) {
		return r.listSide(ctx)
	}
	if err != nil {
		return nil, err
	}
	side := &diag.Side{Name: r.Path, Result: result}
	if last := r.last; last.Rest != nil && r.Keep == nil {
		side.Sockets, side.Whole = socketsOf(last), true
	}
	return side, nil
}

// listSide reads a list that another program wrote.
func (r *Replay) listSide(ctx context.Context) (*diag.Side, error) {
	file := &listFile{path: r.Path}
	listed := &Listed{Path: r.Path, Thresholds: r.Thresholds, Rules: r.Rules, Keep: r.Keep}
	result, err := listed.Run(ctx)
	if err != nil && (!errors.Is(err, errNoHolders) || r.Keep != nil) {
		return nil, err
	}
	side := &diag.Side{Name: r.Path, Result: result, Whole: r.Keep == nil}
	if r.Keep != nil {
		return side, nil
	}
	var failed error
	for range file.each(&file.losses, func(err error) bool { failed = err; return false }) { // what it lacks is known behind it
		continue
	}
	if gap, incomplete := Incomplete(failed); incomplete {
		side.Gaps = append(side.Gaps, gap)
	} else if failed != nil {
		return nil, failed
	}
	lacks := func(what string) bool {
		return slices.ContainsFunc(file.losses, func(l netlinkss.Loss) bool { return l.What == what })
	}
	side.NoTimers, side.NoInodes = lacks(netlinkss.LossTimers), lacks(netlinkss.LossInodes)
	if result == nil {
		side.Gaps = append(side.Gaps, lossGaps(file.losses)...)
	}
	side.Sockets = func(yield func(*netlinkss.Socket) bool) {
		for _, sock := range file.each(&file.losses, func(error) bool { return false }) {
			if !yield(sock) {
				return
			}
		}
	}
	return side, nil
}

// socketsOf are all sockets of a sample, each once.
func socketsOf(s *record.Sample) iter.Seq[*netlinkss.Socket] {
	return func(yield func(*netlinkss.Socket) bool) {
		for _, sock := range sampleSockets(s) {
			if !yield(sock) {
				return
			}
		}
	}
}
