package netlinkss

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func TestEncodeIsTheKernels(t *testing.T) {
	records := map[string][]byte{
		"IPv4":        v4Record(),
		"IPv6":        v6Record("2001:db8::1", "2001:db8::2"),
		"v4-mapped":   v6Record("::ffff:192.0.2.1", "::ffff:198.51.100.7"),
		"unspecified": v6Record("::", "::"),
		"old INFO":    v4Record(nlattr(2, infoBytes(104)...)),
		"odd INFO":    v4Record(nlattr(2, infoBytes(101)...), nlattr(5, 1)),
	}
	all := [][]byte{nlattr(1, u32s(1, 2, 3, 4)...), nlattr(2, infoBytes(sizeofTCPInfo)...)}
	for _, c := range attrCases {
		records[c.name] = v4Record(nlattr(c.typ, c.value...))
		if c.typ > 2 {
			all = append(all, nlattr(c.typ, c.value...))
		}
	}
	records["all attributes"] = v4Record(all...)
	records["all attributes, IPv6"] = v6Record("2001:db8::1", "2001:db8::2", all...)
	for name, b := range records {
		var s Socket
		if err := Decode(b, &s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := AppendEncode(nil, &s); !bytes.Equal(got, b) {
			t.Errorf("%s:\ngot  %x\nwant %x", name, got, b)
		}
	}
}

// The padding counts from the record's start, not from that of the buffer.
func TestEncodeAppends(t *testing.T) {
	var s Socket
	record := v4Record(nlattr(4, []byte("cubic\x00")...), nlattr(5, 1), nlattr(8, 2))
	if err := Decode(record, &s); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		prefix := bytes.Repeat([]byte{'x'}, n)
		if got := AppendEncode(prefix, &s); !bytes.Equal(got, append(bytes.Clone(prefix), record...)) {
			t.Errorf("behind %d bytes: %x", n, got[n:])
		}
	}
}

func TestEncodeZero(t *testing.T) {
	b := AppendEncode(nil, &Socket{})
	if len(b) != sizeofInetDiagMsg || !bytes.Equal(b, make([]byte, sizeofInetDiagMsg)) {
		t.Errorf("got %x", b)
	}
}

func TestRoundTripRandom(t *testing.T) {
	for seed := range uint64(5000) {
		want := randomSocket(rand.New(rand.NewPCG(seed, 1)))
		b := AppendEncode(nil, &want)
		var got Socket
		if err := Decode(b, &got); err != nil {
			t.Fatalf("seed %d: %v in %x", seed, err, b)
		}
		if got != want {
			t.Fatalf("seed %d:\ngot  %s\nwant %s", seed, text(&got), text(&want))
		}
		if again := AppendEncode(nil, &got); !bytes.Equal(again, b) {
			t.Fatalf("seed %d: encodes differently the second time", seed)
		}
	}
}

// randomSocket is any socket that a record can say: addresses of the family, times in ms.
func randomSocket(r *rand.Rand) Socket {
	s := Socket{
		Family: Inet, State: State(r.Uint32()), Timer: Timer(r.Uint32()), Retrans: uint8(r.Uint32()),
		Interface: r.Uint32(), Cookie: r.Uint64(), Expires: time.Duration(r.Uint32()) * time.Millisecond,
		RecvQ: r.Uint32(), SendQ: r.Uint32(), UID: r.Uint32(), Inode: r.Uint32(),
	}
	if r.IntN(2) == 0 {
		s.Family = Inet6
	}
	s.Local, s.Peer = randomAddr(r, s.Family), randomAddr(r, s.Family)
	setters := randomAttrs(r, &s)
	for typ := range uint16(32) {
		if set := setters[typ]; set != nil && r.IntN(2) == 0 {
			s.present |= 1 << typ
			set()
		}
	}
	if r.IntN(2) == 0 {
		s.SetInfo(randomBytes(r, 1+r.IntN(sizeofTCPInfo)))
	}
	return s
}

func randomAttrs(r *rand.Rand, s *Socket) map[uint16]func() {
	return map[uint16]func(){
		1: func() { s.MemInfo = [4]uint32{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()} },
		4: func() { s.Congestion = randomName(r) },
		5: func() { s.TOS = uint8(r.Uint32()) },
		6: func() { s.TClass = uint8(r.Uint32()) },
		7: func() {
			for _, f := range s.SkMem.fields() {
				*f = r.Uint32()
			}
		},
		8:  func() { s.Shutdown = uint8(r.Uint32()) },
		10: func() { s.Protocol = uint8(r.Uint32()) },
		11: func() { s.V6Only = uint8(r.Uint32()) },
		15: func() { s.Mark = r.Uint32() },
		17: func() { s.ClassID = r.Uint32() },
		19: func() { s.ULP = randomName(r) },
		21: func() { s.CgroupID = r.Uint64() },
		22: func() { s.SockOpt = uint16(r.Uint32()) },
	}
}

func randomAddr(r *rand.Rand, f Family) netip.AddrPort {
	b := [16]byte(randomBytes(r, 16))
	port := uint16(r.Uint32())
	switch {
	case f == Inet:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), port)
	case r.IntN(3) == 0:
		copy(b[:], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
	}
	return netip.AddrPortFrom(netip.AddrFrom16(b), port)
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// randomName has no zero byte but at its end, and may fill all sixteen.
func randomName(r *rand.Rand) (n Name) {
	for i := range r.IntN(len(n) + 1) {
		n[i] = byte(1 + r.IntN(255))
	}
	return n
}
