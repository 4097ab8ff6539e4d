package screen

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	var lines []string
	for l := range strings.SplitSeq(got, "\n") {
		lines = append(lines, strings.TrimRight(l, " "))
	}
	got = strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", path, got)
	}
}

// watched is a screen behind some looks, in which sockets leak, a finding is new and one has cleared.
func watched(o Options) *stage {
	o.Title, o.Save = "leakscan 4242", func(*Frame) (string, error) { return "", nil }
	s := newStage(o)
	for i := range 4 {
		p := madeProcess(4242, "proxy").leak(30 + 3*i).healthy(3)
		if i < 2 {
			p.closeWait(6)
		}
		if i == 3 {
			p.hold(7, netlinkss.FinWait2, addr(1, 8080), addr(5, 5000), time.Hour)
		}
		r := resultOf(noon.Add(time.Duration(i)*2*time.Second), someGaps, p)
		s.feed(&Frame{Result: r, Series: series(20 + i), Took: 42 * time.Millisecond})
	}
	return s
}

func TestViews(t *testing.T) {
	for _, tt := range []struct {
		name string
		w, h int
		keys []string
	}{
		{"findings-200x60", 200, 60, nil},
		{"findings-80x24", 80, 24, nil},
		{"findings-40x10", 40, 10, nil},
		{"finding-120x40", 120, 40, []string{"enter"}},
		{"finding-80x24", 80, 24, []string{"enter", "down", "down"}},
		{"groups-120x30", 120, 30, []string{"tab"}},
		{"group-100x30", 100, 30, []string{"tab", "enter"}},
		{"gaps-80x24", 80, 24, []string{"x"}},
		{"help-80x24", 80, 24, []string{"?"}},
		{"filter-80x24", 80, 24, []string{"/", "9", "9"}},
	} {
		s := watched(Options{})
		s.resize(tt.w, tt.h)
		_ = s.view()
		s.press(tt.keys...)
		golden(t, tt.name, ansi.Strip(s.view()))
	}
}

func TestViewsOfHost(t *testing.T) {
	for _, tt := range []struct {
		name string
		w, h int
	}{{"host-120x40", 120, 40}, {"host-80x24", 80, 24}, {"host-40x10", 40, 10}} {
		s := newStage(Options{Title: "tcpstat", Orders: diag.GroupSorts(), Groupings: diag.GroupByNames(), Arrange: func(_, _ string) {}})
		s.resize(tt.w, tt.h)
		for i := range 3 {
			s.feed(statFrame(noon.Add(time.Duration(i)*time.Second), 28636+i))
		}
		golden(t, tt.name, ansi.Strip(s.view()))
	}
}

// Colours and marks are a part of what is promised, too.
func TestColors(t *testing.T) {
	s := watched(Options{Color: true})
	s.resize(100, 24)
	golden(t, "color-100x24", strings.ReplaceAll(s.view(), "\x1b", "^["))
	if got := watched(Options{}).view(); strings.Contains(got, "[31m") || strings.Contains(got, ";3") || !strings.Contains(got, "\x1b[1;7m") {
		t.Errorf("without colours: %q", got)
	}
}

func TestASCII(t *testing.T) {
	s := watched(Options{ASCII: true})
	for _, keys := range [][]string{nil, {"enter"}, {"esc", "tab"}, {"x"}, {"?"}} {
		s.press(keys...)
		if view := ansi.Strip(s.view()); !isASCII(view) {
			t.Errorf("after %q:\n%s", keys, view)
		}
	}
	for locale, want := range map[string]bool{"C": true, "": true, "de_DE.UTF-8": false, "C.utf8": false, "ru_RU.KOI8-R": true} {
		if got := IsASCII(func(name string) string { return map[string]string{"LANG": locale}[name] }); got != want {
			t.Errorf("%q is ASCII: %v", locale, got)
		}
	}
	first := func(name string) string { return map[string]string{"LC_ALL": "C", "LANG": "C.UTF-8"}[name] }
	if !IsASCII(first) {
		t.Error("LC_ALL does not come before LANG")
	}
}

// Whatever the size is and whatever is shown, the screen has that size, and nothing from outside gets through.
func TestFits(t *testing.T) {
	hostile := "\x1b[31m日本語\u202e\n\x00\xff" + strings.Repeat("名", 30)
	sizes := [][2]int{{1, 1}, {2, 2}, {10, 3}, {20, 5}, {40, 10}, {41, 17}, {79, 18}, {80, 24}, {133, 9}, {200, 60}, {500, 100}}
	for _, ascii := range []bool{false, true} {
		for _, keys := range [][]string{nil, {"enter"}, {"tab"}, {"tab", "enter"}, {"tab", "tab"}, {"x"}, {"?"}, {"/", "日", "enter"}, {"space"}} {
			s := newStage(Options{Title: hostile, ASCII: ascii, Color: true})
			a, b := madeProcess(4242, hostile).leak(20), madeProcess(43, "other").closeWait(3)
			a.Args, a.Cgroup, a.Runtime = []string{hostile}, hostile, hostile
			s.feed((&film{}).frame([]diag.Gap{{What: hostile, Why: hostile}}, a, b))
			s.press(keys...)
			for _, size := range sizes {
				s.resize(size[0], size[1])
				checkSize(t, s.view(), size[0], size[1])
			}
		}
	}
}

// sgr are the only control sequences of a picture.
var sgr = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func checkSize(t *testing.T, view string, w, h int) {
	t.Helper()
	lines := strings.Split(ansi.Strip(view), "\n")
	if len(lines) != h {
		t.Errorf("%d lines of %d", len(lines), h)
	}
	for _, l := range lines {
		if width(l) > w {
			t.Errorf("%d columns of %d: %q", width(l), w, l)
		}
	}
	if bare := sgr.ReplaceAllString(view, ""); strings.Contains(bare, "\x1b") {
		t.Errorf("a control sequence that is no style: %q", bare)
	}
	if strings.ContainsAny(view, "\u202e\x00\r\a\b") || strings.Contains(view, "\xff") {
		t.Errorf("hostile text on the screen: %q", view)
	}
}

func TestSparkline(t *testing.T) {
	p := newPalette(true, false)
	for _, tt := range []struct {
		v    []float64
		w    int
		want string
	}{
		{nil, 3, "   "},
		{[]float64{0, 0, 0}, 5, "  ▁▁▁"},
		{[]float64{7, 7}, 2, "▁▁"},
		{[]float64{0, 1, 2, 3, 4, 5, 6, 7}, 8, "▁▂▃▄▅▆▇█"},
		{[]float64{1000, 1000, 1001}, 3, "▁▁▁"},       // noise
		{[]float64{0, 0, 9, 0, 0, 0}, 3, "▁█▁"},       // a burst is not lost
		{[]float64{100, 110, 120}, 3, "▁▅█"},          // from the least on
		{[]float64{firstKnown(nil), 1, 1}, 4, "  ▁▁"}, // not known
	} {
		if got := p.sparkline(tt.v, tt.w); got != tt.want {
			t.Errorf("%v in %d: %q, want %q", tt.v, tt.w, got, tt.want)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, tt := range []struct {
		u            unit
		x            float64
		text, change string
	}{
		{unitCount, 28636, "28636", "+28636"},
		{unitCount, -3, "-3", "−3"},
		{unitCount, 0, "0", ""},
		{unitCount, firstKnown(nil), "-", ""},
		{unitBytes, 5 << 20, "5.0 MiB", "+5.0 MiB"},
		{unitBytes, 10, "10 B", "+10 B"},
		{unitShare, 0.1234, "12.3 %", "+12.3"},
		{unitShare, 0.0001, "0.0 %", ""},
		{unitRate, 2.5, "2.5", "+2.5"},
		{unitRate, 250.4, "250", "+250"},
	} {
		if text, change := tt.u.text(tt.x), tt.u.change(tt.x); text != tt.text || change != tt.change {
			t.Errorf("%v: %q and %q, want %q and %q", tt.x, text, change, tt.text, tt.change)
		}
	}
}
