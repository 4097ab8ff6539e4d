package netlinkss

import (
	"fmt"
	"net/netip"
	"time"
)

// Family is the address family of a record, as the kernel wrote it.
type Family uint8

// The families. A v4-mapped socket is [Inet6]: see [Socket.IsIPv4].
const (
	Inet  Family = 2
	Inet6 Family = 10
)

// String is IPv4, IPv6 or unknown(N).
func (f Family) String() string {
	switch f {
	case Inet:
		return "IPv4"
	case Inet6:
		return "IPv6"
	}
	return fmt.Sprintf("unknown(%d)", uint8(f))
}

// Attrs is a set of attributes, bit N for INET_DIAG attribute N.
type Attrs uint32

// The attributes that are decoded (include/uapi/linux/inet_diag.h).
const (
	AttrMemInfo  Attrs = 1 << 1
	AttrInfo     Attrs = 1 << 2 // TCP_INFO
	AttrCong     Attrs = 1 << 4
	AttrTOS      Attrs = 1 << 5
	AttrTClass   Attrs = 1 << 6
	AttrSkMem    Attrs = 1 << 7
	AttrShutdown Attrs = 1 << 8
	AttrProtocol Attrs = 1 << 10
	AttrV6Only   Attrs = 1 << 11
	AttrMark     Attrs = 1 << 15 // shown to CAP_NET_ADMIN only
	AttrClassID  Attrs = 1 << 17
	AttrULP      Attrs = 1 << 19
	AttrCgroupID Attrs = 1 << 21
	AttrSockOpt  Attrs = 1 << 22
	// AttrKeepAlive is no attribute of the kernel's: another source than sock_diag tells [Socket.KeepAlive].
	AttrKeepAlive Attrs = 1 << 31
)

// Shutdown bits of [Socket.Shutdown].
const (
	ShutdownRecv = 1
	ShutdownSend = 2
)

// Name is a short kernel name (a congestion control, an upper layer protocol), zero padded.
type Name [16]byte

// String is the name up to the first zero byte.
func (n Name) String() string {
	for i, c := range n {
		if c == 0 {
			return string(n[:i])
		}
	}
	return string(n[:])
}

// SkMem is struct sock_meminfo, in bytes but for Drops (packets).
type SkMem struct {
	RMemAlloc, RcvBuf, WMemAlloc, SndBuf, FwdAlloc, WMemQueued, OptMem, Backlog, Drops uint32
}

// Socket is one record of a dump. Zero is a real value of most fields, so the attributes carry
// presence: see [Socket.Has].
type Socket struct {
	Family  Family
	State   State
	Timer   Timer
	Retrans uint8 // retransmits (timer on) or unanswered probes (keepalive, persist)

	Local, Peer netip.AddrPort
	Interface   uint32 // index, 0 when not bound to one

	// Cookie identifies the socket for its life and is never used again. 0 in a record of
	// /proc/net/tcp.
	Cookie uint64

	Expires time.Duration // until Timer fires; ms resolution
	RecvQ   uint32        // bytes not read yet, an unread FIN counted as one; LISTEN: connections waiting
	SendQ   uint32        // bytes not acknowledged, a SYN or FIN counted as one; LISTEN: the backlog
	UID     uint32
	Inode   uint32 // joins to a descriptor; 0: no process holds it

	present Attrs
	infoLen uint16

	Shutdown   uint8 // ShutdownRecv | ShutdownSend
	TOS        uint8
	TClass     uint8
	Protocol   uint8
	V6Only     uint8
	SockOpt    uint16 // struct inet_diag_sockopt, its two bytes in order
	Mark       uint32
	ClassID    uint32
	CgroupID   uint64
	MemInfo    [4]uint32 // struct inet_diag_meminfo: rmem, wmem, fmem, tmem
	SkMem      SkMem
	KeepAlive  bool // SO_KEEPALIVE; see AttrKeepAlive
	Congestion Name
	ULP        Name
	Info       TCPInfo
}

// Has reports whether the record carried every one of these attributes in a usable length.
func (s *Socket) Has(a Attrs) bool { return s.present&a == a }

// InfoLen is how many bytes of Info came from the kernel; 0 for none. Fields beyond it are absent.
func (s *Socket) InfoLen() int { return int(s.infoLen) }

// IsIPv4 reports whether the socket speaks IPv4: an AF_INET one, or an AF_INET6 one whose addresses
// are v4-mapped.
func (s *Socket) IsIPv4() bool {
	return s.Family == Inet || s.Peer.Addr().Is4In6() || s.Local.Addr().Is4In6()
}

// Clone copies the socket out of a sequence, which reuses its one value.
func (s *Socket) Clone() *Socket {
	c := *s
	return &c
}

// SetInfo stores b as the socket's TCP_INFO, from wherever it was read (getsockopt gives the same
// bytes as INET_DIAG_INFO). No bytes are no TCP_INFO.
func (s *Socket) SetInfo(b []byte) {
	s.infoLen = uint16(s.Info.decode(b))
	s.present |= AttrInfo
	if len(b) == 0 {
		s.present &^= AttrInfo
	}
}

// Attrs are the attributes that the record carried in a usable length.
func (s *Socket) Attrs() Attrs { return s.present }

// SetPresence says of a socket that was put together field by field which attributes it has, and how many bytes of Info are the
// kernel's.
func (s *Socket) SetPresence(a Attrs, infoLen int) {
	s.present, s.infoLen = a, uint16(min(max(infoLen, 0), sizeofTCPInfo))
}

// Unmap turns a v4-mapped address into the IPv4 address and leaves others as they are.
func Unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
