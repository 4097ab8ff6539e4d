package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// silentDialer and silentListen make connections without keepalive and without MPTCP, as most languages do by default.
var silentDialer = net.Dialer{KeepAlive: -1}

func silentListen(host string) net.Listener {
	cfg := net.ListenConfig{KeepAlive: -1}
	cfg.SetMultipathTCP(false)
	ln, err := cfg.Listen(context.Background(), "tcp", net.JoinHostPort(host, "0"))
	check(err)
	keep(ln)
	return ln
}

// dial connects without keepalive. To a v4-mapped address it takes an IPv6 socket, which net.Dial would not.
func dial(addr string) net.Conn {
	if netip.MustParseAddrPort(addr).Addr().Is4In6() {
		fd := socket(addr, 0)
		check(unix.Connect(fd, sockaddr(addr)))
		return conn(fd)
	}
	c, err := silentDialer.Dial("tcp", addr)
	check(err)
	return c
}

// conn makes a net.Conn of a descriptor, which it takes over.
func conn(fd int) net.Conn {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	c, err := net.FileConn(f)
	check(err)
	// FileConn switches keepalive on.
	check(c.(*net.TCPConn).SetKeepAlive(false))
	return c
}

// serve accepts for ever.
func serve(ln net.Listener, f func(*net.TCPConn)) {
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f(c.(*net.TCPConn))
		}
	}()
}

// keeping calls f with what is to be kept of what a listener accepts, from one goroutine.
func keeping(ln net.Listener, f func(*net.TCPConn)) {
	serve(ln, func(c *net.TCPConn) {
		keep(c)
		f(c)
	})
}

// socket is a TCP socket for connecting to addr, and no more.
func socket(addr string, flags int) int {
	domain := unix.AF_INET6
	if netip.MustParseAddrPort(addr).Addr().Is4() {
		domain = unix.AF_INET
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, unix.IPPROTO_TCP)
	check(err)
	return fd
}

func sockaddr(addr string) unix.Sockaddr {
	a := netip.MustParseAddrPort(addr)
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// port is where a bound socket is.
func port(fd int) int {
	sa, err := unix.Getsockname(fd)
	check(err)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port
	case *unix.SockaddrInet6:
		return sa.Port
	}
	return 0
}

// bound is a socket that is bound to a free port of host and does not listen.
func bound(host string) int {
	addr := netip.AddrPortFrom(netip.MustParseAddr(host), 0).String()
	fd := socket(addr, 0)
	check(unix.Bind(fd, sockaddr(addr)))
	return fd
}

// deadEnd is an address at which nobody listens, nor anybody will: its port is taken by a socket that does not listen. On
// a host of both families it is v4-mapped.
func deadEnd(host string) string {
	addr := netip.MustParseAddr(host)
	if addr.IsUnspecified() {
		addr = netip.MustParseAddr("::ffff:127.0.0.1")
	}
	return netip.AddrPortFrom(addr, uint16(port(bound(addr.String())))).String()
}

// refuse connects to where nobody listens.
func refuse(fd int, addr string) {
	err := unix.Connect(fd, sockaddr(addr))
	if errors.Is(err, unix.EINPROGRESS) {
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		check(err)
		_, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		check(err)
		return
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		fail(err)
	}
}

// toTheEnd reads until there is no more, or no connection.
func toTheEnd(r io.Reader) { _, _ = io.Copy(io.Discard, r) }

// every calls f until it fails.
func every(d time.Duration, f func() error) {
	for range time.Tick(d) {
		if f() != nil {
			return
		}
	}
}

// beat is how often a program that is alive does something: often against the shortest threshold of a test.
const beat = 100 * time.Millisecond
