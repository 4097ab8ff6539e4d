package report

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// A queue is as long as its listener says; what may be in another's queue is not told to be in this.
func TestQueueFacts(t *testing.T) {
	waiting := []*netlinkss.Socket{{State: netlinkss.Estab}, {State: netlinkss.CloseWait}, {State: netlinkss.CloseWait}}
	queue := func(local string, recvQ, sendQ uint32, others int) diag.AcceptQueue {
		l := &netlinkss.Socket{State: netlinkss.Listen, Local: netip.MustParseAddrPort(local), RecvQ: recvQ, SendQ: sendQ}
		return diag.AcceptQueue{Listener: &diag.HeldSocket{Socket: l}, Waiting: waiting, Others: others}
	}
	for _, tt := range []struct {
		queue diag.AcceptQueue
		want  string
	}{
		{queue("0.0.0.0:8080", 129, 128, 0), "8080: 129 of 128 waiting, 2 of them ended by the peer"},
		{queue("[::]:8080", 12, 128, 3), "8080: 12 of 128 waiting"},
		{queue("127.0.0.1:80", 0, 0, 1), "127.0.0.1:80: 2 waiting"},
		{queue("[2001:db8::1]:80", 0, 4096, 0), "[2001:db8::1]:80: 3 of 4096 waiting, 2 of them ended by the peer"},
	} {
		p := &diag.Proc{Queues: []diag.AcceptQueue{tt.queue}}
		if got := queueFacts(p); !slices.Equal(got, []Fact{{"accept queue", tt.want}}) {
			t.Errorf("%v, want %s", got, tt.want)
		}
	}
	for n, want := range map[int]int{0: 0, 5: 5, 6: 6, 7: 6, 300: 6} {
		facts := queueFacts(&diag.Proc{Queues: slices.Repeat([]diag.AcceptQueue{queue("0.0.0.0:1", 1, 1, 0)}, n)})
		if more := (Fact{"accept queue", fmt.Sprintf("… and %d more", n-5)}); len(facts) != want || n > 6 && facts[5] != more {
			t.Errorf("%d queues: %v", n, facts)
		}
	}
}

// Half of the range is worth a word.
func TestPortFacts(t *testing.T) {
	to := func(used, timeWait, high int) diag.Destination {
		return diag.Destination{Peer: netip.MustParseAddrPort("10.0.0.9:5432"), Used: used, TimeWait: timeWait, Low: 1, High: high}
	}
	p := &diag.Proc{Destinations: []diag.Destination{to(49, 9, 100), to(50, 0, 100), to(100, 90, 100), to(1, 0, 0)}}
	want := []Fact{
		{"local ports", "50 of 100 taken towards 10.0.0.9:5432 (50.0 %)"},
		{"local ports", "100 of 100 taken towards 10.0.0.9:5432 (100.0 %), 90 of them in TIME-WAIT"},
	}
	if got := portFacts(p); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What nobody holds is said to be so, whichever there is of it.
func TestNobodysFacts(t *testing.T) {
	for want, p := range map[string]*diag.Proc{
		"no sockets": {},
		"TIME-WAIT on its ports or towards its peers 7 (held by nobody)":                  {TimeWait: 7},
		"orphans on its ports or towards its peers 2 (held by nobody)":                    {Orphans: 2},
		"TIME-WAIT on its ports or towards its peers 7, orphans there 2 (held by nobody)": {TimeWait: 7, Orphans: 2},
	} {
		p.Process = &procfd.Process{}
		if got := tcpFacts(p, countsOf(p)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A few pipes of its own do not make a process one that splices.
func TestPipePairs(t *testing.T) {
	for _, tt := range []struct {
		pairs, estab int
		want         string
	}{
		{1, 0, "1 pair of its own"},
		{7, 7, "7 pairs of its own"},
		{8, 32, "8 pairs of its own, as splice keeps them"},
		{8, 33, "8 pairs of its own"},
		{600, 931, "600 pairs of its own, as splice keeps them"},
	} {
		if got := pipePairs(tt.pairs, tt.estab); got != tt.want {
			t.Errorf("%d, %d: %q, want %q", tt.pairs, tt.estab, got, tt.want)
		}
	}
}

// Arguments are kept while they fit, each in whole, and what is cut is said to be.
func TestWireArgs(t *testing.T) {
	full := strings.Repeat("x", maxWireArgs-1)
	empty := make([]string, maxWireArgs+1)
	for _, tt := range []struct {
		name       string
		args, want []string
	}{
		{"none", nil, []string{}},
		{"few", []string{"node", "", "a b"}, []string{"node", "", "a b"}},
		{"just fits", []string{full}, []string{full}},
		{"does not fit", []string{full + "x"}, []string{"…"}},
		{"the second does not fit", []string{"java", full, "Main"}, []string{"java", "…"}},
		{"empty ones", empty, append(slices.Clone(empty[1:]), "…")},
	} {
		if got := wireArgs(tt.args); got == nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %d arguments, want %d", tt.name, len(got), len(tt.want))
		}
	}
}
