package diag

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/sockleak/sockleak/internal/raced"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

var seriesBegin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// seriesProc is a process that holds sockets, as a join gives it.
func seriesProc(pid int, held ...*HeldSocket) *Proc {
	p := &Proc{Process: &procfd.Process{PID: pid, Start: 1, Name: "app", SoftLimit: 1024, RSS: 1 << 20}}
	for i, h := range held {
		h.FDs = []int{10 + i}
		p.Held = append(p.Held, *h)
	}
	p.Open = len(held)
	p.ByKind[procfd.KindSocket] = len(held)
	return p
}

func accepted(cookie int, port uint16) *HeldSocket {
	return &HeldSocket{Direction: Accepted, Socket: &netlinkss.Socket{
		State: netlinkss.Estab, Cookie: uint64(cookie), Inode: uint32(cookie),
		Local: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), port), Peer: netip.MustParseAddrPort("10.0.0.7:40001"),
	}}
}

func connected(cookie int, peer string) *HeldSocket {
	h := accepted(cookie, 40000)
	h.Direction, h.Peer = Connected, netip.MustParseAddrPort(peer)
	return h
}

func crowdOf(n int, one func(cookie int) *HeldSocket) (list []*HeldSocket) {
	for i := range n {
		list = append(list, one(i+1))
	}
	return list
}

// seriesLook is a look at processes so long after the first.
func seriesLook(after time.Duration, procs ...*Proc) *Snapshot {
	space := &Space{Procs: procs}
	for _, p := range procs {
		p.Space = space
	}
	return &Snapshot{At: seriesBegin.Add(after), Host: procfd.Host{Uptime: 10 * day}, Spaces: []*Space{space}}
}

// lastValues is what each line of a track counted last, for the lines of one kind.
func lastValues(t *Track, kind LineKind) map[string]float64 {
	m := map[string]float64{}
	for _, l := range t.OfKind(kind) {
		m[l.Name] = l.Last()
	}
	return m
}

func TestSeriesMeasures(t *testing.T) {
	listen, syn, bound, unknown := accepted(1, 8080), connected(2, "[::ffff:10.0.0.9]:5432"), accepted(3, 1), accepted(4, 9)
	listen.State, syn.State, bound.State = netlinkss.Listen, netlinkss.SynSent, netlinkss.BoundInactive
	unknown.Direction, unknown.State = DirectionUnknown, netlinkss.LastAck
	syn.Direction = DirectionUnknown
	timer := accepted(5, 8080)
	timer.Timer = netlinkss.TimerKeepalive
	untold := connected(8, "10.0.0.9:5432")
	untold.Timer = netlinkss.TimerUnknown
	p := seriesProc(42, listen, syn, bound, unknown, timer, accepted(6, 8080), connected(7, "10.0.0.9:5432"), untold)
	p.Dark = []DarkSocket{{FD: 50, Inode: 70}}
	p.ByKind[procfd.KindSocket] += 3 // the dark one, and two of another kind
	p.ByKind[procfd.KindPipe] = 4
	p.Open, p.CPU = 20, time.Second

	s := &Series{}
	look := seriesLook(0, p)
	s.Measure(look)
	r := &Result{Snapshot: look, Findings: []*Finding{{Proc: p, Severity: Leak, Sockets: 3}, {Proc: p, Severity: Risk, Sockets: 5}}}
	s.Add(r)
	q := *p.Process
	q.CPU += time.Second
	again := *p
	again.Process = &q
	s.Add(&Result{Snapshot: seriesLook(4*time.Second, &again)})

	track := s.Track(42, 1)
	for kind, want := range map[LineKind]map[string]float64{
		LineOpen:   {"open": 20},
		LineFDs:    {"socket": 11, "pipe": 4},
		LineState:  {"LISTEN": 1, "SYN-SENT": 1, "BOUND-INACTIVE": 1, "LAST-ACK": 1, "ESTAB": 4, "closed": 1},
		LineTimer:  {"timer": 1, "no timer": 2, "timer not told": 1},
		LineGroup:  {"listening": 1, "to 10.0.0.9:5432": 3, "not connected": 1, "unknown direction": 1, "accepted on :8080": 2, "closed": 1, "not TCP": 2},
		LineLeaked: {"leaked": 0},
		LineRSS:    {"rss": 1 << 20},
		LinePSS:    {},
		LineCPU:    {"cpu": 0.25},
	} {
		if got := lastValues(track, kind); !maps.Equal(got, want) {
			t.Errorf("lines of kind %d: %v, want %v", kind, got, want)
		}
	}
	if v := track.Line(LineLeaked, "leaked").Values; v[0] != 3 || len(s.Times) != 2 {
		t.Errorf("leaked %v in %d samples", v, len(s.Times))
	}
	if v := track.Line(LineCPU, "cpu").Values; !math.IsNaN(v[0]) {
		t.Errorf("the share of the first sample is %v", v[0])
	}
	for _, l := range track.OfKind(LineGroup) {
		if b := l.Born[1]; b != 0 && l.Name != notTCP || l.Name == notTCP && !math.IsNaN(b) {
			t.Errorf("%s: %v born", l.Name, b)
		}
	}
}

// What was not seen has no number: descriptors that may not be counted, sockets that are not kept, a process that has ended, a look
// out of order.
func TestSeriesUnknown(t *testing.T) {
	s := &Series{}
	one := func(c int) *HeldSocket { return accepted(c, 80) }
	step := 0
	add := func(p ...*Proc) {
		s.Add(&Result{Snapshot: seriesLook(time.Duration(step)*time.Second, p...)})
		step++
	}
	add(seriesProc(1, crowdOf(3, one)...))
	unread := seriesProc(1)
	unread.Open = -1
	add(unread)
	usual := seriesProc(1)
	usual.Usual = Usual{Timer: 2, NoTimer: 3}
	usual.ByKind[procfd.KindEpoll] = 1
	add(usual)
	add(seriesProc(1, crowdOf(5, one)...))
	add()
	s.Measure(seriesLook(0, seriesProc(1)))

	track, nan := s.Track(1, 1), math.NaN()
	for key, want := range map[LineKey][]float64{
		{LineOpen, "open"}:             {3, nan, 0, 5, nan},
		{LineFDs, "epoll"}:             {0, nan, 1, 0, nan},
		{LineState, "ESTAB"}:           {3, nan, 5, 5, nan},
		{LineTimer, "timer"}:           {0, nan, 2, 0, nan},
		{LineGroup, "accepted on :80"}: {3, nan, nan, 5, nan},
		{LineLeaked, "leaked"}:         {0, 0, 0, 0, nan},
		{LineRSS, "rss"}:               {1 << 20, 1 << 20, 1 << 20, 1 << 20, nan},
	} {
		if got := track.Line(key.Kind, key.Name).Values; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v: %v, want %v", key, got, want)
		}
	}
	l := track.Line(LineGroup, "accepted on :80")
	if got, want := fmt.Sprint(l.Born, l.Died), fmt.Sprint([]float64{0, nan, nan, 2, nan}, []float64{0, nan, nan, 0, nan}); got != want {
		t.Errorf("born and died %v, want %v", got, want)
	}
	if !track.Ended || len(s.Times) != 5 {
		t.Errorf("ended: %v, %d samples", track.Ended, len(s.Times))
	}
	add(seriesProc(1, crowdOf(9, one)...))
	if b := l.Born[5]; !math.IsNaN(b) || l.Last() != 9 {
		t.Errorf("after a time away %v are born of %v", b, l.Last())
	}
}

// randomCrowd are sockets that come and go, and of which now and then nobody knows who began them.
type randomCrowd struct {
	r     *rand.Rand
	alive map[int]toSomebody // by cookie
	last  int
}

// toSomebody is who a socket is with: accepted on a port, or connected to a peer.
type toSomebody struct {
	port uint16
	peer string
}

func (c *randomCrowd) next() (held []*HeldSocket) {
	maps.DeleteFunc(c.alive, func(int, toSomebody) bool { return c.r.IntN(4) == 0 })
	for range c.r.IntN(40) {
		c.last++
		c.alive[c.last] = toSomebody{port: uint16(80 + c.r.IntN(3))}
		if c.r.IntN(2) == 0 {
			c.alive[c.last] = toSomebody{peer: fmt.Sprintf("10.0.%d.7:5432", c.r.IntN(100))}
		}
	}
	for _, cookie := range slices.Sorted(maps.Keys(c.alive)) {
		if s := c.alive[cookie]; s.port != 0 {
			held = append(held, accepted(cookie, s.port))
		} else {
			held = append(held, connected(cookie, s.peer))
		}
		if c.r.IntN(5) == 0 {
			held[len(held)-1].Direction = DirectionUnknown
		}
	}
	return held
}

// What came and went is the difference of the levels, in every sample, whatever moves where and whatever is thinned out.
func TestSeriesBalance(t *testing.T) {
	s := &Series{Most: 20}
	crowd := randomCrowd{r: rand.New(rand.NewPCG(1, 2)), alive: map[int]toSomebody{}}
	sockets := 0
	for n := range 400 {
		p := seriesProc(1, crowd.next()...)
		if n%7 == 3 {
			p.Dark = append(p.Dark, DarkSocket{FD: 5000, Inode: uint64(n)})
		}
		sockets = len(p.Held) + len(p.Dark)
		s.Measure(seriesLook(time.Duration(n)*time.Second, p))
	}
	track := s.Track(1, 1)
	sum, named := 0.0, 0
	for _, l := range track.OfKind(LineGroup) {
		if l.Name == notTCP {
			continue
		}
		if l.Name != groupKindNames[groupFurther] && l.Name != groupKindNames[groupUnknown] && l.Name != groupKindNames[groupClosed] {
			named++
		}
		sum += l.Last()
		for i := range l.Values {
			if grown, events := l.Values[i]-l.Values[0], l.Born[i]-l.Died[i]-(l.Born[0]-l.Died[0]); grown != events {
				t.Fatalf("%s, sample %d: %v more, and %v came less those that went", l.Name, i, grown, events)
			}
		}
	}
	if sum != float64(sockets) || named != MostGroups {
		t.Errorf("%v sockets in %d named groups, want %d in %d", sum, named, sockets, MostGroups)
	}
	if got := len(track.sockets.members); got != sockets {
		t.Errorf("%d sockets are remembered of %d", got, sockets)
	}
	if n := len(s.Times); n > 20 || n < 6 || !s.Times[n-1].Equal(seriesBegin.Add(399*time.Second)) {
		t.Errorf("%d samples, the last of %v", n, s.Times[n-1])
	}
}

// Those that have been seen for at least 3, 6 and 12 s.
func TestSeriesStayed(t *testing.T) {
	s := &Series{}
	for n := range 13 { // one more each second, and five that live for a second
		held := crowdOf(n+1, func(c int) *HeldSocket { return accepted(c, 80) })
		for i := range 5 {
			held = append(held, accepted(1000+5*n+i, 80))
		}
		s.Measure(seriesLook(time.Duration(n)*time.Second, seriesProc(1, held...)))
	}
	l := s.Track(1, 1).Line(LineGroup, "accepted on :80")
	if got := fmt.Sprint(l.stayed[0], l.stayed[1], l.stayed[2]); got != "[NaN NaN NaN 1 2 3 4 5 6 7 8 9 10] [NaN NaN NaN NaN NaN NaN 1 2 3 4 5 6 7] [NaN NaN NaN NaN NaN NaN NaN NaN NaN NaN NaN NaN 1]" {
		t.Errorf("stayed: %v", got)
	}
	if l.Last() != 18 || l.Born[12] != 12*6 || l.Died[12] != 12*5 {
		t.Errorf("level %v, %v born, %v died", l.Last(), l.Born[12], l.Died[12])
	}
}

func TestSeriesOfHost(t *testing.T) {
	s := &Series{}
	for n, ports := range [][]uint16{{80, 80, 81}, {80, 82, 82, 82}} {
		tally := &Tally{By: ByLocalPort}
		for i, port := range ports {
			h := accepted(i+1, port)
			switch i {
			case 0:
				h.Timer = netlinkss.TimerKeepalive
			case 2 + n: // one that only a newer kernel has, or of the second sample one that is not told
				h.Timer = []netlinkss.Timer{77, netlinkss.TimerUnknown}[n]
			}
			tally.Add(h.Socket)
		}
		groups, distinct, err := tally.Groups("sockets", 20)
		if err != nil {
			t.Fatal(err)
		}
		st := &Stat{Tally: tally, Groups: groups, Distinct: distinct, Snapshot: Snapshot{At: seriesBegin.Add(time.Duration(n) * time.Second)}}
		st.Snapshot.Host.Name = "host"
		s.AddStat(st)
	}
	track := s.Track(0, 0)
	for kind, want := range map[LineKind]map[string]float64{
		LineState: {"ESTAB": 4},
		LineTimer: {"timer": 1, "no timer": 2, "timer not told": 1},
		LineGroup: {"local-port 80": 1, "local-port 81": 0, "local-port 82": 3},
	} {
		if got := lastValues(track, kind); !maps.Equal(got, want) {
			t.Errorf("lines of kind %d: %v, want %v", kind, got, want)
		}
	}
	if l := track.Line(LineTimer, "timer"); l.Values[0] != 2 {
		t.Errorf("%v with a timer, want 2 at first", l.Values)
	}
	if l := track.Line(LineGroup, "local-port 82"); l.Values[0] != 0 || !math.IsNaN(l.Born[0]) || !math.IsNaN(l.Died[1]) || track.Name != "host" {
		t.Errorf("%s: %v", track.Name, l)
	}
}

// Processes that come and go by the thousand, and a day of samples, leave no more than so much behind.
func TestSeriesBounded(t *testing.T) {
	s := &Series{}
	for n := range 2000 {
		s.Measure(seriesLook(time.Duration(n)*time.Second, seriesProc(1), seriesProc(2+n, accepted(1, 80))))
	}
	if len(s.Tracks) != MostEnded+2 || len(s.byProc) != len(s.Tracks) || s.Track(1, 1) == nil || s.Track(2001, 1) == nil {
		t.Errorf("%d processes are kept", len(s.Tracks))
	}
	for _, n := range []int{4, 900} {
		s := &Series{Most: n}
		for k := range 20 * n {
			s.Measure(seriesLook(time.Duration(k)*time.Second, seriesProc(1)))
			if len(s.Times) > n || s.Tracks[0].Line(LineOpen, "open").Last() != 0 {
				t.Fatalf("%d samples of at most %d", len(s.Times), n)
			}
		}
	}
}

// leakyCrowd has 19,000 sockets of which some come and go with every sample.
type leakyCrowd struct{ p *Proc }

func newLeakyCrowd(n int) *leakyCrowd {
	return &leakyCrowd{seriesProc(1, crowdOf(n, func(c int) *HeldSocket {
		if c%2 == 0 {
			return connected(c, fmt.Sprintf("10.0.0.%d:5432", c%8))
		}
		return accepted(c, 8080)
	})...)}
}

// churn replaces n of the sockets.
func (l *leakyCrowd) churn(sample, n int) {
	for i := range n {
		h := &l.p.Held[(sample*n+i)%len(l.p.Held)]
		h.Cookie += 1 << 24
	}
}

// Three times the samples of a process with 19,000 sockets take no more memory.
func TestSeriesMemory(t *testing.T) {
	if raced.On {
		t.Skip("the race detector has memory of its own, and nothing here is concurrent")
	}
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	c := newLeakyCrowd(19000)
	before := held()
	s := &Series{Most: 90}
	add := func(from, to int) uint64 {
		for n := from; n < to; n++ {
			c.churn(n, 400)
			s.Measure(seriesLook(time.Duration(n)*10*time.Second, c.p))
		}
		return held() - before
	}
	hour := add(0, 180)
	later := add(180, 540)
	t.Logf("%d KiB after 180 samples, %d KiB after 540", hour>>10, later>>10)
	if later > hour+hour/4 || later > 8<<20 {
		t.Errorf("%d bytes are held after 180 samples, %d after 540", hour, later)
	}
	runtime.KeepAlive(s)
	runtime.KeepAlive(c)
}

func BenchmarkSeriesAdd(b *testing.B) {
	const sockets = 19000
	c := newLeakyCrowd(sockets)
	s := &Series{}
	look := seriesLook(0, c.p)
	n := 0
	b.ReportAllocs()
	defer perSocket(b, sockets)()
	for b.Loop() {
		c.churn(n, 400)
		look.At = look.At.Add(2 * time.Second)
		s.Measure(look)
		n++
	}
	if got := len(s.Tracks[0].sockets.members); got != sockets {
		b.Fatalf("%d sockets", got)
	}
}
