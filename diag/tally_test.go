package diag

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// tallied is a tally of a handful of sockets that differ in all that groups and sorts look at.
func tallied(by GroupBy) *Tally {
	t := &Tally{By: by, Idle: true, Filter: Filter{Uptime: day}}
	add := func(n int, state netlinkss.State, timer netlinkss.Timer, local, peer string, uid, recvQ, sendQ uint32, idle time.Duration) {
		for range n {
			s := sock(state, local, peer)
			s.Timer, s.UID, s.RecvQ, s.SendQ = timer, uid, recvQ, sendQ
			setInfo(s, quietFor(s.Info, idle), wholeInfo)
			t.Add(s)
		}
	}
	add(1, netlinkss.Listen, netlinkss.TimerOff, "0.0.0.0:8080", "0.0.0.0:0", 0, 3, 128, 0)
	add(1, netlinkss.Listen, netlinkss.TimerOff, "[::]:8443", "[::]:0", 0, 0, 128, 0)
	add(2, netlinkss.Estab, netlinkss.TimerOff, "10.0.0.1:8080", "10.0.0.7:40001", 33, 0, 0, time.Minute)
	add(1, netlinkss.Estab, netlinkss.TimerOff, "10.0.0.1:8080", "10.0.0.7:40001", 33, 0, 0, time.Hour)
	add(1, netlinkss.Estab, netlinkss.TimerKeepalive, "[::ffff:10.0.0.1]:8080", "[::ffff:10.0.0.7]:40002", 33, 0, 0, time.Second)
	add(1, netlinkss.Estab, netlinkss.TimerOn, "10.0.0.1:8443", "10.0.0.8:443", 33, 0, 900, time.Minute)
	add(2, netlinkss.CloseWait, netlinkss.TimerOff, "10.0.0.1:50000", "10.0.0.9:5432", 1000, 7, 0, 2*time.Hour)
	add(1, netlinkss.Estab, netlinkss.TimerDelack, "[2001:db8::1]:8443", "[2001:db8::7]:40003", 33, 500, 0, time.Minute)
	add(4, netlinkss.TimeWait, netlinkss.TimerTimeWait, "10.0.0.1:8080", "10.0.0.7:40009", 0, 0, 0, 0)
	add(1, netlinkss.SynSent, netlinkss.TimerOn, "10.0.0.1:50001", "10.0.0.10:443", 1000, 0, 1, day)
	return t
}

// allGroups are the groups, which can be read.
func allGroups(t *testing.T, tally *Tally, order string) []Group {
	t.Helper()
	list, total, err := tally.Groups(order, 0)
	if err != nil || total != len(list) {
		t.Fatalf("%d groups, %d in the list, %v", total, len(list), err)
	}
	return list
}

func groupLine(t *Tally, g *Group) string {
	return fmt.Sprintf("%s sockets=%d estab=%d timer=%d no-timer=%d close-wait=%d idle=%v recv-q=%d send-q=%d",
		t.Key(g), g.Sockets, g.Estab, g.EstabTimer, g.EstabNoTimer, g.CloseWait, g.OldestIdle, g.RecvQ, g.SendQ)
}

const withoutCgroups = `
no cgroup sockets=4 estab=0 timer=0 no-timer=0 close-wait=0 idle=- recv-q=0 send-q=0
not told sockets=11 estab=6 timer=3 no-timer=3 close-wait=2 idle=2h00m recv-q=514 send-q=901`

// Every grouping, in the order of its keys. What a listener's queues hold are connections and not
// bytes; the clocks of TIME-WAIT, LISTEN and SYN-SENT say nothing.
func TestTallyGroups(t *testing.T) {
	want := map[GroupBy]string{
		ByPeer: `
* sockets=2 estab=0 timer=0 no-timer=0 close-wait=0 idle=- recv-q=0 send-q=0
10.0.0.7 sockets=8 estab=4 timer=1 no-timer=3 close-wait=0 idle=1h00m recv-q=0 send-q=0
10.0.0.8 sockets=1 estab=1 timer=1 no-timer=0 close-wait=0 idle=1m00s recv-q=0 send-q=900
10.0.0.9 sockets=2 estab=0 timer=0 no-timer=0 close-wait=2 idle=2h00m recv-q=14 send-q=0
10.0.0.10 sockets=1 estab=0 timer=0 no-timer=0 close-wait=0 idle=- recv-q=0 send-q=1
2001:db8::7 sockets=1 estab=1 timer=1 no-timer=0 close-wait=0 idle=1m00s recv-q=500 send-q=0`,
		ByPeerPort: `
* sockets=2 estab=0 timer=0 no-timer=0 close-wait=0 idle=- recv-q=0 send-q=0
443 sockets=2 estab=1 timer=1 no-timer=0 close-wait=0 idle=1m00s recv-q=0 send-q=901
5432 sockets=2 estab=0 timer=0 no-timer=0 close-wait=2 idle=2h00m recv-q=14 send-q=0
40001 sockets=3 estab=3 timer=0 no-timer=3 close-wait=0 idle=1h00m recv-q=0 send-q=0
40002 sockets=1 estab=1 timer=1 no-timer=0 close-wait=0 idle=1s recv-q=0 send-q=0
40003 sockets=1 estab=1 timer=1 no-timer=0 close-wait=0 idle=1m00s recv-q=500 send-q=0
40009 sockets=4 estab=0 timer=0 no-timer=0 close-wait=0 idle=- recv-q=0 send-q=0`,
		ByLocalPort: `
8080 sockets=9 estab=4 timer=1 no-timer=3 close-wait=0 idle=1h00m recv-q=0 send-q=0
8443 sockets=3 estab=2 timer=2 no-timer=0 close-wait=0 idle=1m00s recv-q=500 send-q=900
50000 sockets=2 estab=0 timer=0 no-timer=0 close-wait=2 idle=2h00m recv-q=14 send-q=0
50001 sockets=1 estab=0 timer=0 no-timer=0 close-wait=0 idle=- recv-q=0 send-q=1`,
		ByUID: `
0 sockets=6 estab=0 timer=0 no-timer=0 close-wait=0 idle=- recv-q=0 send-q=0
33 sockets=6 estab=6 timer=3 no-timer=3 close-wait=0 idle=1h00m recv-q=500 send-q=900
1000 sockets=3 estab=0 timer=0 no-timer=0 close-wait=2 idle=2h00m recv-q=14 send-q=1`,
		ByState: `
ESTAB sockets=6 estab=6 timer=3 no-timer=3 close-wait=0 idle=1h00m recv-q=500 send-q=900
SYN-SENT sockets=1 estab=0 timer=0 no-timer=0 close-wait=0 idle=- recv-q=0 send-q=1
TIME-WAIT sockets=4 estab=0 timer=0 no-timer=0 close-wait=0 idle=- recv-q=0 send-q=0
CLOSE-WAIT sockets=2 estab=0 timer=0 no-timer=0 close-wait=2 idle=2h00m recv-q=14 send-q=0
LISTEN sockets=2 estab=0 timer=0 no-timer=0 close-wait=0 idle=- recv-q=0 send-q=0`,
		ByProcess: `
no process sockets=15 estab=6 timer=3 no-timer=3 close-wait=2 idle=2h00m recv-q=514 send-q=901`, // without inodes
		ByNetns: `
net:[0] sockets=15 estab=6 timer=3 no-timer=3 close-wait=2 idle=2h00m recv-q=514 send-q=901`,
		ByCgroup:    withoutCgroups,
		ByContainer: withoutCgroups,
	}
	for _, name := range GroupByNames() {
		by, err := ParseGroupBy(name)
		if err != nil || by.String() != name {
			t.Fatalf("grouping %q: %v, %v", name, by, err)
		}
		tally := tallied(by)
		var got []string
		for _, g := range allGroups(t, tally, "key") {
			got = append(got, groupLine(tally, &g))
		}
		if want := strings.Split(strings.TrimSpace(want[by]), "\n"); !slices.Equal(got, want) {
			t.Errorf("by %s:\n%s\nwant:\n%s", name, lines(got), lines(want))
		}
	}
	if _, err := ParseGroupBy("colour"); err == nil {
		t.Error("an unknown grouping is no error")
	}
}

// The largest come first, ties by key; an unknown order is that of sockets.
func TestTallySorts(t *testing.T) {
	want := map[string]string{
		"sockets":    "8080 8443 50000 50001",
		"estab":      "8080 8443 50000 50001",
		"timer":      "8443 8080 50000 50001",
		"no-timer":   "8080 8443 50000 50001",
		"close-wait": "50000 8080 8443 50001",
		"idle":       "50000 8080 8443 50001",
		"recv-q":     "8443 50000 8080 50001",
		"send-q":     "8443 50001 8080 50000",
		"key":        "8080 8443 50000 50001",
		"colour":     "8080 8443 50000 50001",
	}
	tally := tallied(ByLocalPort)
	for _, order := range append(GroupSorts(), "colour") {
		var keys []string
		for _, g := range allGroups(t, tally, order) {
			keys = append(keys, tally.Key(&g))
		}
		if got := strings.Join(keys, " "); got != want[order] {
			t.Errorf("sorted by %s: %s, want %s", order, got, want[order])
		}
	}
	if len(GroupSorts()) != len(groupSorts) {
		t.Errorf("%d orders are listed, %d there are", len(GroupSorts()), len(groupSorts))
	}
}

// The matrix is by state and timer; a v4-mapped socket counts as IPv4, and a number without a name in a
// row or column of its own.
func TestTallyMatrix(t *testing.T) {
	tally := tallied(ByPeer)
	odd := sock(netlinkss.State(42), "10.0.0.1:1", "10.0.0.7:1")
	odd.Timer = netlinkss.Timer(43)
	tally.Add(odd)
	for _, tt := range []struct {
		m     *Matrix
		state netlinkss.State
		timer netlinkss.Timer
		want  int
	}{
		{&tally.IPv4, netlinkss.Estab, netlinkss.TimerOff, 3},
		{&tally.IPv4, netlinkss.Estab, netlinkss.TimerKeepalive, 1},
		{&tally.IPv4, netlinkss.Estab, netlinkss.TimerOn, 1},
		{&tally.IPv4, netlinkss.TimeWait, netlinkss.TimerTimeWait, 4},
		{&tally.IPv4, netlinkss.Listen, netlinkss.TimerOff, 1},
		{&tally.IPv4, netlinkss.SynSent, netlinkss.TimerOn, 1},
		{&tally.IPv6, netlinkss.Listen, netlinkss.TimerOff, 1},
		{&tally.IPv6, netlinkss.Estab, netlinkss.TimerDelack, 1},
		{&tally.IPv4, netlinkss.State(NumStates - 1), netlinkss.Timer(NumTimers - 1), 1},
	} {
		if got := tt.m[tt.state][tt.timer]; got != tt.want {
			t.Errorf("%v with timer %v: %d, want %d", tt.state, tt.timer, got, tt.want)
		}
	}
	all := tally.IPv4.Sum(&tally.IPv6)
	if got := all.State(netlinkss.Estab); got != 6 {
		t.Errorf("%d in ESTAB, want 6", got)
	}
	if got := all.State(netlinkss.State(200)); got != 1 {
		t.Errorf("%d in states without a name, want 1", got)
	}
	if v4, v6, sum := tally.IPv4.Total(), tally.IPv6.Total(), all.Total(); v4 != 14 || v6 != 2 || sum != 16 {
		t.Errorf("totals %d + %d = %d, want 14 + 2 = 16", v4, v6, sum)
	}
}

// randomSocket has any state, timer, addresses and queues, in few enough values that groups form.
func randomSocket(r *rand.Rand) *netlinkss.Socket {
	addr := func() netip.Addr {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(4))})
		switch r.IntN(4) {
		case 0:
			a = netip.AddrFrom16(a.As16()) // v4-mapped
		case 1:
			a = netip.AddrFrom16([16]byte{0x20, 1, 15: byte(r.IntN(3))})
		case 2:
			a = netip.IPv4Unspecified()
		}
		return a
	}
	s := &netlinkss.Socket{
		Family: netlinkss.Inet, State: netlinkss.State(r.IntN(18)), Timer: netlinkss.Timer(r.IntN(9)),
		Local: netip.AddrPortFrom(addr(), uint16(r.IntN(4))), Peer: netip.AddrPortFrom(addr(), uint16(r.IntN(4))),
		UID: uint32(r.IntN(3)), RecvQ: uint32(r.IntN(2)) * r.Uint32(), SendQ: uint32(r.IntN(2)) * r.Uint32(),
	}
	if s.Local.Addr().Is6() {
		s.Family = netlinkss.Inet6
	}
	setInfo(s, netlinkss.TCPInfo{LastDataSent: r.Uint32(), LastDataRecv: r.Uint32()}, r.IntN(2)*wholeInfo)
	return s
}

// However sockets are grouped, the groups add up to the matrix.
func TestTallySums(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for range 50 {
		tally := &Tally{By: GroupBy(r.IntN(len(GroupByNames())))}
		if r.IntN(2) == 0 {
			tally.Filter = Filter{States: netlinkss.Estab.Mask() | netlinkss.CloseWait.Mask() | netlinkss.Listen.Mask(), Port: uint16(r.IntN(3))}
		}
		var recvQ, sendQ uint64
		for range r.IntN(400) {
			s := randomSocket(r)
			tally.Add(s)
			if tally.Filter.Keep(s) && s.State != netlinkss.Listen {
				recvQ, sendQ = recvQ+uint64(s.RecvQ), sendQ+uint64(s.SendQ)
			}
		}
		var sum Group
		keys := map[string]bool{}
		for _, g := range allGroups(t, tally, "sockets") {
			sum.Sockets += g.Sockets
			sum.Estab += g.Estab
			sum.EstabTimer += g.EstabTimer
			sum.EstabNoTimer += g.EstabNoTimer
			sum.CloseWait += g.CloseWait
			sum.RecvQ += g.RecvQ
			sum.SendQ += g.SendQ
			key := tally.Key(&g)
			if keys[key] {
				t.Errorf("by %v: two groups %s", tally.By, key)
			}
			keys[key] = true
		}
		all := tally.IPv4.Sum(&tally.IPv6)
		want := Group{
			Sockets: all.Total(), Estab: all.State(netlinkss.Estab), CloseWait: all.State(netlinkss.CloseWait),
			EstabNoTimer: all[netlinkss.Estab][netlinkss.TimerOff], RecvQ: recvQ, SendQ: sendQ,
		}
		want.EstabTimer = want.Estab - want.EstabNoTimer
		if sum != want {
			t.Errorf("by %v: groups add up to\n%+v\nwant\n%+v", tally.By, sum, want)
		}
	}
}

// A count over a million sockets must not cost memory for each.
func TestTallyAllocatesPerGroupAlone(t *testing.T) {
	s := estab(1, "10.0.0.1:8080", "[::ffff:10.0.0.7]:40001")
	for by := range GroupByNames() {
		tally := &Tally{By: GroupBy(by), Filter: Filter{
			States: netlinkss.AllStates, Peer: netip.MustParsePrefix("10.0.0.0/8"), MinIdle: time.Second,
		}}
		tally.Add(s)
		if n := testing.AllocsPerRun(100, func() { tally.Add(s) }); n != 0 {
			t.Errorf("by %v: %v allocations for a socket of a known group", GroupBy(by), n)
		}
		if got := tally.IPv4.Total(); got != 102 {
			t.Errorf("by %v: %d sockets counted, want 102", GroupBy(by), got)
		}
	}
}

// Connections without clocks are counted apart. What never has any is not missed: other states, and the
// record that FIN-WAIT-2 is after close.
func TestTallyNoClocks(t *testing.T) {
	bare := func(state netlinkss.State, timer netlinkss.Timer, size int) *netlinkss.Socket {
		s := sock(state, "10.0.0.1:8080", "10.0.0.7:1")
		s.Timer = timer
		setInfo(s, netlinkss.TCPInfo{}, size)
		return s
	}
	tally := &Tally{Filter: Filter{MinIdle: time.Second}}
	for _, s := range []*netlinkss.Socket{
		bare(netlinkss.TimeWait, netlinkss.TimerTimeWait, 0),
		bare(netlinkss.FinWait2, netlinkss.TimerTimeWait, 0),
		bare(netlinkss.Listen, netlinkss.TimerOff, 0),
		bare(netlinkss.SynRecv, netlinkss.TimerOn, 0),
		bare(netlinkss.Estab, netlinkss.TimerOff, netlinkss.InfoHasClocks),
	} {
		tally.Add(s)
	}
	if tally.NoClocks != 0 {
		t.Errorf("%d are missed that never have clocks", tally.NoClocks)
	}
	tally.Add(bare(netlinkss.Estab, netlinkss.TimerOff, 0))
	tally.Add(bare(netlinkss.CloseWait, netlinkss.TimerOff, netlinkss.InfoHasClocks-1))
	tally.Add(bare(netlinkss.FinWait2, netlinkss.TimerKeepalive, 0))
	if tally.NoClocks != 3 || tally.IPv4.Total() != 0 {
		t.Errorf("%d without clocks, %d counted, want 3 and none", tally.NoClocks, tally.IPv4.Total())
	}

	tally = &Tally{}
	tally.Add(bare(netlinkss.Estab, netlinkss.TimerOff, 0))
	if tally.NoClocks != 0 || tally.IPv4.Total() != 1 {
		t.Errorf("%d without clocks, which nobody asked for", tally.NoClocks)
	}
}

// Without Idle there is no idle time, whatever the socket has.
func TestTallyWithoutIdle(t *testing.T) {
	tally := &Tally{}
	tally.Add(estab(1, "10.0.0.1:8080", "10.0.0.7:1"))
	if g := allGroups(t, tally, "idle"); g[0].OldestIdle.Known() || g[0].Sockets != 1 {
		t.Errorf("%+v", g[0])
	}
}
