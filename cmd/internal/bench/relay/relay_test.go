//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// badEnv makes this test a relay that does something wrong.
const badEnv = "SOCKLEAK_RELAY_TEST"

func TestMain(m *testing.M) {
	if how := os.Getenv(badEnv); how != "" {
		badRelay(how, os.Args[1], os.Args[2])
		return
	}
	os.Exit(m.Run())
}

// badRelay relays what a probe sends, and of the first connection after that wrongly.
func badRelay(how, listen, target string) {
	fmt.Fprintln(os.Stderr, "this is", how)
	if how == "exit" {
		os.Exit(3)
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		panic(err)
	}
	for n := 0; ; n++ {
		c, err := ln.Accept()
		if err != nil {
			panic(err)
		}
		if n == 0 {
			go relayConn(c.(*net.TCPConn), target, "well")
		} else {
			go relayConn(c.(*net.TCPConn), target, how)
		}
	}
}

// relayConn relays one connection, or does with it what its relay does wrong.
func relayConn(c *net.TCPConn, target, how string) {
	defer c.Close()
	switch how {
	case "holding":
		select {}
	case "silent":
		_, _ = io.Copy(io.Discard, c)
		return
	}
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	s := conn.(*net.TCPConn)
	defer s.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if how == "losing" {
			_, _ = io.CopyN(s, c, 1000)
			_, _ = c.Read(make([]byte, 1))
		}
		_, _ = io.Copy(s, c)
		_ = s.CloseWrite()
	}()
	answer(c, s, how)
	<-done
}

// answer passes on what comes from the target.
func answer(c, s *net.TCPConn, how string) {
	defer c.CloseWrite()
	buf := make([]byte, 100)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		switch how {
		case "changing":
			buf[0]++
		case "repeating":
			_, _ = c.Write(buf[:n])
		case "resetting":
			_ = c.SetLinger(0)
			c.Close()
			return
		case "ending":
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// bad is the relay that does something wrong.
func bad(t *testing.T, how string) *relay {
	t.Setenv(badEnv, how)
	return &relay{name: "bad", command: func(s site) ([]string, error) {
		return []string{os.Args[0], local(s.listen), local(s.target)}, nil
	}}
}

func brief(t *testing.T, args ...string) *config {
	t.Helper()
	c, err := parse(append([]string{"-rounds", "1", "-seconds", "0.1", "-idle", "60", "-relays", directName}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func backendFor(t *testing.T, c *config) *backend {
	t.Helper()
	b, err := startBackend(c.descriptors)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func figureNamed(t *testing.T, name string) *figure {
	t.Helper()
	i := slices.IndexFunc(figures(), func(f *figure) bool { return f.name == name })
	if i < 0 {
		t.Fatalf("no figure %s", name)
	}
	return figures()[i]
}

// Every figure can be measured of no relay and of ours.
func TestFigures(t *testing.T) {
	c := brief(t, "-relays", "direct,sockleak proxy,io.Copy")
	dir, err := os.MkdirTemp("", "relay") // which another user may enter, as t.TempDir is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := c.build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	c.dir = dir
	sections := c.sections()
	if err := errors.Join(c.measure(t.Context(), sections), failed(sections)); err != nil {
		t.Fatal(err)
	}
	for _, s := range sections {
		for _, r := range s.rows {
			t.Run(s.figure.name+" "+r.relay.name, func(t *testing.T) { checkRow(t, s.figure, r) })
		}
	}
	checkDocument(t, c, sections)
}

// A relay has every value, and no relay no processor time.
func checkRow(t *testing.T, f *figure, r *row) {
	if len(r.runs) != 1 || len(r.runs[0].values) != len(f.columns) {
		t.Fatalf("runs %+v, and columns %+v", r.runs, f.columns)
	}
	for i, v := range r.runs[0].values {
		c := f.columns[i]
		if none := r.relay.command == nil && c.Name == "CPU"; none != math.IsNaN(v) || !none && (v <= 0 && c.Name != "PSS" || math.IsInf(v, 0)) { // which may have shrunk
			t.Errorf("%s: %v", c.Name, v)
		}
		if c.Name == "descriptors" && (v < 2 || v > 7) || c.Name == "connections" && f.name == "idle" && v != 60 {
			t.Errorf("%s: %v", c.Name, v)
		}
	}
}

func checkDocument(t *testing.T, c *config, sections []*section) {
	file := filepath.Join(t.TempDir(), "figures.json")
	if err := c.document(sections, false).write(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := document{}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.Seconds != 0.1 || len(d.Figures) != len(sections) || *d.Figures[0].Relays[2].Runs[0].Values[0] != sections[0].rows[2].runs[0].values[0] {
		t.Errorf("%s", text)
	}
}

// What a relay does wrong is an error, with what it said.
func TestBadRelays(t *testing.T) {
	defer func(d time.Duration) { patience = d }(patience)
	patience = 500 * time.Millisecond
	c := brief(t)
	b := backendFor(t, c)
	for _, x := range []struct{ how, figure, want string }{
		{"exit", "churn", "it has ended: exit status 3"},
		{"silent", "churn", "no answer for"},
		{"silent", "idle", "no answer for"},
		{"silent", "stream1", "bytes went up, and 0 arrived"},
		{"holding", "stream1", "no byte has moved for 500ms"},
		{"changing", "requests", "what came back is not what was sent"},
		{"repeating", "churn-back", "more came back than was sent"},
		{"resetting", "churn", "receive: connection reset"},
		{"ending", "stream8", "a stream ended too early"},
		{"ending", "requests", "it ended after 0 bytes of 1024"},
		{"losing", "stream1", "bytes went up, and"},
	} {
		t.Run(x.how+" "+x.figure, func(t *testing.T) {
			_, err := c.one(t.Context(), figureNamed(t, x.figure), bad(t, x.how), b)
			if err == nil || !strings.Contains(err.Error(), x.want) || !strings.Contains(err.Error(), "this is "+x.how) {
				t.Errorf("error %v, want %q", err, x.want)
			}
			if err := b.await(0); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInterrupt(t *testing.T) {
	c := brief(t)
	b := backendFor(t, c)
	c.duration = time.Minute
	for _, f := range []string{"stream8", "churn", "requests"} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := c.one(ctx, figureNamed(t, f), c.relays[0], b); !errors.Is(err, errInterrupted) {
			t.Errorf("%s: %v", f, err)
		}
		if err := b.await(0); err != nil {
			t.Error(err)
		}
	}
}

// In every round another relay is the first, and what has failed is not tried again.
func TestTurns(t *testing.T) {
	c := brief(t)
	c.rounds = 3
	var turns []string
	c.relays = []*relay{{name: "a"}, {name: "b"}, {name: "c"}}
	c.figures = []*figure{{measure: func(_ context.Context, p *point) ([]float64, error) {
		if turns = append(turns, p.relay.name); p.relay.name == "b" {
			return nil, errors.New("full")
		}
		return []float64{1}, nil
	}}}
	sections := c.sections()
	if err := c.measure(t.Context(), sections); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(turns, ""); got != "abccaca" {
		t.Errorf("turns %s", got)
	}
	if err := failed(sections); err == nil || !strings.HasPrefix(err.Error(), "b: ") || !strings.HasSuffix(err.Error(), "full") {
		t.Errorf("failed: %v", err)
	}
}

// measured is a section with figures.
func measured() *section {
	nan := math.NaN()
	return &section{
		figure: &figure{name: "some", title: fixed("figures"), columns: []column{{"speed", "GB/s", 1, true}, {"CPU", "s/GB", 2, true}}},
		rows: []*row{
			{relay: &relay{name: directName}, runs: []run{{0, []float64{8, nan}}, {1, []float64{8, nan}}}},
			{relay: &relay{name: "ours"}, runs: []run{{0, []float64{2, 3}}, {1, []float64{6, 4}}, {2, []float64{5, 1}}}, lost: errors.New("full")},
			{relay: &relay{name: baseName}, runs: []run{{0, []float64{1, 1}}, {1, []float64{2, 4}}}},
		},
	}
}

// Ratios are of the same round; without the base relay there are none.
func TestTable(t *testing.T) {
	s := measured()
	var text strings.Builder
	if err := s.table(&config{}).WriteMarkdown(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"some: figures\n",
		"| relay | speed GB/s | ÷ haproxy | CPU s/GB | ÷ haproxy | rounds |\n",
		"| `direct` | 8.0 (8.0 to 8.0) | 6.00 (4.00 to 8.00) | – | – | 2 |\n",
		"| `ours` | 5.0 (2.0 to 6.0) | 2.50 (2.00 to 3.00) | 3.00 (1.00 to 4.00) | 2.00 (1.00 to 3.00) | 3 |\n",
		"- ours: failed after 3 rounds: full\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	s.rows = s.rows[:2]
	if cells := s.cells(s.rows[1]); cells[2] != "–" || cells[4] != "–" {
		t.Errorf("without %s: %q", baseName, cells)
	}
}

func TestQuantile(t *testing.T) {
	var sorted []time.Duration
	for i := range 200 {
		sorted = append(sorted, time.Duration(i+1)*time.Microsecond)
	}
	for _, c := range []struct {
		n, percent int
		want       float64
	}{{1, 50, 1}, {1, 99, 1}, {2, 50, 1}, {3, 50, 2}, {100, 99, 99}, {200, 99, 198}} {
		if got := quantile(sorted[:c.n], c.percent, time.Microsecond); got != c.want {
			t.Errorf("%d %% of %d: %v, want %v", c.percent, c.n, got, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ flag, value, want string }{
		{"-rounds", "0", "-rounds"},
		{"-seconds", "0", "-seconds"},
		{"-seconds", "61", "-seconds"},
		{"-idle", "0", "-idle"},
		{"-idle", "1000000", "-idle must be 1 to"},
		{"-slow-limit", "0", "-slow-limit"},
		{"-relays", "direct,none", `"none" is none of direct,sockleak proxy,haproxy`},
		{"-figures", "none", `"none" is none of stream1,`},
		{"-netns", "perhaps", "-netns"},
	} {
		if _, err := parse([]string{"-relays", directName, c.flag, c.value}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q", c.flag, c.value, err, c.want)
		}
	}
	c := brief(t, "-figures", "idle,churn")
	if got := list(c.figures, figureName); got != "churn,idle" {
		t.Errorf("figures %s", got)
	}
}

func TestWhatIsNotInstalledHasAPackage(t *testing.T) {
	r := &relay{name: "r", needs: []need{{"sh", "dash"}, {"/nowhere/module.so", "libmodule"}}}
	if err := r.check(); err == nil || !strings.Contains(err.Error(), "apt-get install libmodule") {
		t.Error(err)
	}
}

func TestFewerIdle(t *testing.T) {
	c := &config{idle: 5000, slowLimit: 500, descriptors: 20_000}
	for _, r := range relays() {
		want := map[string]int{"socat": 500, "io.Copy": 3322}[r.name]
		n, why := r.idle(c)
		if want == 0 && (n != 5000 || why != "") || want > 0 && (n != want || why == "") {
			t.Errorf("%s: %d, %q", r.name, n, why)
		}
	}
}
