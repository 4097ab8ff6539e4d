package screen

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/sockleak/sockleak/diag"
)

func (s *stage) text() string { return ansi.Strip(s.view()) }

func (s *stage) shows(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(s.text(), w) {
			t.Errorf("%q is not on the screen:\n%s", w, s.text())
		}
	}
}

func (s *stage) lacks(t *testing.T, not ...string) {
	t.Helper()
	for _, w := range not {
		if strings.Contains(s.text(), w) {
			t.Errorf("%q is on the screen:\n%s", w, s.text())
		}
	}
}

func TestBeforeTheFirstLook(t *testing.T) {
	s := newStage(Options{Title: "leakscan 4242"})
	for _, b := range bindings {
		s.press(b.keys...)
		s.press("esc", "esc")
	}
	s.shows(t, "leakscan 4242", "the first look is under way")
}

// A finding is new for some looks, and for some it stands there after it has cleared. One of the first look is not new.
func TestFindingsAppearAndClear(t *testing.T) {
	s := newStage(Options{})
	f := &film{}
	look := func(n int) { s.feed(f.frame(nil, madeProcess(4242, "proxy").leak(10).closeWait(n))) }
	look(0)
	s.shows(t, "idle-no-keepalive")
	s.lacks(t, "new ", "close-wait")
	for i := range newFor + 1 {
		look(1)
		isNew := strings.Contains(s.text(), "new  leak      close-wait")
		if isNew != (i < newFor) {
			t.Errorf("in look %d of it: new is %v", i+1, isNew)
		}
	}
	for i := range clearedFor + 1 {
		look(0)
		isCleared := strings.Contains(s.text(), "cleared   close-wait")
		if isCleared != (i < clearedFor) {
			t.Errorf("in look %d without it: cleared is %v", i+1, isCleared)
		}
	}
	look(3)
	s.shows(t, "new  leak      close-wait")
}

// What has changed is counted from when a finding was first seen.
func TestChangeOfFinding(t *testing.T) {
	s := newStage(Options{})
	f := &film{}
	for i := range 3 {
		s.feed(f.frame(nil, madeProcess(4242, "proxy").leak(10+5*i)))
	}
	if got := s.listed[0]; got.finding.Sockets-got.first != 2 { // ten more, over five peers
		t.Errorf("%d sockets, at first %d", got.finding.Sockets, got.first)
	}
}

// A frozen screen stays as it is, and goes on with the latest look; what happened meanwhile is not forgotten.
func TestFreeze(t *testing.T) {
	s := newStage(Options{})
	f := &film{}
	s.feed(f.leaking(10))
	s.press("space")
	before := s.text()
	s.feed(f.leaking(400))
	s.feed(f.frame(nil, madeProcess(4242, "proxy").leak(400).closeWait(1)))
	if s.text() != before {
		t.Errorf("a frozen screen changes:\n%s", s.text())
	}
	s.shows(t, "FROZEN")
	if e := s.press("g"); e != nothing {
		t.Errorf("another grouping of a frozen look is asked for: %v", e)
	}
	s.press("space")
	s.shows(t, "new  leak      close-wait", "12:00:04Z")
	s.lacks(t, "FROZEN")
}

// Before the first look there is nothing to freeze: it comes onto the screen.
func TestFreezeBeforeTheFirstLook(t *testing.T) {
	s := newStage(Options{Title: "leakscan 4242"})
	s.press("space")
	s.shows(t, "nothing to freeze before the first look")
	s.feed((&film{}).leaking(10))
	s.shows(t, "idle-no-keepalive")
	s.lacks(t, "FROZEN", "the first look is under way")
}

// Where names leave no room for both, the processes are told apart: their peer is often the same.
func TestNarrowFindingsOfManyProcesses(t *testing.T) {
	s := newStage(Options{})
	s.feed((&film{}).frame(nil, madeProcess(4242, strings.Repeat("p", 30)).closeWait(3), madeProcess(4243, strings.Repeat("q", 30)).closeWait(3)))
	s.shows(t, strings.Repeat("p", 30)+"[4242]", strings.Repeat("q", 30)+"[4243]")
}

// The chosen row stays the chosen one, wherever the next look has it.
func TestCursorFollows(t *testing.T) {
	s := newStage(Options{})
	f := &film{}
	s.feed(f.frame(nil, madeProcess(4242, "proxy").leak(30)))
	s.press("down", "down")
	peer := s.listed[s.rows[s.cursorOf().row]].finding.Peer
	s.feed(f.frame(nil, madeProcess(4242, "proxy").leak(31).closeWait(3)))
	if now := s.listed[s.rows[s.cursorOf().row]].finding.Peer; now != peer {
		t.Errorf("the cursor went from %s to %s", peer, now)
	}
	s.feed(f.frame(nil, madeProcess(4242, "proxy").healthy(1)))
	s.feed(f.frame(nil, madeProcess(4242, "proxy").healthy(1)))
	_ = s.text()
}

func TestOpenFinding(t *testing.T) {
	s := newStage(Options{})
	f := &film{}
	s.feed(f.frame(nil, madeProcess(4242, "proxy").leak(10).closeWait(3)))
	s.press("enter")
	s.shows(t, "leak close-wait proxy[4242]", "CLOSE-WAIT", "10.0.0.99:5432", "100000", "do  ", "esc back")
	s.feed(f.frame(nil, madeProcess(4242, "proxy").leak(10)))
	s.shows(t, "cleared leak close-wait", "the finding has cleared")
	s.lacks(t, "100000")
	s.feed(f.frame(nil, madeProcess(4242, "proxy").leak(10).closeWait(3)))
	s.shows(t, "100000")
	s.press("esc")
	s.shows(t, "idle-no-keepalive", "enter open")
}

func TestGroups(t *testing.T) {
	s := newStage(Options{})
	f := &film{}
	s.feed(f.leaking(23))
	s.press("tab")
	s.shows(t, "10.0.0.7 ", "by peer 7")
	want := map[string]string{"peer-port": "20007", "local-port": "8080", "state": "ESTAB", "timer": "keepalive", "process": "proxy[4242]"}
	for _, by := range groupings()[1:] {
		if e := s.press("g"); e != retake {
			t.Errorf("by %s: %v", by, e)
		}
		s.shows(t, "by "+by, want[by])
	}
	s.press("g", "enter") // by peer again
	s.shows(t, "sockets of 10.0.0.7", "10.0.0.7:20000")
	s.feed(f.frame(nil, madeProcess(4242, "proxy").healthy(1)))
	s.shows(t, "the group has no socket any more")
}

// Sockets that were counted and not kept are told of where groups are shown.
func TestUnlisted(t *testing.T) {
	s := newStage(Options{})
	frame := (&film{}).frame(nil, madeProcess(4242, "proxy").leak(5))
	frame.Result.Procs()[0].Usual = diag.Usual{Timer: 1000, NoTimer: 234}
	s.feed(frame)
	s.press("tab")
	s.shows(t, "and 1234 connections in order, which were counted and not kept")
}

func TestSeveralProcesses(t *testing.T) {
	s := newStage(Options{Title: "leakscan --all"})
	f := &film{}
	look := func() { s.feed(f.frame(nil, madeProcess(1, "calm").healthy(2), madeProcess(2, "leaky").leak(9))) }
	look()
	s.resize(120, 30)
	s.shows(t, "leakscan --all", "2 processes", "leaky[2]")
	s.press("tab", "tab")
	s.shows(t, "Name", "calm")
	if s.press("enter"); s.want.scope.pid != 2 {
		t.Errorf("scope %v, want the process that leaks", s.want.scope)
	}
	look()
	s.shows(t, "leaky[2]", "findings 5", "fds of 20000")
	s.press("tab")
	s.lacks(t, "10.0.0.42")
	s.press("esc", "up", "down", "down", "enter")
	s.shows(t, "calm[1]", "nothing found")
	s.feed(f.frame(nil, madeProcess(2, "leaky").leak(9)))
	s.shows(t, "process 1 has ended")
}

func TestSortAndReverse(t *testing.T) {
	s := newStage(Options{})
	s.feed((&film{}).frame(nil, madeProcess(4242, "proxy").leak(11)))
	s.press("tab", "enter") // peer 10.0.0.7: descriptors 100, 105 and 110, the last the longest idle
	first := func() string {
		rows, _ := s.table(20)
		return textOf(rows[1])
	}
	if got := first(); !strings.HasPrefix(got, "110") {
		t.Errorf("by idle: %s", got)
	}
	s.press("S")
	if got := first(); !strings.HasPrefix(got, "100") {
		t.Errorf("by idle, reversed: %s", got)
	}
	s.press("S", "s", "s", "s")
	s.shows(t, "by fd")
	if got := first(); !strings.HasPrefix(got, "100") {
		t.Errorf("by fd: %s", got)
	}
}

func TestEveryOrder(t *testing.T) {
	s := newStage(Options{})
	s.feed((&film{}).frame(someGaps, madeProcess(1, "a").leak(30).closeWait(2), madeProcess(2, "b").healthy(4)))
	for _, keys := range [][]string{{}, {"tab"}, {"tab"}, {"shift+tab", "enter"}} {
		s.press(keys...)
		for range len(s.list.sorts()) {
			sorts := s.list.sorts()
			by := sorts[s.cursorOf().order%len(sorts)]
			for k := 1; k < len(s.rows); k++ {
				if s.list.key(s.rows[k-1], by).compare(s.list.key(s.rows[k], by)) > 0 {
					t.Errorf("%s by %s: row %d is before %d", s.list.name(), by, k, k-1)
				}
			}
			s.press("s")
		}
	}
}

func TestFilter(t *testing.T) {
	s := newStage(Options{})
	s.feed((&film{}).frame(nil, madeProcess(4242, "proxy").leak(20).closeWait(3)))
	s.press("/", "C", "l", "O", "x", "backspace")
	s.shows(t, "filter: ClO", "/ClO")
	s.press("enter")
	if got := len(s.rows); got != 3 {
		t.Errorf("%d findings match close-wait, want 3:\n%s", got, s.text())
	}
	s.press("esc", "tab", "/", ".", "9", "9")
	if got := len(s.rows); got != 1 {
		t.Errorf("%d groups match, want that of 10.0.0.99:\n%s", got, s.text())
	}
	s.press("z")
	s.shows(t, "nothing matches the filter")
	s.press("esc")
	s.press("tab", "enter", "/", "q") // a letter, not a key
	if e := s.press("x"); e != nothing || s.filter != "qx" {
		t.Errorf("effect %v, filter %q", e, s.filter)
	}
	if e := s.press("ctrl+c"); e != quit {
		t.Error("ctrl-c does not quit where a filter is typed")
	}
}

func TestEffects(t *testing.T) {
	s := newStage(Options{Save: func(*Frame) (string, error) { return "", nil }})
	s.feed((&film{}).leaking(5))
	for _, tt := range []struct {
		key  string
		want effect
	}{
		{"q", quit}, {"ctrl+c", quit}, {"ctrl+z", suspend}, {"r", lookNow}, {"ctrl+l", redraw}, {"w", save}, {"+", slower}, {"-", slower}, {"Z", nothing},
	} {
		if got := s.press(tt.key); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.key, got, tt.want)
		}
	}
	s.saved(savedMsg{path: "/tmp/x\x1b[31m.jsonl", at: noon})
	s.shows(t, `wrote /tmp/x\x1b[31m.jsonl, the look of 12:00:00Z`)
	s.saved(savedMsg{err: errors.New("no space")})
	s.shows(t, "not written: no space")
	if e := newStage(Options{}).press("w"); e != nothing {
		t.Error("there is a key to write without somebody who does")
	}
}

func TestIntervals(t *testing.T) {
	if !slices.IsSorted(intervals) {
		t.Error("the intervals are not sorted")
	}
	for _, tt := range []struct {
		from   time.Duration
		longer bool
		want   time.Duration
	}{
		{2 * time.Second, true, 5 * time.Second}, {2 * time.Second, false, time.Second}, {3 * time.Second, true, 5 * time.Second},
		{3 * time.Second, false, 2 * time.Second}, {time.Hour, true, time.Hour}, {time.Millisecond, false, time.Millisecond}, {3 * time.Hour, false, time.Hour},
	} {
		if got := nextInterval(tt.from, tt.longer); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.from, got, tt.want)
		}
	}
}

// A key has one meaning, and the help has all of them.
func TestBindings(t *testing.T) {
	seen := map[string]bool{}
	s := newStage(Options{Save: func(*Frame) (string, error) { return "", nil }})
	s.resize(100, 60)
	s.press("?")
	for _, b := range bindings {
		for _, k := range b.keys {
			if seen[k] {
				t.Errorf("%s has two meanings", k)
			}
			seen[k] = true
		}
		s.shows(t, b.show+" ", b.help)
	}
	s.press("esc")
	s.lacks(t, "this help")
}

// The groups of a host are arranged by the caller: the screen has some of them only.
func TestArrange(t *testing.T) {
	o := Options{Title: "tcpstat", Groupings: []string{"peer", "state"}, Orders: []string{"sockets", "idle"}, Arrange: func(_, _ string) {}}
	s := newStage(o)
	s.feed(statFrame(noon, 10))
	if e := s.press("g"); e != arrange {
		t.Errorf("g: %v", e)
	}
	if e := s.press("s"); e != arrange {
		t.Errorf("s: %v", e)
	}
	if by, order, _ := s.arranged(); by != "state" || order != "idle" {
		t.Errorf("by %s, sorted by %s", by, order)
	}
	for _, key := range []string{"enter", "S"} {
		if e := s.press(key); e != nothing || s.open != nil {
			t.Errorf("%s does something: %v", key, e)
		}
	}
	o.Arrange = nil
	s = newStage(o)
	s.feed(statFrame(noon, 10))
	if e := s.press("g"); e != nothing {
		t.Error("groups are arranged by nobody")
	}
}

func TestScrolling(t *testing.T) {
	s := newStage(Options{})
	s.resize(80, 24)
	s.feed((&film{}).frame(nil, madeProcess(4242, "proxy").leak(500)))
	s.press("tab", "enter")
	_ = s.text()
	s.press("end")
	s.shows(t, "100 of 100")
	s.press("up", "pgup", "pgup", "home")
	s.shows(t, "1 of 100")
	for range 30 {
		s.press("j")
		view := s.view()
		if !strings.Contains(view, "\x1b[7m") {
			t.Fatalf("the chosen row is not seen at %d", s.cursorOf().row)
		}
	}
}

// Of what comes and goes, nothing is said where a part is not known.
func TestFlows(t *testing.T) {
	nan := firstKnown(nil)
	times := []time.Time{noon, noon.Add(2 * time.Second), noon.Add(4 * time.Second), noon.Add(6 * time.Second)}
	line := func(born ...float64) *diag.Line {
		return &diag.Line{LineKey: diag.LineKey{Kind: diag.LineGroup}, Values: born, Born: born, Died: born}
	}
	tracks := []*diag.Track{{Lines: []*diag.Line{line(0, 4, 6, 6), line(0, 0, 2, 8), {LineKey: diag.LineKey{Kind: diag.LineGroup, Name: "not TCP"}}}}}
	for _, g := range flowsOf(times, tracks) {
		if want := []float64{2, 2, 3}; !slices.Equal(g.points[1:], want) || g.now != 3 || g.change != 14 {
			t.Errorf("%v, now %v, %v in all; want %v, 3 and 14", g.points[1:], g.now, g.change, want)
		}
	}
	tracks[0].Lines[0] = line(0, 4, nan, nan)
	if g := flowsOf(times, tracks)[0]; g.points[1] != 2 || g.unit.text(g.now) != "-" || g.unit.change(g.change) != "" {
		t.Errorf("%v, now %v, %v in all, though a part is not known", g.points, g.now, g.change)
	}
	if flowsOf(times, []*diag.Track{{Lines: tracks[0].Lines[2:]}}) != nil || flowsOf(nil, tracks) != nil {
		t.Error("something flows of which nothing is known")
	}
}

// A sum is marked where it is that of a part of the processes.
func TestPartialSum(t *testing.T) {
	nan := firstKnown(nil)
	line := func(kind diag.LineKind, name string, v ...float64) *diag.Line {
		return &diag.Line{LineKey: diag.LineKey{Kind: kind, Name: name}, Values: v}
	}
	a := &diag.Track{PID: 1, Lines: []*diag.Line{line(diag.LineOpen, "open", 3, 4), line(diag.LineFDs, "pipe", 1, 1), line(diag.LinePSS, "pss", 100, 100), line(diag.LineRSS, "rss", 200, 200)}}
	b := &diag.Track{PID: 2, Lines: []*diag.Line{line(diag.LinePSS, "pss", nan, nan), line(diag.LineRSS, "rss", nan, 50)}}
	got := map[string]string{}
	for _, g := range gaugesOf([]time.Time{noon, noon.Add(time.Second)}, []*diag.Track{a, b}) {
		got[g.key.Name] = g.unit.text(g.now)
		if g.partial {
			got[g.key.Name] += " of a part"
		}
	}
	want := map[string]string{"open": "4 of a part", "pipe": "1 of a part", "pss": "100 B of a part", "rss": "250 B"}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %s, want %s", name, got[name], want[name])
		}
	}
	b.Ended = true
	for _, g := range gaugesOf([]time.Time{noon, noon.Add(time.Second)}, []*diag.Track{a, b}) {
		if g.partial {
			t.Errorf("%s: of what has ended nothing is missed", g.key.Name)
		}
	}
}
