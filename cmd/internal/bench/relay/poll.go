//go:build linux

package main

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The generator and the backend share the processors with the relay. So for messages each is one thread that waits in epoll, and
// its calls are raw: none of them waits, and the scheduler need not know.

// poller waits for sockets. It belongs to one goroutine.
type poller struct {
	fd     int
	events [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &poller{fd: fd}, err
}

// close may be called again.
func (p *poller) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
	}
	p.fd = -1
}

// watch begins to wait for events at a socket. What wait returns of it has the number that it is given here.
func (p *poller) watch(fd, number int, events uint32) error {
	return p.ctl(unix.EPOLL_CTL_ADD, fd, number, events)
}

// change waits for other events.
func (p *poller) change(fd, number int, events uint32) error {
	return p.ctl(unix.EPOLL_CTL_MOD, fd, number, events)
}

// forget waits no more for a socket.
func (p *poller) forget(fd int) error { return p.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0) }

func (p *poller) ctl(op, fd, number int, events uint32) error {
	e := unix.EpollEvent{Events: events, Fd: int32(number)}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&e)), 0, 0)
	return orNil(errno)
}

// tick is how long wait waits at the most: whoever waits looks then whether it still shall.
const tick = 50 * time.Millisecond

func (p *poller) wait() ([]unix.EpollEvent, error) {
	n, err := unix.EpollWait(p.fd, p.events[:], int(tick/time.Millisecond))
	if errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	return p.events[:max(n, 0)], err
}

func orNil(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// receive reads what is there; 0 is the end.
func receive(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return count(n, errno)
}

// send writes as much as the socket takes.
func send(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	return count(n, errno)
}

func count(n uintptr, errno unix.Errno) (int, unix.Errno) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// address is a port of 127.0.0.1.
type address unix.RawSockaddrInet4

func addressOf(port int) *address {
	a := &address{Family: unix.AF_INET, Addr: [4]byte{127, 0, 0, 1}}
	p := (*[2]byte)(unsafe.Pointer(&a.Port))
	p[0], p[1] = byte(port>>8), byte(port)
	return a
}

// connect returns a socket that is about to be connected, or is. If from is not nil it has that address, and any port.
func connect(from, to *address) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		return 0, errno
	}
	fd := int(n)
	if from != nil {
		// The port is chosen when the peer is known, so that others may have it, too.
		on := int32(1)
		_, _, errno = unix.RawSyscall6(unix.SYS_SETSOCKOPT, n, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, uintptr(unsafe.Pointer(&on)), unsafe.Sizeof(on), 0)
		if errno == 0 {
			errno = name(unix.SYS_BIND, fd, from)
		}
	}
	if errno == 0 {
		errno = name(unix.SYS_CONNECT, fd, to)
	}
	if errno != 0 && errno != unix.EINPROGRESS {
		shut(fd)
		return 0, errno
	}
	return fd, nil
}

// name binds or connects.
func name(call uintptr, fd int, a *address) unix.Errno {
	_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(a)), unix.SizeofSockaddrInet4)
	return errno
}

// accept returns a connection that waits in the backlog.
func accept(listener int) (int, unix.Errno) {
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(fd), errno
}

func shut(fd int) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }
