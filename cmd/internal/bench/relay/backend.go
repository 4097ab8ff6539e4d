//go:build linux

package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The first byte of a connection says what the backend is to do with it.
const (
	echoes   = 'e' // answers every message with itself
	closes   = 'c' // answers one message with itself and closes
	swallows = 's' // reads to the end
	pours    = 'p' // writes until it is told to end
)

// messageSize is the length of a message, in bytes.
const messageSize = 1 << 10

// backend is what the relays connect to.
type backend struct {
	poll     *poller
	listener int
	port     int
	served   []served // by descriptor

	open           atomic.Int64 // connections
	received, sent atomic.Int64 // bytes of streams
	resets         atomic.Int64 // connections that ended in a reset or amid a message
	ending         atomic.Bool  // streams are to end
	stopping       atomic.Bool
	ended          chan error
}

// served is one connection of the backend's.
type served struct {
	kind    byte // 0 before the first byte
	n       int  // how much of a message is there
	message [messageSize]byte
}

// startBackend listens and serves in a thread of its own, for at most so many descriptors in this process.
func startBackend(descriptors int) (*backend, error) {
	b := &backend{served: make([]served, descriptors), ended: make(chan error, 1)}
	var err error
	if b.poll, err = newPoller(); err != nil {
		return nil, err
	}
	if err := b.listen(); err != nil {
		b.poll.close()
		return nil, fmt.Errorf("backend: %w", err)
	}
	go func() {
		runtime.LockOSThread()
		b.ended <- b.serve()
	}()
	return b, nil
}

func (b *backend) listen() (err error) {
	b.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(b.listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.Listen(b.listener, 1<<15); err != nil { // the kernel makes it as many as it may be
		return err
	}
	at, err := unix.Getsockname(b.listener)
	if err != nil {
		return err
	}
	b.port = at.(*unix.SockaddrInet4).Port
	return b.poll.watch(b.listener, b.listener, unix.EPOLLIN)
}

// stop ends the backend and returns what was wrong with it.
func (b *backend) stop() error {
	b.stopping.Store(true)
	err := <-b.ended
	unix.Close(b.listener)
	b.poll.close()
	return err
}

func (b *backend) serve() error {
	for !b.stopping.Load() {
		events, err := b.poll.wait()
		if err != nil {
			return err
		}
		for i := range events {
			fd := int(events[i].Fd)
			if fd == b.listener {
				err = b.accept()
			} else {
				err = b.talk(fd)
			}
			if err != nil {
				return fmt.Errorf("backend: %w", err)
			}
		}
	}
	return nil
}

func (b *backend) accept() error {
	for {
		fd, errno := accept(b.listener)
		switch {
		case errno == unix.EAGAIN:
			return nil
		case errno == unix.ECONNABORTED:
			continue
		case errno != 0:
			return errno
		case fd >= len(b.served):
			return fmt.Errorf("descriptor %d of %d", fd, len(b.served))
		}
		b.open.Add(1)
		b.served[fd].kind, b.served[fd].n = 0, 0
		if err := b.poll.watch(fd, fd, unix.EPOLLIN); err != nil {
			return err
		}
		if err := b.talk(fd); err != nil { // the first bytes are often there
			return err
		}
	}
}

// talk reads of a message, and answers it when all of it is there.
func (b *backend) talk(fd int) error {
	s := &b.served[fd]
	n, errno := receive(fd, s.message[s.n:])
	if errno == unix.EAGAIN {
		return nil
	}
	if errno != 0 || n == 0 {
		b.end(fd, errno != 0 || s.n != 0)
		return nil
	}
	if s.kind == 0 {
		s.kind = s.message[0]
		if handled, err := b.begin(fd, s.kind, n); handled {
			return err
		}
	}
	if s.n += n; s.n < messageSize {
		return nil
	}
	s.n = 0
	if n, errno := send(fd, s.message[:]); errno != 0 || n != messageSize {
		b.end(fd, true)
		return nil
	}
	if s.kind == closes {
		b.end(fd, false)
	}
	return nil
}

// begin makes a connection a stream with a thread of its own, if that is what its first byte asks for. So many bytes were there.
func (b *backend) begin(fd int, kind byte, n int) (bool, error) {
	switch kind {
	case echoes, closes:
		return false, nil
	case swallows:
		b.received.Add(int64(n))
	case pours:
	default:
		return true, fmt.Errorf("a connection begins with %q", kind)
	}
	if err := errors.Join(b.poll.forget(fd), block(fd)); err != nil {
		return true, err
	}
	go b.stream(fd, kind)
	return true, nil
}

// stream is a stream at this end.
func (b *backend) stream(fd int, kind byte) {
	buf := make([]byte, bufferSize)
	var err error
	if kind == pours {
		err = pour(fd, buf, &b.sent, &b.ending)
	} else {
		err = swallow(fd, buf, &b.received)
	}
	b.end(fd, err != nil)
}

func (b *backend) end(fd int, reset bool) {
	shut(fd)
	if reset {
		b.resets.Add(1)
	}
	b.open.Add(-1)
}

// begins makes the counters those of a new measurement, while there is no connection.
func (b *backend) begins() {
	b.received.Store(0)
	b.sent.Store(0)
	b.resets.Store(0)
	b.ending.Store(false)
}

// settle waits until so many connections are open. It fails when they are not in time, or one has ended as none should.
func (b *backend) settle(open int) error {
	if err := b.await(open); err != nil {
		return err
	}
	if n := b.resets.Load(); n > 0 {
		return fmt.Errorf("%d connections ended at the backend in a reset or amid a message", n)
	}
	return nil
}

func (b *backend) await(open int) error {
	for end := time.Now().Add(patience); b.open.Load() != int64(open); time.Sleep(time.Millisecond) {
		select {
		case err := <-b.ended:
			b.ended <- err
			return err
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("the backend has %d connections, and should %d", b.open.Load(), open)
		}
	}
	return nil
}
