//go:build linux

package pipe

import (
	"net"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"
)

// proxyHeader returns the PROXY protocol header, version 2, that says who is connected by the socket client. What the
// protocol has no words for, such as a unix socket without a name, is sent as an unspecified address.
func proxyHeader(client int) ([]byte, error) {
	header := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.UNSPEC}
	from, err := unix.Getpeername(client)
	if err != nil {
		return nil, err
	}
	to, err := unix.Getsockname(client)
	if err != nil {
		return nil, err
	}
	if src, dst := netAddr(from), netAddr(to); src != nil && dst != nil {
		header = proxyproto.HeaderProxyFromAddrs(2, src, dst)
	}
	return header.Format()
}

// netAddr returns sa for package net, nil if it is not to be expressed.
func netAddr(sa unix.Sockaddr) net.Addr {
	if ap := addrPort(sa); ap.IsValid() {
		return net.TCPAddrFromAddrPort(ap)
	}
	if s, ok := sa.(*unix.SockaddrUnix); ok && len(s.Name) < unixPathMax {
		return &net.UnixAddr{Name: s.Name, Net: "unix"}
	}
	return nil
}
