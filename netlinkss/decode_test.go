package netlinkss

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
)

func TestDecodeMessage(t *testing.T) {
	t.Run("IPv4", func(t *testing.T) {
		checkDecode(t, v4Record(), v4Socket())
	})
	t.Run("IPv6", func(t *testing.T) {
		checkDecode(t, v6Record("2001:db8::1", "2001:db8::2"), v6Socket("2001:db8::1", "2001:db8::2"))
	})
	t.Run("v4-mapped stays as the kernel wrote it", func(t *testing.T) {
		checkDecode(t, v6Record("::ffff:192.0.2.1", "::ffff:198.51.100.7"), v6Socket("::ffff:192.0.2.1", "::ffff:198.51.100.7"))
	})
	t.Run("every number at its largest", func(t *testing.T) {
		b := bytes.Repeat([]byte{0xff}, sizeofInetDiagMsg)
		b[0] = byte(Inet)
		var s Socket
		if err := Decode(b, &s); err != nil {
			t.Fatal(err)
		}
		if s.Cookie != ^uint64(0) || s.Inode != ^uint32(0) || s.Local.Port() != 65535 || s.Expires.Milliseconds() != 1<<32-1 {
			t.Errorf("got %s", text(&s))
		}
		if got := s.State.String() + " " + s.Timer.String(); got != "unknown(255) unknown" {
			t.Errorf("unknown numbers print as %s", got)
		}
	})
}

// v6Socket is what v6Record says, without attributes.
func v6Socket(local, peer string) Socket {
	return Socket{
		Family: Inet6, State: Estab, Inode: 99, Cookie: 1,
		Local: netip.AddrPortFrom(netip.MustParseAddr(local), 443),
		Peer:  netip.AddrPortFrom(netip.MustParseAddr(peer), 40002),
	}
}

func checkDecode(t *testing.T, b []byte, want Socket) {
	t.Helper()
	var got Socket
	if err := Decode(b, &got); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("got  %s\nwant %s", text(&got), text(&want))
	}
}

// attrCase is an attribute at its proper length and what it says.
type attrCase struct {
	name  string
	typ   uint16
	bit   Attrs
	value []byte
	other []byte // another value of the same length
	set   func(*Socket)
}

var attrCases = []attrCase{
	{"MEMINFO", 1, AttrMemInfo, u32s(1, 2, 3, 4), u32s(9, 9, 9, 9), func(s *Socket) { s.MemInfo = [4]uint32{1, 2, 3, 4} }},
	{"CONG", 4, AttrCong, []byte("bbr\x00"), []byte("dct\x00"), func(s *Socket) { s.Congestion = Name{'b', 'b', 'r'} }},
	{"TOS", 5, AttrTOS, []byte{0x10}, []byte{9}, func(s *Socket) { s.TOS = 0x10 }},
	{"TCLASS", 6, AttrTClass, []byte{0x20}, []byte{9}, func(s *Socket) { s.TClass = 0x20 }},
	{"SKMEMINFO", 7, AttrSkMem, u32s(1, 2, 3, 4, 5, 6, 7, 8, 9), u32s(9, 9, 9, 9, 9, 9, 9, 9, 1), func(s *Socket) {
		s.SkMem = SkMem{RMemAlloc: 1, RcvBuf: 2, WMemAlloc: 3, SndBuf: 4, FwdAlloc: 5, WMemQueued: 6, OptMem: 7, Backlog: 8, Drops: 9}
	}},
	{"SHUTDOWN", 8, AttrShutdown, []byte{3}, []byte{1}, func(s *Socket) { s.Shutdown = ShutdownRecv | ShutdownSend }},
	{"PROTOCOL", 10, AttrProtocol, []byte{6}, []byte{255}, func(s *Socket) { s.Protocol = 6 }},
	{"SKV6ONLY", 11, AttrV6Only, []byte{1}, []byte{0}, func(s *Socket) { s.V6Only = 1 }},
	{"MARK", 15, AttrMark, u32s(0xfeedface), u32s(1), func(s *Socket) { s.Mark = 0xfeedface }},
	{"CLASS_ID", 17, AttrClassID, u32s(77), u32s(1), func(s *Socket) { s.ClassID = 77 }},
	{"ULP_INFO", 19, AttrULP, nlattr(1, []byte("tls\x00")...), nlattr(1, []byte("xyz\x00")...), func(s *Socket) { s.ULP = Name{'t', 'l', 's'} }},
	{"CGROUP_ID", 21, AttrCgroupID, u64(1<<40 + 1), u64(1), func(s *Socket) { s.CgroupID = 1<<40 + 1 }},
	{"SOCKOPT", 22, AttrSockOpt, []byte{0x52, 0x01}, []byte{1, 1}, func(s *Socket) { s.SockOpt = 0x0152 }},
}

// want is v4Socket with the attribute.
func (c attrCase) want() Socket {
	s := v4Socket()
	s.present = c.bit
	c.set(&s)
	return s
}

func TestDecodeAttr(t *testing.T) {
	for _, c := range attrCases {
		t.Run(c.name, func(t *testing.T) {
			right, other, short := nlattr(c.typ, c.value...), nlattr(c.typ, c.other...), nlattr(c.typ, c.shortest()...)
			for _, v := range []struct {
				name  string
				attrs [][]byte
				want  Socket
			}{
				{"exact", [][]byte{right}, c.want()},
				{"in a v6-sized neighbourhood", [][]byte{nlattr(99, 1, 2, 3), right, nlattr(98)}, c.want()},
				{"longer than known", [][]byte{nlattr(c.typ, append(bytes.Clone(c.value), 0, 0, 0, 0, 0)...)}, c.want()},
				{"nested and byte order flags", [][]byte{nlattr(c.typ|0xc000, c.value...)}, c.want()},
				{"too short", [][]byte{short}, v4Socket()},
				{"no value", [][]byte{nlattr(c.typ)}, v4Socket()},
				{"the second counts", [][]byte{other, right}, c.want()},
				{"a short second does not", [][]byte{right, short, nlattr(c.typ)}, c.want()},
			} {
				t.Run(v.name, func(t *testing.T) { checkDecode(t, v4Record(v.attrs...), v.want) })
			}
		})
	}
}

// shortest is one byte less than the attribute's least length.
func (c attrCase) shortest() []byte { return c.value[:attrMin[c.typ]-1] }

func TestDecodeAllAttrs(t *testing.T) {
	want := v4Socket()
	var attrs [][]byte
	for _, c := range attrCases {
		attrs = append(attrs, nlattr(c.typ, c.value...))
		c.set(&want)
		want.present |= c.bit
	}
	info := infoBytes(sizeofTCPInfo)
	attrs = append(attrs, nlattr(2, info...))
	want.SetInfo(info)
	checkDecode(t, v4Record(attrs...), want)
	for _, c := range attrCases {
		if !want.Has(c.bit) || !want.Has(c.bit|AttrInfo) || want.Has(c.bit|1<<30) {
			t.Errorf("Has(%s) is wrong", c.name)
		}
	}
}

func TestDecodeInfo(t *testing.T) {
	for _, n := range []int{1, 8, 60, 104, 159, 160, 192, 232, sizeofTCPInfo - 1, sizeofTCPInfo, sizeofTCPInfo + 32} {
		full := infoBytes(n)
		var s Socket
		if err := Decode(v4Record(nlattr(2, full...)), &s); err != nil {
			t.Fatal(err)
		}
		known := min(n, sizeofTCPInfo)
		if !s.Has(AttrInfo) || s.InfoLen() != known {
			t.Errorf("%d bytes: Has %v, InfoLen %d, want true, %d", n, s.Has(AttrInfo), s.InfoLen(), known)
		}
		want := append(bytes.Clone(full[:known]), make([]byte, sizeofTCPInfo-known)...)
		if got := s.Info.bytes()[:]; !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %v\nwant %v", n, got, want)
		}
	}
	t.Run("a shorter second leaves nothing of the first", func(t *testing.T) {
		want := v4Socket()
		want.SetInfo(infoBytes(60))
		checkDecode(t, v4Record(nlattr(2, bytes.Repeat([]byte{0xee}, 280)...), nlattr(2, infoBytes(60)...)), want)
	})
	t.Run("no value", func(t *testing.T) { checkDecode(t, v4Record(nlattr(2)), v4Socket()) })
}

// infoBytes are n bytes that differ from their neighbours.
func infoBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + 1)
	}
	return b
}

func TestDecodeNames(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"with its zero", "cubic\x00", "cubic"},
		{"without", "cubic", "cubic"},
		{"stops at the first zero", "bbr\x00junk", "bbr"},
		{"empty", "\x00", ""},
		{"sixteen bytes", "0123456789abcdef", "0123456789abcdef"},
		{"cut at sixteen", "0123456789abcdefgh\x00", "0123456789abcdef"},
	} {
		var s Socket
		if err := Decode(v4Record(nlattr(4, []byte(c.value)...), nlattr(19, nlattr(1, []byte(c.value)...)...)), &s); err != nil {
			t.Fatal(err)
		}
		if s.Congestion.String() != c.want || s.ULP.String() != c.want {
			t.Errorf("%s: got %q and %q, want %q", c.name, s.Congestion, s.ULP, c.want)
		}
	}
}

func TestDecodeULP(t *testing.T) {
	for _, c := range []struct {
		name  string
		value []byte
		want  string
	}{
		{"name first", cat(nlattr(1, []byte("mptcp\x00")...), nlattr(3, 1, 2, 3)), "mptcp"},
		{"name last", cat(nlattr(3, 1, 2, 3), nlattr(2), nlattr(1, []byte("tls\x00")...)), "tls"},
		{"flags on the inner type", nlattr(1|0x8000, []byte("tls\x00")...), "tls"},
		{"no name", nlattr(3, 1, 2, 3, 4), ""},
		{"inner length too great", liar(1, 200, []byte("tls\x00")...), ""},
		{"inner length too small", liar(1, 3, []byte("tls\x00")...), ""},
		{"inner length zero", liar(2, 0, []byte("tls\x00")...), ""},
	} {
		var s Socket
		if err := Decode(v4Record(nlattr(19|0x8000, c.value...)), &s); err != nil {
			t.Fatal(err)
		}
		if !s.Has(AttrULP) || s.ULP.String() != c.want {
			t.Errorf("%s: got %q, want %q", c.name, s.ULP, c.want)
		}
	}
}

func TestDecodeOldSkMem(t *testing.T) {
	want := v4Socket()
	want.present = AttrSkMem
	want.SkMem = SkMem{RMemAlloc: 1, RcvBuf: 2, WMemAlloc: 3, SndBuf: 4, FwdAlloc: 5, WMemQueued: 6, OptMem: 7, Backlog: 8}
	old := nlattr(7, u32s(1, 2, 3, 4, 5, 6, 7, 8)...)
	checkDecode(t, v4Record(old), want)
	// The drops of a longer one before it do not stay.
	checkDecode(t, v4Record(nlattr(7, u32s(1, 1, 1, 1, 1, 1, 1, 1, 5)...), old), want)
}

func TestDecodeUnknownAttrs(t *testing.T) {
	for _, typ := range []uint16{0, 3, 9, 12, 13, 14, 16, 18, 20, 23, 24, 31, 32, 33, 64, 0x3fff} {
		checkDecode(t, v4Record(nlattr(typ, bytes.Repeat([]byte{0xff}, 300)...), nlattr(typ)), v4Socket())
	}
	// Less than a header behind the last attribute is padding.
	checkDecode(t, append(v4Record(), 0xff, 0xff, 0xff), v4Socket())
	// The last attribute's own padding may be missing.
	want := v4Socket()
	want.present, want.TOS = AttrTOS, 7
	checkDecode(t, v4Record(nlattr(5, 7)[:5]), want)
}

func TestDecodeMalformed(t *testing.T) {
	good := v4Record(nlattr(5, 1))
	bad := map[string][]byte{
		"nothing":                   nil,
		"one byte":                  {2},
		"a byte short":              good[:sizeofInetDiagMsg-1],
		"length under its header":   v4Record(nlattr(5, 1), liar(8, 3, 1)),
		"length zero":               v4Record(nlattr(5, 1), liar(8, 0, 1)),
		"length past the end":       v4Record(nlattr(5, 1), liar(8, 9, 1)),
		"length all ones":           v4Record(nlattr(5, 1), liar(8, 0xffff, 1)),
		"unknown, with a lie":       v4Record(nlattr(5, 1), liar(99, 100)),
		"second of two cut short":   v4Record(nlattr(5, 1), nlattr(2, infoBytes(100)...))[:120],
		"a header and nothing else": v4Record(liar(2, 280)),
	}
	for _, f := range []byte{0, 1, 3, 9, 11, 255} {
		b := bytes.Clone(good)
		b[0] = f
		bad["family "+Family(f).String()] = b
	}
	for name, b := range bad {
		s := v4Socket()
		s.SetInfo(infoBytes(sizeofTCPInfo))
		err := Decode(b, &s)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got error %v, want ErrMalformed", name, err)
		}
		if s != (Socket{}) {
			t.Errorf("%s: left a socket behind: %s", name, text(&s))
		}
	}
}

// A reused Socket keeps nothing of the record before.
func TestDecodeReuse(t *testing.T) {
	var s Socket
	for _, c := range attrCases {
		if err := Decode(v4Record(nlattr(c.typ, c.value...), nlattr(2, infoBytes(200)...)), &s); err != nil {
			t.Fatal(err)
		}
	}
	if err := Decode(v4Record(), &s); err != nil || s != v4Socket() {
		t.Errorf("got %s, error %v", text(&s), err)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	b := v4Record(nlattr(2, infoBytes(280)...), nlattr(4, []byte("cubic\x00")...), nlattr(19, nlattr(1, []byte("tls\x00")...)...))
	var s Socket
	if n := testing.AllocsPerRun(100, func() { _ = Decode(b, &s) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
