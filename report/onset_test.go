package report

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sockleak/sockleak/diag"
)

// What is said in place of a rate is true of the sockets that were counted.
func TestBegan(t *testing.T) {
	const h, m, s = time.Hour, time.Minute, time.Second
	for _, tt := range []struct {
		name string
		o    diag.Onset
		want string
	}{
		{"goes on", diag.Onset{Oldest: 2*h + 13*m, Youngest: 65 * s, Buckets: []int{1, 1, 2, 0, 8, 16}, Width: 22 * m, PerMinute: 7.51, Ongoing: true, Source: "clock"},
			"2h13m to 1m05s ago  ▁▁▁·▄█  7.5 a minute, and it goes on; █ is 16 in 22m00s (clock)"},
		{"has ended", diag.Onset{Oldest: 2 * h, Youngest: h, Buckets: []int{5, 5, 5}, Width: 30 * m, PerMinute: 0.25, Source: "clock"},
			"2h00m to 1h00m ago  ███  15 an hour, and none since; █ is 5 in 30m00s (clock)"},
		{"at once", diag.Onset{Oldest: h + 900*time.Millisecond, Youngest: h, Buckets: []int{5, 5, 5}, Width: 300 * time.Millisecond, Source: "clock"},
			"1h00m ago  all at once (clock)"},
		{"two", diag.Onset{Oldest: 2 * h, Youngest: h, Buckets: []int{1, 0, 1}, Width: 30 * m, Source: "clock"},
			"2h00m to 1h00m ago  too few for a rate (clock)"},
		{"few", diag.Onset{Oldest: 2 * h, Youngest: h, Buckets: []int{7, 0, 2}, Width: 30 * m, Source: "clock"},
			"2h00m to 1h00m ago  █·▃  too few for a rate; █ is 7 in 30m00s (clock)"},
		{"most at once", diag.Onset{Oldest: 2 * h, Youngest: h, Buckets: []int{1, 0, 0, 79, 20}, Width: 15 * m},
			"2h00m to 1h00m ago  ▁··█▃  at no even rate; █ is 79 in 15m00s"},
		{"nearly all at once", diag.Onset{Oldest: 2 * h, Youngest: h, Buckets: []int{1, 0, 0, 80, 19}, Width: 15 * m},
			"2h00m to 1h00m ago  ▁··█▂  80 of 100 within 15m00s; █ is 80 in 15m00s"},
		{"bursts", diag.Onset{Oldest: 2 * h, Youngest: h, Buckets: []int{9, 2, 0, 0, 3, 0, 8}, Width: 10 * m},
			"2h00m to 1h00m ago  █▂··▃·█  in 3 bursts; █ is 9 in 10m00s"},
		{"no bursts", diag.Onset{Oldest: 2 * h, Youngest: h, Buckets: []int{9, 2, 0, 0, 1, 0, 8}, Width: 10 * m},
			"2h00m to 1h00m ago  █▂··▁·█  at no even rate; █ is 9 in 10m00s"},
		{"no rate that could be told", diag.Onset{Oldest: 2 * h, Youngest: h, Buckets: []int{9, 9}, Width: h, PerMinute: math.Inf(1)},
			"2h00m to 1h00m ago  ██  at no even rate; █ is 9 in 1h00m"},
		{"two looks", diag.Onset{Oldest: 2*h + 13*m, Youngest: 65 * s, Source: "two looks at the same cookie"},
			"≥ 2h13m to ≥ 1m05s ago  too few for a rate (two looks at the same cookie)"},
		{"nothing counted", diag.Onset{Oldest: 2 * h, Youngest: h}, "2h00m to 1h00m ago  too few for a rate"},
	} {
		if got := began(&tt.o); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.name, got, tt.want)
		}
	}
}

// Only the clocks of payload are exact.
func TestLowerBound(t *testing.T) {
	for source, want := range map[string]bool{
		"tcp_info.last_data_recv": false, "tcp_info.last_data_sent (never sent)": false, "": false,
		"the younger of tcp_info.last_data_sent and last_data_recv":                             false,
		"the younger of tcp_info.last_data_sent and last_data_recv, which run on after the end": false,
		"tcp_info.last_ack_recv": true, "two looks at the same cookie": true, "two looks at the same inode": true,
		"tcp_info.rto and backoff": true, "tcp_info.retransmits, rto and backoff": true,
		"tcp_info.snd_wnd 0, rto and backoff": true, "tcp_info.snd_wnd 0 and last_data_sent": true,
	} {
		if got := lowerBound(source); got != want {
			t.Errorf("%q: %v, want %v", source, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	for in, want := range map[float64]string{
		0: "", -1: "", 1: "1 a minute", 7.54: "7.5 a minute", 9.96: "10 a minute", 28636: "28636 a minute", 0.999999: "60 an hour",
		1.0 / 60: "1 an hour", 0.02: "1.2 an hour", 1.0 / 60 / 24: "1 a day", 1e-9: "less than 0.1 a day",
	} {
		if got := rate(in); got != want {
			t.Errorf("%v: %q, want %q", in, got, want)
		}
	}
	if rate(math.NaN())+rate(math.Inf(1)) != "" {
		t.Error("what is no number has a rate")
	}
}

func TestGrowth(t *testing.T) {
	for _, tt := range []struct {
		g    diag.Growth
		want string
	}{
		{diag.Growth{}, ""},
		{diag.Growth{PerMinute: 7.5, FDsIn: 185 * time.Minute, PortsIn: 680 * time.Minute, PortsPeer: "10.0.0.7:5432"},
			"7.5 leaked sockets a minute: the descriptor limit in 3h05m, the local ports to 10.0.0.7:5432 within 11h20m"},
		{diag.Growth{PerMinute: 1}, "1 leaked socket a minute"},
		{diag.Growth{PerMinute: 0.25, PortsIn: time.Hour, PortsPeer: "p"}, "15 leaked sockets an hour: the local ports to p within 1h00m"},
	} {
		if got := growth(tt.g); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// A finding that is a sentence alone says no word of when it began.
func TestBeganInFull(t *testing.T) {
	r := manySamples(2)
	r.Findings[0].Onset = &diag.Onset{Oldest: time.Hour, Youngest: time.Minute, Source: "clock"}
	for range 5 {
		r.Findings = append(r.Findings, r.Findings[0])
	}
	if got := strings.Count(string(write(t, "table", Leakscan(r), Options{Top: 1})), "  began  "); got != inFull {
		t.Errorf("it began %d times, want %d", got, inFull)
	}
}
