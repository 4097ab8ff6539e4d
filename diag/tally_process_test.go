package diag

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// numbers gives each inode a number of its own, from 0 on.
type numbers map[uint64]int

func (m numbers) add(inode uint64) (n int, added bool) {
	if n, ok := m[inode]; ok {
		return n, false
	}
	m[inode] = len(m)
	return len(m) - 1, true
}

// Sockets by process count as they would with the process in each of them, in one tally or in several, again and again.
func TestTallyByProcess(t *testing.T) {
	owners := []procfd.Owner{{PID: 70, Name: "a"}, {PID: 7, Name: "b c"}, {PID: 8, Name: "unused"}}
	r := rand.New(rand.NewPCG(1, 2))
	tallies := [2]*Tally{{By: ByProcess, Idle: true}, {By: ByProcess, Idle: true}}
	for sample := range 4 {
		want, counted := map[string]*Group{}, 0
		for _, tally := range tallies {
			tally.Reset()
		}
		holder := map[uint64]int{}
		for range 10 + sample*5000 {
			s := randomSocket(r)
			s.Inode = uint32(r.IntN(9000))
			tallies[r.IntN(2)].Add(s)
			counted++
			key := "no process"
			if inode := uint64(s.Inode); inode != 0 {
				at, ok := holder[inode]
				if !ok {
					at = r.IntN(3) - 1
					holder[inode] = at
				}
				key = [...]string{"not found", "a[70]", "b c[7]"}[at+1]
			}
			naive(want, key, s)
		}
		m := tallies[0]
		m.Merge(tallies[1])
		inodes := numbers{}
		m.Wanted(inodes.add)
		of := make([]int32, len(inodes))
		for inode, n := range inodes {
			of[n] = int32(holder[inode])
		}
		m.Own(owners, of)
		got := map[string]bool{}
		for _, g := range allGroups(t, m, "sockets") {
			key := m.Key(&g)
			g.key = groupKey{}
			if w := want[key]; w == nil || fmt.Sprint(g) != fmt.Sprint(*w) {
				t.Errorf("sample %d: %s\n%+v\nwant\n%+v", sample, key, g, w)
			}
			got[key] = true
		}
		if len(got) != len(want) || m.IPv4.Total()+m.IPv6.Total() != counted {
			t.Errorf("sample %d: groups %v, want %d", sample, got, len(want))
		}
	}
}

// naive adds a socket to a group, in the plainest way.
func naive(groups map[string]*Group, key string, s *netlinkss.Socket) {
	g := groups[key]
	if g == nil {
		g = &Group{}
		groups[key] = g
	}
	g.Sockets++
	switch {
	case s.State == netlinkss.CloseWait:
		g.CloseWait++
	case s.State == netlinkss.Listen:
		return
	case s.State == netlinkss.Estab && s.Timer == netlinkss.TimerOff:
		g.Estab++
		g.EstabNoTimer++
	case s.State == netlinkss.Estab:
		g.Estab++
		g.EstabTimer++
	}
	g.RecvQ += uint64(s.RecvQ)
	g.SendQ += uint64(s.SendQ)
	if idle := Idle(s, 0); idle.Known() && (!g.OldestIdle.Known() || idle.D > g.OldestIdle.D) {
		g.OldestIdle = idle
	}
}

// Before the processes are known there are no groups, and that is an error and no empty list.
func TestTallyByProcessUnowned(t *testing.T) {
	tally := &Tally{By: ByProcess}
	s := estab(9, "10.0.0.1:8080", "10.0.0.7:40001")
	tally.Add(s)
	if groups, _, err := tally.Groups("sockets", 0); err == nil {
		t.Errorf("groups %v without an owner", groups)
	}
}

func TestTallyOwner(t *testing.T) {
	tally := &Tally{By: ByProcess}
	s := estab(9, "10.0.0.1:8080", "10.0.0.7:40001")
	tally.Add(s)
	s.Inode = 0
	tally.Add(s)
	tally.Wanted(numbers{}.add)
	tally.Own([]procfd.Owner{{PID: 5, UID: 6, Name: "x"}}, []int32{0})
	found := 0
	for _, g := range allGroups(t, tally, "sockets") {
		if p, ok := tally.Owner(&g); ok {
			found++
			if p.PID != 5 || p.UID != 6 || tally.Key(&g) != "x[5]" {
				t.Errorf("owner %+v, key %s", p, tally.Key(&g))
			}
		}
	}
	if found != 1 {
		t.Errorf("%d groups have an owner, want 1", found)
	}
	peers := tallied(ByPeer)
	for _, g := range allGroups(t, peers, "sockets") {
		if p, ok := peers.Owner(&g); ok {
			t.Errorf("a peer has the owner %+v", p)
		}
	}
}
