package pipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// relay joins client with a new connection to the target and returns when both are closed.
func (s *session) relay(ctx context.Context, client *net.TCPConn) error {
	server, err := s.dial(ctx)
	if err != nil {
		// The client asked for a connection that is not to be had. A FIN would say that it had been served.
		return cmp.Or(err, closeConn(client, true))
	}
	p, err := newPair(s.Proxy, client, server)
	if err != nil {
		return cmp.Or(err, closeConn(client, true), closeConn(server, true))
	}
	s.add(p)
	p.run()
	s.remove(p) // from here on nobody else knows p
	return p.close()
}

// closeConn closes c: by a reset, or else by a FIN after all that was written.
func closeConn(c *net.TCPConn, reset bool) error {
	var err error
	if reset {
		err = c.SetLinger(0)
	}
	return cmp.Or(err, c.Close())
}

// A pair is two joined connections.
//
// Its two directions run in a goroutine each and wait in nothing but a read or a write of their sockets. Both are woken
// by the sockets' deadlines, either because it is time to look at the idle clock or because something happened that
// concerns both; then they ask watch whether to go on. So no goroutine or timer of its own is needed to guard a pair,
// and the sockets are closed in one place, when both directions have returned.
type pair struct {
	cfg      *Config
	up, down direction
	epoch    time.Time
	moved    atomic.Int64 // the idle clock of both directions: when a byte last moved, since epoch

	mu      sync.Mutex
	err     error // the first thing that went wrong
	ended   int   // directions that are done
	stopped bool  // both directions are to return
	reset   bool  // close by reset
	pending int   // bytes not yet acknowledged by the peers at the last look
}

// A direction carries bytes from one socket of a pair to the other.
type direction struct {
	pair     *pair
	back     *direction
	src, dst *end
	in       source
	total    *atomic.Uint64 // bytes written

	// send is a method value kept to save an allocation for each write.
	send func(fd uintptr) bool
	rest []byte // taken from src and not yet written to dst; once run has returned, only its length counts

	mu       sync.Mutex
	writeErr error // what a write to dst failed with
}

// An end is one socket of a pair.
type end struct {
	name string
	conn *net.TCPConn
	raw  syscall.RawConn
}

func newPair(proxy *Proxy, client, server *net.TCPConn) (*pair, error) {
	c, err := newEnd("client", client)
	if err != nil {
		return nil, err
	}
	s, err := newEnd("server", server)
	if err != nil {
		return nil, err
	}
	p := &pair{cfg: &proxy.cfg, epoch: time.Now()}
	p.up.init(p, &p.down, c, s, &proxy.count.bytesUp)
	p.down.init(p, &p.up, s, c, &proxy.count.bytesDown)
	return p, nil
}

func newEnd(name string, conn *net.TCPConn) (*end, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &end{name: name, conn: conn, raw: raw}, nil
}

func (d *direction) init(p *pair, back *direction, src, dst *end, total *atomic.Uint64) {
	d.pair, d.back, d.src, d.dst, d.total = p, back, src, dst, total
	d.in.init(src.raw)
	d.send = d.trySend
}

// run carries both directions to their end.
func (p *pair) run() {
	var wg sync.WaitGroup
	wg.Go(p.up.run)
	p.down.run()
	wg.Wait()
}

// close closes both sockets and returns the first thing that went wrong. Bytes that were taken from one side and never
// reached the other make it a reset: a FIN would say that the stream was whole.
func (p *pair) close() error {
	reset := p.reset || len(p.up.rest) > 0 || len(p.down.rest) > 0
	return cmp.Or(p.err, closeConn(p.up.src.conn, reset), closeConn(p.up.dst.conn, reset))
}

// run moves bytes until src ends, dst fails, or the pair is stopped.
func (d *direction) run() {
	if !d.pair.watch(d) {
		return
	}
	for {
		b, err := d.read()
		switch {
		case errors.Is(err, errStopped):
			return
		case errors.Is(err, io.EOF):
			d.finish()
			return
		case err != nil:
			d.pair.stop(fmt.Errorf("read from %s: %w", d.src.name, err), true)
			return
		}
		d.pair.touch()
		err = d.write(b)
		d.in.release()
		if err != nil {
			d.fail(err)
			return
		}
	}
}

var errStopped = errors.New("stopped")

// read waits for bytes from src. They are valid until d.in.release. The error is io.EOF when src has sent its FIN, and
// errStopped when the pair is stopped.
func (d *direction) read() ([]byte, error) {
	for {
		b, err := d.in.read()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return b, err
		}
		if !d.pair.watch(d) {
			return nil, errStopped
		}
	}
}

// write writes all of b to dst. What it could not write stays in d.rest.
func (d *direction) write(b []byte) error {
	d.rest = b
	for {
		err := d.dst.raw.Write(d.send)
		if err == nil {
			err = d.failure()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if !d.pair.watch(d) {
			return errStopped
		}
	}
}

// trySend writes what dst takes of d.rest. It returns false if dst must be waited for, as syscall.RawConn.Write wants
// it.
func (d *direction) trySend(fd uintptr) bool {
	// The lock lasts from the system call to the note of its failure; see finish.
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.rest) > 0 {
		n, err := unix.Write(int(fd), d.rest)
		switch {
		case err == nil:
			d.rest = d.rest[n:]
			d.total.Add(uint64(n))
			d.pair.touch()
		case err == unix.EAGAIN:
			return false
		case err != unix.EINTR:
			d.writeErr = err
			return true
		}
	}
	return true
}

func (d *direction) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writeErr
}

// finish passes the FIN of src on to dst, as a half-close.
func (d *direction) finish() {
	// The kernel tells of a reset only once. If the other direction's write was told, a read here merely sees the end of
	// the stream. EPIPE is different: the reset came after a FIN, and the end is a true one.
	if err := d.back.failure(); err != nil && !errors.Is(err, unix.EPIPE) {
		return
	}
	p := d.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	// ENOTCONN: dst was reset meanwhile. The direction that reads from it is told, or has seen its FIN before.
	if err := d.dst.conn.CloseWrite(); err != nil && !errors.Is(err, unix.ENOTCONN) {
		p.stopLocked(fmt.Errorf("half-close %s: %w", d.dst.name, err), true)
		return
	}
	p.endOne()
}

// fail ends the direction because of a failed write. The other direction goes on: dst may have answered before it went
// away, and that answer is still to be had. It cannot last, as a dead socket has no more than it has received.
func (d *direction) fail(err error) {
	if errors.Is(err, errStopped) {
		return
	}
	p := d.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(fmt.Errorf("write to %s: %w", d.dst.name, err))
	if errors.Is(err, unix.EPIPE) {
		// dst had said FIN and then would take no more. That FIN is all that src needs to be told; close does the rest.
		d.rest = nil
	} else {
		p.reset = true
	}
	p.endOne()
}

// touch sets the idle clock. It is called for every move of bytes and so does nothing else: no timer is moved.
func (p *pair) touch() {
	p.moved.Store(int64(time.Since(p.epoch)))
}

// watch looks at the idle clock on behalf of d, which was woken or is about to start, and sets the deadline of d's next
// wait. It returns false if d is to return.
func (p *pair) watch(d *direction) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return false
	}
	limit, what := p.limit()
	if limit <= 0 {
		return p.arm(d, time.Time{})
	}
	p.look()
	idle := time.Since(p.epoch) - time.Duration(p.moved.Load())
	if idle >= limit {
		p.stopLocked(fmt.Errorf("%s: no byte moved for %s: %w", what, limit, errTimeout), false)
		return false
	}
	// Each quarter, for the sake of look.
	return p.arm(d, time.Now().Add(min(limit-idle, limit/4+1)))
}

// limit returns how long no byte may move, and the name of that limit. It is not positive if there is none.
func (p *pair) limit() (time.Duration, string) {
	limit, what := p.cfg.IdleTimeout, "idle"
	half := p.cfg.HalfCloseTimeout
	if p.ended > 0 && half > 0 && (limit <= 0 || half < limit) {
		return half, "half-closed"
	}
	return limit, what
}

// look lets bytes count as moved that have left the proxy and were acknowledged since the last look. A send buffer
// holds megabytes, which a slow peer may take longer to read than the idle limit, while nothing moves that a read or
// write could see.
func (p *pair) look() {
	n := unacknowledged(p.up.src.raw) + unacknowledged(p.up.dst.raw)
	if n < p.pending {
		p.touch()
	}
	p.pending = n
}

// arm sets the deadline of all that d waits for.
func (p *pair) arm(d *direction, t time.Time) bool {
	err := cmp.Or(d.src.conn.SetReadDeadline(t), d.dst.conn.SetWriteDeadline(t))
	if err != nil {
		p.stopLocked(fmt.Errorf("set deadline: %w", err), true)
	}
	return err == nil
}

// endOne notes that one direction is done, and has the other look at its new limit. That is progress as well.
func (p *pair) endOne() {
	p.ended++
	p.touch()
	p.wake()
}

// cut ends the pair by a reset, for the peers must not take what they have got for the whole.
func (p *pair) cut() {
	p.stop(errCut, true)
}

// stop makes both directions return, because of err.
func (p *pair) stop(err error, reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopLocked(err, reset)
}

func (p *pair) stopLocked(err error, reset bool) {
	if p.ended == 2 {
		return // it has come to its end in time
	}
	p.note(err)
	p.stopped = true
	p.reset = p.reset || reset
	p.wake()
}

func (p *pair) note(err error) {
	if p.err == nil {
		p.err = err
	}
}

// longAgo is a deadline that has passed. It is not the zero time, which means none.
var longAgo = time.Unix(1, 0)

// wake ends every wait of both directions. It must be called with mu held, as watch might set a later deadline else.
func (p *pair) wake() {
	p.note(cmp.Or(p.up.src.conn.SetDeadline(longAgo), p.up.dst.conn.SetDeadline(longAgo)))
}
