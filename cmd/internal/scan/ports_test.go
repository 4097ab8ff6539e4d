package scan

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

func TestCoverPorts(t *testing.T) {
	many := func(n int, local, peer func(int) uint16) (seen [][2]uint16) {
		for i := range n {
			seen = append(seen, [2]uint16{local(i), peer(i)})
		}
		return seen
	}
	ephemeral := func(i int) uint16 { return uint16(40000 + i) }
	fixed := func(port uint16) func(int) uint16 { return func(int) uint16 { return port } }
	server, client := many(64, fixed(8080), ephemeral), many(30, ephemeral, fixed(5432))
	for _, c := range []struct {
		name string
		seen [][2]uint16
		want []uint16
	}{
		{"a server", server, []uint16{8080}},
		{"a server and a client", slices.Concat(server[:40], client), []uint16{8080, 5432}},
		{"two strangers are let go", slices.Concat(server[:62], many(2, ephemeral, ephemeral)), []uint16{8080}},
		{"strangers only", many(64, ephemeral, func(i int) uint16 { return uint16(50000 + i) }), nil},
		{"too few to say", server[:10], nil},
	} {
		if got := coverPorts(slices.Clone(c.seen)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestIsLocal(t *testing.T) {
	for _, c := range []struct {
		local, peer string
		want        bool
	}{
		{"127.0.0.1:1", "127.0.0.1:2", true},
		{"127.0.0.1:1", "127.0.0.9:2", true},
		{"[::1]:1", "[::1]:2", true},
		{"[::ffff:127.0.0.1]:1", "127.0.0.1:2", true},
		{"10.0.0.1:1", "10.0.0.1:2", true},
		{"10.0.0.1:1", "10.0.0.2:2", false},
		{"127.0.0.1:1", "10.0.0.2:2", false},
		{"0.0.0.0:80", "0.0.0.0:0", false},
	} {
		h := &diag.HeldSocket{Socket: &netlinkss.Socket{Local: netip.MustParseAddrPort(c.local), Peer: netip.MustParseAddrPort(c.peer)}}
		if got := isLocal(h); got != c.want {
			t.Errorf("isLocal(%s, %s) = %t", c.local, c.peer, got)
		}
	}
}

func TestListsBound(t *testing.T) {
	for release, want := range map[string]bool{
		"6.8.0": true, "6.18.44-fc": true, "7.2.1": true, "6.7.12": false, "5.10.223-amd64": false, "": true, "odd": true,
	} {
		if got := listsBound(release); got != want {
			t.Errorf("listsBound(%q) = %t", release, got)
		}
	}
}

// Of a small table every descriptor was looked at, so every pair has to be covered, by as few ports as will do.
func TestCover(t *testing.T) {
	for _, c := range []struct {
		name string
		seen [][2]uint16
		want []uint16
	}{
		{"a client", [][2]uint16{{40000, 443}}, []uint16{443}},
		{"a listener", [][2]uint16{{8080, 8080}}, []uint16{8080}},
		{"a server with two clients, and a listener", [][2]uint16{{80, 40001}, {9090, 9090}, {80, 40000}, {80, 80}}, []uint16{80, 9090}},
		{"too many", [][2]uint16{{1, 101}, {2, 102}, {3, 103}, {4, 104}, {5, 105}, {6, 106}, {7, 107}, {8, 108}, {9, 109}}, nil},
	} {
		if got := cover(slices.Clone(c.seen), 0, 1); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
