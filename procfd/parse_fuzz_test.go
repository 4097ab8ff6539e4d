package procfd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseArgs(t *testing.T) {
	long := strings.Repeat("x", mostArgBytes)
	many := slices.Repeat([]string{"a"}, mostArgs)
	for _, tt := range []struct {
		file string
		want []string
	}{
		{"", []string{}}, {"\x00\x00", []string{""}}, {"a\x00", []string{"a"}}, {"a\x00\x00b c\x00\x00", []string{"a", "", "b c"}},
		{"nginx: master", []string{"nginx: master"}}, // a title that it wrote over them
		{long[1:] + "\x00", []string{long[1:]}}, {long, []string{long}}, {long + "\x00", []string{long, "…"}},
		{long[1:] + "\x00b\x00", []string{long[1:], "…"}}, {"a\x00" + long, []string{"a", long[2:], "…"}},
		{strings.Repeat("a\x00", mostArgs), many}, {strings.Repeat("a\x00", mostArgs+1), append(slices.Clone(many), "…")},
	} {
		if got := parseArgs([]byte(tt.file)); !slices.Equal(got, tt.want) {
			t.Errorf("%.40q of %d: %d arguments %.40q, want %d %.40q", tt.file, len(tt.file), len(got), got, len(tt.want), tt.want)
		}
	}
	p := process42().with(tree{"42/cmdline": "a\x00" + strings.Repeat("b\x00", 10*mostArgBytes)}).read42(t)
	if len(p.Args) != mostArgs+1 || p.Args[0] != "a" || p.Args[mostArgs] != "…" {
		t.Errorf("%d arguments of a long list are kept", len(p.Args))
	}
}

func FuzzParseArgs(f *testing.F) {
	f.Add([]byte("/srv/payments\x00--port\x008080\x00"))
	f.Add(bytes.Repeat([]byte("\x00a"), mostArgs+2))
	f.Add(bytes.Repeat([]byte("a"), mostArgBytes+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		args := parseArgs(b)
		text := strings.Join(args, "\x00")
		if len(args) > mostArgs+1 || len(text) > mostArgBytes+len("\x00…") {
			t.Fatalf("%d bytes: %d arguments of %d bytes", len(b), len(args), len(text))
		}
		whole := string(bytes.TrimRight(b, "\x00"))
		if kept, cut := strings.CutSuffix(text, "\x00…"); text != whole && (!cut || !strings.HasPrefix(whole, kept)) {
			t.Errorf("%q: %q", b, args)
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte("Name:\tx\nTgid:\t42\nUid:\t1000\t1001\t1002\t1003\n"))
	f.Add([]byte("Tgid:\t-7\nUid:\t1\t2\t3\t4"))
	f.Fuzz(func(t *testing.T, b []byte) {
		uid, tgid, err := parseStatus(b)
		if err != nil {
			if uid != 0 || tgid != 0 {
				t.Errorf("%q: user %d, process %d, %v", b, uid, tgid, err)
			}
			return
		}
		again := fmt.Sprintf("Name:\tUid:\nTgid:\t%d\nUid:\t0\t%d\t0\t0\n", tgid, uid)
		if uid2, tgid2, err := parseStatus([]byte(again)); tgid < 0 || uid2 != uid || tgid2 != tgid || err != nil {
			t.Errorf("%q: user %d, process %d; read again: %d, %d, %v", b, uid, tgid, uid2, tgid2, err)
		}
	})
}

func FuzzParseLimits(f *testing.F) {
	f.Add([]byte(limitsFile("1024")))
	f.Add([]byte(limitsFile("unlimited")))
	f.Add([]byte("Max open files -1 2 files"))
	f.Add([]byte("Max open files 10 -2 files"))
	f.Fuzz(func(t *testing.T, b []byte) {
		soft, hard, err := parseLimits(b)
		if err != nil {
			if soft != 0 || hard != 0 {
				t.Errorf("%q: %d and %d, %v", b, soft, hard, err)
			}
			return
		}
		word := "unlimited"
		if soft != NoLimit {
			word = strconv.FormatUint(soft, 10)
		}
		if again, _, err := parseLimits([]byte(limitsFile(word))); again != soft || err != nil {
			t.Errorf("%q: %d, read again: %d, %v", b, soft, again, err)
		}
	})
}

func FuzzParsePSS(f *testing.F) {
	f.Add([]byte("00400000-7fff rollup\nRss:                 100 kB\nPss:                4321 kB\nPss_Dirty: 1 kB\n"))
	f.Add([]byte("Pss: 1125899906842624 kB"))
	f.Add([]byte("Pss: -1 kB"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pss, err := parsePSS(b)
		if err != nil {
			if pss != 0 {
				t.Errorf("%q: %d, %v", b, pss, err)
			}
			return
		}
		if again, err := parsePSS(fmt.Appendf(nil, "Rss: 1 kB\nPss:%20d kB\n", pss>>10)); again != pss || err != nil {
			t.Errorf("%q: %d, read again: %d, %v", b, pss, again, err)
		}
	})
}

func FuzzParseUptime(f *testing.F) {
	for _, s := range []string{"3000.50 5000.00", "-1", "NaN", "Inf 1", "1e300", "0x1p9", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if up := parseUptime(line); up < 0 || up > 1e9*time.Second {
			t.Errorf("%q: %v", line, up)
		}
	})
}

func FuzzParseRunning(f *testing.F) {
	for _, s := range []string{"0.00 0.01 0.05 2/345 6789", "0 0 0 -1/2 3", "0 0 0 9999999999999999999/1 1", "2/3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if n := parseRunning(line); n < -1 {
			t.Errorf("%q: %d", line, n)
		}
	})
}

func FuzzMapped(f *testing.F) {
	f.Add(mapsOfJava)
	f.Add("0-1 r--p 0 8:1 1 /usr/lib/libruby-3.1.so.3.1\n")
	f.Add(strings.Repeat("x", 5<<10) + "/libjvm.so\n/libperl.so")
	f.Fuzz(func(t *testing.T, maps string) {
		got := mapped(strings.NewReader(maps))
		if got != "" && !slices.ContainsFunc(libraries, func(l struct{ prefix, runtime string }) bool {
			return l.runtime == got && strings.Contains(maps, "/"+l.prefix)
		}) {
			t.Errorf("%q: %q", maps, got)
		}
	})
}

// FuzzSockstat has both files on disk, as the library reads them.
func FuzzSockstat(f *testing.F) {
	const v4 = "sockets: used 9\nTCP: inuse 4 orphan 0 tw 2 alloc 5 mem 1\nUDP: inuse 1 mem 0\n"
	f.Add([]byte(v4), []byte("TCP6: inuse 3\n"))
	f.Add([]byte(strings.Replace(v4, "inuse 4", "inuse -4", 1)), []byte("TCP6: inuse -3\n"))
	f.Add([]byte("TCP: inuse\n"), []byte(""))
	dir := f.TempDir()
	must(f, os.Mkdir(filepath.Join(dir, "net"), 0o755))
	f.Fuzz(func(t *testing.T, v4, v6 []byte) {
		must(t, os.WriteFile(filepath.Join(dir, "net", "sockstat"), v4, 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "net", "sockstat6"), v6, 0o600))
		s, err := (&FS{}).sockstat(dir)
		if lowest := min(s.InUse, s.InUse6, s.Orphan, s.TW, s.Alloc); lowest < -1 || err != nil && s != (Sockstat{-1, -1, -1, -1, -1}) {
			t.Errorf("%q, %q: %+v, %v", v4, v6, s, err)
		}
	})
}
