package procfd

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loopback is a way for a host to speak TCP with itself.
type loopback struct {
	name   string
	domain int
	addr   netip.Addr
}

var loopbacks = []loopback{
	{"IPv4", unix.AF_INET, netip.MustParseAddr("127.0.0.1")},
	{"IPv6", unix.AF_INET6, netip.MustParseAddr("::1")},
	{"v4-mapped", unix.AF_INET6, netip.MustParseAddr("::ffff:127.0.0.1")},
}

// ipv4 is in every kernel.
var ipv4 = loopbacks[0]

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
	if l.domain == unix.AF_INET6 && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
		t.Skipf("no IPv6 loopback: %v", err)
	}
	must(t, err)
}

func (l loopback) sockaddr(port int) unix.Sockaddr {
	if l.domain == unix.AF_INET {
		return &unix.SockaddrInet4{Port: port, Addr: l.addr.As4()}
	}
	return &unix.SockaddrInet6{Port: port, Addr: l.addr.As16()}
}

// unspecified is the address of a socket that has none.
func (l loopback) unspecified() netip.AddrPort {
	if l.domain == unix.AF_INET {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
}

// sock is a socket of the test itself. It does not block.
type sock struct {
	t  testing.TB
	fd int
}

func (l loopback) socket(t testing.TB) *sock { return open(t, l.domain, unix.SOCK_STREAM, 0) }

func open(t testing.TB, domain, typ, protocol int) *sock {
	t.Helper()
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	must(t, err)
	return own(t, fd)
}

func own(t testing.TB, fd int) *sock {
	s := &sock{t: t, fd: fd}
	t.Cleanup(s.close)
	return s
}

func (s *sock) close() {
	if s.fd >= 0 {
		must(s.t, unix.Close(s.fd))
		s.fd = -1
	}
}

// reset closes the socket with a RST to the peer.
func (s *sock) reset() {
	s.t.Helper()
	must(s.t, unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	s.close()
}

func (s *sock) set(level, name, value int) {
	s.t.Helper()
	must(s.t, unix.SetsockoptInt(s.fd, level, name, value))
}

// addr is the socket's own address.
func (s *sock) addr() netip.AddrPort {
	s.t.Helper()
	sa, err := unix.Getsockname(s.fd)
	must(s.t, err)
	return addrPort(sa)
}

func (s *sock) port() int { return int(s.addr().Port()) }

// wait blocks until poll reports one of the events, or an error or hang-up of the socket.
func (s *sock) wait(events int16) {
	s.t.Helper()
	must(s.t, wait(s.fd, events))
}

func wait(fd int, events int16) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(fds, 1000)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
	return unix.ETIMEDOUT
}

func (l loopback) bound(t testing.TB, s *sock) *sock {
	t.Helper()
	must(t, unix.Bind(s.fd, l.sockaddr(0)))
	return s
}

func (l loopback) listen(t testing.TB) *sock {
	t.Helper()
	return listen(l.bound(t, l.socket(t)))
}

func listen(s *sock) *sock {
	s.t.Helper()
	must(s.t, unix.Listen(s.fd, 8))
	return s
}

func (s *sock) accept() *sock {
	s.t.Helper()
	s.wait(unix.POLLIN)
	fd, _, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	must(s.t, err)
	return own(s.t, fd)
}

// connect waits for the end of it, whatever that is.
func (l loopback) connect(s *sock, port int) {
	s.t.Helper()
	if err := unix.Connect(s.fd, l.sockaddr(port)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		s.t.Fatal(err)
	}
	s.wait(unix.POLLOUT)
}

func (l loopback) pair(t testing.TB) (client, server *sock) {
	t.Helper()
	listener := l.listen(t)
	client = l.socket(t)
	l.connect(client, listener.port())
	server = listener.accept()
	listener.close()
	return client, server
}

// pairWith connects a socket of the child to one of the test.
func (l loopback) pairWith(c *child) (fd int, peer *sock) {
	c.t.Helper()
	listener := l.listen(c.t)
	fd = c.do("socket", l.domain, unix.SOCK_STREAM, 0)
	for i := range loopbacks {
		if loopbacks[i] == l {
			c.do("connect", fd, i, listener.port())
		}
	}
	peer = listener.accept()
	listener.close()
	return fd, peer
}

// ask asks one of the test's own sockets, through a pidfd of the test.
func (s *sock) ask() *Answer {
	s.t.Helper()
	inode, err := inodeOf(s.fd)
	must(s.t, err)
	a, err := newAsker(s.t, os.Getpid()).Socket(SocketFD{FD: s.fd, Inode: inode})
	must(s.t, err)
	return a
}

// ioUring sets up the smallest ring. struct io_uring_params is 120 bytes, all zero.
func ioUring() (int, error) {
	var params [120]byte
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params[0])), 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil // closed on exec by itself
}

// registerFiles has a ring hold files (IORING_REGISTER_FILES); -1 leaves a place free.
func registerFiles(ring int, files []int) error {
	fds := make([]int32, len(files))
	for i, fd := range files {
		fds[i] = int32(fd)
	}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(ring), 2, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
