package netlinkss

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Attributes that the socket's owner can read too.
func TestKernelAttrs(t *testing.T) {
	c := dialTest(t, nil)
	eachLoopback(t, func(t *testing.T, l loopback) {
		client, server := l.pair(t, congestion("reno"), set(unix.IPPROTO_IP, unix.IP_TOS, 0x10))
		if l.domain == unix.AF_INET6 {
			set(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0x20)(client)
		}
		server.write("hello")
		must(t, unix.Shutdown(client.fd, unix.SHUT_RD))
		eventually(t, func() error {
			s, err := dumpOne(c, Request{Attrs: 0x1fe}, withCookie(client.cookie))
			if err != nil {
				return err
			}
			return checkAttrs(t, s, l, client)
		})
	})
}

func congestion(name string) option {
	return func(s *sock) {
		s.t.Helper()
		must(s.t, unix.SetsockoptString(s.fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name))
	}
}

func checkAttrs(t *testing.T, s *Socket, l loopback, client *sock) error {
	option := func(level, name int) int {
		v, err := unix.GetsockoptInt(client.fd, level, name)
		must(t, err)
		return v
	}
	always := AttrMemInfo | AttrInfo | AttrCong | AttrTOS | AttrSkMem | AttrShutdown
	switch {
	case !s.Has(always):
		return fmt.Errorf("some of the attributes %b are missing: %s", always, text(s))
	case s.Congestion.String() != "reno":
		return fmt.Errorf("congestion control %s", s.Congestion)
	case s.TOS != 0x10:
		return fmt.Errorf("TOS %#x", s.TOS)
	case s.Has(AttrTClass) != (l.domain == unix.AF_INET6) || s.Has(AttrTClass) && s.TClass != 0x20:
		return fmt.Errorf("traffic class: %v, %#x", s.Has(AttrTClass), s.TClass)
	case s.Has(AttrV6Only) && s.V6Only != 0:
		return fmt.Errorf("v6only %d", s.V6Only)
	case s.Shutdown != ShutdownRecv:
		return fmt.Errorf("shutdown %d", s.Shutdown)
	case s.SkMem.RcvBuf != uint32(option(unix.SOL_SOCKET, unix.SO_RCVBUF)) || s.SkMem.SndBuf != uint32(option(unix.SOL_SOCKET, unix.SO_SNDBUF)):
		return fmt.Errorf("buffers %+v", s.SkMem)
	case s.RecvQ != 5 || s.SkMem.RMemAlloc == 0:
		return fmt.Errorf("Recv-Q %d, %+v", s.RecvQ, s.SkMem)
	case s.Has(AttrMark) != capable(t, unix.CAP_NET_ADMIN):
		return fmt.Errorf("mark: %v", s.Has(AttrMark))
	}
	return nil
}

// capable reports whether the caller has a capability.
func capable(t testing.TB, capability uint) bool {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	must(t, unix.Capget(&header, &data[0]))
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

func TestKernelMark(t *testing.T) {
	if !capable(t, unix.CAP_NET_ADMIN) {
		t.Skip("needs CAP_NET_ADMIN, to set a mark and to see it")
	}
	c := dialTest(t, nil)
	s := loopbacks[0].listen(t, 1, set(unix.SOL_SOCKET, unix.SO_MARK, 0x5ead))
	got, err := dumpOne(c, Request{Attrs: AttrMark}, withCookie(s.cookie))
	if err != nil || !got.Has(AttrMark) || got.Mark != 0x5ead {
		t.Errorf("got %v, error %v", got, err)
	}
}

func TestKernelV6Only(t *testing.T) {
	l := loopbacks[1]
	l.need(t)
	c := dialTest(t, nil)
	for only := range 2 {
		s := l.socket(t, set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only))
		// Bound to one address it would be IPv6 only whatever is set.
		must(t, unix.Bind(s.fd, &unix.SockaddrInet6{}))
		must(t, unix.Listen(s.fd, 1))
		got, err := dumpOne(c, Request{Attrs: AttrV6Only}, withCookie(s.cookie))
		if err != nil || !got.Has(AttrV6Only) || int(got.V6Only) != only {
			t.Errorf("%d: got %v, error %v", only, got, err)
		}
	}
}

// A socket bound to an interface shows its index.
func TestKernelInterface(t *testing.T) {
	c := dialTest(t, nil)
	bind := func(s *sock) {
		if err := unix.BindToDevice(s.fd, "lo"); errors.Is(err, unix.EPERM) {
			t.Skip("Linux before 5.7 wants privilege for SO_BINDTODEVICE")
		} else {
			must(t, err)
		}
	}
	s := loopbacks[0].listen(t, 1, bind)
	got, err := dumpOne(c, Request{}, withCookie(s.cookie))
	if err != nil || got.Interface == 0 {
		t.Errorf("got %v, error %v", got, err)
	}
	again, err := c.Lookup(background, Request{}, Inet, got.Local, got.Peer, got.Interface, got.Cookie)
	if err != nil || again.Inode != s.inode {
		t.Errorf("lookup: got %v, error %v", again, err)
	}
}

// Encoding what the kernel sent loses nothing that a Socket holds.
func TestKernelRoundTrip(t *testing.T) {
	c := dialTest(t, nil)
	loopbacks[0].pair(t)
	var again Socket
	for s, err := range c.Dump(background, Request{Attrs: 0x1fe}) {
		must(t, err)
		b := AppendEncode(nil, s)
		if err := Decode(b, &again); err != nil || again != *s {
			t.Errorf("error %v\ngot  %s\nwant %s", err, text(&again), text(s))
		}
		if !bytes.Equal(AppendEncode(nil, &again), b) {
			t.Errorf("encodes differently: %s", text(s))
		}
	}
}

// A dump of the real kernel that was left early is drained: without that it answers EBUSY.
func TestKernelDumpAfterBreak(t *testing.T) {
	c := dialTest(t, nil)
	s := loopbacks[0].crowd(t, 60)
	for range 3 {
		for _, err := range c.Dump(background, Request{Attrs: AttrInfo}) {
			must(t, err)
			break
		}
		got, err := dumpOne(c, Request{}, withCookie(s.cookie))
		if err != nil || got.Inode != s.inode {
			t.Fatalf("got %v, error %v", got, err)
		}
	}
}

// crowd makes more sockets than one message of a dump has room for, and returns the last.
func (l loopback) crowd(t testing.TB, n int) (last *sock) {
	for range n {
		last = l.listen(t, 1)
	}
	return last
}

func TestKernelDumpClosed(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		c := dialTest(t, nil)
		must(t, c.Close())
		must(t, c.Close())
		if got, err := inodes(c, Request{}); !errors.Is(err, unix.EBADF) || len(got) > 0 {
			t.Errorf("got %v, error %v, want EBADF", got, err)
		}
		if _, err := c.NetnsCookie(); !errors.Is(err, unix.EBADF) {
			t.Errorf("NetnsCookie: error %v, want EBADF", err)
		}
		if _, err := c.Lookup(background, Request{}, Inet, loopbacks[0].none(), loopbacks[0].none(), 0, 0); !errors.Is(err, unix.EBADF) {
			t.Errorf("Lookup: error %v, want EBADF", err)
		}
	})
	t.Run("inside the loop", func(t *testing.T) {
		c := dialTest(t, nil)
		loopbacks[0].crowd(t, 60)
		var last error
		for _, err := range c.Dump(background, Request{Attrs: AttrInfo}) {
			must(t, c.Close())
			last = err
		}
		if !errors.Is(last, unix.EBADF) {
			t.Errorf("ended with error %v, want EBADF", last)
		}
	})
}

// A protocol that no kernel has is refused, not empty.
func TestKernelUnknownProtocol(t *testing.T) {
	c := dialTest(t, nil)
	for _, r := range []Request{{Protocol: 200}, {Protocol: 200, Family: Inet}} {
		if got, err := inodes(c, r); !errors.Is(err, ErrNotSupported) || len(got) > 0 {
			t.Errorf("%+v: got %v, error %v, want ErrNotSupported", r, got, err)
		}
	}
}

func TestKernelMPTCP(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_MPTCP)
	if err != nil {
		t.Skipf("no MPTCP: %v", err)
	}
	s := own(t, fd)
	must(t, unix.Bind(s.fd, loopbacks[0].sockaddr(0)))
	must(t, unix.Listen(s.fd, 1))
	c := dialTest(t, nil)
	got, err := dumpOne(c, Request{Protocol: ProtocolMPTCP}, func(x *Socket) bool { return x.Inode == s.inode })
	if errors.Is(err, ErrNotSupported) {
		t.Skipf("no mptcp_diag: %v", err)
	}
	if err != nil || got.Local != s.local() || got.State != Listen {
		t.Errorf("got %v, error %v", got, err)
	}
	sub, err := dumpOne(c, Request{Attrs: AttrInfo}, func(x *Socket) bool { return x.Local == s.local() })
	if err != nil || sub.Inode != s.inode {
		t.Errorf("its subflow: got %v, error %v", sub, err)
	}
}

func TestKernelNetnsCookie(t *testing.T) {
	c := dialTest(t, nil)
	got, err := c.NetnsCookie()
	if errors.Is(err, unix.ENOPROTOOPT) && kernelBefore(t, 5, 14) {
		t.Skip("Linux 5.14 was the first with SO_NETNS_COOKIE")
	}
	must(t, err)
	s := loopbacks[0].socket(t)
	want, err := unix.GetsockoptUint64(s.fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil || got != want || got == 0 {
		t.Errorf("got %d, a socket of ours has %d, error %v", got, want, err)
	}
}

// What a tap sees is what a dump reads, and is read again as one.
func TestKernelTap(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	c := dialTest(t, nil)
	var seen bytes.Buffer
	c.Tap(func(b []byte) { seen.Write(b) })
	var direct, again []uint64
	for s, err := range c.Dump(t.Context(), Request{Attrs: AttrInfo, States: Listen.Mask()}) {
		must(t, err)
		direct = append(direct, s.Cookie)
	}
	for s, err := range Replay(&seen) {
		must(t, err)
		again = append(again, s.Cookie)
	}
	if len(direct) == 0 || !slices.Equal(direct, again) {
		t.Errorf("read %x, tapped %x", direct, again)
	}
}
