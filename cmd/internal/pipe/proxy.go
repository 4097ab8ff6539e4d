//go:build linux

// Package pipe is a TCP proxy that joins each accepted connection with one to a target.
//
// It exists in two modes, to show a leak and its cure side by side. Leaky keeps faithfully one of four widespread bugs
// ([Leak]). Fixed has the same purpose and ends every connection in bounded time: keepalive and a user timeout find
// dead peers, one idle clock for both directions finds silent ones, a FIN is passed on as a half-close, a reset as a
// reset.
//
//	ln, err := pipe.Listen(ctx, "127.0.0.1:8080", cfg)
//	...
//	p, err := pipe.New(cfg)
//	...
//	err = p.Serve(ctx, ln) // until ctx ends
//
// The fixed mode is an event loop a processor (loop.go) over epoll(7). What one connection is and how it ends is in
// pair.go, how its bytes move in move.go: by splice(2) where there are many, so that they are never copied, and through
// one small buffer where there are few. A connection costs two descriptors and some hundred bytes; it has neither a
// goroutine nor a buffer nor a pipe of its own.
//
// The leaky mode (leaky*.go) has goroutines, as the programs have that it imitates.
package pipe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// A Proxy relays connections to its targets. Make one with [New]. It is safe for concurrent use.
type Proxy struct {
	cfg     Config
	opts    sockopts
	targets []*target
	turn    atomic.Uint64 // of the targets
	dialer  net.Dialer    // of the leaky mode
	count   counters
}

type counters struct {
	accepted, acceptRetries atomic.Uint64
	closed                  [numCauses]atomic.Uint64
	bytesUp, bytesDown      atomic.Uint64
}

// New returns a proxy for c. It fails if Targets is empty or has what is no address, or if another value is out of
// range.
func New(c Config) (*Proxy, error) {
	if len(c.Targets) == 0 {
		return nil, errors.New("no target")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	p := &Proxy{cfg: c.withDefaults()}
	for i, s := range c.Targets {
		if slices.Contains(c.Targets[:i], s) {
			return nil, fmt.Errorf("target %q: given twice", s)
		}
		t, err := newTarget(s)
		if err != nil {
			return nil, err
		}
		if t.unix && c.Mode == Leaky {
			return nil, fmt.Errorf("target %q: the leaky mode is for TCP alone", s)
		}
		p.targets = append(p.targets, t)
	}
	p.opts = p.cfg.sockopts()
	p.dialer = net.Dialer{KeepAlive: -1, Control: p.opts.control}
	p.dialer.SetMultipathTCP(false)
	return p, nil
}

// Stats returns the counts so far.
func (p *Proxy) Stats() Stats {
	c := &p.count
	s := Stats{AcceptRetries: c.acceptRetries.Load(), BytesUp: c.bytesUp.Load(), BytesDown: c.bytesDown.Load()}
	for i := range c.closed { // before accepted, lest more be closed than accepted
		s.Closed[i] = c.closed[i].Load()
	}
	s.Accepted = c.accepted.Load()
	s.Active = s.Accepted - s.TotalClosed()
	now := time.Now()
	for _, t := range p.targets {
		s.Targets = append(s.Targets, t.stats(now))
	}
	return s
}

// Serve accepts connections from the listeners and relays them until ctx ends. Then it stops listening, lets open
// connections finish for Config.Drain, cuts those that are left (in leaky mode: all, at once), and returns nil when
// their sockets are closed and their goroutines gone. It closes the listeners in any case.
//
// A failure of a listener ends Serve in the same way, and is returned. Lack of descriptors or memory is not such a
// failure: accepting then goes on after a while.
func (p *Proxy) Serve(ctx context.Context, lns ...*Listener) error {
	serve := p.relay
	if p.cfg.Mode == Leaky {
		serve = p.serveLeaky
	}
	err := serve(ctx, lns)
	for _, ln := range lns {
		err = errors.Join(err, ln.Close())
	}
	return err
}

func (p *Proxy) logf(format string, args ...any) {
	if p.cfg.Logf != nil {
		p.cfg.Logf(format, args...)
	}
}
