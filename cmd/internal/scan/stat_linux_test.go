package scan

import (
	"context"
	"net/netip"
	"runtime"
	"testing"

	"github.com/sockleak/sockleak/diag"
)

func countTest(t *testing.T, c *Count) *diag.Stat {
	t.Helper()
	stat, err := c.Sample(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return stat
}

// A sample after the first takes as much memory for many sockets as for few. With one processor: two dumps take a connection more.
func TestSamplesUseTheSameMemory(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s, _, _ := openTest(t)
	taken := func() uint64 {
		c := &Count{Source: s, Filter: diag.Filter{}, By: diag.ByLocalPort, Idle: true, Order: "sockets", Top: 20}
		defer c.Close()
		countTest(t, c)
		countTest(t, c)
		least := ^uint64(0)
		for range 5 { // others of this process allocate, too
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			countTest(t, c)
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
		}
		return least
	}
	few := taken()
	const connections = 2000
	crowd(t, connections)
	many := taken()
	if many > few+2*connections {
		t.Errorf("a sample takes %d bytes, and %d with %d sockets more", few, many, 2*connections)
	}
}

// A sample has the sockets that there are now, and nothing of the one before.
func TestSamplesAreOfTheirOwn(t *testing.T) {
	const addr = "127.91.7.3" // nobody else's, whatever ports others have
	port := crowdAt(t, addr, 50)
	s, _, _ := openTest(t)
	c := &Count{Source: s, By: diag.ByLocalPort, Filter: diag.Filter{Port: port, Local: netip.MustParsePrefix(addr + "/32")}, Order: "sockets", Top: 1}
	defer c.Close()
	for i := range 3 {
		stat := countTest(t, c)
		if len(stat.Groups) != 1 || stat.Groups[0].Sockets != 51 || stat.Distinct != 1 || stat.Tally.IPv4.Total() != 51 {
			t.Errorf("sample %d: %d groups, %d sockets, the first group %+v", i, stat.Distinct, stat.Tally.IPv4.Total(), stat.Groups)
		}
	}
}
