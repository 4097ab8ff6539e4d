package diag

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/sockleak/sockleak/procfd"
)

// every is n ages from oldest down to youngest, at even distances.
func every(n int, oldest, youngest time.Duration) (ages []time.Duration) {
	for i := range n {
		ages = append(ages, oldest-time.Duration(float64(oldest-youngest)*float64(i)/float64(max(n-1, 1))))
	}
	return ages
}

// join is all ages together, the youngest first: order does not matter.
func join(lists ...[]time.Duration) (all []time.Duration) {
	for i := len(lists) - 1; i >= 0; i-- {
		for k := len(lists[i]) - 1; k >= 0; k-- {
			all = append(all, lists[i][k])
		}
	}
	return all
}

func TestOnset(t *testing.T) {
	const sec, min, hour = time.Second, time.Minute, time.Hour
	for _, tt := range []struct {
		name    string
		ages    []time.Duration
		buckets int
		rate    float64 // a minute
		ongoing bool
	}{
		{"two", []time.Duration{2 * hour, hour}, 24, 0, false},
		{"even rate", every(61, 61*min, min), 24, 1, true},
		{"even rate, stopped", every(61, 3*hour, 2*hour), 24, 1, false},
		{"even rate, the last within ten times the pause", every(61, 70*min, 10*min), 24, 1, true},
		{"nine are too few", every(9, 9*min, min), 24, 0, false},
		{"ten are enough", every(10, 10*min, min), 24, 1, true},
		{"within a second", every(100, 61*sec, 61*sec-999*time.Millisecond), 24, 0, false},
		{"all at once", every(1000, hour, hour), 1, 0, false},
		{"two bursts", join(every(500, hour, hour), every(500, min, min)), 24, 0, false},
		{"one old, many new", join(every(1, 10*hour, 10*hour), every(600, 11*min, min)), 24, 0, false},
		{"a burst in an even rate", join(every(600, 2*hour, 2*hour), every(120, 119*min, 0)), 24, 1, true},
		{"a burst in what is too little", join(every(600, 2*hour, 2*hour), every(8, 119*min, 0)), 24, 0, false},
		{"huge", every(200_000, 49*day, 0), 24, 200_000 / (49 * 24 * 60.0), true},
		{"a few milliseconds", []time.Duration{5 * time.Millisecond, 3 * time.Millisecond, 0}, 6, 0, false},
	} {
		n := len(tt.ages)
		o := onsetOf(tt.ages, 0, "clock")
		sum := 0
		for _, b := range o.Buckets {
			sum += b
		}
		if sum != n || len(o.Buckets) != tt.buckets || o.Buckets[0] == 0 {
			t.Errorf("%s: %d sockets in %d buckets, want %d in %d: %v", tt.name, sum, len(o.Buckets), n, tt.buckets, o.Buckets)
		}
		if o.Oldest < o.Youngest || time.Duration(len(o.Buckets))*o.Width < o.Oldest-o.Youngest || o.Source != "clock" {
			t.Errorf("%s: %+v", tt.name, o)
		}
		if math.Abs(o.PerMinute-tt.rate) > tt.rate*0.05 || o.Ongoing != tt.ongoing {
			t.Errorf("%s: %.3f a minute, ongoing %v, want %.3f, %v", tt.name, o.PerMinute, o.Ongoing, tt.rate, tt.ongoing)
		}
	}
	for _, few := range [][]time.Duration{nil, {time.Hour}} {
		if o := onsetOf(few, 0, "clock"); o != nil {
			t.Errorf("%v: %+v, want nothing", few, o)
		}
	}
}

// What is found from a threshold on is never younger than that.
func TestOnsetThreshold(t *testing.T) {
	ages := every(61, 3*time.Hour, 2*time.Hour)
	if o := onsetOf(ages, 2*time.Hour, "clock"); !o.Ongoing {
		t.Errorf("the youngest is as young as it can be: %+v", o)
	}
}

// A clock that may have gone round does not tell when.
func TestOnsetClockWrap(t *testing.T) {
	for _, tt := range []struct {
		host, process time.Duration
		want          bool
	}{
		{day, 0, true},
		{clockWrap - 1, 0, true},
		{clockWrap, 0, false},
		{clockWrap, clockWrap, false},
		{clockWrap, clockWrap - 1, true},
		{0, day, true},
		{0, 0, false},
	} {
		p := &Pass{Uptime: tt.host, Proc: &Proc{Process: &procfd.Process{Uptime: tt.process}}}
		if got := p.onset(every(20, time.Hour, 0), 0, "clock") != nil; got != tt.want {
			t.Errorf("host up for %v, process for %v: told %v", tt.host, tt.process, got)
		}
	}
}

// Every rule that knows when its sockets were left says so, by a clock of its own. Those of a dead socket do not tell when it died.
func TestOnsetOfRules(t *testing.T) {
	for file, want := range map[string]string{
		"close-wait/held":              sourceAck,
		"close-wait/keepalive-answers": "",
		"fin-wait-2/held":              sourceAck,
		"idle-no-keepalive/five-leak":  sourceIdle,
		"unread-data/forgotten":        sourceRecv,
		"unread-data/fed":              "", // the clock is that of what came last
		"stalled-send/window-closed":   sourceZeroSent,
		"closed-fd/never-connected":    "",
		"closed-fd/reset-at-once":      "",
	} {
		f := readFixture(t, "../testdata/rule/"+file+".txtar")
		r := Check(f.history(asDumped), f.thresholds, Rules())
		got := ""
		if o := r.Findings[0].Onset; o != nil {
			got = o.Source
		}
		if got != want {
			t.Errorf("%s: onset by %q, want %q", file, got, want)
		}
	}
}

func TestGrowthOf(t *testing.T) {
	space := &Space{Sysctls: procfd.NetSysctls{PortLow: 32768, PortHigh: 60999}}
	p := &Proc{Process: &procfd.Process{Open: 400, SoftLimit: 1000}, Space: space}
	other := &Proc{Process: &procfd.Process{Open: 400, SoftLimit: 1000}, Space: space}
	going := &Onset{PerMinute: 10, Ongoing: true}
	r := &Result{Findings: []*Finding{
		{Proc: p, Severity: Leak, Onset: going, Direction: Connected, Peer: "10.0.0.9:80", Sockets: 232},
		{Proc: p, Severity: Leak, Onset: going, Direction: Accepted, Peer: "10.0.0.7", Sockets: 50},
		{Proc: p, Severity: Leak, Onset: &Onset{PerMinute: 10}}, // it has stopped
		{Proc: p, Severity: Leak},
		{Proc: p, Severity: Risk, Onset: going},
		{Proc: other, Severity: Leak, Onset: going},
	}}
	want := Growth{PerMinute: 20, FDsIn: 30 * time.Minute, PortsIn: 2800 * time.Minute, PortsPeer: "10.0.0.9:80"}
	if got := r.GrowthOf(p); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	p.Destinations = []Destination{
		{Peer: netip.MustParseAddrPort("10.0.0.9:80"), Used: 27_232, TimeWait: 20_000},
		{Peer: netip.MustParseAddrPort("10.0.0.9:80"), Used: 5},
		{Peer: netip.MustParseAddrPort("10.0.0.8:80"), Used: 28_000},
	}
	if got := r.GrowthOf(p).PortsIn; got != 100*time.Minute {
		t.Errorf("beside what others take: %v, want 1h40m", got)
	}
	p.Destinations[0].Used = 28_232
	if got := r.GrowthOf(p); got.PortsIn != 0 || got.PortsPeer != "" {
		t.Errorf("all ports taken: %+v", got)
	}
	for _, limit := range []uint64{0, 400, 399, 1 << 31, procfd.NoLimit} {
		p.SoftLimit = limit
		if got := r.GrowthOf(p).FDsIn; got != 0 {
			t.Errorf("limit %d: in %v, want nothing known", limit, got)
		}
	}
}

func TestETA(t *testing.T) {
	for _, tt := range []struct {
		n    int
		rate float64
		want time.Duration
	}{
		{60, 60, time.Minute},
		{1, 0, 0},
		{1, -1, 0},
		{30 * 24 * 60, 1, 30 * day},
		{30*24*60 + 1, 1, 0}, // too far ahead
		{math.MaxInt32, 1e-300, 0},
	} {
		if got := eta(tt.n, tt.rate); got != tt.want {
			t.Errorf("%d at %v a minute: %v, want %v", tt.n, tt.rate, got, tt.want)
		}
	}
}
