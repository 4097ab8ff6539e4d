package procfd

import (
	"errors"
	"net/netip"
	"time"
)

// Domains (AF_…) and protocols (IPPROTO_…). A protocol's number means something else in another domain.
const (
	domainInet    = 2
	domainInet6   = 10
	protocolTCP   = 6
	protocolMPTCP = 262
)

// ErrOtherSocket: the descriptor is open on another socket than it was, or on none.
var ErrOtherSocket = errors.New("descriptor is open on something else now")

// Answer is what a socket says of itself. It is there for sockets that the kernel lists nowhere, too.
type Answer struct {
	Inode       uint64
	Cookie      uint64
	NetnsCookie uint64 // 0 before Linux 5.14
	Domain      int    // AF_…
	Protocol    int    // IPPROTO_…

	Local netip.AddrPort
	// Peer is from SO_PEERNAME, which tells the last peer of a dead socket, too. Not valid: never
	// connected.
	Peer netip.AddrPort

	ReceiveTimeout time.Duration // SO_RCVTIMEO, 0: none
	SendTimeout    time.Duration // SO_SNDTIMEO, 0: none
	Linger         time.Duration // SO_LINGER, -1: off

	Info []byte // struct tcp_info, nil for other protocols

	KeepAlive         bool
	KeepAliveIdle     time.Duration
	KeepAliveInterval time.Duration
	KeepAliveCount    int
	UserTimeout       time.Duration
}

// MaxTickets is how many bytes a server sends behind the handshake of TLS at the most: some records, each of a ticket.
const MaxTickets = 2048

// IsTCP reports whether the socket is one of TCP or MPTCP.
func (a *Answer) IsTCP() bool {
	return (a.Domain == domainInet || a.Domain == domainInet6) && (a.Protocol == protocolTCP || a.Protocol == protocolMPTCP)
}

// IsMPTCP reports whether the socket is one of MPTCP.
func (a *Answer) IsMPTCP() bool { return a.IsTCP() && a.Protocol == protocolMPTCP }
