package netlinkss

import (
	"bufio"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// Text of kernel 6.18 (little endian), as get_tcp4_sock, get_timewait4_sock, get_openreq4 and
// get_tcp6_sock print it.
const (
	procNetTitle = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n"
	procNetLine  = "   1: 0100007F:1F90 020000C6:9C41 08 0000000A:0000000B 02:000AFC7D 00000000  1000        3 123456 2 0000000000000000 20 4 30 10 -1                      \n"
	procNet6Line = "   0: B80D0120000000000000000001000000:01BB 0000000000000000FFFF00000100007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 77 1 0000000000000000 20 0 0 10 -1\n"
)

// littleEndian skips a test whose text or bytes were recorded on a little endian machine.
func littleEndian(t testing.TB) {
	t.Helper()
	if native.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the recording is of a little endian machine")
	}
}

func procNet(f Family, lines ...string) (got []Socket, err error) {
	for s, e := range ReadProcNet(strings.NewReader(procNetTitle+strings.Join(lines, "")), f) {
		if e != nil {
			return got, e
		}
		got = append(got, *s)
	}
	return got, nil
}

func TestReadProcNet(t *testing.T) {
	littleEndian(t)
	addr := netip.MustParseAddrPort
	base := Socket{
		Family: Inet, State: CloseWait, Timer: TimerKeepalive, Expires: 719997 * 10 * time.Millisecond, Retrans: 3,
		Local: addr("127.0.0.1:8080"), Peer: addr("198.0.0.2:40001"), SendQ: 10, RecvQ: 11, UID: 1000, Inode: 123456,
	}
	for _, c := range []struct {
		name   string
		from   string
		to     string
		change func(*Socket)
	}{
		{"as it is", "", "", func(*Socket) {}},
		{"no timer", "02:000AFC7D", "00:00000000", func(s *Socket) { s.Timer, s.Expires, s.Retrans = 0, 0, 0 }},
		{"retransmit: counted in its column", "02:000AFC7D 00000000", "01:00000014 00000005", func(s *Socket) {
			s.Timer, s.Expires, s.Retrans = TimerOn, 200*time.Millisecond, 5
		}},
		{"persist: counted in probes", "02:000AFC7D 00000000", "04:00000014 00000007", func(s *Socket) {
			s.Timer, s.Expires, s.Retrans = TimerPersist, 200*time.Millisecond, 3
		}},
		{"time-wait", "08 0000000A:0000000B 02:000AFC7D 00000000  1000        3 123456", "06 00000000:00000000 03:0000176F 00000000     0        0 0", func(s *Socket) {
			*s = Socket{Family: Inet, State: TimeWait, Timer: TimerTimeWait, Expires: 5999 * 10 * time.Millisecond, Local: s.Local, Peer: s.Peer}
		}},
		{"counts over 255", "        3 123456", "      300 123456", func(s *Socket) { s.Retrans = 255 }},
		{"many retransmits", "02:000AFC7D 00000000", "01:00000000 0000FFFF", func(s *Socket) { s.Timer, s.Expires, s.Retrans = TimerOn, 0, 255 }},
		{"the largest numbers", "0000000A:0000000B 02:000AFC7D 00000000  1000        3 123456", "FFFFFFFF:FFFFFFFF 02:FFFFFFFF 00000000 4294967295 3 4294967295", func(s *Socket) {
			s.SendQ, s.RecvQ, s.UID, s.Inode = 1<<32-1, 1<<32-1, 1<<32-1, 1<<32-1
			s.Expires = (1<<32 - 1) * 10 * time.Millisecond
		}},
		{"lower case", "0000000A:0000000B", "0000000a:0000000b", func(*Socket) {}},
		{"of gVisor", "02:000AFC7D 00000000  1000        3 123456 2 0000000000000000 20 4 30 10 -1", "00:00000000 00000000  1000        3 123456 1 0000000000000000 0 0 0 0 -1", func(s *Socket) {
			s.Timer, s.Expires, s.Retrans = TimerUnknown, 0, 0
		}},
		{"the shortest time of retransmission", "02:000AFC7D 00000000  1000        3 123456 2 0000000000000000 20 4 30 10 -1", "00:00000000 00000000  1000        3 123456 1 0000000000000000 0 0 0 1 -1", func(s *Socket) {
			s.Timer, s.Expires, s.Retrans = 0, 0, 0
		}},
		{"a timer, and zeros", "20 4 30 10 -1", "0 0 0 0 -1", func(*Socket) {}},
		{"cut behind its timer", "02:000AFC7D 00000000  1000        3 123456 2 0000000000000000 20 4 30 10 -1", "00:00000000 00000000  1000        3 123456 1 0000000000000000 0 0 0", func(s *Socket) {
			s.Timer, s.Expires, s.Retrans = 0, 0, 0
		}},
		{"nothing behind the inode", " 2 0000000000000000 20 4 30 10 -1                      ", "", func(*Socket) {}},
	} {
		want := base
		c.change(&want)
		got, err := procNet(Inet, strings.Replace(procNetLine, c.from, c.to, 1))
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: error %v\ngot  %v\nwant %v", c.name, err, got, want)
		}
	}
}

func TestReadProcNet6(t *testing.T) {
	littleEndian(t)
	got, err := procNet(Inet6, procNet6Line, procNet6Line)
	want := Socket{
		Family: Inet6, State: Estab, Inode: 77,
		Local: netip.MustParseAddrPort("[2001:db8::1]:443"), Peer: netip.MustParseAddrPort("[::ffff:127.0.0.1]:22"),
	}
	if err != nil || len(got) != 2 || got[0] != want || got[1] != want {
		t.Errorf("error %v\ngot  %v\nwant %v", err, got, want)
	}
}

func TestReadProcNetEmpty(t *testing.T) {
	for _, file := range []string{"", "\n", procNetTitle, strings.TrimSpace(procNetTitle)} {
		for s, err := range ReadProcNet(strings.NewReader(file), Inet) {
			t.Errorf("%q: got %v, %v", file, s, err)
		}
	}
}

func TestReadProcNetMalformed(t *testing.T) {
	replace := func(from, to string) string {
		if !strings.Contains(procNetLine, from) {
			t.Fatalf("%q is not in the line", from)
		}
		return strings.Replace(procNetLine, from, to, 1)
	}
	for name, line := range map[string]string{
		"empty":                   "\n",
		"blanks":                  "     \n",
		"one word":                "1:\n",
		"no inode":                "   1: 0100007F:1F90 020000C6:9C41 08 0000000A:0000000B 02:000AFC7D 00000000  1000        3\n",
		"cut in the address":      "   1: 0100007F:1F90 0200\n",
		"no port":                 replace(":1F90", ""),
		"port too great":          replace("1F90", "11F90"),
		"address of IPv6":         procNet6Line,
		"address too short":       replace("0100007F", "010000"),
		"address not hex":         replace("0100007F", "0100007G"),
		"state too great":         replace(" 08 ", " 108 "),
		"state not hex":           replace(" 08 ", " zz "),
		"queue without its colon": replace("0000000A:0000000B", "0000000A"),
		"queue too great":         replace("0000000A", "10000000A"),
		"no timer of a kernel's":  replace("02:000AFC7D", "FF:000AFC7D"),
		"timer without its time":  replace("02:000AFC7D", "02"),
		"negative uid":            replace(" 1000 ", " -1 "),
		"probes not a number":     replace(" 3 ", " x "),
		"inode not a number":      replace("123456", "12345x"),
		"a sign":                  replace("0000000A", "+000000A"),
		"an underscore":           replace("0000000A", "0000_00A"),
		"zero bytes":              "\x00\x00\x00\x00\n",
	} {
		got, err := procNet(Inet, procNetLine, line)
		if !errors.Is(err, ErrMalformed) || len(got) != 1 {
			t.Errorf("%s: %d sockets, error %v, want 1, ErrMalformed", name, len(got), err)
		} else if !strings.Contains(err.Error(), "line 3") {
			t.Errorf("%s: the line is not in the error: %v", name, err)
		}
	}
	if _, err := procNet(Inet6, procNetLine); !errors.Is(err, ErrMalformed) {
		t.Errorf("an IPv4 line in the IPv6 file: error %v, want ErrMalformed", err)
	}
}

// A refused line leaves nothing behind.
func TestDecodeProcNetZero(t *testing.T) {
	s := v4Socket()
	if err := decodeProcNet([]byte(strings.Replace(procNetLine, "123456", "x", 1)), Inet, &s); err == nil || s != (Socket{}) {
		t.Errorf("error %v, left %s", err, text(&s))
	}
}

func TestReadProcNetFails(t *testing.T) {
	t.Run("reader", func(t *testing.T) {
		file := io.MultiReader(strings.NewReader(procNetTitle+procNetLine), iotest.ErrReader(io.ErrNoProgress))
		got := 0
		var last error
		for _, err := range ReadProcNet(file, Inet) {
			got++
			last = err
		}
		if got != 2 || !errors.Is(last, io.ErrNoProgress) {
			t.Errorf("%d steps, error %v", got, last)
		}
	})
	t.Run("endless line", func(t *testing.T) {
		file := strings.NewReader(procNetTitle + strings.Repeat("1", 1<<20))
		for s, err := range ReadProcNet(file, Inet) {
			if s != nil || !errors.Is(err, bufio.ErrTooLong) {
				t.Errorf("got %v, error %v", s, err)
			}
		}
		if left := file.Len(); left < 1<<19 {
			t.Errorf("read on to %d bytes before the end", left)
		}
	})
	t.Run("left early", func(t *testing.T) {
		file := strings.NewReader(procNetTitle + strings.Repeat(procNetLine, 10000))
		for range ReadProcNet(file, Inet) {
			break
		}
		if file.Len() == 0 {
			t.Error("read to the end")
		}
	})
}
