package netlinkss

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// lookup asks for the socket of v4Record.
func lookup(c *Conn, cookie uint64) (*Socket, error) {
	s := v4Socket()
	return c.Lookup(background, Request{}, Inet, s.Local, s.Peer, s.Interface, cookie)
}

// one answers with a single record.
func one(record []byte) answer {
	return datagrams(func(seq uint32) []byte { return nlmsg(msgByFamily, 0, seq, record...) })
}

func TestLookupFound(t *testing.T) {
	for _, cookie := range []uint64{0, v4Socket().Cookie} {
		c, k := newFake(t, one(v4Record()), one(v4Record()))
		first, err := lookup(c, cookie)
		if err != nil || *first != v4Socket() {
			t.Fatal(first, err)
		}
		asked := cookie
		if asked == 0 {
			asked = ^uint64(0) // INET_DIAG_NOCOOKIE
		}
		sent := k.sent[0]
		if got := uint64(native.Uint32(sent[64:])) | uint64(native.Uint32(sent[68:]))<<32; got != asked {
			t.Errorf("asked for the cookie %x, want %x", got, asked)
		}
		if again, err := lookup(c, cookie); err != nil || again == first {
			t.Errorf("the second answer shares the first one's memory, or failed: %v", err)
		}
	}
}

func TestLookupNotFound(t *testing.T) {
	listener := v4Record()
	copy(listener[6:8], []byte{0, 0})
	copy(listener[24:28], []byte{0, 0, 0, 0})
	listener[1] = byte(Listen)
	otherPort := v4Record()
	otherPort[5]++
	for name, a := range map[string]answer{
		"ENOENT":              fails(unix.ENOENT),
		"ESTALE":              fails(unix.ESTALE),
		"the port's listener": one(listener),
		"another local port":  one(otherPort),
		"acknowledged only":   fails(0),
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newFake(t, a, datagrams(records(1), done))
			if s, err := lookup(c, 5); !errors.Is(err, ErrNotFound) || s != nil {
				t.Errorf("got %v, error %v, want ErrNotFound", s, err)
			}
			got, err := inodes(c, Request{})
			wantInodes(t, got, err, 1)
		})
	}
}

// A listener that was asked for is found: its peer is the zero address.
func TestLookupListener(t *testing.T) {
	record := v4Record()
	copy(record[6:8], []byte{0, 0})
	copy(record[24:28], []byte{0, 0, 0, 0})
	c, _ := newFake(t, one(record))
	s, err := c.Lookup(background, Request{}, Inet, v4Socket().Local, netip.MustParseAddrPort("0.0.0.0:0"), 0, 0)
	if err != nil || s.Local != v4Socket().Local {
		t.Errorf("got %v, error %v", s, err)
	}
}

func TestLookupFails(t *testing.T) {
	malformed := datagrams(func(seq uint32) []byte { return nlmsg(msgByFamily, 0, seq, 2, 1) })
	for name, c := range map[string]struct {
		a    answer
		want error
	}{
		"EPERM":     {fails(unix.EPERM), unix.EPERM},
		"malformed": {malformed, ErrMalformed},
		"silence":   {datagrams(), unix.EAGAIN},
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := newFake(t, c.a, datagrams(records(1), done))
			s, err := lookup(conn, 5)
			var op *OpError
			if s != nil || !errors.Is(err, c.want) || errors.Is(err, ErrNotFound) || !errors.As(err, &op) {
				t.Errorf("got %v, error %v, want %v", s, err, c.want)
			}
			got, err := inodes(conn, Request{})
			wantInodes(t, got, err, 1)
		})
	}
}

// An answer that nobody waited for belongs to no later question.
func TestLookupCancelled(t *testing.T) {
	c, _ := newFake(t, one(recordOf(1)), one(recordOf(2)), datagrams(records(3), done))
	ctx, cancel := context.WithCancel(background)
	cancel()
	want := v4Socket()
	if _, err := c.Lookup(ctx, Request{}, Inet, want.Local, want.Peer, 0, 5); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	if s, err := lookup(c, 5); err != nil || s.Inode != 2 {
		t.Errorf("got %v, error %v", s, err)
	}
	got, err := inodes(c, Request{})
	wantInodes(t, got, err, 3)
}

// A lookup in the middle of a dump that was left drains it first.
func TestLookupAfterBreak(t *testing.T) {
	c, _ := newFake(t, datagrams(records(1), records(2), done), one(recordOf(3)))
	for range c.Dump(background, Request{}) {
		break
	}
	if s, err := lookup(c, 0); err != nil || s.Inode != 3 {
		t.Errorf("got %v, error %v", s, err)
	}
}
