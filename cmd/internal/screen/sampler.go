package screen

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
)

// crash is a panic of a goroutine that is not the caller's, to be raised again when the terminal is as it was.
type crash struct {
	value any
	stack []byte
}

func (c *crash) String() string { return fmt.Sprintf("%v\n\n%s", c.value, c.stack) }

func caught(value any) *crash { return &crash{value, debug.Stack()} }

// Messages to the program.
type (
	shotMsg  struct{ *shot }
	savedMsg struct {
		path string
		at   time.Time
		err  error
	}
	endMsg struct{}
)

// orders are what keys ask of the sampler.
type orders struct {
	want      want
	interval  time.Duration
	look      bool // at once
	retake    bool // the last look again, as it is wanted now
	save      bool
	arrange   bool
	by, order string
}

// desk is where orders lie until the sampler takes them, which is between two looks.
type desk struct {
	mu     sync.Mutex
	orders orders
	wake   chan struct{} // there are some
}

// give changes the orders and has them seen.
func (d *desk) give(change func(*orders)) {
	d.mu.Lock()
	change(&d.orders)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// standing are the orders that hold until they are changed.
func (d *desk) standing() orders {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.orders
}

// taken are all orders; those that are obeyed once are no longer there.
func (d *desk) taken() orders {
	d.mu.Lock()
	defer d.mu.Unlock()
	given := d.orders
	d.orders.look, d.orders.retake, d.orders.save, d.orders.arrange = false, false, false, false
	return given
}

// sampler takes looks, one after the other.
type sampler struct {
	desk   desk
	o      Options
	sample Sample
	send   func(tea.Msg)
	taker  taker
	last   *Frame

	err   error // why it has ended, nil when it was told to
	crash *crash
}

func newSampler(o Options, w want, sample Sample) *sampler {
	return &sampler{o: o, sample: sample, desk: desk{orders: orders{want: w, interval: o.Interval}, wake: make(chan struct{}, 1)}}
}

// run looks until ctx ends or a look fails.
func (s *sampler) run(ctx context.Context) {
	defer func() {
		if v := recover(); v != nil {
			s.crash = caught(v)
		}
		s.send(endMsg{})
	}()
	for {
		began := time.Now()
		frame, err := s.sample(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.err = err
			return
		}
		s.last = frame
		s.send(shotMsg{s.taker.take(frame, s.desk.standing().want)})
		if !s.pause(ctx, began, time.Since(began)) {
			return
		}
	}
}

// pause waits for the next look, and does meanwhile what it is asked for. What takes longer than the interval does not stack up:
// the next look comes after a part of it. False: ctx has ended.
func (s *sampler) pause(ctx context.Context, began time.Time, took time.Duration) bool {
	least := time.Now().Add(min(took, s.desk.standing().interval) / 4)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := began.Add(s.desk.standing().interval)
		if next.Before(least) {
			next = least
		}
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-s.desk.wake:
			if s.obey(s.desk.taken()) {
				return true
			}
		}
	}
}

// obey does what is asked for between two looks, and reports whether to look now.
func (s *sampler) obey(given orders) (now bool) {
	if given.save {
		path, err := s.o.Save(s.last)
		s.send(savedMsg{path: path, at: timeOf(s.last), err: err})
	}
	if given.arrange {
		s.o.Arrange(given.by, given.order)
		return true
	}
	if given.retake && !given.look {
		shot := s.taker.take(s.last, given.want)
		shot.again = true
		s.send(shotMsg{shot})
	}
	return given.look
}

func timeOf(f *Frame) time.Time {
	switch {
	case f.Result != nil:
		return f.Result.Snapshot.At
	case f.Stat != nil:
		return f.Stat.Snapshot.At
	}
	return time.Time{}
}
