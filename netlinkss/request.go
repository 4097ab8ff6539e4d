package netlinkss

import (
	"encoding/binary"
	"net/netip"
)

// ProtocolMPTCP asks for MPTCP's own sockets, whose inode is the descriptor's (Linux 5.10).
const ProtocolMPTCP = 262

const protocolTCP = 6

// Netlink message types.
const (
	msgError      = 2
	msgDone       = 3
	msgTCPDiag    = 18 // TCPDIAG_GETSOCK: both families in one walk
	msgByFamily   = 20 // SOCK_DIAG_BY_FAMILY
	reqProtocol   = 3  // INET_DIAG_REQ_PROTOCOL: a protocol over 255
	nlmFRequest   = 0x1
	nlmFDumpIntr  = 0x10
	nlmFDump      = 0x300
	sizeofReqV2   = 56
	sizeofReqLong = 60
)

// Request says what a dump lists. The zero value lists every TCP socket of both families in every
// state but BOUND-INACTIVE, without attributes.
type Request struct {
	States   States // zero: AllStates. The kernel filters: a socket left out costs a sixth.
	Family   Family // zero: both
	Attrs    Attrs  // wanted; the kernel adds some unasked, and leaves out what does not apply. Zero: a dump decodes none
	Protocol uint16 // zero: TCP
	// Ports lists only sockets with one of these ports on either side; none: all. At most [MaxPorts].
	// The kernel filters. Another source than [Conn.Dump] may list more.
	Ports []uint16
	// Part lists a share of the sockets, see [Conn.Split]. Not together with Ports.
	Part Part
}

// MaxPorts is how many ports a request takes.
const MaxPorts = 64

func (r Request) states() States {
	if r.States == 0 {
		return AllStates
	}
	return r.States
}

func (r Request) protocol() uint16 {
	if r.Protocol == 0 {
		return protocolTCP
	}
	return r.Protocol
}

// ext is idiag_ext: bit N-1 asks for attribute N.
func (r Request) ext() byte { return byte(r.Attrs >> 1) }

// steps are the messages that answer r, in order. One legacy message walks both families at once
// and costs an eighth less than one each; it exists for TCP alone.
func (r Request) steps(seq uint32) [][]byte {
	switch {
	case r.Family != 0:
		return [][]byte{r.byFamily(seq, r.Family)}
	case r.protocol() == protocolTCP:
		return [][]byte{r.legacy(seq)}
	}
	return r.eachFamily(seq)
}

// eachFamily is the answer of a kernel that refuses the legacy message.
func (r Request) eachFamily(seq uint32) [][]byte {
	return [][]byte{r.byFamily(seq, Inet), r.byFamily(seq, Inet6)}
}

// legacy is struct inet_diag_req. The kernel ignores its family.
func (r Request) legacy(seq uint32) []byte {
	b := appendHeader(nil, msgTCPDiag, nlmFRequest|nlmFDump, seq)
	b = append(b, 0, 0, 0, r.ext())
	b = append(b, make([]byte, sizeofSockID)...)
	b = native.AppendUint32(b, uint32(r.states()))
	b = native.AppendUint32(b, 0) // idiag_dbs
	return finish(r.appendFilter(b))
}

// byFamily is struct inet_diag_req_v2 for a dump.
func (r Request) byFamily(seq uint32, f Family) []byte {
	b := appendHeader(nil, msgByFamily, nlmFRequest|nlmFDump, seq)
	b = r.appendV2(b, f)
	b = append(b, make([]byte, sizeofSockID)...)
	return finish(r.appendFilter(r.appendProtocol(b)))
}

// lookup is struct inet_diag_req_v2 for one socket.
func (r Request) lookup(seq uint32, f Family, local, peer netip.AddrPort, iface uint32, cookie uint64) []byte {
	b := appendHeader(nil, msgByFamily, nlmFRequest, seq)
	b = r.appendV2(b, f)
	b = binary.BigEndian.AppendUint16(b, local.Port())
	b = binary.BigEndian.AppendUint16(b, peer.Port())
	b = appendAddr(b, f, local.Addr().As16())
	b = appendAddr(b, f, peer.Addr().As16())
	b = native.AppendUint32(b, iface)
	b = native.AppendUint32(b, uint32(cookie))
	b = native.AppendUint32(b, uint32(cookie>>32))
	return finish(r.appendProtocol(b))
}

func (r Request) appendV2(b []byte, f Family) []byte {
	p := min(r.protocol(), 255) // 255 is IPPROTO_RAW; the attribute below has the real one
	b = append(b, byte(f), byte(p), r.ext(), 0)
	return native.AppendUint32(b, uint32(r.states()))
}

func (r Request) appendProtocol(b []byte) []byte {
	if p := r.protocol(); p > 255 {
		b = native.AppendUint16(b, sizeofNlattr+4)
		b = native.AppendUint16(b, reqProtocol)
		b = native.AppendUint32(b, uint32(p))
	}
	return b
}

// Operations of the kernel's filter machine (inet_diag_bc_run): each is four bytes, a code and how far to go
// on when it holds and when not. To end exactly at the end is to match. A comparison with a port is two
// operations long, the port stands in the second.
const (
	bcJump     = 1
	bcSourceEq = 11 // Linux 5.9
	bcDestEq   = 12
	bcOp       = 4
	bcPortCond = 2 * bcOp
	// reqBytecode is INET_DIAG_REQ_BYTECODE.
	reqBytecode = 1
)

func (r Request) appendFilter(b []byte) []byte {
	switch {
	case r.Part.side != 0:
		return r.Part.appendFilter(b)
	case len(r.Ports) > 0:
		return r.appendPorts(b)
	}
	return b
}

// appendPorts is a filter: source or destination port is one of r.Ports. The kernel wants every target of a
// jump on the path of the yeses, so each comparison but the last is followed by a jump to the end, which a
// failed comparison steps over.
func (r Request) appendPorts(b []byte) []byte {
	ports := r.Ports[:min(len(r.Ports), MaxPorts)]
	conds := 2 * len(ports)
	size := conds*bcPortCond + (conds-1)*bcOp
	b = native.AppendUint16(b, uint16(sizeofNlattr+size))
	b = native.AppendUint16(b, reqBytecode)
	left := size
	for i := range conds {
		code := byte(bcSourceEq)
		if i%2 == 1 {
			code = bcDestEq
		}
		b = appendBC(b, code, bcPortCond, bcPortCond+bcOp)
		b = appendBC(b, 0, 0, ports[i/2])
		left -= bcPortCond
		if left > 0 {
			b = appendBC(b, bcJump, bcOp, uint16(left))
			left -= bcOp
		}
	}
	return b
}

func appendBC(b []byte, code, yes byte, no uint16) []byte {
	return native.AppendUint16(append(b, code, yes), no)
}

// appendHeader is struct nlmsghdr; finish fills in its length.
func appendHeader(b []byte, typ, flags uint16, seq uint32) []byte {
	b = native.AppendUint32(b, 0)
	b = native.AppendUint16(b, typ)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	return native.AppendUint32(b, 0) // the kernel knows the sender's port
}

func finish(b []byte) []byte {
	native.PutUint32(b, uint32(len(b)))
	return b
}
