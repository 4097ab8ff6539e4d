package diag

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// loopbackPairs are connections to a listener on a port of its own, the opened and the accepted end of each.
func loopbackPairs(t *testing.T, n int) (pairs [][2]net.Conn, port uint16) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for range n {
		pairs = append(pairs, loopbackPair(t, l))
	}
	return pairs, l.Addr().(*net.TCPAddr).AddrPort().Port()
}

func loopbackPair(t *testing.T, l net.Listener) (pair [2]net.Conn) {
	t.Helper()
	for i, open := range []func() (net.Conn, error){
		func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }, l.Accept,
	} {
		c, err := open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		pair[i] = c
	}
	return pair
}

// onPort are the sockets of both ends, as the kernel lists them.
func onPort(t *testing.T, port uint16) (list []*netlinkss.Socket) {
	t.Helper()
	c, err := netlinkss.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for s, err := range c.Dump(t.Context(), netlinkss.Request{Attrs: netlinkss.AttrInfo}) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Local.Port() == port || s.Peer.Port() == port {
			list = append(list, s.Clone())
		}
	}
	return list
}

// The kernel's own counters tell what is silent: a byte that is written and not read moves both ends, one that is read moves that end.
func TestKernelCompare(t *testing.T) {
	pairs, port := loopbackPairs(t, 6)
	write := func(c net.Conn) {
		t.Helper()
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range pairs {
		write(p[0])
	}
	settled := func(done func([]*netlinkss.Socket) bool) []*netlinkss.Socket {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			list := onPort(t, port)
			if done(list) {
				return list
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d sockets, not as they should be", len(list))
			}
		}
	}
	count := func(list []*netlinkss.Socket, is func(*netlinkss.Socket) bool) (n int) {
		for _, s := range list {
			if is(s) {
				n++
			}
		}
		return n
	}
	before := settled(func(list []*netlinkss.Socket) bool {
		return count(list, func(s *netlinkss.Socket) bool { return s.State == netlinkss.Estab && s.SendQ > 0 }) == 0 &&
			count(list, func(s *netlinkss.Socket) bool { return s.State == netlinkss.Estab && s.RecvQ == 5 }) == 6
	})
	write(pairs[0][0])
	if _, err := io.ReadFull(pairs[1][1], make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := pairs[2][0].(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	after := settled(func(list []*netlinkss.Socket) bool {
		return count(list, func(s *netlinkss.Socket) bool { return s.State == netlinkss.CloseWait }) == 1 &&
			count(list, func(s *netlinkss.Socket) bool { return s.State == netlinkss.FinWait2 }) == 1 &&
			count(list, func(s *netlinkss.Socket) bool { return s.State == netlinkss.Estab && s.SendQ > 0 }) == 0
	})
	d := compared(t, &Side{Sockets: slices.Values(before), Whole: true}, &Side{Sockets: slices.Values(after), Whole: true})
	if want := (Turnover{Known: true, Stayed: 12, Moved: 3, Changed: 2, Silent: 7}); d.Turnover != want {
		t.Errorf("%+v, want %+v", d.Turnover, want)
	}
}
