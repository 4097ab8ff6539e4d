//go:build linux

package main

import (
	"slices"
	"testing"
)

// The holders have all sockets between them, none has more than it may, and there are as many as are asked for if the sockets
// are enough.
func TestConnections(t *testing.T) {
	for _, c := range []struct {
		sockets, processes, most, want int
	}{
		{2000, 300, 19000, 1},
		{100_000, 300, 19000, 300},
		{300_000, 300, 19000, 300},
		{1_000_000, 1, 19000, 53},
		{1_000_000, 300, 19000, 300},
		{19_001, 1, 19000, 1},
		{2000, 1, 900, 3},
		{19_100, 300, 19000, 6},
	} {
		l := layout{Sockets: c.sockets, Processes: c.processes}
		list, sum := l.connections(c.most), 0
		for _, n := range list {
			sum += 2 * n
			if n < 1 || 2*n > c.most {
				t.Errorf("%+v: a holder of %d connections", c, n)
			}
		}
		if sum != c.sockets/2*2 || len(list) != c.want || list[0] != slices.Max(list) {
			t.Errorf("%+v: %d sockets in %d holders, the first has %d", c, sum, len(list), list[0])
		}
	}
}

func TestLayoutCheck(t *testing.T) {
	good := layout{Sockets: 2, Peers: 1, Families: "mixed"}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*layout){
		func(l *layout) { l.Sockets = 1 },
		func(l *layout) { l.Peers = 0 },
		func(l *layout) { l.Peers = maxPeers + 1 },
		func(l *layout) { l.Families = "5" },
		func(l *layout) { l.Keepalive = 1.1 },
	} {
		l := good
		if change(&l); l.check() == nil {
			t.Errorf("%+v is taken", l)
		}
	}
}
