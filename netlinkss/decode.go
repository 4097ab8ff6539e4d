package netlinkss

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Sizes of the kernel's structs.
const (
	sizeofNlmsghdr    = 16
	sizeofNlattr      = 4
	sizeofInetDiagMsg = 72
	sizeofSockID      = 48
)

// nlaTypeMask takes the nested and byte order flags off an attribute's type (NLA_TYPE_MASK).
const nlaTypeMask = 0x3fff

var native = binary.NativeEndian

// Decode reads one inet_diag_msg and its attributes, the payload of a netlink message of type 18
// (TCPDIAG_GETSOCK) or 20 (SOCK_DIAG_BY_FAMILY). Unknown attributes are passed over; one longer than
// we know is cut, one shorter is absent (TCP_INFO: as far as it goes). A second attribute of a type
// replaces the first. On an error, which wraps [ErrMalformed], *s is the zero Socket.
func Decode(b []byte, s *Socket) error {
	*s = Socket{}
	if err := decode(b, s); err != nil {
		*s = Socket{}
		return err
	}
	return nil
}

// decode fills a zero Socket.
func decode(b []byte, s *Socket) error {
	if err := decodeFixed(b, s); err != nil {
		return err
	}
	return decodeAttrs(b[sizeofInetDiagMsg:], s)
}

// decodeFixed reads what is in front of the attributes.
func decodeFixed(b []byte, s *Socket) error {
	if len(b) < sizeofInetDiagMsg {
		return malformed("inet_diag_msg: %d bytes, want %d", len(b), sizeofInetDiagMsg)
	}
	s.Family, s.State, s.Timer, s.Retrans = Family(b[0]), State(b[1]), Timer(b[2]), b[3]
	if s.Family != Inet && s.Family != Inet6 {
		return malformed("inet_diag_msg: family %d, want %d or %d", b[0], Inet, Inet6)
	}
	decodeSockID(b[4:4+sizeofSockID], s)
	s.Expires = time.Duration(native.Uint32(b[52:])) * time.Millisecond
	s.RecvQ = native.Uint32(b[56:])
	s.SendQ = native.Uint32(b[60:])
	s.UID = native.Uint32(b[64:])
	s.Inode = native.Uint32(b[68:])
	return nil
}

// decodeSockID reads struct inet_diag_sockid: ports and addresses in network order, the rest native.
func decodeSockID(b []byte, s *Socket) {
	sport, dport := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if s.Family == Inet {
		s.Local = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), sport)
		s.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[20:24])), dport)
	} else {
		s.Local = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[4:20])), sport)
		s.Peer = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[20:36])), dport)
	}
	s.Interface = native.Uint32(b[36:])
	// Two u32, low half first, whatever the byte order.
	s.Cookie = uint64(native.Uint32(b[40:])) | uint64(native.Uint32(b[44:]))<<32
}

func decodeAttrs(b []byte, s *Socket) error {
	for len(b) >= sizeofNlattr {
		size, typ := int(native.Uint16(b)), native.Uint16(b[2:])&nlaTypeMask
		if size < sizeofNlattr || size > len(b) {
			return malformed("attribute %d: length %d with %d bytes left", typ, size, len(b))
		}
		decodeAttr(typ, b[sizeofNlattr:size], s)
		b = b[min(align4(size), len(b)):]
	}
	return nil
}

func decodeAttr(typ uint16, v []byte, s *Socket) {
	if typ > 31 {
		return
	}
	bit := Attrs(1) << typ
	if len(v) < attrMin[typ] {
		return
	}
	switch bit {
	case AttrInfo:
		s.SetInfo(v)
	case AttrSkMem:
		s.SkMem.decode(v)
	case AttrMemInfo:
		for i := range s.MemInfo {
			s.MemInfo[i] = native.Uint32(v[4*i:])
		}
	case AttrShutdown:
		s.Shutdown = v[0]
	case AttrTOS:
		s.TOS = v[0]
	case AttrTClass:
		s.TClass = v[0]
	case AttrProtocol:
		s.Protocol = v[0]
	case AttrV6Only:
		s.V6Only = v[0]
	case AttrMark:
		s.Mark = native.Uint32(v)
	case AttrClassID:
		s.ClassID = native.Uint32(v)
	case AttrCgroupID:
		s.CgroupID = native.Uint64(v)
	case AttrSockOpt:
		s.SockOpt = uint16(v[0]) | uint16(v[1])<<8
	case AttrCong:
		s.Congestion = nameOf(v)
	case AttrULP:
		s.ULP = decodeULP(v)
	default:
		return
	}
	s.present |= bit
}

// attrMin is the least length of each attribute's value; a shorter one is absent.
var attrMin = [32]int{1: 16, 2: 1, 4: 1, 5: 1, 6: 1, 7: 32, 8: 1, 10: 1, 11: 1, 15: 4, 17: 4, 19: 4, 21: 8, 22: 2}

func (m *SkMem) decode(v []byte) {
	// Drops came last (Linux 4.7); without it the other eight still stand.
	for i, f := range m.fields() {
		*f = 0
		if len(v) >= 4*i+4 {
			*f = native.Uint32(v[4*i:])
		}
	}
}

func (m *SkMem) fields() [9]*uint32 {
	return [9]*uint32{&m.RMemAlloc, &m.RcvBuf, &m.WMemAlloc, &m.SndBuf, &m.FwdAlloc, &m.WMemQueued, &m.OptMem, &m.Backlog, &m.Drops}
}

// nameOf takes a C string, with or without its zero byte.
func nameOf(v []byte) Name {
	var n Name
	for i := 0; i < len(v) && i < len(n) && v[i] != 0; i++ {
		n[i] = v[i]
	}
	return n
}

// ulpName is INET_ULP_INFO_NAME inside the nested INET_DIAG_ULP_INFO.
const ulpName = 1

func decodeULP(b []byte) Name {
	for len(b) >= sizeofNlattr {
		size, typ := int(native.Uint16(b)), native.Uint16(b[2:])&nlaTypeMask
		if size < sizeofNlattr || size > len(b) {
			break
		}
		if typ == ulpName {
			return nameOf(b[sizeofNlattr:size])
		}
		b = b[min(align4(size), len(b)):]
	}
	return Name{}
}

func align4(n int) int { return (n + 3) &^ 3 }
