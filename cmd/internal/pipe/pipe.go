// Package pipe is a TCP proxy that joins each accepted connection with one to a fixed target.
//
// It exists in two modes, to show a leak and its cure side by side. Leaky keeps faithfully a widespread bug: data and
// close are passed on, and nothing else is looked after, so that a peer which falls silent leaves two sockets behind for
// ever. Fixed has the same purpose and ends every connection in bounded time: keepalive and a user timeout find dead
// peers, one idle clock for both directions finds silent ones, a FIN is passed on as a half-close, a reset as a reset.
//
//	ln, err := pipe.Listen(ctx, "127.0.0.1:8080", cfg)
//	...
//	p, err := pipe.New(cfg)
//	...
//	err = p.Serve(ctx, ln) // until ctx ends
//
// A connection costs two descriptors, two goroutines, and a buffer only while bytes are under way.
package pipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Accepting goes on after these delays when the process or the system is out of descriptors or memory.
const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
)

// A Proxy relays TCP connections to one target. Make one with [New]. It is safe for concurrent use.
type Proxy struct {
	cfg    Config
	opts   sockopts
	dialer net.Dialer
	count  counters
}

type counters struct {
	accepted, acceptRetries atomic.Uint64
	closed                  [numCauses]atomic.Uint64
	bytesUp, bytesDown      atomic.Uint64
}

// New returns a proxy for c. It fails if Target is not a host:port, or if another value is out of range.
func New(c Config) (*Proxy, error) {
	if len(c.Targets) == 0 {
		return nil, errors.New("no target")
	}
	for _, t := range c.Targets {
		if err := checkTarget(t); err != nil {
			return nil, err
		}
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	p := &Proxy{cfg: c.withDefaults()}
	p.opts = p.cfg.sockopts()
	p.dialer = net.Dialer{KeepAlive: -1, Control: p.opts.control}
	p.dialer.SetMultipathTCP(false)
	if p.cfg.Mode == Fixed {
		p.dialer.Timeout = max(0, p.cfg.ConnectTimeout)
	}
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
	return s
}

// Serve accepts connections from ln, which must be a TCP listener, and relays them until ctx ends. Then it closes ln,
// lets open connections finish for Config.Drain, cuts those that are left (in leaky mode: all, at once), and returns
// nil when their sockets are closed and their goroutines gone.
//
// A failure of ln, such as being closed by another, ends Serve in the same way, and is returned. Lack of descriptors or
// memory is not such a failure: accepting then goes on after a while.
func (p *Proxy) Serve(ctx context.Context, lns ...*Listener) error {
	ln := lns[0].ln
	// Connections outlive ctx by the drain, and so have a context of their own.
	conns, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s := &session{Proxy: p, cancel: cancel, open: make(map[cutter]struct{})}

	closed := make(chan struct{})
	closeListener := context.AfterFunc(ctx, func() {
		defer close(closed)
		s.closeListener(ln)
	})
	err := s.accept(ctx, conns, ln)
	if closeListener() {
		s.closeListener(ln)
	} else {
		<-closed
	}
	s.drain()
	return err
}

// A session is one call of Serve.
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
			if err := s.start(conns, conn); err != nil {
				return err
			}
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

// exhausted reports whether err is a lack that may pass when connections end.
func exhausted(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) ||
		errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
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

// start relays conn in a goroutine of its own.
func (s *session) start(ctx context.Context, conn net.Conn) error {
	client, ok := conn.(*net.TCPConn)
	if !ok {
		err := fmt.Errorf("accept: %T is not a TCP connection", conn)
		return cmp.Or(err, conn.Close())
	}
	id, began := s.count.accepted.Add(1), time.Now()
	s.wg.Go(func() {
		err := s.handle(ctx, client)
		cause := causeOf(err)
		if s.cfg.Closed != nil {
			s.cfg.Closed(Connection{ID: id, Client: client.RemoteAddr().String(), Target: s.cfg.Targets[0], Start: began, Duration: time.Since(began), Cause: cause, Err: err})
		}
		s.count.closed[cause].Add(1)
	})
	return nil
}

// handle relays one connection and returns, with both sockets closed, why it did not end well.
func (s *session) handle(ctx context.Context, client *net.TCPConn) error {
	if err := s.tune(client); err != nil {
		return cmp.Or(err, closeConn(client, true))
	}
	if s.cfg.Mode == Leaky {
		return s.leak(ctx, client)
	}
	return s.relay(ctx, client)
}

// tune sets the options of an accepted connection. Its listener need not come from Listen.
func (p *Proxy) tune(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err == nil {
		err = p.opts.set(raw)
	}
	if err != nil {
		return fmt.Errorf("prepare client: %w", err)
	}
	return nil
}

func causeOf(err error) Cause {
	var dial *dialError
	switch {
	case err == nil:
		return Finished
	case errors.Is(err, errCut):
		return Cut
	case errors.Is(err, errTimeout):
		return Idle
	case errors.As(err, &dial):
		return ConnectFailed
	}
	return Failed
}

var (
	errCut     = errors.New("cut at shutdown")
	errTimeout = errors.New("timed out")
)

// A dialError is why the target could not be reached.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// dial connects to the target. Once ctx has ended, which means that everything is cut, the error is errCut.
func (p *Proxy) dial(ctx context.Context) (*net.TCPConn, error) {
	// A dial makes its goroutine's stack grow, to 8 KiB in most cases, and a stack hardly ever shrinks. The caller
	// waits for as long as the connection lasts, so it leaves the dial to a goroutine that is soon gone.
	var conn net.Conn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err = p.dialer.DialContext(ctx, "tcp", p.cfg.Targets[0])
	}()
	<-done
	if err != nil && ctx.Err() != nil {
		return nil, errCut
	}
	if err != nil {
		return nil, &dialError{err}
	}
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

// drain waits until every connection has ended, and sees to it when their time is over.
func (s *session) drain() {
	limit := s.cfg.Drain
	if s.cfg.Mode == Leaky || limit < 0 {
		s.cutAll()
		s.wg.Wait()
		return
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		s.cutAll()
		<-done
	}
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

func (p *Proxy) logf(format string, args ...any) {
	if p.cfg.Logf != nil {
		p.cfg.Logf(format, args...)
	}
}
