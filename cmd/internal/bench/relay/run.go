//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
)

// section is a figure of all relays that have it.
type section struct {
	figure *figure
	rows   []*row
}

// row is a figure of one relay.
type row struct {
	relay *relay
	runs  []run
	// lost is why the row has no figures, or no more of them.
	lost error
}

// run is what one round measured.
type run struct {
	round  int
	values []float64 // as the figure's columns
}

// sections are what is to be measured.
func (c *config) sections() (list []*section) {
	for _, f := range c.figures {
		s := &section{figure: f}
		for _, r := range c.relays {
			if f.applies == nil || f.applies(r) {
				s.rows = append(s.rows, &row{relay: r})
			}
		}
		list = append(list, s)
	}
	return list
}

// measure measures everything, round by round. In each, every figure is measured of one relay after the other, and another relay
// is the first. What a relay fails at is not tried again.
func (c *config) measure(ctx context.Context, sections []*section) error {
	b, err := startBackend(c.descriptors)
	if err != nil {
		return err
	}
	for round := range c.rounds {
		fmt.Fprintf(os.Stderr, "bench: round %d of %d\n", round+1, c.rounds)
		for _, s := range sections {
			for i := range s.rows {
				r := s.rows[(i+round)%len(s.rows)]
				if r.lost != nil {
					continue
				}
				var values []float64
				if values, r.lost = c.one(ctx, s.figure, r.relay, b); r.lost == nil {
					r.runs = append(r.runs, run{round, values})
				}
				if ctx.Err() != nil {
					return errInterrupted
				}
				if err := b.await(0); err != nil { // what is left would be in the next figure
					return errors.Join(failed(sections), err)
				}
			}
		}
	}
	return b.stop()
}

// one measures one figure of one relay.
func (c *config) one(ctx context.Context, f *figure, r *relay, b *backend) ([]float64, error) {
	runtime.LockOSThread() // a relay ends with the thread that started it
	defer runtime.UnlockOSThread()
	return f.measure(ctx, &point{config: c, relay: r, b: b})
}

// failed are the errors of all rows.
func failed(sections []*section) (err error) {
	for _, s := range sections {
		for _, r := range s.rows {
			if r.lost != nil {
				err = errors.Join(err, fmt.Errorf("%s: %s: %w", r.relay.name, s.figure.name, r.lost))
			}
		}
	}
	return err
}

// column returns a row's values of a column, and their ratios to those of the base relay in the same round.
func (s *section) column(r *row, i int) (values, ratios []float64) {
	at := slices.IndexFunc(s.rows, func(r *row) bool { return r.relay.name == baseName })
	for _, m := range r.runs {
		if math.IsNaN(m.values[i]) {
			continue
		}
		values = append(values, m.values[i])
		if at < 0 {
			continue
		}
		for _, base := range s.rows[at].runs {
			if base.round == m.round && base.values[i] > 0 {
				ratios = append(ratios, m.values[i]/base.values[i])
			}
		}
	}
	return values, ratios
}
