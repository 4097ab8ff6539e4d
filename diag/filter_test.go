package diag

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

func TestFilter(t *testing.T) {
	prefix := netip.MustParsePrefix
	v4 := sock(netlinkss.Estab, "10.0.0.1:8080", "10.0.0.7:40001")
	mapped := sock(netlinkss.Estab, "[::ffff:10.0.0.1]:8080", "[::ffff:10.0.0.7]:40001")
	v6 := sock(netlinkss.Estab, "[2001:db8::1]:8080", "[2001:db8::7]:40001")
	listen := sock(netlinkss.Listen, "0.0.0.0:8080", "0.0.0.0:0")
	closeWait := sock(netlinkss.CloseWait, "10.0.0.1:50000", "10.0.0.9:5432")
	timeWait := sock(netlinkss.TimeWait, "10.0.0.1:50001", "10.0.0.9:5432")
	// The kernel lists a socket that is bound and no more with the number of UNCONN.
	bound := sock(netlinkss.Unconn, "10.0.0.1:50002", "0.0.0.0:0")
	odd := sock(netlinkss.State(42), "10.0.0.1:50003", "10.0.0.9:5432")
	all := []*netlinkss.Socket{v4, mapped, v6, listen, closeWait, timeWait, bound, odd}
	none := []*netlinkss.Socket{}

	for _, tt := range []struct {
		name   string
		filter Filter
		keeps  []*netlinkss.Socket
	}{
		{"nothing is asked", Filter{}, all},
		{"a state", Filter{States: netlinkss.Estab.Mask()}, []*netlinkss.Socket{v4, mapped, v6}},
		{"two states", Filter{States: netlinkss.Listen.Mask() | netlinkss.CloseWait.Mask()}, []*netlinkss.Socket{listen, closeWait}},
		{"bound-inactive", Filter{States: netlinkss.BoundInactive.Mask()}, []*netlinkss.Socket{bound}},
		{"unconn", Filter{States: netlinkss.Unconn.Mask()}, []*netlinkss.Socket{bound}},
		{"time-wait is not bound", Filter{States: netlinkss.BoundInactive.Mask() | netlinkss.TimeWait.Mask()}, []*netlinkss.Socket{timeWait, bound}},
		{"every named state", Filter{States: netlinkss.AllStates}, []*netlinkss.Socket{v4, mapped, v6, listen, closeWait, timeWait, bound}},
		{"peer", Filter{Peer: prefix("10.0.0.7/32")}, []*netlinkss.Socket{v4, mapped}},
		{"peer net", Filter{Peer: prefix("10.0.0.8/29")}, []*netlinkss.Socket{closeWait, timeWait, odd}},
		{"IPv6 peer net", Filter{Peer: prefix("2001:db8::/32")}, []*netlinkss.Socket{v6}},
		{"any IPv4 peer", Filter{Peer: prefix("0.0.0.0/0")}, []*netlinkss.Socket{v4, mapped, listen, closeWait, timeWait, bound, odd}},
		{"any IPv6 peer", Filter{Peer: prefix("::/0")}, []*netlinkss.Socket{v6}},
		{"local", Filter{Local: prefix("10.0.0.1/32")}, []*netlinkss.Socket{v4, mapped, closeWait, timeWait, bound, odd}},
		{"peer and local", Filter{Peer: prefix("10.0.0.7/32"), Local: prefix("10.0.0.2/32")}, none},
		{"own port", Filter{Port: 8080}, []*netlinkss.Socket{v4, mapped, v6, listen}},
		{"peer's port", Filter{Port: 5432}, []*netlinkss.Socket{closeWait, timeWait, odd}},
		{"idle", Filter{MinIdle: time.Minute}, []*netlinkss.Socket{v4, mapped, v6, closeWait}},
		{"idle for longer", Filter{MinIdle: time.Minute + 1, Uptime: day}, none},
		{"all at once", Filter{
			States: netlinkss.CloseWait.Mask(), Peer: prefix("10.0.0.0/24"), Local: prefix("10.0.0.0/24"), Port: 5432, MinIdle: time.Second,
		}, []*netlinkss.Socket{closeWait}},
	} {
		kept := map[*netlinkss.Socket]bool{}
		for _, s := range tt.keeps {
			kept[s] = true
		}
		var tally Tally
		tally.Filter = tt.filter
		for _, s := range all {
			if got := tt.filter.Keep(s); got != kept[s] {
				t.Errorf("%s: keeps %v %v %v: %v", tt.name, s.State, s.Local, s.Peer, got)
			}
			tally.Add(s)
		}
		if got := tally.IPv4.Total() + tally.IPv6.Total(); got != len(tt.keeps) {
			t.Errorf("%s: %d counted, want %d", tt.name, got, len(tt.keeps))
		}
	}
}
