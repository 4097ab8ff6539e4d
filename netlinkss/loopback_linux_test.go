package netlinkss

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loopback is a way for a host to speak TCP with itself.
type loopback struct {
	name   string
	domain int
	family Family
	addr   netip.Addr
}

var loopbacks = []loopback{
	{"IPv4", unix.AF_INET, Inet, netip.MustParseAddr("127.0.0.1")},
	{"IPv6", unix.AF_INET6, Inet6, netip.MustParseAddr("::1")},
	{"v4-mapped", unix.AF_INET6, Inet6, netip.MustParseAddr("::ffff:127.0.0.1")},
}

// eachLoopback runs f for each family that the kernel has.
func eachLoopback(t *testing.T, f func(t *testing.T, l loopback)) {
	for _, l := range loopbacks {
		t.Run(l.name, func(t *testing.T) {
			l.need(t)
			f(t, l)
		})
	}
}

// need skips where there is no IPv6.
func (l loopback) need(t testing.TB) {
	t.Helper()
	fd, err := unix.Socket(l.domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, l.sockaddr(0))
		unix.Close(fd)
	}
	if l.family == Inet6 && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
		t.Skipf("no IPv6 loopback: %v", err)
	}
	must(t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l loopback) sockaddr(port uint16) unix.Sockaddr {
	if l.family == Inet {
		return &unix.SockaddrInet4{Port: int(port), Addr: l.addr.As4()}
	}
	return &unix.SockaddrInet6{Port: int(port), Addr: l.addr.As16()}
}

// none is the address of no peer.
func (l loopback) none() netip.AddrPort {
	if l.family == Inet {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
}

// sock is a socket of the test. It does not block.
type sock struct {
	t      testing.TB
	fd     int
	cookie uint64
	inode  uint32
}

// option sets something on a socket before it is used.
type option func(s *sock)

func set(level, name, value int) option {
	return func(s *sock) {
		s.t.Helper()
		must(s.t, unix.SetsockoptInt(s.fd, level, name, value))
	}
}

var (
	keepalive = set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	// stuffed can hold far more than its peer takes unread.
	stuffed = func(s *sock) {
		set(unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)(s)
		set(unix.SOL_SOCKET, unix.SO_SNDBUF, 65536)(s)
	}
)

func (l loopback) socket(t testing.TB, options ...option) *sock {
	t.Helper()
	fd, err := unix.Socket(l.domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	return own(t, fd, options...)
}

// own takes care of a descriptor: what is open at the end is reset, so that nothing of it stays in
// the kernel's tables.
func own(t testing.TB, fd int, options ...option) *sock {
	t.Helper()
	s := &sock{t: t, fd: fd}
	t.Cleanup(func() {
		if s.fd >= 0 {
			s.reset()
		}
	})
	var st unix.Stat_t
	must(t, unix.Fstat(fd, &st))
	s.inode = uint32(st.Ino)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	must(t, err)
	s.cookie = cookie
	for _, o := range options {
		o(s)
	}
	return s
}

func (s *sock) close() {
	s.t.Helper()
	must(s.t, unix.Close(s.fd))
	s.fd = -1
}

// reset closes without a TIME-WAIT.
func (s *sock) reset() {
	s.t.Helper()
	must(s.t, unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	s.close()
}

func (s *sock) shutdown() {
	s.t.Helper()
	must(s.t, unix.Shutdown(s.fd, unix.SHUT_WR))
}

func (s *sock) write(b string) {
	s.t.Helper()
	n, err := unix.Write(s.fd, []byte(b))
	if err != nil || n != len(b) {
		s.t.Fatalf("wrote %d bytes of %d: %v", n, len(b), err)
	}
}

// readAll reads what is there, or up to the end.
func (s *sock) readAll() {
	s.t.Helper()
	for buf := make([]byte, 4096); ; {
		n, err := unix.Read(s.fd, buf)
		if n <= 0 {
			if err != nil && !errors.Is(err, unix.EAGAIN) {
				s.t.Fatal(err)
			}
			return
		}
	}
}

// wait blocks until poll reports the events.
func (s *sock) wait(events int16) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		fds := []unix.PollFd{{Fd: int32(s.fd), Events: events}}
		n, err := unix.Poll(fds, 1000)
		if err != nil && !errors.Is(err, unix.EINTR) {
			s.t.Fatal(err)
		}
		if n > 0 {
			return
		}
	}
	s.t.Fatalf("poll: no event of %#x", events)
}

// local and peer are the socket's own view of its addresses.
func (s *sock) local() netip.AddrPort {
	s.t.Helper()
	sa, err := unix.Getsockname(s.fd)
	must(s.t, err)
	return addrPort(sa)
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func (l loopback) bound(t testing.TB, options ...option) *sock {
	t.Helper()
	s := l.socket(t, options...)
	must(t, unix.Bind(s.fd, l.sockaddr(0)))
	return s
}

func (l loopback) listen(t testing.TB, backlog int, options ...option) *sock {
	t.Helper()
	s := l.bound(t, options...)
	must(t, unix.Listen(s.fd, backlog))
	return s
}

// dial starts to connect, and does not wait for the end of it.
func (l loopback) dial(t testing.TB, to *sock, options ...option) *sock {
	t.Helper()
	s := l.socket(t, options...)
	if err := unix.Connect(s.fd, l.sockaddr(to.local().Port())); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		t.Fatal(err)
	}
	return s
}

func (s *sock) accept(options ...option) *sock {
	s.t.Helper()
	s.wait(unix.POLLIN)
	fd, _, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	must(s.t, err)
	return own(s.t, fd, options...)
}

// pair is a connection. The options are those of its client, and of the listener, whose sockets
// inherit them.
func (l loopback) pair(t testing.TB, options ...option) (client, server *sock) {
	t.Helper()
	listener := l.listen(t, 8, options...)
	client = l.dial(t, listener, options...)
	client.wait(unix.POLLOUT)
	server = listener.accept()
	listener.close()
	return client, server
}

// dialTest opens a connection for a test. No privilege is needed, so a refusal is a failure.
func dialTest(t testing.TB, cfg *Config) *Conn {
	t.Helper()
	c, err := Dial(cfg)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// dumpWhere returns the sockets that match, in a copy each.
func dumpWhere(c *Conn, r Request, match func(*Socket) bool) (found []*Socket, err error) {
	for s, err := range c.Dump(background, r) {
		if err != nil {
			return nil, err
		}
		if match(s) {
			found = append(found, s.Clone())
		}
	}
	return found, nil
}

// dumpOne returns the one socket that matches.
func dumpOne(c *Conn, r Request, match func(*Socket) bool) (*Socket, error) {
	found, err := dumpWhere(c, r, match)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d sockets match, want 1", len(found))
	}
	return found[0], nil
}

func withCookie(cookie uint64) func(*Socket) bool {
	return func(s *Socket) bool { return s.Cookie == cookie }
}
