//go:build linux

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

func ran(round, wall, cpu int) run {
	return run{Round: round, Wall: time.Duration(wall) * time.Millisecond, CPU: time.Duration(cpu) * time.Millisecond, RSS: 3 << 20}
}

func measured() *section {
	return &section{Title: "some sockets", Rows: []*row{
		{Name: floorName, Runs: []run{ran(0, 10, 10), ran(1, 20, 10), ran(2, 40, 10)}},
		{Name: "a | b", Runs: []run{ran(0, 30, 20), ran(1, 40, 30), ran(2, 40, 50)}},
		{Name: "slow", Runs: []run{ran(2, 20_000, 10)}, LeftOut: "status 2: full"},
		{Name: "missing", LeftOut: "missing is not installed"},
	}}
}

// Ratios are of the same round: the median of the ratios is not the ratio of the medians.
func TestRatiosAreOfOneRound(t *testing.T) {
	s := measured()
	got := s.Rows[1].summary(s.floor())
	if want := (lab.Spread[float64]{Median: 2, Least: 1, Most: 3}); got.overWall != want {
		t.Errorf("wall over floor %+v, want %+v", got.overWall, want)
	}
	if want := (lab.Spread[float64]{Median: 3, Least: 2, Most: 5}); got.overCPU != want {
		t.Errorf("CPU over floor %+v, want %+v", got.overCPU, want)
	}
	if got := s.Rows[2].summary(s.floor()).overWall.Median; got != 500 {
		t.Errorf("the slow row's one round has ratio %v, want 500", got)
	}
}

func TestTables(t *testing.T) {
	var text, markdown strings.Builder
	if err := measured().table().WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := measured().table().WriteMarkdown(&markdown); err != nil {
		t.Fatal(err)
	}
	const left = "missing: left out: missing is not installed\n"
	for _, want := range []string{"some sockets\n", "a | b    40.0 ms (30.0 ms to 40.0 ms)  30.0 ms  3.0 MiB", left, "slow: only 1 runs: status 2: full\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	for _, want := range []string{"| `a \\| b` | 40.0 ms (30.0 ms to 40.0 ms) | 30.0 ms | 3.0 MiB | 2.00 (1.00 to 3.00) | 3.00 | 3 |\n", "| 20.0 s (20.0 s to 20.0 s) |", "\n- " + left} {
		if !strings.Contains(markdown.String(), want) {
			t.Errorf("no %q in\n%s", want, &markdown)
		}
	}
}

// Without a floor there are no ratios, and not zero.
func TestNoFloorNoRatio(t *testing.T) {
	s := measured()
	s.Rows[0].Runs = nil
	if cells := s.cells(s.Rows[1]); cells[4] != "–" || cells[5] != "–" {
		t.Errorf("ratios %q and %q", cells[4], cells[5])
	}
}
