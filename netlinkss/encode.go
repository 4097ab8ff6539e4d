package netlinkss

import (
	"encoding/binary"
	"time"
)

// AppendEncode appends s as the kernel writes it: inet_diag_msg, then the attributes it has, in the order of
// their numbers. It is the inverse of [Decode] for every field that [Socket] holds.
func AppendEncode(b []byte, s *Socket) []byte {
	b = append(b, byte(s.Family), byte(s.State), byte(s.Timer), s.Retrans)
	b = appendSockID(b, s)
	b = native.AppendUint32(b, uint32(s.Expires/time.Millisecond))
	for _, v := range [...]uint32{s.RecvQ, s.SendQ, s.UID, s.Inode} {
		b = native.AppendUint32(b, v)
	}
	for typ := uint16(1); typ < 32; typ++ {
		if s.present&(1<<typ) != 0 {
			b = appendAttr(b, typ, s)
		}
	}
	return b
}

func appendSockID(b []byte, s *Socket) []byte {
	b = binary.BigEndian.AppendUint16(b, s.Local.Port())
	b = binary.BigEndian.AppendUint16(b, s.Peer.Port())
	b = appendAddr(b, s.Family, s.Local.Addr().As16())
	b = appendAddr(b, s.Family, s.Peer.Addr().As16())
	b = native.AppendUint32(b, s.Interface)
	b = native.AppendUint32(b, uint32(s.Cookie))
	return native.AppendUint32(b, uint32(s.Cookie>>32))
}

// appendAddr writes the 16 bytes of an address field: IPv4 stands in the first four.
func appendAddr(b []byte, f Family, a [16]byte) []byte {
	if f == Inet {
		b = append(b, a[12:]...)
		return append(b, make([]byte, 12)...)
	}
	return append(b, a[:]...)
}

func appendAttr(b []byte, typ uint16, s *Socket) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	switch Attrs(1) << typ {
	case AttrInfo:
		b = append(b, s.Info.bytes()[:s.infoLen]...)
	case AttrSkMem:
		for _, f := range s.SkMem.fields() {
			b = native.AppendUint32(b, *f)
		}
	case AttrMemInfo:
		for _, v := range s.MemInfo {
			b = native.AppendUint32(b, v)
		}
	case AttrShutdown:
		b = append(b, s.Shutdown)
	case AttrTOS:
		b = append(b, s.TOS)
	case AttrTClass:
		b = append(b, s.TClass)
	case AttrProtocol:
		b = append(b, s.Protocol)
	case AttrV6Only:
		b = append(b, s.V6Only)
	case AttrMark:
		b = native.AppendUint32(b, s.Mark)
	case AttrClassID:
		b = native.AppendUint32(b, s.ClassID)
	case AttrCgroupID:
		b = native.AppendUint64(b, s.CgroupID)
	case AttrSockOpt:
		b = append(b, byte(s.SockOpt), byte(s.SockOpt>>8))
	case AttrCong:
		b = append(append(b, s.Congestion.String()...), 0)
	case AttrULP:
		name := s.ULP.String()
		b = native.AppendUint16(b, uint16(sizeofNlattr+len(name)+1))
		b = native.AppendUint16(b, ulpName)
		b = append(append(b, name...), 0)
	}
	native.PutUint16(b[start:], uint16(len(b)-start))
	native.PutUint16(b[start+2:], typ)
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
