//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"syscall"
	"time"
)

// figure is something that is measured of every relay: one table.
type figure struct {
	name    string
	title   func(c *config) string
	columns []column
	// applies reports whether a relay has it; nil: all have.
	applies func(r *relay) bool
	// measure returns a value for every column; NaN is none.
	measure func(ctx context.Context, p *point) ([]float64, error)
}

// column is one value of a figure.
type column struct {
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	digit int    // how many digits behind the point
	ratio bool   // beside the base relay's in the same round
}

// talkers is how many connections exchange messages at a time.
const talkers = 16

func figures() []*figure {
	relayed := func(r *relay) bool { return r.command != nil }
	stream := []column{{"throughput", "GB/s", 2, true}, {"CPU", "s/GB", 2, true}}
	connections := []column{{"connections", "/s", 0, true}, {"p50", "ms", 2, false}, {"p99", "ms", 2, true}, {"CPU", "µs each", 0, true}}
	return []*figure{
		{name: "stream1", title: fixed("one stream, up"), columns: stream, measure: throughput(1, 0)},
		{name: "stream8", title: fixed("8 streams, 4 up and 4 down"), columns: stream, measure: throughput(4, 4)},
		{
			name: "churn", title: fixed("connect, 1 KiB each way, close; 16 at a time"),
			measure: talks(clientCloses, time.Millisecond), columns: connections,
		},
		{
			name: "churn-back", title: fixed("the same, and the backend closes first"),
			measure: talks(backendCloses, time.Millisecond), columns: connections,
		},
		{
			name: "requests", title: fixed("1 KiB each way on 16 open connections"), measure: talks(keeps, time.Microsecond),
			columns: []column{{"requests", "/s", 0, true}, {"p50", "µs", 0, false}, {"p99", "µs", 0, true}, {"CPU", "µs each", 1, true}},
		},
		{
			name: "idle", applies: relayed, measure: idleConnections,
			title: func(c *config) string {
				return fmt.Sprintf("%d idle connections that have had 1 KiB each way", c.idle)
			},
			columns: []column{
				{"connections", "", 0, false}, {"RSS before", "MiB", 1, false}, {"after", "MiB", 1, false},
				{"RSS", "KiB each", 1, true}, {"PSS", "KiB each", 1, true}, {"descriptors", "each", 2, false},
			},
		},
		{
			name: "unprivileged", applies: func(r *relay) bool { return r.ours && os.Geteuid() == 0 }, measure: unprivileged,
			title: fixed(fmt.Sprintf("one stream as root, and as another user with %d idle connections", beside)),
			columns: []column{
				{"root", "GB/s", 2, false}, {"other", "GB/s", 2, false}, {"÷ own", "", 2, false}, {"root CPU", "s/GB", 2, false}, {"other CPU", "s/GB", 2, false},
			},
		},
	}
}

func fixed(s string) func(*config) string { return func(*config) string { return s } }

// point is one measurement of one relay.
type point struct {
	*config
	relay *relay
	b     *backend
	run   *running // nil when there is none
}

// start starts the relay, as a user if one is given.
func (p *point) start(ctx context.Context, as *syscall.Credential) (err error) {
	p.b.begins()
	if p.relay.command == nil {
		return nil
	}
	if p.run, err = p.relay.start(ctx, p.config, p.b.port, as); err != nil {
		return err
	}
	if err := p.b.settle(0); err != nil {
		return p.stop(err)
	}
	return nil
}

// stop stops the relay, which must have ended all connections, and adds to an error what it said.
func (p *point) stop(err error) error {
	if err == nil {
		err = p.b.settle(0)
	}
	if p.run == nil {
		return err
	}
	if err != nil {
		err = p.run.explain(err)
	}
	p.run.stop()
	p.run = nil
	return err
}

// to is what the generator connects to.
func (p *point) to() *address {
	if p.run == nil {
		return addressOf(p.b.port)
	}
	return addressOf(p.run.port)
}

// warm is how long nothing is measured at first.
func (p *point) warm() time.Duration { return min(p.duration/4, 500*time.Millisecond) }

// used is the relay's processor time; NaN when there is none.
func (p *point) used() (float64, error) {
	if p.run == nil {
		return math.NaN(), nil
	}
	d, err := processorTime(p.run.cmd.Process.Pid)
	return d.Seconds(), err
}

// throughput measures GB/s and s/GB.
func throughput(up, down int) func(context.Context, *point) ([]float64, error) {
	return func(ctx context.Context, p *point) ([]float64, error) {
		if err := p.start(ctx, nil); err != nil {
			return nil, err
		}
		values, err := p.streams(ctx, up, down, 0)
		return values, p.stop(err)
	}
}

// streams measures streams while so many other connections are open.
func (p *point) streams(ctx context.Context, up, down, others int) ([]float64, error) {
	s, err := newStreams(p.to(), p.b, up, down, others)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var at [2]struct {
		moved, used float64
		when        time.Time
	}
	marks := 0
	err = s.run(ctx, p.warm(), p.duration, func() (err error) {
		m := &at[marks]
		marks++
		m.used, err = p.used()
		m.moved, m.when = float64(s.moved())/1e9, time.Now()
		return err
	})
	if err != nil {
		return nil, err
	}
	moved := at[1].moved - at[0].moved
	return []float64{moved / at[1].when.Sub(at[0].when).Seconds(), (at[1].used - at[0].used) / moved}, nil
}

// talks measures exchanges of messages.
func talks(m manner, unit time.Duration) func(context.Context, *point) ([]float64, error) {
	return func(ctx context.Context, p *point) ([]float64, error) {
		if err := p.start(ctx, nil); err != nil {
			return nil, err
		}
		values, err := p.exchanges(ctx, m, unit)
		return values, p.stop(err)
	}
}

// exchanges measures how many there are in a second, two quantiles of what they take in a unit, and the processor time of each
// in microseconds. All of what is measured begins and ends within the measurement, so nothing of it is guessed.
func (p *point) exchanges(ctx context.Context, m manner, unit time.Duration) ([]float64, error) {
	t, err := newTalk(p.to(), talkers, m)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if err := t.open(ctx, talkers); err != nil {
		return nil, err
	}
	if _, err := t.exchange(ctx, p.warm()); err != nil {
		return nil, err
	}
	open := len(t.slots)
	if m != keeps {
		open = 0
	}
	before, err := p.quiet(open)
	if err != nil {
		return nil, err
	}
	took, err := t.exchange(ctx, p.duration)
	if err != nil {
		return nil, err
	}
	after, err := p.quiet(open)
	if err != nil {
		return nil, err
	}
	slices.Sort(t.taken)
	n := float64(len(t.taken))
	return []float64{n / took.Seconds(), quantile(t.taken, 50, unit), quantile(t.taken, 99, unit), (after - before) / n * 1e6}, nil
}

// quantile is the least of sorted times that so many percent do not exceed.
func quantile(sorted []time.Duration, percent int, unit time.Duration) float64 {
	return float64(sorted[(len(sorted)*percent+99)/100-1]) / float64(unit)
}

// quiet waits until so many connections are open and the relay has done with all others, and returns its processor time.
func (p *point) quiet(open int) (float64, error) {
	if err := p.b.settle(open); err != nil || p.run == nil {
		return math.NaN(), err
	}
	last := math.Inf(-1)
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		used, err := p.used()
		if err == nil && used-last < 50e-6 {
			return used, nil
		}
		if time.Now().After(end) {
			return 0, errors.Join(errors.New("it does not come to rest"), err)
		}
		if last = used; err != nil { // as it is when a process ends meanwhile
			last = math.Inf(-1)
		}
	}
}

// settled is how long connections are idle before they are looked at.
const settled = 500 * time.Millisecond

// idleConnections measures what connections hold that nothing moves on.
func idleConnections(ctx context.Context, p *point) ([]float64, error) {
	if err := p.start(ctx, nil); err != nil {
		return nil, err
	}
	values, err := p.hold(ctx)
	return values, p.stop(err)
}

func (p *point) hold(ctx context.Context) ([]float64, error) {
	// What the first connections need once is there before.
	if err := p.visit(ctx); err != nil {
		return nil, err
	}
	n, _ := p.relay.idle(p.config)
	before, err := p.footprint()
	if err != nil {
		return nil, err
	}
	t, err := newTalk(p.to(), n, keeps)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if err := t.open(ctx, talkers); err != nil {
		return nil, fmt.Errorf("with %d connections open: %w", t.opened, err)
	}
	after, err := p.footprint()
	if err != nil {
		return nil, err
	}
	each := func(before, after int64) float64 { return float64(after-before) / float64(n) }
	return []float64{
		float64(n), float64(before.rss) / (1 << 20), float64(after.rss) / (1 << 20), each(before.rss, after.rss) / (1 << 10),
		each(before.pss, after.pss) / (1 << 10), each(int64(before.descriptors), int64(after.descriptors)),
	}, p.b.settle(n)
}

// visit opens some connections and closes them.
func (p *point) visit(ctx context.Context) error {
	t, err := newTalk(p.to(), talkers, backendCloses)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.open(ctx, talkers); err != nil {
		return err
	}
	_, err = p.quiet(0)
	return err
}

func (p *point) footprint() (footprint, error) {
	time.Sleep(settled)
	return footprintOf(p.run.cmd.Process.Pid)
}

// beside is how many connections are idle beside the stream of another user: more than the pipes that the kernel gives a user
// without privileges in their full size (fs.pipe-user-pages-soft).
const beside = 200

// unprivileged measures one stream as root, and as another user while other connections are idle.
func unprivileged(ctx context.Context, p *point) ([]float64, error) {
	root, err := p.streamAs(ctx, nil, 0)
	if err != nil {
		return nil, fmt.Errorf("as root: %w", err)
	}
	other, err := p.streamAs(ctx, nobody, beside)
	if err != nil {
		return nil, fmt.Errorf("as another user: %w", err)
	}
	return []float64{root[0], other[0], other[0] / root[0], root[1], other[1]}, nil
}

func (p *point) streamAs(ctx context.Context, as *syscall.Credential, others int) ([]float64, error) {
	if err := p.start(ctx, as); err != nil {
		return nil, err
	}
	values, err := p.streamBeside(ctx, others)
	return values, p.stop(err)
}

func (p *point) streamBeside(ctx context.Context, others int) ([]float64, error) {
	if others == 0 {
		return p.streams(ctx, 1, 0, 0)
	}
	t, err := newTalk(p.to(), others, keeps)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if err := t.open(ctx, talkers); err != nil {
		return nil, err
	}
	return p.streams(ctx, 1, 0, others)
}
