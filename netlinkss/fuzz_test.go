package netlinkss

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// seedDumps are the recorded dumps, where there are any.
func seedDumps(f *testing.F) (all [][]byte) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join(dumpDir, "*.nl"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func FuzzDecode(f *testing.F) {
	for _, dump := range seedDumps(f) {
		for len(dump) > 0 {
			h, payload, rest, err := nextMessage(dump)
			if err != nil {
				break
			}
			if h.typ != msgDone {
				f.Add(payload)
			}
			dump = rest
		}
	}
	for _, c := range attrCases {
		f.Add(v4Record(nlattr(c.typ, c.value...), nlattr(c.typ, c.shortest()...)))
	}
	f.Add(v4Record(liar(2, 0), liar(7, 0xffff), nlattr(0x3fff)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := v4Socket() // what was there before must not matter
		s.SetInfo(infoBytes(sizeofTCPInfo))
		if err := Decode(b, &s); err != nil {
			if !errors.Is(err, ErrMalformed) || s != (Socket{}) {
				t.Fatalf("error %v with %s", err, text(&s))
			}
			return
		}
		if len(b) < sizeofInetDiagMsg {
			t.Fatalf("%d bytes were enough", len(b))
		}
		wantRoundTrip(t, &s)
		_ = text(&s)
	})
}

// wantRoundTrip encodes and decodes, and the same once more.
func wantRoundTrip(t *testing.T, s *Socket) {
	t.Helper()
	var again Socket
	b := AppendEncode(nil, s)
	if err := Decode(b, &again); err != nil {
		t.Fatalf("%v in %x, from %s", err, b, text(s))
	}
	if again != *s {
		t.Fatalf("got  %s\nwant %s", text(&again), text(s))
	}
	if c := AppendEncode(nil, &again); !bytes.Equal(c, b) {
		t.Fatalf("encodes to %x, then to %x", b, c)
	}
}

func FuzzReplay(f *testing.F) {
	for _, dump := range seedDumps(f) {
		f.Add(dump)
	}
	f.Add(cat(nlmsg(msgByFamily, 2, 1, recordOf(1)...), errorMsg(1, -1)))
	f.Add(u32s(1<<32-1, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		left := len(b) / (sizeofNlmsghdr + sizeofInetDiagMsg)
		ended := false
		for s, err := range Replay(bytes.NewReader(b)) {
			if ended {
				t.Fatal("goes on behind an error")
			}
			if err != nil {
				var op *OpError
				if ended = true; s != nil || !errors.As(err, &op) {
					t.Fatalf("error %v with %v", err, s)
				}
				continue
			}
			if left--; left < 0 {
				t.Fatalf("more sockets than %d bytes have room for", len(b))
			}
			wantRoundTrip(t, s)
		}
	})
}

func FuzzReadProcNet(f *testing.F) {
	f.Add([]byte(procNetTitle+procNetLine), false)
	f.Add([]byte(procNetTitle+procNet6Line), true)
	for _, family := range []string{"tcp", "tcp6"} {
		if b, err := os.ReadFile("/proc/self/net/" + family); err == nil {
			f.Add(b[:min(len(b), 4096)], family == "tcp6")
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		family := Inet
		if v6 {
			family = Inet6
		}
		left := bytes.Count(b, []byte("\n"))
		ended := false
		for s, err := range ReadProcNet(bytes.NewReader(b), family) {
			if ended {
				t.Fatal("goes on behind an error")
			}
			if err != nil {
				var op *OpError
				if ended = true; s != nil || !errors.As(err, &op) {
					t.Fatalf("error %v with %v", err, s)
				}
				continue
			}
			if left--; left < 0 {
				t.Fatal("more sockets than lines")
			}
			if s.Family != family || s.Cookie != 0 || s.present != 0 || s.Local.Addr().Is4() == v6 {
				t.Fatalf("got %s", text(s))
			}
			wantRoundTrip(t, ms(s))
		}
	})
}

// ms brings a line's time into the range of a record's: ticks of 10 ms reach ten times as far.
func ms(s *Socket) *Socket {
	c := s.Clone()
	c.Expires /= 10
	return c
}
