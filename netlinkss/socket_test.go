package netlinkss

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestStateNames(t *testing.T) {
	want := map[State]string{
		0: "unknown(0)", 1: "ESTAB", 2: "SYN-SENT", 3: "SYN-RECV", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2", 6: "TIME-WAIT", 7: "UNCONN",
		8: "CLOSE-WAIT", 9: "LAST-ACK", 10: "LISTEN", 11: "CLOSING", 12: "NEW-SYN-RECV", 13: "BOUND-INACTIVE", 14: "unknown(14)", 255: "unknown(255)",
	}
	for s, name := range want {
		if s.String() != name {
			t.Errorf("state %d: got %s, want %s", uint8(s), s, name)
		}
	}
}

func TestTimerNames(t *testing.T) {
	want := []string{"off", "on", "keepalive", "timewait", "persist", "delack", "unknown(6)"}
	for n, name := range want {
		if got := Timer(n).String(); got != name {
			t.Errorf("timer %d: got %s, want %s", n, got, name)
		}
	}
	for timer, want := range map[Timer]string{254: "unknown(254)", TimerUnknown: "unknown"} {
		if got := timer.String(); got != want {
			t.Errorf("timer %d: got %s, want %s", uint8(timer), got, want)
		}
	}
}

func TestFamilyNames(t *testing.T) {
	for f, want := range map[Family]string{Inet: "IPv4", Inet6: "IPv6", 0: "unknown(0)", 1: "unknown(1)"} {
		if f.String() != want {
			t.Errorf("got %s, want %s", f, want)
		}
	}
}

func TestStates(t *testing.T) {
	for s := range State(255) {
		want := s >= Estab && s <= Closing
		if AllStates.Has(s) != want {
			t.Errorf("AllStates.Has(%v) is %v", s, !want)
		}
		if s < 32 && (s.Mask() != 1<<s || !s.Mask().Has(s)) || s > 31 && s.Mask() != 0 {
			t.Errorf("%v: mask %x", s, s.Mask())
		}
	}
	if BoundInactive.Mask() != 0x2000 {
		t.Errorf("BOUND-INACTIVE is bit %x, want 0x2000", BoundInactive.Mask())
	}
}

func TestParseStates(t *testing.T) {
	for word, want := range map[string]States{
		"established": 1 << 1, "ESTAB": 1 << 1, "estab": 1 << 1, "Close-Wait": 1 << 8, "closed": 1 << 7, "UNCONN": 1 << 7,
		"listening": 1 << 10, "LISTEN": 1 << 10, "bound-inactive": 1 << 13, "BOUND-INACTIVE": 1 << 13, "fin-wait-2": 1 << 5,
		"all": 0xffe, "connected": 0xb7e, "synchronized": 0xb7a, "bucket": 0x48, "big": 0xfb6,
	} {
		if got, err := ParseStates(word); err != nil || got != want {
			t.Errorf("%s: got %#x, %v, want %#x", word, got, err, want)
		}
	}
	for _, word := range []string{"", " ", "estab ", "new-syn-recv", "NEW-SYN-RECV", "unknown(3)", "closewait"} {
		if got, err := ParseStates(word); err == nil || got != 0 {
			t.Errorf("%q: got %#x, want an error", word, got)
		} else if !strings.Contains(err.Error(), `"`+word+`"`) {
			t.Errorf("%q is not in the error: %v", word, err)
		}
	}
}

func TestStateWords(t *testing.T) {
	words := StateWords()
	for _, w := range words {
		if _, err := ParseStates(w); err != nil {
			t.Errorf("listed but not taken: %v", err)
		}
	}
	for w := range stateWords {
		if !slices.Contains(words, w) {
			t.Errorf("%s is taken but not listed", w)
		}
	}
	words[0] = "changed"
	if StateWords()[0] == "changed" {
		t.Error("StateWords hands out shared memory")
	}
}

func TestSocketIsIPv4(t *testing.T) {
	addr := netip.MustParseAddrPort
	for _, c := range []struct {
		s    Socket
		want bool
	}{
		{Socket{Family: Inet, Local: addr("127.0.0.1:1")}, true},
		{Socket{Family: Inet6, Local: addr("[::1]:1"), Peer: addr("[::1]:2")}, false},
		{Socket{Family: Inet6, Local: addr("[::ffff:127.0.0.1]:1"), Peer: addr("[::ffff:127.0.0.1]:2")}, true},
		{Socket{Family: Inet6, Local: addr("[::ffff:127.0.0.1]:1"), Peer: addr("[::]:0")}, true},
		{Socket{Family: Inet6, Local: addr("[::]:1"), Peer: addr("[::]:0")}, false},
		{Socket{}, false},
	} {
		if got := c.s.IsIPv4(); got != c.want {
			t.Errorf("%v: got %v", c.s.Local, got)
		}
	}
}

func TestUnmap(t *testing.T) {
	for in, want := range map[string]string{
		"[::ffff:192.0.2.1]:80": "192.0.2.1:80", "192.0.2.1:80": "192.0.2.1:80", "[2001:db8::1]:80": "[2001:db8::1]:80", "[::]:0": "[::]:0",
	} {
		if got := Unmap(netip.MustParseAddrPort(in)); got != netip.MustParseAddrPort(want) {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	if got := Unmap(netip.AddrPort{}); got != (netip.AddrPort{}) {
		t.Errorf("zero: got %v", got)
	}
}

func TestClone(t *testing.T) {
	s := v4Socket()
	s.SetInfo(infoBytes(100))
	c := s.Clone()
	if *c != s || c.InfoLen() != 100 || !c.Has(AttrInfo) {
		t.Errorf("got %s", text(c))
	}
	s.Inode, s.Info.RTO = 0, 0
	if c.Inode != 123456 || c.Info.RTO == 0 {
		t.Error("the clone shares memory with the socket")
	}
}

func TestSetInfo(t *testing.T) {
	var s Socket
	s.SetInfo(infoBytes(sizeofTCPInfo + 100))
	if s.InfoLen() != sizeofTCPInfo || !s.Has(AttrInfo) {
		t.Errorf("InfoLen %d, Has %v", s.InfoLen(), s.Has(AttrInfo))
	}
	s.SetInfo(infoBytes(8))
	if s.InfoLen() != 8 || s.Info.RTO != 0 {
		t.Errorf("InfoLen %d, RTO %d: the first read shows through", s.InfoLen(), s.Info.RTO)
	}
	if s.SetInfo(nil); s != (Socket{}) {
		t.Errorf("no bytes left %s", text(&s))
	}
}

func TestOpError(t *testing.T) {
	if opError("read", nil) != nil {
		t.Error("no error became one")
	}
	err := opError("read", fs.ErrPermission)
	var op *OpError
	if !errors.As(err, &op) || op.Op != "read" || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %#v", err)
	}
	if err.Error() != "read: permission denied" {
		t.Errorf("got %q", err)
	}
}
