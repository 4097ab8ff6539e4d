package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/cmd/internal/record"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// Replay judges what was recorded, as [Watch] does what it sees: of a recording of many samples the last is judged, beside those before it.
type Replay struct {
	Path       string
	Thresholds diag.Thresholds
	Rules      []*diag.Rule
	// Keep chooses processes of the recording; nil: all.
	Keep func(*diag.Proc) bool
	// Brief reads no more than the last samples: what was measured over time is of no interest.
	Brief bool

	last *record.Sample
}

// mostReplayed is of about how many samples all sockets are compared. Of more, some are passed over.
const mostReplayed = diag.DefaultMost

// Run reads the file and judges its last sample. The error wraps [record.ErrNotRecording] when it is something else.
func (r *Replay) Run(ctx context.Context) (*diag.Result, error) {
	start := time.Now()
	history := &diag.History{Apart: r.Thresholds.Wait(), Series: &diag.Series{}}
	rec, err := r.read(ctx, history)
	if err != nil {
		return nil, err
	}
	if history.Last() == nil {
		return nil, noSamples(r.Path, rec)
	}
	if err := r.anybody(history); err != nil {
		return nil, err
	}
	result := diag.Check(history, r.Thresholds, r.Rules)
	if len(history.Series.Times) > 1 {
		history.Series.Add(result)
	} else {
		result.Series = nil
	}
	result.Gaps = append(result.Gaps, cutGap(rec)...)
	result.Took = time.Since(start)
	return result, nil
}

// read takes the samples into a history.
func (r *Replay) read(ctx context.Context, h *diag.History) (rec *record.Reader, err error) {
	take := func(s *record.Sample) {
		r.last = s
		snap := r.chosen(s.Snapshot)
		h.Add(snap)
		h.Thin()
		h.Series.Measure(snap)
	}
	if r.Brief {
		return r.recent(take)
	}
	return r.all(ctx, take)
}

// all takes all samples, or of many some, and always the last two.
func (r *Replay) all(ctx context.Context, take func(*record.Sample)) (*record.Reader, error) {
	total, err := countSamples(r.Path)
	if err != nil {
		return nil, err
	}
	rec, err := record.Open(r.Path)
	if err != nil {
		return nil, err
	}
	defer rec.Close()
	for i := 0; ; i++ {
		if ctx.Err() != nil {
			return nil, ErrInterrupted
		}
		if i%stride(total) != 0 && i < total-2 {
			if err := rec.Skip(); err != nil {
				return nil, fileError(r.Path, err)
			}
			continue
		}
		switch sample, err := rec.Next(); {
		case errors.Is(err, io.EOF):
			return rec, nil
		case err != nil:
			return nil, fileError(r.Path, err)
		default:
			take(sample)
		}
	}
}

// recent takes the last samples.
func (r *Replay) recent(take func(*record.Sample)) (*record.Reader, error) {
	rec, err := record.Open(r.Path)
	if err != nil {
		return nil, err
	}
	defer rec.Close()
	samples, err := rec.Recent(mostRecent)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fileError(r.Path, err)
	}
	for _, s := range samples {
		take(s)
	}
	return rec, nil
}

// mostRecent is how many samples settle what the last one leaves open.
const mostRecent = 6

// stride is every which sample is looked at.
func stride(total int) int { return max((total+mostReplayed-1)/mostReplayed, 1) }

func countSamples(path string) (n int, err error) {
	rec, err := record.Open(path)
	if err != nil {
		return 0, err
	}
	defer rec.Close()
	for ; ; n++ {
		switch err := rec.Skip(); {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return 0, fileError(path, err)
		}
	}
}

func fileError(path string, err error) error { return fmt.Errorf("%s: %w", path, err) }

func noSamples(path string, rec *record.Reader) error {
	err := fmt.Errorf("%s: there is no whole sample in it", path)
	if cut := rec.Cut(); cut != "" {
		return hint.Add(err, "%s", cut)
	}
	return err
}

// cutGap says what is missing behind the last sample.
func cutGap(rec *record.Reader) []diag.Gap {
	if rec.Cut() == "" {
		return nil
	}
	return []diag.Gap{{What: "samples behind the last", Why: rec.Cut(), Minor: true}}
}

// chosen is the look with the chosen processes alone.
func (r *Replay) chosen(snap *diag.Snapshot) *diag.Snapshot {
	if r.Keep == nil {
		return snap
	}
	chosen := *snap
	chosen.Spaces = nil
	for _, space := range snap.Spaces {
		part := *space
		part.Procs = nil
		for _, p := range space.Procs {
			if r.Keep(p) {
				part.Procs = append(part.Procs, p)
			}
		}
		if len(part.Procs) > 0 {
			chosen.Spaces = append(chosen.Spaces, &part)
		}
	}
	return &chosen
}

// mostNamed is how many processes of a recording a hint names.
const mostNamed = 8

// anybody is an error where none of the chosen processes is in the last sample.
func (r *Replay) anybody(h *diag.History) error {
	if r.Keep == nil || len(h.Last().Spaces) > 0 {
		return nil
	}
	var names []string
	for _, space := range r.last.Snapshot.Spaces {
		for _, p := range space.Procs {
			names = append(names, diag.Subject(p.Process))
		}
	}
	if more := len(names) - mostNamed; more > 0 {
		names = append(names[:mostNamed], fmt.Sprintf("%d more", more))
	}
	err := fmt.Errorf("%s: the last sample has no such process", r.Path)
	if len(names) == 0 {
		return hint.Add(err, "it has no process at all: tcpstat --from counts its sockets")
	}
	return hint.Add(err, "it has %s", strings.Join(names, ", "))
}

// sampleSockets are all sockets of a sample, each once, with the inode of their network namespace.
func sampleSockets(s *record.Sample) iter.Seq2[uint64, *netlinkss.Socket] {
	return func(yield func(uint64, *netlinkss.Socket) bool) {
		seen := map[*netlinkss.Socket]bool{}
		for _, space := range s.Snapshot.Spaces {
			for _, p := range space.Procs {
				for i := range p.Held {
					h := &p.Held[i]
					if seen[h.Socket] {
						continue
					}
					seen[h.Socket] = true
					if !yield(cmp.Or(h.Space, space).Netns, h.Socket) {
						return
					}
				}
			}
		}
		if s.Rest == nil {
			return
		}
		for netns, sock := range s.Rest {
			if !yield(netns, sock) {
				return
			}
		}
	}
}
