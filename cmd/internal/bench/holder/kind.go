//go:build linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// kind is a kind of connection, and the socket that listens for it.
type kind struct {
	name string
	// family is that of both ends' sockets.
	family int
	// address is where the connection for peer p goes, which is what ss shows as the peer of the end that connects. The
	// other end's peer is 127.0.0.1 or ::1.
	address func(p, port int) unix.Sockaddr
	fd      int
	port    int
}

// kindsOf returns the kinds of sockets that a farm of these families has.
func kindsOf(families string) ([]kind, error) {
	v4 := kind{name: "IPv4", family: unix.AF_INET, address: func(p, port int) unix.Sockaddr {
		return &unix.SockaddrInet4{Port: port, Addr: peer(p)}
	}}
	v6 := kind{name: "IPv6", family: unix.AF_INET6, address: func(_, port int) unix.Sockaddr {
		return &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}} // loopback has no other
	}}
	mapped := kind{name: "IPv4 in IPv6 sockets", family: unix.AF_INET6, address: func(p, port int) unix.Sockaddr {
		a := [16]byte{10: 0xff, 11: 0xff}
		v4 := peer(p)
		copy(a[12:], v4[:])
		return &unix.SockaddrInet6{Port: port, Addr: a}
	}}
	switch families {
	case "4":
		return []kind{v4}, nil
	case "6":
		return []kind{v6}, nil
	case "mixed":
		return []kind{v4, v6, mapped}, nil
	}
	return nil, fmt.Errorf("families %q, want 4, 6 or mixed", families)
}

// peer is the address 127.1.0.1 or one of those behind it: all of 127.0.0.0/8 is loopback.
func peer(p int) [4]byte {
	n := 127<<24 + 1<<16 + 1 + p
	return [4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// listen listens on every address, on a port that is free. So each holder has ports of its own, and the ports of the other ends
// are enough for its connections even if all of them go to one address.
func (k *kind) listen() (err error) {
	if k.fd, err = k.socket(); err != nil {
		return err
	}
	var everywhere unix.Sockaddr = &unix.SockaddrInet4{}
	if k.family == unix.AF_INET6 {
		everywhere = &unix.SockaddrInet6{}
	}
	if err := unix.Bind(k.fd, everywhere); err != nil {
		return err
	}
	if err := unix.Listen(k.fd, 128); err != nil {
		return err
	}
	at, err := unix.Getsockname(k.fd)
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		k.port = at.Port
	case *unix.SockaddrInet6:
		k.port = at.Port
	}
	return err
}

// socket makes a socket that ends in a reset, so that a farm does not leave half a million in TIME-WAIT. What is accepted from it
// inherits that.
func (k *kind) socket() (int, error) {
	fd, err := unix.Socket(k.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	return fd, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// connect opens one connection and accepts it. Raw system calls: a netpoller that watches every socket would be half of the
// work.
func (k *kind) connect(peer int, keepalive bool) error {
	fd, err := k.socket()
	if err != nil {
		return err
	}
	if keepalive {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
			return err
		}
	}
	if err := unix.Connect(fd, k.address(peer, k.port)); err != nil {
		return err
	}
	_, _, err = unix.Accept4(k.fd, unix.SOCK_CLOEXEC)
	return err
}
