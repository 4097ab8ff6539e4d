//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long nothing may happen before a relay is stuck. Tests have less.
var patience = 10 * time.Second

var errInterrupted = errors.New("interrupted")

// A manner says how connections end.
type manner int

const (
	// keeps has exchange after exchange on one connection.
	keeps manner = iota
	// clientCloses has a connection for each, which the client closes when it has the answer.
	clientCloses
	// backendCloses has a connection for each, which the backend closes behind the answer: the client waits for the end.
	backendCloses
)

// talk exchanges messages over several connections at a time: each message comes back, and is compared.
type talk struct {
	poll   *poller
	to     *address
	slots  []slot
	manner manner
	opened int // slots that have a connection, or had one
	width  int // how many exchanges go on at a time
	active int

	source address // the last that a connection came from, when each comes from another

	message [messageSize]byte
	stamp   uint64
	began   time.Time
	until   time.Duration // since began; no exchange begins later
	last    time.Duration // the end of the last exchange
	taken   []time.Duration
}

// manyTaken is for how many times there is room at once: to make more would stop the generator.
const manyTaken = 1 << 20

// slot is one connection.
type slot struct {
	fd    int // -1: none
	sent  bool
	stamp uint64 // of the message that is under way
	start time.Duration
	n     int
	buf   [messageSize + 1]byte // one more than is to come
}

// newTalk makes a talk over so many connections, none of which is open yet.
func newTalk(to *address, connections int, m manner) (*talk, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	t := &talk{poll: p, to: to, slots: make([]slot, connections), manner: m, source: *addressOf(0), began: time.Now(), taken: make([]time.Duration, 0, manyTaken)}
	for i := range t.slots {
		t.slots[i].fd = -1
	}
	for i := range t.message {
		t.message[i] = byte(i * 7)
	}
	t.message[0] = echoes
	if m == backendCloses {
		t.message[0] = closes
	}
	return t, nil
}

func (t *talk) close() {
	for i := range t.slots {
		t.shut(i)
	}
	t.poll.close()
}

func (t *talk) shut(i int) {
	if t.slots[i].fd >= 0 {
		shut(t.slots[i].fd)
	}
	t.slots[i].fd = -1
}

// open has one exchange over every connection, so many at a time. The connections stay.
func (t *talk) open(ctx context.Context, width int) error {
	t.opened, t.width, t.until = 0, min(width, len(t.slots)), 0
	return t.run(ctx)
}

// exchange exchanges messages over all connections for a time, waits for the last answers, and returns how long all that took.
func (t *talk) exchange(ctx context.Context, d time.Duration) (time.Duration, error) {
	start := time.Since(t.began)
	t.opened, t.width, t.until, t.taken = len(t.slots), len(t.slots), start+d, t.taken[:0]
	err := t.run(ctx)
	return t.last - start, err
}

func (t *talk) run(ctx context.Context) error {
	t.last = time.Since(t.began)
	for i := range t.width {
		if err := t.begin(i); err != nil {
			return err
		}
	}
	for t.active > 0 {
		events, err := t.poll.wait()
		if err != nil {
			return err
		}
		for i := range events {
			if err := t.ready(int(events[i].Fd), events[i].Events); err != nil {
				return fmt.Errorf("connection %d: %w", events[i].Fd, err)
			}
		}
		if ctx.Err() != nil {
			return errInterrupted
		}
		if time.Since(t.began)-t.last > patience {
			return fmt.Errorf("no answer for %s on any of %d connections", patience, t.active)
		}
	}
	return nil
}

// begin begins an exchange in slot i, on its connection if it has one.
func (t *talk) begin(i int) (err error) {
	s := &t.slots[i]
	s.start, s.n = time.Since(t.began), 0
	t.active++
	if s.fd >= 0 {
		return t.send(i)
	}
	t.opened = max(t.opened, i+1)
	if s.fd, err = connect(t.from(), t.to); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err := t.send(i); err != nil {
		return err
	}
	return t.poll.watch(s.fd, i, s.wanted())
}

// from is where a connection comes from; nil: as the kernel likes. Connections that this end closes leave their port in TIME-WAIT,
// so there must be more of them than one address has.
func (t *talk) from() *address {
	if t.manner != clientCloses {
		return nil
	}
	t.source.Addr[3] = t.source.Addr[3]%250 + 1
	return &t.source
}

// wanted are the events that the slot waits for.
func (s *slot) wanted() uint32 {
	if s.sent {
		return unix.EPOLLIN | unix.EPOLLRDHUP
	}
	return unix.EPOLLOUT
}

// send sends a message that no other was like. A socket that is not connected yet takes none.
func (t *talk) send(i int) error {
	s := &t.slots[i]
	t.stamp++
	s.stamp = t.stamp
	binary.LittleEndian.PutUint64(t.message[8:], s.stamp)
	n, errno := send(s.fd, t.message[:])
	s.sent = n == messageSize
	if errno != 0 && errno != unix.EAGAIN {
		return fmt.Errorf("send: %w", errno)
	}
	if !s.sent && n > 0 {
		return fmt.Errorf("the socket took %d bytes of %d", n, messageSize)
	}
	return nil
}

// ready goes on with an exchange.
func (t *talk) ready(i int, events uint32) error {
	s := &t.slots[i]
	if !s.sent {
		if err := t.send(i); err != nil {
			return err
		}
		return t.poll.change(s.fd, i, s.wanted())
	}
	asked := len(s.buf) - s.n
	n, errno := receive(s.fd, s.buf[s.n:])
	if errno == unix.EAGAIN {
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("receive: %w", errno)
	}
	s.n += n
	// A read that did not fill the buffer has taken all that was before the end.
	ended := n == 0 || events&unix.EPOLLRDHUP != 0 && n < asked
	switch {
	case s.n > messageSize:
		return errors.New("more came back than was sent")
	case ended && (t.manner != backendCloses || s.n < messageSize):
		return fmt.Errorf("it ended after %d bytes of %d", s.n, messageSize)
	case s.n < messageSize || t.manner == backendCloses && !ended:
		return nil
	}
	return t.finish(i)
}

// finish compares what came back, and begins the next exchange if there is to be one.
func (t *talk) finish(i int) error {
	s := &t.slots[i]
	binary.LittleEndian.PutUint64(t.message[8:], s.stamp)
	if !bytes.Equal(s.buf[:messageSize], t.message[:]) {
		return errors.New("what came back is not what was sent")
	}
	if t.manner != keeps {
		t.shut(i)
	}
	t.active--
	t.last = time.Since(t.began)
	t.taken = append(t.taken, t.last-s.start)
	switch {
	case t.opened < len(t.slots):
		return t.begin(t.opened)
	case t.last < t.until:
		return t.begin(i)
	}
	return nil
}
