//go:build linux

package pipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/netlinkss"
)

// A stream is the random bytes that one end of a connection sends. The other end makes the same ones to compare.
type stream struct {
	src  *rand.ChaCha8
	want []byte
}

func newStream(seed byte) *stream {
	return &stream{src: rand.NewChaCha8([32]byte{seed, 1})}
}

// next fills b with what comes next.
func (s *stream) next(b []byte) { _, _ = s.src.Read(b) }

// accept reports whether b is what comes next.
func (s *stream) accept(b []byte) bool {
	if len(s.want) < len(b) {
		s.want = make([]byte, len(b))
	}
	s.next(s.want[:len(b)])
	return bytes.Equal(s.want[:len(b)], b)
}

// A duplex is a connection of which each direction can be ended on its own.
type duplex interface {
	net.Conn
	CloseWrite() error
}

// A peer is one end of a connection under test. It sends its stream and compares what it gets with the other's.
type peer struct {
	t       testing.TB
	name    string
	conn    duplex
	out, in *stream
	chunk   int
	rest    []byte // taken from out, and not yet sent

	reading, sending sync.WaitGroup
	stop             atomic.Bool // sending is to end

	got, sent         atomic.Int64 // bytes; sent is what the kernel took
	readErr, writeErr error        // what ended either way, once it has ended
	ended             atomic.Bool  // readErr is set
	changed           atomic.Bool  // a byte was not the one that was sent
	left              atomic.Bool  // the test has closed conn, so there is nothing more to observe
}

// peers makes both ends of a connection ready, and their readers running.
func peers(t testing.TB, client, server duplex) (c, s *peer) {
	t.Helper()
	c = &peer{t: t, name: "client", conn: client, out: newStream(1), in: newStream(2), chunk: 16 << 10}
	s = &peer{t: t, name: "server", conn: server, out: newStream(2), in: newStream(1), chunk: 16 << 10}
	for _, p := range []*peer{c, s} {
		check(t, p.conn.SetDeadline(time.Time{}))
		p.read()
	}
	return c, s
}

// read starts to read, until the stream ends or pause.
func (p *peer) read() {
	p.reading.Go(func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := p.conn.Read(buf)
			if n > 0 && !p.in.accept(buf[:n]) {
				p.changed.Store(true)
			}
			p.got.Add(int64(n))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			if err != nil {
				p.readErr = err
				p.ended.Store(true)
				return
			}
		}
	})
}

// pause ends reading for now.
func (p *peer) pause() {
	p.t.Helper()
	check(p.t, p.conn.SetReadDeadline(time.Unix(1, 0)))
	p.reading.Wait()
	check(p.t, p.conn.SetReadDeadline(time.Time{}))
}

// flow starts to send, until hush or an error.
func (p *peer) flow() {
	p.sending.Go(func() {
		for !p.stop.Load() && p.write(p.chunk) == nil {
			if p.sent.Load() > 4*megabyte {
				time.Sleep(time.Millisecond) // to leave some of the processor to others, who have limits to keep
			}
		}
	})
}

// hush ends what flow began. Then sent is what the kernel has taken, and writeErr what it said.
func (p *peer) hush() {
	p.t.Helper()
	p.stop.Store(true)
	check(p.t, p.conn.SetWriteDeadline(time.Unix(1, 0)))
	p.sending.Wait()
	check(p.t, p.conn.SetWriteDeadline(time.Time{}))
}

// write sends n bytes. If an earlier one was stopped midway, it sends what is left of that instead.
func (p *peer) write(n int) error {
	if len(p.rest) == 0 {
		p.rest = make([]byte, n)
		p.out.next(p.rest)
	}
	n, err := p.conn.Write(p.rest)
	p.rest = p.rest[n:]
	p.sent.Add(int64(n))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		p.writeErr = err
	}
	return err
}

// send sends n bytes, in pieces, which must be taken.
func (p *peer) send(n int64) {
	p.t.Helper()
	for goal := p.sent.Load() + n; p.sent.Load() < goal; {
		if err := p.write(int(min(goal-p.sent.Load(), int64(p.chunk)))); err != nil {
			p.t.Errorf("%s sends: %v", p.name, err)
			return
		}
	}
}

// probe sends single bytes until it is told that nobody takes them.
func (p *peer) probe() {
	p.t.Helper()
	eventually(p.t, p.name+" is told by a write", func() bool { return p.writeErr != nil || p.write(1) != nil })
}

func (p *peer) finish() {
	p.t.Helper()
	check(p.t, p.conn.CloseWrite())
}

// leave closes the connection: in good order, or by a reset.
func (p *peer) leave(reset bool) {
	p.t.Helper()
	if reset {
		check(p.t, p.conn.(*net.TCPConn).SetLinger(0))
	}
	check(p.t, p.conn.Close())
	p.reading.Wait()
	p.left.Store(true)
}

// awaitEnd waits until the other's stream has ended.
func (p *peer) awaitEnd() {
	p.t.Helper()
	eventually(p.t, p.name+" sees an end", p.ended.Load)
	p.reading.Wait()
}

// awaitClosed waits until the connection is gone for the kernel, though not all of it may have been read.
func (p *peer) awaitClosed() {
	p.t.Helper()
	eventually(p.t, p.name+" is told of an end", func() bool { return tcpState(p.t, p.conn) == netlinkss.Unconn })
}

func (p *peer) awaitGot(n int64) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s gets %d bytes", p.name, n), func() bool { return p.got.Load() >= n || p.ended.Load() })
	if got := p.got.Load(); got < n {
		p.t.Fatalf("%s got %d bytes of %d, then %v", p.name, got, n, p.readErr)
	}
}

// unread returns how many bytes wait to be read.
func (p *peer) unread() (n int) {
	p.t.Helper()
	raw := must[syscall.RawConn](p.t)(p.conn.(syscall.Conn).SyscallConn())
	check(p.t, raw.Control(func(fd uintptr) { n = must[int](p.t)(unix.IoctlGetInt(int(fd), unix.SIOCINQ)) }))
	return n
}

// How a stream can be seen to end.
const (
	atEnd   = "end"                // all that was sent, then FIN
	atClose = "end, closed"        // the same, and a write found that nobody takes more
	atReset = "reset"              // all or a part of what was sent, then a reset, told once, to a read or a write
	atRest  = "open"               // no end
	gone    = "closed by the test" // nobody is there to see
)

// An outcome is what an end of a connection has seen of the other.
type outcome struct {
	got int64 // bytes
	end string
}

// sees returns what p has seen of other. It fails the test if a byte was not the one that was sent, and if p saw a clean
// end of a stream that was not whole.
func (p *peer) sees(other *peer) outcome {
	p.t.Helper()
	o := outcome{got: p.got.Load(), end: p.end()}
	sent := other.sent.Load()
	if p.changed.Load() || o.got > sent {
		p.t.Errorf("%s got %d bytes of %d, or others", p.name, o.got, sent)
	}
	if clean := o.end == atEnd || o.end == atClose; clean && o.got != sent {
		p.t.Errorf("%s got %d bytes of %d and then the end, as if that was all", p.name, o.got, sent)
	}
	return o
}

func (p *peer) end() string {
	switch {
	case p.left.Load():
		return gone
	case !p.ended.Load():
		return atRest
	case errors.Is(p.readErr, unix.ECONNRESET), errors.Is(p.writeErr, unix.ECONNRESET):
		return atReset
	case !errors.Is(p.readErr, io.EOF):
		return p.readErr.Error()
	case errors.Is(p.writeErr, unix.EPIPE):
		return atClose
	case p.writeErr != nil:
		return p.writeErr.Error()
	}
	return atEnd
}
