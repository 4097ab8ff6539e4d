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
)

// The sisters of the bug in leaky.go have keepalive on, so that each shows what it alone leaves behind. They are programs
// that wait in reads and writes, a thread for each direction. A connection that one of them has forgotten is kept from
// the collector, as a list of sessions would keep it, until Serve ends.

// A joint is two joined connections of one of the sisters.
type joint struct {
	*session
	client, server jointEnd

	once sync.Once
	over chan struct{} // closed at the end of Serve
}

// A jointEnd is one of the two connections.
type jointEnd struct {
	name   string
	conn   *net.TCPConn
	in     source
	passed *passed // bytes written
}

// joint joins client with a new connection to the target and returns, with both closed, what the bug made of them.
func (s *session) joint(ctx context.Context, client *net.TCPConn, trip *trip, bug func(*joint) error) error {
	server, err := s.dial(ctx, trip)
	if err != nil {
		return cmp.Or(err, client.Close())
	}
	j := &joint{session: s, over: make(chan struct{})}
	if err := errors.Join(j.client.init("client", client, &trip.down), j.server.init("server", server, &trip.up)); err != nil {
		return errors.Join(err, client.Close(), server.Close())
	}
	s.add(j)
	defer s.remove(j)
	err = errors.Join(bug(j), j.close())
	select {
	case <-j.over:
		return errCut
	default:
		return err
	}
}

// cut is the end of Serve.
func (j *joint) cut() {
	j.once.Do(func() { close(j.over) })
	_ = j.close() // its error would be that of a program that is ending
}

// close closes what is not yet closed.
func (j *joint) close() error { return errors.Join(j.client.close(), j.server.close()) }

func (e *jointEnd) init(name string, conn *net.TCPConn, passed *passed) error {
	e.name, e.conn, e.passed = name, conn, passed
	raw, err := conn.SyscallConn()
	if err == nil {
		e.in.init(raw)
	}
	return err
}

func (e *jointEnd) close() error {
	if err := e.conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// copyTo is io.Copy: it passes bytes on until e ends, which is no error, or one of the two fails.
func (e *jointEnd) copyTo(to *jointEnd) error {
	for {
		b, err := e.in.read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read from %s: %w", e.name, err)
		}
		err = to.write(b)
		e.in.release()
		if err != nil {
			return err
		}
	}
}

func (e *jointEnd) write(b []byte) error {
	n, err := e.conn.Write(b)
	e.passed.add(n)
	if err != nil {
		return fmt.Errorf("write to %s: %w", e.name, err)
	}
	return nil
}
