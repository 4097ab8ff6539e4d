//go:build linux

package pipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// A Listener is a listening socket for [Proxy.Serve]. It is safe for concurrent use.
type Listener struct {
	fd        int
	addr      string
	tcp       bool
	plain     bool   // TCP, and not Multipath TCP
	inherited bool   // others may hold it as well, and go on with it
	path      string // of the unix socket, to be removed at the end

	close sync.Once
	err   error
}

// Listen announces on addr, which is as in [Config.Targets], for a proxy with the configuration c; Targets need not be
// set. The sockets that it accepts have keepalive and user timeout as c says, in leaky mode as the leak has them, already
// while they wait to be accepted. Multipath TCP is off: a diagnosis by TCP sockets could not see it.
//
// A unix socket that nobody listens on any more is replaced.
func Listen(ctx context.Context, addr string, c Config) (*Listener, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if path, ok := unixPath(addr); ok {
		return listenUnix(ctx, path, c)
	}
	// Linux hands a listener's options down to what it accepts. KeepAlive -1 keeps package net from setting its own.
	lc := net.ListenConfig{KeepAlive: -1, Control: c.withDefaults().sockopts().control}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return takeListener(ln.(*net.TCPListener))
}

func listenUnix(ctx context.Context, path string, c Config) (*Listener, error) {
	if c.Mode == Leaky {
		return nil, errors.New("listen: the leaky mode is for TCP alone")
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // or the copy's file would go as well
	l, err := takeListener(ln.(*net.UnixListener))
	if err == nil && !strings.HasPrefix(path, "@") {
		l.path = path
	}
	return l, err
}

// removeStale removes the socket at path if nobody listens on it, which is what a killed process leaves behind.
func removeStale(path string) error {
	if fi, err := os.Lstat(path); err != nil || fi.Mode().Type() != os.ModeSocket {
		return nil // absent, or not ours to remove: listening will tell
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		return cmp.Or(conn.Close(), nil)
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return os.Remove(path)
	}
	return nil
}

// takeListener takes the socket of ln out of the care of package net, whose poller would be woken in vain by each
// connection.
func takeListener(ln interface {
	net.Listener
	File() (*os.File, error)
}) (*Listener, error) {
	f, err := ln.File()
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err := errors.Join(err, f.Close(), ln.Close()); err != nil {
		return nil, err
	}
	return newListener(fd)
}

// newListener describes the listening socket fd, and owns it from then on.
func newListener(fd int) (*Listener, error) {
	l := &Listener{fd: fd}
	sa, err := unix.Getsockname(fd)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listener: %w", err), unix.Close(fd))
	}
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listener: %w", err), unix.Close(fd))
	}
	l.plain = proto == unix.IPPROTO_TCP
	_, isUnix := sa.(*unix.SockaddrUnix)
	l.tcp, l.addr = !isUnix, addrString(sa)
	return l, nil
}

// Inherited returns the listeners that a service manager has passed on (LISTEN_FDS, sd_listen_fds(3)), none if there
// are none, with the options that c asks for. Another process may go on with them when this one has ended. It fails on
// what is not a listening stream socket.
func Inherited(c Config) ([]*Listener, error) {
	var list []*Listener
	for _, f := range activation.Files(true) {
		l, err := inherit(f, c)
		if err != nil {
			for _, l := range list {
				_ = l.Close()
			}
			return nil, fmt.Errorf("inherited descriptor %s: %w", f.Name(), err)
		}
		list = append(list, l)
	}
	return list, nil
}

func inherit(f *os.File, c Config) (*Listener, error) {
	// Not f.Fd, which would make the socket a blocking one for all who share it.
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	var fd int
	var dupErr error
	err = raw.Control(func(n uintptr) { fd, dupErr = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, dupErr, f.Close()); err != nil {
		return nil, err
	}
	if err := checkListening(fd); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	l, err := newListener(fd)
	if err != nil {
		return nil, err
	}
	l.inherited = true
	if err := l.share(c); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// maxBlock is how long an accept may take that should not wait at all.
const maxBlock = 100 * time.Millisecond

// share prepares a listener that others may hold as well.
func (l *Listener) share(c Config) error {
	// It is nonblocking, until one of them makes it a blocking one, which holds for all. accept sees to that; this is
	// for what happens between two of its system calls.
	limit := unix.NsecToTimeval(maxBlock.Nanoseconds())
	if err := unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if !l.tcp {
		return nil
	}
	return c.withDefaults().sockopts().applyTo(l.fd, l.plain)
}

func checkListening(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return err
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return err
	}
	if kind != unix.SOCK_STREAM || listens == 0 {
		return errors.New("not a listening stream socket")
	}
	return nil
}

// Addr returns the address that l listens on, as [Config.Targets] writes one.
func (l *Listener) Addr() string { return l.addr }

// Close stops listening. [Proxy.Serve] does so itself at its end.
func (l *Listener) Close() error {
	l.close.Do(func() {
		if l.path != "" {
			l.err = os.Remove(l.path)
		}
		l.err = errors.Join(l.err, os.NewSyscallError("close", unix.Close(l.fd)))
	})
	return l.err
}

// netListener returns a copy of l for package net.
func (l *Listener) netListener() (net.Listener, error) {
	fd, err := unix.FcntlInt(uintptr(l.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), l.addr)
	ln, err := net.FileListener(f)
	return ln, errors.Join(err, f.Close())
}

// accept returns the next connection, or an error that is unix.EAGAIN when there is none.
func (l *Listener) accept() (int, error) {
	if l.inherited {
		if err := unix.SetNonblock(l.fd, true); err != nil {
			return -1, os.NewSyscallError("fcntl", err)
		}
	}
	// Without the address, which would be allocated anew for each.
	fd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(l.fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// unixPath returns the path of a unix socket's address.
func unixPath(addr string) (string, bool) {
	return strings.CutPrefix(addr, "unix:")
}

// addrString writes sa as [Config.Targets] writes an address.
func addrString(sa unix.Sockaddr) string {
	if s, ok := sa.(*unix.SockaddrUnix); ok {
		return "unix:" + s.Name
	}
	if ap := addrPort(sa); ap.IsValid() {
		return ap.String()
	}
	return ""
}

// addrPort returns the address of an IP socket, and the zero value for another. An IPv4 address is never written as an
// IPv6 one.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch s := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(s.Addr).Unmap()
		if s.ZoneId != 0 && a.Is6() {
			a = a.WithZone(zoneName(s.ZoneId))
		}
		return netip.AddrPortFrom(a, uint16(s.Port))
	}
	return netip.AddrPort{}
}

func zoneName(id uint32) string {
	if ifi, err := net.InterfaceByIndex(int(id)); err == nil {
		return ifi.Name
	}
	return fmt.Sprint(id)
}

// exhausted reports whether err is a lack that may pass when connections end.
func exhausted(err error) bool {
	// ENOSPC is that of epoll_ctl(2): fs.epoll.max_user_watches.
	for _, lack := range [...]syscall.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ENOSPC} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}
