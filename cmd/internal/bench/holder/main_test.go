//go:build linux

package main

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func name(sa unix.Sockaddr) string {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr).String()
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).String()
	}
	return "?"
}

// A holder opens what it is told, the kinds in turns, and the peers go round.
func TestOpen(t *testing.T) {
	first, err := unix.Dup(0) // the descriptors that follow are the holder's
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(first)
	h := holder{connections: 12, first: 3, peers: 2, families: "mixed", keepalive: 0.5}
	err = h.open()
	got, keepalive := map[string]int{}, 0
	for fd := first; fd < first+100; fd++ {
		on, optErr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		if peer, err := unix.Getpeername(fd); err == nil && optErr == nil {
			got[name(peer)]++
			keepalive += on
		}
	}
	for fd := first; fd < first+100; fd++ { // not before: the end of one is the end of the other
		if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE); err == nil {
			unix.Close(fd)
		}
	}
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Skipf("this kernel has no IPv6: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"127.1.0.1": 2, "127.1.0.2": 2, "127.0.0.1": 4,
		"::1":              8,
		"::ffff:127.1.0.1": 2, "::ffff:127.1.0.2": 2, "::ffff:127.0.0.1": 4,
	}
	for peer, n := range want {
		if got[peer] != n {
			t.Errorf("%d sockets with peer %s, want %d", got[peer], peer, n)
		}
	}
	if len(got) != len(want) || keepalive != 6 {
		t.Errorf("peers %v; %d sockets with keepalive, want 6", got, keepalive)
	}
}

func TestChosen(t *testing.T) {
	for _, c := range []struct {
		share float64
		want  int
	}{{0, 0}, {0.25, 250}, {0.5, 500}, {1, 1000}} {
		n := 0
		for i := range 1000 {
			if chosen(i, c.share) {
				n++
			}
		}
		if n != c.want {
			t.Errorf("share %v: %d of 1000", c.share, n)
		}
	}
}

// A million peers are all loopback, and no two are one.
func TestPeer(t *testing.T) {
	if first, last := peer(0), peer(999_999); first != [4]byte{127, 1, 0, 1} || last != [4]byte{127, 16, 66, 64} {
		t.Errorf("from %v to %v", first, last)
	}
}
