//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A stream is a thread at each end that waits in the socket. A thread with several would run beside that of the other end, on
// another processor; so the kernel puts both ends of a stream to where its bytes are in the cache.

// bufferSize is how much a stream reads or writes at once, in bytes.
const bufferSize = 256 << 10

// streams are connections that each send one way as fast as they can.
type streams struct {
	b              *backend
	others         int // connections that are open beside
	lanes          []lane
	ended          chan error // of each lane
	sent, received atomic.Int64
	ending         atomic.Bool
}

type lane struct {
	fd   int
	down bool
}

// newStreams opens so many streams to the backend and from it, while so many other connections are open.
func newStreams(to *address, b *backend, up, down, others int) (*streams, error) {
	s := &streams{b: b, others: others, ended: make(chan error, up+down)}
	for i := range up + down {
		fd, err := connect(nil, to)
		if err == nil {
			s.lanes = append(s.lanes, lane{fd, i >= up})
			err = block(fd)
		}
		if err != nil {
			s.close()
			return nil, fmt.Errorf("stream %d: %w", i, err)
		}
	}
	return s, nil
}

func (s *streams) close() {
	for _, l := range s.lanes {
		shut(l.fd)
	}
}

// block has calls wait for a socket, but not for ever.
func block(fd int) error {
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	return errors.Join(
		unix.SetNonblock(fd, false),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
	)
}

// moved is how many bytes have arrived, both ways together.
func (s *streams) moved() int64 { return s.received.Load() + s.b.received.Load() }

// run streams for a time, which begins after a warm-up, calls mark at its beginning and its end, and ends the streams. All
// that was sent has then arrived. It is called once.
func (s *streams) run(ctx context.Context, warm, d time.Duration, mark func() error) error {
	for _, l := range s.lanes {
		go func() { s.ended <- s.stream(l) }()
	}
	err := s.sleep(ctx, warm)
	if err == nil {
		err = mark()
	}
	if err == nil {
		err = s.sleep(ctx, d)
	}
	if err == nil {
		err = mark()
	}
	s.ending.Store(true)
	s.b.ending.Store(true)
	if err != nil {
		for _, l := range s.lanes {
			_ = unix.Shutdown(l.fd, unix.SHUT_RDWR) // it fails when the connection has ended
		}
	}
	for range s.lanes {
		if laneErr := <-s.ended; err == nil {
			err = laneErr
		}
	}
	if err != nil {
		return err
	}
	return s.compare()
}

// sleep waits while all streams go on.
func (s *streams) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return errInterrupted
	case err := <-s.ended:
		s.ended <- err // it is waited for again
		return errors.Join(errors.New("a stream ended too early"), err)
	case <-time.After(d):
		return nil
	}
}

// stream is one stream at this end. The backend ends one that comes down.
func (s *streams) stream(l lane) error {
	buf := make([]byte, bufferSize)
	if !l.down {
		buf[0] = swallows // which is what begins the stream
		if err := pour(l.fd, buf, &s.sent, &s.ending); err != nil {
			return err
		}
		return errors.Join(unix.Shutdown(l.fd, unix.SHUT_WR), swallow(l.fd, buf, &s.received))
	}
	if _, err := unix.Write(l.fd, []byte{pours}); err != nil {
		return err
	}
	return swallow(l.fd, buf, &s.received)
}

// pour writes until it is told to end, and counts.
func pour(fd int, buf []byte, sent *atomic.Int64, ending *atomic.Bool) error {
	for !ending.Load() {
		n, err := unix.Write(fd, buf)
		if n > 0 {
			sent.Add(int64(n))
		}
		if err := waited(err); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	return nil
}

// swallow reads to the end, and counts.
func swallow(fd int, buf []byte, received *atomic.Int64) error {
	for {
		n, err := unix.Read(fd, buf)
		if n > 0 {
			received.Add(int64(n))
		}
		if err := waited(err); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if n == 0 && err == nil {
			return nil
		}
	}
}

// waited is an error of a call that waits: the limit has a name, and a signal is none.
func waited(err error) error {
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("no byte has moved for %s", patience)
	}
	return err
}

// compare holds that what arrived is what was sent. A relay may end the sender's connection while its last bytes are on
// their way to the backend.
func (s *streams) compare() error {
	if err := s.b.settle(s.others); err != nil {
		return err
	}
	up, down := s.sent.Load(), s.b.sent.Load()
	if n := s.b.received.Load(); n != up {
		return fmt.Errorf("%d bytes went up, and %d arrived", up, n)
	}
	if n := s.received.Load(); n != down {
		return fmt.Errorf("%d bytes came down, and %d arrived", down, n)
	}
	return nil
}
