package netlinkss

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// header16 is struct nlmsghdr of a request: the port is the kernel's to fill in.
func header16(size uint32, typ, flags uint16, seq uint32) []byte {
	b := native.AppendUint32(nil, size)
	b = native.AppendUint16(b, typ)
	b = native.AppendUint16(b, flags)
	return append(b, u32s(seq, 0)...)
}

func ports(local, peer uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, local), peer)
}

func zeros(n int) []byte { return make([]byte, n) }

func TestRequestSteps(t *testing.T) {
	v2 := func(family, protocol, ext byte, states uint32, size uint32) []byte {
		return cat(header16(size, 20, 0x301, 7), []byte{family, protocol, ext, 0}, u32s(states), zeros(48))
	}
	mptcp := cat([]byte{8, 0, 3, 0}, u32s(262))
	if native.Uint16([]byte{1, 0}) != 1 {
		mptcp = cat([]byte{0, 8, 0, 3}, u32s(262))
	}
	for _, c := range []struct {
		name string
		r    Request
		want [][]byte
	}{
		{"zero: one legacy message", Request{}, [][]byte{
			cat(header16(76, 18, 0x301, 7), []byte{0, 0, 0, 0}, zeros(48), u32s(0xffe, 0)),
		}},
		{"legacy with a choice", Request{States: CloseWait.Mask(), Attrs: AttrInfo | AttrSkMem}, [][]byte{
			cat(header16(76, 18, 0x301, 7), []byte{0, 0, 0, 0x42}, zeros(48), u32s(0x100, 0)),
		}},
		{"one family", Request{Family: Inet6}, [][]byte{v2(10, 6, 0, 0xffe, 72)}},
		{"every attribute that can be asked for", Request{Family: Inet, Attrs: 1<<32 - 1, States: BoundInactive.Mask()}, [][]byte{v2(2, 6, 0xff, 0x2000, 72)}},
		{"a protocol over 255", Request{Protocol: ProtocolMPTCP}, [][]byte{
			cat(v2(2, 255, 0, 0xffe, 80), mptcp), cat(v2(10, 255, 0, 0xffe, 80), mptcp),
		}},
		{"a small protocol of its own", Request{Protocol: 132}, [][]byte{v2(2, 132, 0, 0xffe, 72), v2(10, 132, 0, 0xffe, 72)}},
		{"a protocol and a family", Request{Protocol: ProtocolMPTCP, Family: Inet}, [][]byte{cat(v2(2, 255, 0, 0xffe, 80), mptcp)}},
	} {
		t.Run(c.name, func(t *testing.T) { sameMessages(t, c.r.steps(7), c.want) })
	}
	t.Run("each family, where legacy is refused", func(t *testing.T) {
		sameMessages(t, Request{}.eachFamily(7), [][]byte{v2(2, 6, 0, 0xffe, 72), v2(10, 6, 0, 0xffe, 72)})
	})
}

func sameMessages(t *testing.T, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("message %d:\ngot  %x\nwant %x", i, got[i], want[i])
		}
	}
}

func TestRequestLookup(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort, netip.MustParseAddrPort
	for _, c := range []struct {
		name        string
		f           Family
		local, peer netip.AddrPort
		addrs       []byte
	}{
		{"IPv4", Inet, v4("192.0.2.1:80"), v4("198.51.100.7:4000"), cat([]byte{192, 0, 2, 1}, zeros(12), []byte{198, 51, 100, 7}, zeros(12))},
		{"IPv6", Inet6, v6("[::1]:80"), v6("[2001:db8::]:4000"), cat(zeros(15), []byte{1, 0x20, 1, 0x0d, 0xb8}, zeros(12))},
		{"v4-mapped", Inet6, v6("[::ffff:1.2.3.4]:80"), v6("[::]:4000"), cat(zeros(10), []byte{0xff, 0xff, 1, 2, 3, 4}, zeros(16))},
		{"no peer", Inet, v4("192.0.2.1:80"), netip.AddrPort{}, cat([]byte{192, 0, 2, 1}, zeros(28))},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Request{Attrs: AttrInfo}.lookup(9, c.f, c.local, c.peer, 3, 0x1122334455667788)
			want := cat(header16(72, 20, 1, 9), []byte{byte(c.f), 6, 2, 0}, u32s(0xffe), ports(c.local.Port(), c.peer.Port()),
				c.addrs, u32s(3, 0x55667788, 0x11223344))
			sameMessages(t, [][]byte{got}, [][]byte{want})
		})
	}
}
