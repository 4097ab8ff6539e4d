//go:build linux

package pipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// This file is the bug. As a Node.js program it is
//
//	net.createServer(client => {
//	    const server = net.connect(port, host);
//	    client.on('data', chunk => server.write(chunk));
//	    server.on('data', chunk => client.write(chunk));
//	    client.on('close', () => server.destroy());
//	    server.on('close', () => client.destroy());
//	});
//
// and everything that Node.js does or leaves undone here is done or left undone below:
//
//   - No keepalive and no timeout, neither for the connect nor afterwards. When a peer goes away without a FIN or RST,
//     or both just stay silent, nothing ever happens again, and both sockets stay.
//   - A FIN ends and destroys the socket it came from (allowHalfOpen is false), and "close" then destroys the other one,
//     with whatever was still to be written to it. There is no half-close.
//   - write's result is ignored, so what a slow peer does not read piles up in memory.
//   - The client is read while the connect is pending, and closing it abandons the connect. A client that falls
//     silent meanwhile is kept.
//   - An error does what a close does. (Node.js would end the process, which is why such programs have a handler for
//     uncaught exceptions.)
//
// Only the end of the process, or of Serve, frees what has leaked.

// A leak is two joined connections.
type leak struct {
	client, server leakySocket
	wg             sync.WaitGroup // every goroutine but the one that runs the leak

	mu  sync.Mutex
	err error // the first thing that went wrong
}

// leak joins client with a new connection to the target, by the bug that is asked for, and returns when both are closed.
func (s *session) leak(ctx context.Context, client *net.TCPConn, trip *trip) error {
	switch s.cfg.Leak {
	case HalfClose:
		return s.joint(ctx, client, trip, (*joint).halfClose)
	case ErrorIgnored:
		return s.joint(ctx, client, trip, (*joint).errorIgnored)
	case NoRead:
		return s.joint(ctx, client, trip, (*joint).noRead)
	}
	return s.noTimeout(ctx, client, trip)
}

// noTimeout is the bug of this file.
func (s *session) noTimeout(ctx context.Context, client *net.TCPConn, trip *trip) error {
	ctx, abandon := context.WithCancel(ctx)
	defer abandon()
	l := new(leak)
	l.client.init(l, "client", &l.server, &trip.down)
	l.server.init(l, "server", &l.client, &trip.up)
	l.server.abandon = abandon
	s.add(l)

	l.wg.Go(func() { l.connect(ctx, s.Proxy, trip) })
	if err := l.client.open(client); err != nil {
		l.note(err)
		l.destroy()
	} else {
		l.client.flow()
	}
	l.wg.Wait()
	s.remove(l) // from here on nobody else knows l
	return l.err
}

// connect is net.connect: it makes the server's connection, and then lets it flow.
func (l *leak) connect(ctx context.Context, p *Proxy, trip *trip) {
	conn, err := p.dial(ctx, trip)
	if err == nil {
		err = l.server.open(conn)
	}
	if err != nil {
		if ctx.Err() == nil { // else it was given up, which is no error
			l.note(err)
		}
		l.destroy()
		return
	}
	l.server.flow()
}

// cut ends the process, as far as this connection is concerned.
func (l *leak) cut() {
	l.note(errCut)
	l.destroy()
}

func (l *leak) destroy() {
	l.client.destroy()
	l.server.destroy()
}

func (l *leak) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// A leakySocket behaves as Node.js's net.Socket does.
type leakySocket struct {
	leak    *leak
	name    string
	peer    *leakySocket
	in      source
	passed  *passed // bytes written
	abandon func()  // gives up the connect, if not nil

	mu        sync.Mutex
	changed   sync.Cond // flushing or destroyed
	conn      *net.TCPConn
	raw       syscall.RawConn
	queue     [][]byte // written by the other side and not yet taken by the kernel; no limit
	flushing  bool     // a goroutine writes the queue
	ended     bool     // the peer has sent its FIN
	destroyed bool
}

func (s *leakySocket) init(l *leak, name string, peer *leakySocket, passed *passed) {
	s.leak, s.name, s.peer, s.passed = l, name, peer, passed
	s.changed.L = &s.mu
}

// open gives s its connection, and writes what was written before there was one. If s is destroyed already, it closes
// conn and returns net.ErrClosed.
func (s *leakySocket) open(conn *net.TCPConn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.destroyed {
		return cmp.Or(net.ErrClosed, conn.Close())
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return cmp.Or(err, conn.Close())
	}
	s.conn, s.raw = conn, raw
	s.in.init(raw)
	s.flushLocked()
	return nil
}

// flow is the event loop of one socket: 'data', 'end', 'error' and 'close'.
func (s *leakySocket) flow() {
	for {
		b, err := s.in.read()
		if errors.Is(err, io.EOF) {
			s.end()
			break
		}
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.leak.note(fmt.Errorf("read from %s: %w", s.name, err))
			}
			break
		}
		s.peer.write(b) // from.on('data', to.write)
		s.in.release()
	}
	s.destroy()
	s.peer.destroy() // from.on('close', to.destroy)
}

// write sends b at once as far as it can, and queues the rest however long that gets.
func (s *leakySocket) write(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.destroyed:
		return
	case s.ended:
		s.destroyLocked() // writeAfterFIN of lib/net.js
		return
	case s.conn != nil && !s.flushing:
		b = b[s.tryWrite(b):]
	}
	if len(b) > 0 {
		s.queue = append(s.queue, append([]byte(nil), b...))
		s.flushLocked()
	}
}

// tryWrite writes what the kernel takes of b without waiting. An error shows again in the write that follows.
func (s *leakySocket) tryWrite(b []byte) int {
	var n int
	err := s.raw.Write(func(fd uintptr) bool {
		n, _ = unix.Write(int(fd), b)
		return true
	})
	if err != nil || n < 0 {
		return 0
	}
	s.passed.add(n)
	return n
}

// flushLocked sees to it that the queue is written, if there is one and it can be.
func (s *leakySocket) flushLocked() {
	if s.conn == nil || s.flushing || len(s.queue) == 0 {
		return
	}
	s.flushing = true
	conn := s.conn
	s.leak.wg.Go(func() { s.flush(conn) })
}

// flush writes the queue until it is empty or the socket is destroyed.
func (s *leakySocket) flush(conn *net.TCPConn) {
	for {
		b, ok := s.next()
		if !ok {
			return
		}
		n, err := conn.Write(b)
		s.passed.add(n)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.leak.note(fmt.Errorf("write to %s: %w", s.name, err))
			}
			s.destroy()
		}
	}
}

// next takes the first chunk off the queue, or ends the flushing.
func (s *leakySocket) next() ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.flushing = false
		s.changed.Broadcast()
		return nil, false
	}
	b := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	return b, true
}

// end waits until everything is written to a peer that has sent its FIN. A peer that does not read either is waited for
// for ever.
func (s *leakySocket) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for s.flushing && !s.destroyed {
		s.changed.Wait()
	}
}

// destroy closes s and forgets what was still to be written.
func (s *leakySocket) destroy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.destroyLocked()
}

func (s *leakySocket) destroyLocked() {
	if s.destroyed {
		return
	}
	s.destroyed = true
	s.queue = nil
	s.changed.Broadcast()
	if s.conn == nil {
		if s.abandon != nil {
			s.abandon()
		}
		return
	}
	if err := s.conn.Close(); err != nil {
		s.leak.note(fmt.Errorf("close %s: %w", s.name, err))
	}
}
