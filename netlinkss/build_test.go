package netlinkss

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// The bytes of these helpers are written from the kernel's structs, field by field, and share
// nothing with the package's own encoder.

// nlattr is struct nlattr with its value and padding.
func nlattr(typ uint16, value ...byte) []byte {
	b := native.AppendUint16(nil, uint16(4+len(value)))
	b = native.AppendUint16(b, typ)
	return pad4(append(b, value...))
}

// liar is an attribute whose length says something else than what follows.
func liar(typ uint16, length int, value ...byte) []byte {
	b := nlattr(typ, value...)
	native.PutUint16(b, uint16(length))
	return b
}

func pad4(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func u32s(values ...uint32) (b []byte) {
	for _, v := range values {
		b = native.AppendUint32(b, v)
	}
	return b
}

func u64(v uint64) []byte { return native.AppendUint64(nil, v) }

func cat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// nlmsg is a netlink message with its padding.
func nlmsg(typ, flags uint16, seq uint32, payload ...byte) []byte {
	b := native.AppendUint32(nil, uint32(16+len(payload)))
	b = native.AppendUint16(b, typ)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	b = native.AppendUint32(b, 4711) // the receiver's port, which nobody reads
	return pad4(append(b, payload...))
}

// doneMsg is NLMSG_DONE, which carries 0 or a negative errno.
func doneMsg(seq uint32, errno int32) []byte {
	return nlmsg(msgDone, 2, seq, u32s(uint32(errno))...)
}

// errorMsg is NLMSG_ERROR: the errno, then the header of the request that it answers.
func errorMsg(seq uint32, errno int32) []byte {
	return nlmsg(msgError, 0, seq, append(u32s(uint32(errno)), make([]byte, 16)...)...)
}

// v4Record is an inet_diag_msg of AF_INET, every field with a value of its own.
func v4Record(attrs ...[]byte) []byte {
	b := []byte{2, byte(CloseWait), byte(TimerKeepalive), 3}
	b = binary.BigEndian.AppendUint16(b, 8080)
	b = binary.BigEndian.AppendUint16(b, 40001)
	b = append(b, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, 198, 51, 100, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, u32s(6, 0xcafe0001, 0x00000bad, 7_200_000, 11, 22, 1000, 123456)...)
	return append(b, cat(attrs...)...)
}

// recordOf is a record with this inode, and a cookie of its own.
func recordOf(inode uint32) []byte {
	b := v4Record(nlattr(5, 1))
	native.PutUint32(b[68:], inode)
	native.PutUint32(b[44:], inode)
	return b
}

// v4Socket is what v4Record says, without attributes.
func v4Socket() Socket {
	return Socket{
		Family: Inet, State: CloseWait, Timer: TimerKeepalive, Retrans: 3,
		Local: netip.MustParseAddrPort("192.0.2.1:8080"), Peer: netip.MustParseAddrPort("198.51.100.7:40001"),
		Interface: 6, Cookie: 0x00000bad_cafe0001, Expires: 2 * time.Hour,
		RecvQ: 11, SendQ: 22, UID: 1000, Inode: 123456,
	}
}

// v6Record is an inet_diag_msg of AF_INET6.
func v6Record(local, peer string, attrs ...[]byte) []byte {
	l, p := netip.MustParseAddr(local).As16(), netip.MustParseAddr(peer).As16()
	b := []byte{10, byte(Estab), byte(TimerOff), 0}
	b = binary.BigEndian.AppendUint16(b, 443)
	b = binary.BigEndian.AppendUint16(b, 40002)
	b = append(append(b, l[:]...), p[:]...)
	b = append(b, u32s(0, 1, 0, 0, 0, 0, 0, 99)...)
	return append(b, cat(attrs...)...)
}

// text is one socket as the goldens have it: every field that the record carries.
func text(s *Socket) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %v %v %v timer=%v,%v,%d rq=%d sq=%d uid=%d ino=%d if=%d cookie=%x",
		s.Family, s.State, s.Local, s.Peer, s.Timer, s.Expires, s.Retrans, s.RecvQ, s.SendQ, s.UID, s.Inode, s.Interface, s.Cookie)
	for _, a := range []struct {
		bit   Attrs
		name  string
		value any
	}{
		{AttrMemInfo, "mem", s.MemInfo}, {AttrCong, "cong", s.Congestion}, {AttrTOS, "tos", s.TOS},
		{AttrTClass, "tclass", s.TClass}, {AttrSkMem, "skmem", s.SkMem}, {AttrShutdown, "shutdown", s.Shutdown},
		{AttrProtocol, "protocol", s.Protocol}, {AttrV6Only, "v6only", s.V6Only}, {AttrMark, "mark", s.Mark},
		{AttrClassID, "class", s.ClassID}, {AttrULP, "ulp", s.ULP}, {AttrCgroupID, "cgroup", s.CgroupID},
		{AttrSockOpt, "sockopt", s.SockOpt}, {AttrInfo, fmt.Sprintf("info[%d]", s.InfoLen()), s.Info},
	} {
		if s.Has(a.bit) {
			fmt.Fprintf(&b, " %s=%v", a.name, a.value)
		}
	}
	return b.String()
}
