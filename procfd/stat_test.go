package procfd

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	whole := statLine(42, "a) (b\n", 'S', 77)
	want := stat{comm: "a) (b\n", state: 'S', ppid: 1, flags: 4194560, cpu: 150 * time.Millisecond, threads: 7, start: 77, rss: 2048}
	if got, ok := parseStat([]byte(whole)); !ok || got != want {
		t.Errorf("%+v %v, want %+v", got, ok, want)
	}
	for _, b := range []string{
		"", "42", ")(", "42 (a)", "42 (a) ", "42 (a)S 1 1", strings.Replace(whole, " S 1 ", " S -1 ", 1), strings.Replace(whole, " S ", " SS ", 1),
		strings.Replace(whole, " S ", " \x00 ", 1), strings.Replace(whole, " S ", " 1 ", 1),
		strings.Replace(whole, " 77 ", " 99999999999999999999999 ", 1), strings.Replace(whole, " 2048 ", " x ", 1), whole[:strings.Index(whole, " 2048 ")],
	} {
		if got, ok := parseStat([]byte(b)); ok || got != (stat{}) && got.rss != 0 {
			t.Errorf("%q: %+v %v", b, got, ok)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	for _, s := range []string{"", ")", "1 (a) S 2 3", ") S 99999999999999999999 ", statLine(1, "x", 'Z', math.MaxUint64)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseStat(b); ok && (s.ppid < 0 || s.state < 'A' || s.cpu < 0 || s.threads < 0 || s.rss < 0 || len(s.comm) > len(b)) {
			t.Errorf("%q: %+v", b, s)
		}
	})
}

func TestParseStatus(t *testing.T) {
	for _, tt := range []struct {
		file string
		uid  uint32
		tgid int
		ok   bool
	}{
		{"Name:\tUid:\nTgid:\t42\nUid:\t1\t4294967295\t3\t4\n", math.MaxUint32, 42, true},
		{"Tgid:\t42\nUid:\t1\t2\t3\t4", 2, 42, true},
		{"Tgid:\t42\nUid:\t1\t4294967296\t3\t4\n", 0, 0, false},
		{"Tgid:\t42\nUid:\t1\t2\t3\n", 0, 0, false},
		{"Tgid:\t42\n", 0, 0, false},
		{"Uid:\t1\t2\t3\t4\n", 2, 0, true},
		{"Tgid:\tx\nUid:\t1\t2\t3\t4\n", 0, 0, false},
		{"", 0, 0, false},
	} {
		if uid, tgid, err := parseStatus([]byte(tt.file)); uid != tt.uid || tgid != tt.tgid || (err == nil) != tt.ok {
			t.Errorf("%q: user %d, process %d, %v", tt.file, uid, tgid, err)
		}
	}
}
