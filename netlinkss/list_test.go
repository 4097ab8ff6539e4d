package netlinkss

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// textDir has recorded texts, beside each what they say.
const textDir = "../testdata/text"

// listText is one line a socket, and what the list lacks behind them.
func listText(r io.Reader) string {
	var b strings.Builder
	l := ReadList(r)
	fmt.Fprintf(&b, "%s\n", l.Kind)
	for s, err := range l.Sockets() {
		if err != nil {
			fmt.Fprintf(&b, "error: %v\n", err)
			continue
		}
		fmt.Fprint(&b, text(s))
		if l.Lack() != 0 {
			fmt.Fprintf(&b, " lacks %s", lackText(l.Lack()))
		}
		for _, u := range l.Users() {
			fmt.Fprintf(&b, " %q[%d] fd %d", u.Name, u.PID, u.FD)
		}
		b.WriteString("\n")
	}
	for _, loss := range l.Losses() {
		fmt.Fprintf(&b, "lost: %d %s: %s\n", loss.Count, loss.What, loss.Why)
	}
	return b.String()
}

func lackText(l Lack) string {
	var words []string
	for i, name := range []string{"local", "peer", "timer", "uid", "inode", "cookie", "holders", "device"} {
		if l&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, ",")
}

func TestListGolden(t *testing.T) {
	littleEndian(t)
	files, err := filepath.Glob(filepath.Join(textDir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded texts in %s: %v", textDir, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := listText(bytes.NewReader(in))
			golden := strings.TrimSuffix(file, ".txt") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("not as %s: %s", golden, firstDifference(got, string(want)))
			}
			// How the bytes arrive changes nothing, nor how lines end.
			if slow := listText(iotest.OneByteReader(bytes.NewReader(in))); slow != got {
				t.Errorf("byte by byte:\n%s", slow)
			}
			if crlf := listText(bytes.NewReader(bytes.ReplaceAll(in, []byte("\n"), []byte("\r\n")))); crlf != got {
				t.Errorf("with CRLF:\n%s", crlf)
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n%s\nwant\n%s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// A text that ends anywhere gives the rows before, as they are in the whole one.
func TestListCutAnywhere(t *testing.T) {
	for _, name := range []string{"ss-tanoie", "ss-tanp", "ss-tanoiepmO-no-header", "netstat-antoeep", "proc-net-tcp"} {
		in, err := os.ReadFile(filepath.Join(textDir, name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		whole, _, err := readList(string(in))
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(in); n += 1 + n/40 {
			rows, _, _ := readList(string(in[:n]))
			if len(rows) > len(whole) {
				t.Fatalf("%s: %d rows of %d bytes, %d of all", name, len(rows), n, len(whole))
			}
			for i := range rows {
				wantPartOf(t, fmt.Sprintf("%s at %d", name, n), &rows[i], &whole[i])
			}
		}
	}
}

// TestListDumps: a dump is told by its bytes, whatever is at its front.
func TestListDumps(t *testing.T) {
	rec := nlmsg(msgByFamily, 2, 1, recordOf(1)...)
	swapped := bytes.Clone(rec)
	slices.Reverse(swapped[:4])
	slices.Reverse(swapped[4:6])
	for _, c := range []struct {
		name    string
		dump    []byte
		sockets int
		want    error
	}{
		{"one", cat(rec, doneMsg(1, 0)), 1, nil},
		{"of no sockets", doneMsg(1, 0), 0, nil},
		{"of both families", cat(rec, doneMsg(1, 0), rec, rec, doneMsg(2, 0)), 3, nil},
		{"without its end", cat(rec, rec), 2, ErrTruncated},
		{"cut in a record", rec[:len(rec)-4], 0, ErrTruncated},
		{"cut in its first header", rec[:3], 0, ErrTruncated},
		{"a refusal", errorMsg(1, -1), 0, syscall.EPERM},
		{"of the other byte order", swapped, 0, ErrMalformed},
	} {
		l := ReadList(bytes.NewReader(c.dump))
		sockets := 0
		var err error
		for s, e := range l.Sockets() {
			if err = e; s != nil {
				sockets++
			}
		}
		if l.Kind != KindDump || sockets != c.sockets || !errors.Is(err, c.want) {
			t.Errorf("%s: %s, %d sockets, error %v, want %d, %v", c.name, l.Kind, sockets, err, c.sockets, c.want)
		}
	}
	for _, err := range ReadList(bytes.NewReader(swapped)).Sockets() {
		if err == nil || !strings.Contains(err.Error(), "byte order") {
			t.Errorf("the other byte order: %v", err)
		}
	}
}

func TestListReaderFails(t *testing.T) {
	in := ssHeader + strings.Repeat("ESTAB 0 0 1.1.1.1:1 2.2.2.2:2\n", 100_000)
	for _, n := range []int{0, 10, len(in)} {
		var last error
		for _, last = range ReadList(io.MultiReader(strings.NewReader(in[:n]), iotest.ErrReader(syscall.EIO))).Sockets() {
		}
		if !errors.Is(last, syscall.EIO) {
			t.Errorf("after %d bytes: error %v, want EIO", n, last)
		}
	}
}

func TestListLeft(t *testing.T) {
	in := strings.NewReader(ssHeader + strings.Repeat("ESTAB 0 0 1.1.1.1:1 2.2.2.2:2\n", 1_000_000))
	size := in.Len()
	for range ReadList(in).Sockets() {
		break
	}
	if read := size - in.Len(); read > 2*listBuffer {
		t.Errorf("%d bytes were read on after the loop was left", read)
	}
}

// Headers without rows, or lists of holders without an end, are no way to make it look ahead for ever.
func TestListHostile(t *testing.T) {
	for name, in := range map[string]string{
		"headers":  strings.Repeat(ssHeader, 200_000),
		"unclosed": strings.Repeat("ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 users:((\"x\n\n\n\n", 100_000),
		"commands": strings.Repeat("$ ss state close-wait state closing\n", 200_000),
		"one row":  strings.Repeat(ssHeader+"ESTAB 0 0 1.1.1.1:1 2.2.2.2:2\n", 100_000),
		"short":    ssHeader + strings.Repeat("\n\t\n1\n", 1_000_000),
	} {
		l := ReadList(strings.NewReader(in))
		for _, err := range l.Sockets() {
			if err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// seedTexts are the recorded texts, and what their readers were written for.
func seedTexts(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join(textDir, "*.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 4096)])
	}
	f.Add([]byte(ssHeader + "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 users:((\"a\nb\",pid=12,fd=33)) timer:(keepalive,1min,0) ino:7 sk:8 cgroup:/ <->\n\t skmem:(r0) cubic rto:204 backoff:1\n"))
	f.Add([]byte("$ ss -tn state close-wait\nRecv-Q Send-Q Local Address:Port Peer Address:Port\n0 0 [fe80::1]%eth0:1 *:*\n"))
	f.Add([]byte("tcp6 0 0 ::1:80 :::* LISTEN 0 123 1/a b              keepalive (7183.98/0/0)\n"))
}

func FuzzReadList(f *testing.F) {
	for _, dump := range seedDumps(f) {
		f.Add(dump)
	}
	seedTexts(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		l := ReadList(bytes.NewReader(b))
		left := bytes.Count(b, []byte("\n"))
		if l.Kind == KindDump {
			left = len(b) / (sizeofNlmsghdr + sizeofInetDiagMsg)
		}
		ended := false
		for s, err := range l.Sockets() {
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
			if l.Kind != KindDump {
				wantSound(t, s, l)
			}
		}
		for _, loss := range l.Losses() {
			if loss.Count <= 0 || loss.Why == "" || len(loss.Why) > 2000 {
				t.Fatalf("%+v", loss)
			}
		}
	})
}

// wantSound: what a row lacks is zero, and what it has is in bounds.
func wantSound(t *testing.T, s *Socket, l *List) {
	t.Helper()
	lack := l.Lack()
	for _, c := range []struct {
		bit   Lack
		empty bool
	}{
		{LackLocal, s.Local == (netip.AddrPort{})}, {LackPeer, s.Peer == (netip.AddrPort{})}, {LackTimer, s.Timer == TimerUnknown && s.Expires == 0},
		{LackUID, s.UID == 0}, {LackInode, s.Inode == 0}, {LackCookie, s.Cookie == 0}, {LackHolders, l.Users() == nil},
	} {
		if lack&c.bit != 0 && !c.empty {
			t.Fatalf("lacks %s, and has %s", lackText(lack&c.bit), text(s))
		}
	}
	if (lack&LackTimer == 0) == (s.Timer == TimerUnknown) || s.Has(AttrInfo) != (s.InfoLen() > 0) || s.InfoLen() > 240 || s.State == 0 || s.State > Closing && l.Kind == KindSS {
		t.Fatalf("%s lacks %s", text(s), lackText(lack))
	}
	for _, b := range s.Info.bytes()[s.InfoLen():] {
		if b != 0 {
			t.Fatalf("more of tcp_info than its length: %s", text(s))
		}
	}
	for _, u := range l.Users() {
		if u.PID < 0 || u.FD < -1 {
			t.Fatalf("%+v", u)
		}
	}
}

func TestListAllocatesNothingPerRow(t *testing.T) {
	for name, row := range map[string]string{
		"ss":       benchRow,
		"IPv6":     "ESTAB 0 0 [2001:db8::1]:1 [2001:db8::2]:2 timer:(keepalive,119min,0) ino:1 sk:1 <->\n",
		"one name": "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 users:((\"node\",pid=1,fd=3)) timer:(keepalive,119min,0) ino:1 sk:1 <->\n",
		"netstat":  "tcp        1      0 127.0.0.1:8080          127.0.0.1:59646         CLOSE_WAIT  0          138206572  -                    off (0.00/0/0)\n",
		"proc":     procNetLine,
	} {
		allocs := func(n int) float64 {
			in := strings.Repeat(row, n)
			return testing.AllocsPerRun(3, func() {
				rows := 0
				for s := range ReadList(strings.NewReader(in)).Sockets() {
					if s != nil {
						rows++
					}
				}
				if rows != n {
					t.Errorf("%s: %d rows, want %d", name, rows, n)
				}
			})
		}
		if few, many := allocs(10), allocs(2000); few != many {
			t.Errorf("%s: %v allocations for 10 rows, %v for 2000", name, few, many)
		}
	}
}

const benchRow = "ESTAB      0      0          192.168.100.17:8080          10.20.30.40:59632 timer:(keepalive,119min,0) uid:1000 ino:138206555 sk:1bec1bc cgroup:/ <->\n" +
	"\t ts sack cubic wscale:10,10 rto:204 rtt:0.006/0.003 mss:32741 pmtu:65535 rcvmss:536 advmss:65483 cwnd:10 bytes_sent:12345 bytes_acked:12346 " +
	"bytes_received:777 segs_out:20 segs_in:21 data_segs_out:10 data_segs_in:9 send 436546666667bps lastsnd:1596000 lastrcv:1596000 lastack:1596 " +
	"pacing_rate 1247585543688bps delivery_rate 2048bps delivered:11 app_limited busy:12ms rcv_space:65483 rcv_ssthresh:65483 minrtt:0.006 snd_wnd:65536\n"

func BenchmarkReadList(b *testing.B) {
	for _, c := range []struct{ name, row string }{
		{"ss-tanoie", benchRow},
		{"ss-tan", "ESTAB      0      0          192.168.100.17:8080          10.20.30.40:59632\n"},
		{"ss-tanp", "ESTAB      0      0          192.168.100.17:8080          10.20.30.40:59632 users:((\"node\",pid=4711,fd=23))\n"},
		{"netstat-anto", "tcp        0      0 192.168.100.17:8080     10.20.30.40:59632       ESTABLISHED keepalive (7198.15/0/0)\n"},
	} {
		for _, n := range []int{1000, 100_000} {
			b.Run(fmt.Sprintf("%s/sockets=%d", c.name, n), func(b *testing.B) {
				in := strings.Repeat(c.row, n)
				b.SetBytes(int64(len(in)))
				b.ReportAllocs()
				for b.Loop() {
					rows := 0
					for range ReadList(strings.NewReader(in)).Sockets() {
						rows++
					}
					if rows != n {
						b.Fatalf("%d rows, want %d", rows, n)
					}
				}
			})
		}
	}
}
