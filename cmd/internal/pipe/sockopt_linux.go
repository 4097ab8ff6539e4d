package pipe

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockopts are the options of a socket. They are set in the socket's Control call, before it connects, so that they
// hold for the handshake too.
type sockopts struct {
	noDelay     bool
	keepAlive   bool
	idle        int // TCP_KEEPIDLE, seconds
	interval    int // TCP_KEEPINTVL, seconds
	count       int // TCP_KEEPCNT
	userTimeout int // TCP_USER_TIMEOUT, milliseconds; 0: untouched
}

// sockopts returns the options for both sides of a connection. c has its defaults.
func (c Config) sockopts() sockopts {
	switch {
	case c.Mode == Leaky && c.Leak == NoTimeout:
		return sockopts{}
	case c.Mode == Leaky:
		// A sister of that bug, which must not show it as well. The peer's answers are the only clock of a socket in
		// CLOSE-WAIT, so they may not come more often than a scan has patience.
		return sockopts{keepAlive: true, idle: 300, interval: 15, count: 4}
	}
	o := sockopts{noDelay: true, keepAlive: c.KeepAlive > 0}
	if o.keepAlive {
		o.idle = ceil(c.KeepAlive, time.Second)
		o.interval = ceil(c.KeepAliveInterval, time.Second)
		o.count = c.KeepAliveCount
	}
	if c.UserTimeout > 0 {
		o.userTimeout = ceil(c.UserTimeout, time.Millisecond)
	}
	return o
}

func ceil(d, unit time.Duration) int {
	n := d / unit
	if d%unit > 0 {
		n++
	}
	return int(n)
}

// control has the signature of net.Dialer.Control and net.ListenConfig.Control.
func (o sockopts) control(_, _ string, c syscall.RawConn) error {
	return o.set(c)
}

func (o sockopts) set(c syscall.RawConn) error {
	var err error
	cerr := c.Control(func(fd uintptr) { err = o.apply(int(fd)) })
	return errors.Join(cerr, err)
}

// applyTo sets the options of a socket that is plain TCP, or else Multipath TCP, which does not know all of them.
func (o sockopts) applyTo(fd int, plain bool) error {
	err := o.apply(fd)
	if !plain && (errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP)) {
		return nil
	}
	return err
}

func (o sockopts) apply(fd int) error {
	if o.noDelay { // what a peer has sent is not for us to hold back; package net does so for the leaky mode
		if err := setInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return err
		}
	}
	if !o.keepAlive {
		if err := setInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0); err != nil {
			return err
		}
	} else if err := o.applyKeepAlive(fd); err != nil {
		return err
	}
	if o.userTimeout == 0 {
		return nil
	}
	return setInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, o.userTimeout)
}

func (o sockopts) applyKeepAlive(fd int) error {
	// The times come first: SO_KEEPALIVE starts the timer with whatever they are.
	for _, opt := range [...]struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, o.someIdle()},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, o.interval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, o.count},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	} {
		if err := setInt(fd, opt.level, opt.name, opt.value); err != nil {
			return err
		}
	}
	return nil
}

// someIdle is the keepalive time of one socket: up to a quarter less than asked for, so that connections made at the same
// time are not probed at the same time. The kernel's timers would fire thousands of probes in one tick, and loopback and
// veth devices drop what is more than 1000 packets (net.core.netdev_max_backlog), probe after probe of the same peers,
// until those count as dead.
func (o sockopts) someIdle() int {
	return o.idle - rand.IntN(o.idle/4+1)
}

// spread gives an accepted socket, which has its listener's options, a keepalive time of its own.
func (o sockopts) spread(fd int) error {
	if !o.keepAlive {
		return nil
	}
	return setInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, o.someIdle())
}

func setInt(fd, level, name, value int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, name, value))
}

// unacknowledged returns how many bytes the kernel still holds for the peer (SIOCOUTQ), and 0 if it cannot tell.
func unacknowledged(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// sentFIN reports whether the peer of e, which has failed with err, had sent its FIN before. taken is how many bytes were
// read from e.
//
// The error does not tell: splice(2) returns what it has moved and swallows the ECONNRESET that it met behind that, and
// then a write says EPIPE, as after a FIN. The kernel's count of what was received does, in which a FIN is a byte.
func (e *end) sentFIN(taken uint64, err error) bool {
	if !e.tcp {
		return errors.Is(err, unix.EPIPE)
	}
	info, infoErr := unix.GetsockoptTCPInfo(e.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	unread, readErr := unix.IoctlGetInt(e.fd, unix.SIOCINQ)
	return infoErr == nil && readErr == nil && info.Bytes_received > taken+uint64(unread)
}

// localPort returns the port of a TCP socket's own address, 0 if it has none. It costs less than unix.Getsockname, which
// allocates, and asks for the protocol as well.
func localPort(fd int) int {
	var sa unix.RawSockaddrInet6 // the port is where that of IPv4 is
	size := uint32(unsafe.Sizeof(sa))
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0
	}
	return int(binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:]))
}
