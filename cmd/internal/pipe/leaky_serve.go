//go:build linux

package pipe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// serveLeaky serves lns, which must be one TCP listener, in leaky mode.
func (p *Proxy) serveLeaky(ctx context.Context, lns []*Listener) error {
	if len(lns) != 1 || !lns[0].tcp {
		return errors.New("the leaky mode has one listener, of TCP")
	}
	ln, err := lns[0].netListener()
	if err != nil {
		return err
	}
	if err := lns[0].Close(); err != nil { // the copy is enough
		return errors.Join(err, ln.Close())
	}
	// Connections outlive ctx, if only by a moment, and so have a context of their own.
	conns, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s := &session{Proxy: p, cancel: cancel, open: make(map[cutter]struct{})}
	defer context.AfterFunc(ctx, func() { s.closeListener(ln) })()
	err = s.accept(ctx, conns, ln)
	s.closeListener(ln)
	s.cutAll()
	s.wg.Wait()
	return err
}

// A session is one call of Serve in leaky mode.
type session struct {
	*Proxy
	cancel context.CancelFunc // ends pending dials
	wg     sync.WaitGroup     // one a connection

	mu   sync.Mutex
	open map[cutter]struct{}
	over bool // everything was cut; what comes now is too late
}

// A cutter is an open connection that can be told to end at once.
type cutter interface{ cut() }

// accept starts a goroutine for each connection from ln, until ctx ends or ln fails.
func (s *session) accept(ctx, conns context.Context, ln net.Listener) error {
	var delay time.Duration
	for ctx.Err() == nil {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			delay = 0
			s.start(conns, conn.(*net.TCPConn))
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ECONNABORTED):
			// The client was quicker than we were.
		case exhausted(err):
			delay = min(max(2*delay, minBackoff), maxBackoff)
			s.count.acceptRetries.Add(1)
			s.logf("%v; next try in %s", err, delay)
			sleep(ctx, delay)
		default:
			return err
		}
	}
	return nil
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// A trip is what there is to tell of one connection.
type trip struct {
	up, down passed
	local    string
}

// A passed counts the bytes written to one side of a connection.
type passed struct {
	own   atomic.Uint64
	total *atomic.Uint64 // of all connections
}

func (p *passed) add(n int) {
	p.own.Add(uint64(n))
	p.total.Add(uint64(n))
}

// start relays client in a goroutine of its own.
func (s *session) start(ctx context.Context, client *net.TCPConn) {
	c := Connection{ID: s.count.accepted.Add(1), Client: client.RemoteAddr().String(), Target: s.targets[0].name, Start: time.Now()}
	trip := &trip{up: passed{total: &s.count.bytesUp}, down: passed{total: &s.count.bytesDown}}
	s.wg.Go(func() {
		err := s.handle(ctx, client, trip)
		c.Local, c.BytesUp, c.BytesDown = trip.local, trip.up.own.Load(), trip.down.own.Load()
		c.Duration, c.Cause, c.Err = time.Since(c.Start), leakyCause(err), err
		if s.cfg.Closed != nil {
			s.cfg.Closed(c)
		}
		s.count.closed[c.Cause].Add(1)
	})
}

// handle relays one connection and returns, with both sockets closed, why it did not end well.
func (s *session) handle(ctx context.Context, client *net.TCPConn, trip *trip) error {
	raw, err := client.SyscallConn()
	if err == nil {
		err = s.opts.set(raw)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("prepare client: %w", err), client.Close())
	}
	return s.leak(ctx, client, trip)
}

func leakyCause(err error) Cause {
	var dial *dialError
	switch {
	case err == nil:
		return Finished
	case errors.Is(err, errCut):
		return Cut
	case errors.As(err, &dial):
		return ConnectFailed
	}
	return Failed
}

// A dialError is why the target could not be reached.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// dial connects to the first target. Once ctx has ended, which means that everything is cut, the error is errCut.
func (p *Proxy) dial(ctx context.Context, trip *trip) (*net.TCPConn, error) {
	conn, err := p.dialer.DialContext(ctx, "tcp", p.targets[0].name)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errCut
		}
		return nil, &dialError{err}
	}
	trip.local = conn.LocalAddr().String()
	return conn.(*net.TCPConn), nil
}

// add makes c known for being cut. If it is too late for that, c is cut right away.
func (s *session) add(c cutter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		c.cut()
		return
	}
	s.open[c] = struct{}{}
}

func (s *session) remove(c cutter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *session) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.cancel()
	for c := range s.open {
		c.cut()
	}
}

func (s *session) closeListener(ln net.Listener) {
	if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		s.logf("%v", err)
	}
}
