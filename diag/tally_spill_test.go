package diag

import (
	"cmp"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// memorySpill is a Spill that a test can look into, and that fails where it is told to.
type memorySpill struct {
	b             []byte
	writes, reads int
	failWrite     func(n int) bool // the n-th, from 1
	failRead      func(n int) bool
	quiet         bool // a failure is a short count without an error
}

var errSpill = errors.New("spill")

func (m *memorySpill) failed(n int) (int, error) {
	if m.quiet {
		return n / 2, nil
	}
	return n / 2, errSpill
}

func (m *memorySpill) WriteAt(p []byte, off int64) (int, error) {
	if grow := int(off) + len(p) - len(m.b); grow > 0 {
		m.b = append(m.b, make([]byte, grow)...)
	}
	if m.writes++; m.failWrite != nil && m.failWrite(m.writes) {
		copy(m.b[off:], p[:len(p)/2])
		return m.failed(len(p))
	}
	return copy(m.b[off:], p), nil
}

func (m *memorySpill) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, m.b[min(int(off), len(m.b)):])
	if m.reads++; m.failRead != nil && m.failRead(m.reads) {
		return m.failed(n)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// mapKey is an address, or a number with a zero address.
type mapKey struct {
	addr [16]byte
	n    uint32
}

// mapTally counts in the plainest way.
type mapTally struct {
	by     GroupBy
	idle   bool
	uptime time.Duration
	groups map[mapKey]*Group
}

func (m *mapTally) add(s *netlinkss.Socket) {
	var k mapKey
	switch m.by {
	case ByPeer:
		if a := s.Peer.Addr(); !a.Unmap().IsUnspecified() {
			k.addr = a.As16()
		}
	case ByPeerPort:
		k.n = uint32(s.Peer.Port())
	case ByLocalPort:
		k.n = uint32(s.Local.Port())
	case ByUID:
		k.n = s.UID
	case ByState:
		k.n = uint32(s.State)
	}
	g := m.groups[k]
	if g == nil {
		g = &Group{}
		m.groups[k] = g
	}
	g.Sockets++
	if s.State == netlinkss.Listen {
		return
	}
	g.RecvQ += uint64(s.RecvQ)
	g.SendQ += uint64(s.SendQ)
	if m.idle {
		g.OldestIdle = longer(g.OldestIdle, Idle(s, m.uptime))
	}
	switch {
	case s.State == netlinkss.CloseWait:
		g.CloseWait++
	case s.State != netlinkss.Estab:
	case s.Timer == netlinkss.TimerOff:
		g.Estab++
		g.EstabNoTimer++
	default:
		g.Estab++
		g.EstabTimer++
	}
}

// lines are the groups in order, as groupLine writes them.
func (m *mapTally) lines(order string) []string {
	keys := make([]mapKey, 0, len(m.groups))
	for k := range m.groups {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b mapKey) int {
		return cmp.Or(groupSorts[order](m.groups[a], m.groups[b]), slices.Compare(a.addr[:], b.addr[:]), cmp.Compare(a.n, b.n))
	})
	var list []string
	t := &Tally{By: m.by}
	for _, k := range keys {
		g := *m.groups[k]
		g.key = numberKey(k.n)
		if m.by == ByPeer {
			g.key = addrKey(netip.AddrFrom16(k.addr))
		}
		list = append(list, groupLine(t, &g))
	}
	return list
}

// hostileSocket has addresses that share any part with one another, and numbers at the ends of their ranges.
func hostileSocket(r *rand.Rand) *netlinkss.Socket {
	s := randomSocket(r)
	switch r.IntN(4) {
	case 0:
		var a [16]byte
		for range r.IntN(3) {
			a[r.IntN(16)] = byte(r.IntN(3)) * 0xff / 2
		}
		s.Peer = netip.AddrPortFrom(netip.AddrFrom16(a), uint16(r.IntN(1<<16)))
		s.Family = netlinkss.Inet6
	case 1:
		s.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(r.IntN(2)) * 255, 0, byte(r.IntN(2)) * 255, byte(r.IntN(256))}), 65535)
	}
	edge := [...]uint32{0, 1, math.MaxUint32 - 1, math.MaxUint32}
	s.UID = edge[r.IntN(4)] + uint32(r.IntN(3))
	s.RecvQ, s.SendQ = edge[r.IntN(4)], edge[r.IntN(4)]
	if r.IntN(2) == 0 {
		setInfo(s, netlinkss.TCPInfo{LastDataSent: edge[r.IntN(4)], LastDataRecv: edge[r.IntN(4)]}, wholeInfo)
	}
	return s
}

func small(by GroupBy, spill Spill) *Tally {
	t := &Tally{By: by, Idle: true, Filter: Filter{Uptime: day}, Spill: spill}
	t.table.limit = 3
	return t
}

// equalsMap compares every order, and several lengths of the list.
func equalsMap(t *testing.T, tally *Tally, m *mapTally, r *rand.Rand) {
	t.Helper()
	for _, order := range GroupSorts() {
		want := m.lines(order)
		for _, n := range []int{0, 1, 1 + r.IntN(len(want)+1), len(want) + 5} {
			top, total, err := tally.Groups(order, n)
			if err != nil || total != len(want) {
				t.Fatalf("by %v: %d groups, want %d; %v", m.by, total, len(want), err)
			}
			var got []string
			for i := range top {
				got = append(got, groupLine(tally, &top[i]))
			}
			first := want
			if n > 0 {
				first = want[:min(n, len(want))]
			}
			if !slices.Equal(got, first) {
				t.Fatalf("by %v, first %d by %s:\n%s\nwant:\n%s", m.by, n, order, lines(got), lines(first))
			}
		}
	}
}

// A table of three groups, spilled and merged and used again, counts as a map does: with a Spill, without, and with one that takes
// some runs and not others.
func TestTallyEqualsMap(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	spills := []func() Spill{
		func() Spill { return &memorySpill{} },
		func() Spill { return nil },
		func() Spill { return &memorySpill{failWrite: func(n int) bool { return n%3 == 0 }} },
		func() Spill { return &memorySpill{failWrite: func(n int) bool { return n > 2 }, quiet: true} },
	}
	for by := range int(ByProcess) { // that has a test of its own
		for _, spill := range spills {
			parts := []*Tally{small(GroupBy(by), spill()), small(GroupBy(by), spill()), small(GroupBy(by), spill())}
			for range 6 { // one sample after the other
				m := &mapTally{by: GroupBy(by), idle: true, uptime: day, groups: map[mapKey]*Group{}}
				n := 1 + r.IntN(3)
				for _, p := range parts {
					p.Reset()
				}
				for range r.IntN(120) {
					s := hostileSocket(r)
					m.add(s)
					parts[r.IntN(n)].Add(s)
				}
				if n == 3 && r.IntN(2) == 0 {
					parts[1].Merge(parts[2])
					parts[0].Merge(parts[1])
				} else {
					for _, p := range parts[1:n] {
						parts[0].Merge(p)
					}
				}
				equalsMap(t, parts[0], m, r)
			}
		}
	}
}

// The same, with a table as large as it is, and more groups than it holds.
func TestTallyManyGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 17))
	spill := &memorySpill{}
	tally := &Tally{Filter: Filter{Uptime: day}, Spill: spill}
	m := &mapTally{groups: map[mapKey]*Group{}, uptime: day}
	s := estab(1, "10.0.0.1:8080", "10.0.0.7:1")
	for range 3 * maxRows {
		s.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), byte(r.IntN(256)), byte(r.IntN(256))}), 1)
		tally.Add(s)
		m.add(s)
	}
	top, total, err := tally.Groups("sockets", 20)
	if err != nil || total != len(m.groups) || len(tally.runs) == 0 || spill.writes != len(tally.runs) {
		t.Fatalf("%d groups, want %d; %d runs, %d written; %v", total, len(m.groups), len(tally.runs), spill.writes, err)
	}
	for i, want := range m.lines("sockets")[:20] {
		if got := groupLine(tally, &top[i]); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
	if each := float64(tally.spilled) / float64(len(tally.runs)*maxRows); each > 6 {
		t.Errorf("%.1f bytes for a v4 peer", each)
	}
}

// spilled is a tally of several runs, all in the Spill, and a table.
func spilled(r *rand.Rand) (*Tally, *memorySpill) {
	spill := &memorySpill{}
	tally := small(ByPeer, spill)
	for range 200 {
		tally.Add(hostileSocket(r))
	}
	return tally, spill
}

// Whichever read fails, there is an error and no list.
func TestTallyReadErrors(t *testing.T) {
	tally, spill := spilled(rand.New(rand.NewPCG(19, 23)))
	if _, _, err := tally.Groups("sockets", 5); err != nil || spill.reads < 10 {
		t.Fatalf("%d reads, %v", spill.reads, err)
	}
	all := spill.reads
	for want, quiet := range map[error]bool{errSpill: false, io.ErrUnexpectedEOF: true} {
		spill.quiet = quiet
		for fail := range all {
			spill.reads = 0
			spill.failRead = func(k int) bool { return k == fail+1 }
			if top, total, err := tally.Groups("sockets", 5); top != nil || total != 0 || !errors.Is(err, want) {
				t.Fatalf("read %d fails: %d groups of %d, %v", fail, len(top), total, err)
			}
		}
	}
	spill.failRead = nil
	if _, _, err := tally.Groups("sockets", 5); err != nil {
		t.Errorf("read again: %v", err)
	}
}

// What comes back otherwise than it was written is an error, every bit of it.
func TestTallyDamage(t *testing.T) {
	tally, spill := spilled(rand.New(rand.NewPCG(29, 31)))
	for i := range spill.b[:tally.spilled] {
		for bit := range 8 {
			spill.b[i] ^= 1 << bit
			if top, _, err := tally.Groups("key", 0); err == nil || top != nil {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
			spill.b[i] ^= 1 << bit
		}
	}
	spill.b = spill.b[:tally.spilled-1]
	if _, _, err := tally.Groups("key", 0); err == nil {
		t.Error("the last byte is missing")
	}
}

// A part that changed after it was merged is no silent loss.
func TestTallyMergedAndChanged(t *testing.T) {
	r := rand.New(rand.NewPCG(37, 41))
	tally, other := small(ByPeer, nil), small(ByPeer, nil)
	for range 30 {
		tally.Add(hostileSocket(r))
		other.Add(hostileSocket(r))
	}
	tally.Merge(other)
	if _, _, err := tally.Groups("key", 0); err != nil {
		t.Fatal(err)
	}
	other.Reset()
	if _, _, err := tally.Groups("key", 0); err == nil {
		t.Error("half of the groups are gone")
	}
}

// The counts of a row are 32 bits, those of a group are not.
func TestTallyManySockets(t *testing.T) {
	tally := &Tally{}
	s := estab(1, "10.0.0.1:8080", "10.0.0.7:1")
	tally.Add(s)
	const more = math.MaxUint32 - 2
	tally.table.rows[0].sockets += more
	tally.table.rows[0].estab += more
	tally.IPv4[s.State][s.Timer] += more
	for range 5 {
		tally.Add(s)
	}
	g := allGroups(t, tally, "sockets")
	if len(g) != 1 || g[0].Sockets != more+6 || g[0].Estab != more+6 || g[0].EstabNoTimer != more+6 {
		t.Errorf("%d groups, %+v", len(g), g)
	}
}

// A second sample of the same host allocates next to nothing, however many sockets and groups there are.
func TestTallyAllocatesOnce(t *testing.T) {
	const groups = 3 * maxRows
	for name, spill := range map[string]Spill{"spilled": &memorySpill{}, "in memory": nil} {
		a, b := &Tally{Spill: spill}, &Tally{}
		s := estab(1, "10.0.0.1:8080", "10.0.0.7:1")
		sample := func() {
			a.Reset()
			b.Reset()
			for i := range uint32(groups) {
				s.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
				a.Add(s)
				if i%1000 == 0 {
					b.Add(s)
				}
			}
			a.Merge(b)
			if top, total, err := a.Groups("sockets", 20); err != nil || total != groups || len(top) != 20 {
				t.Fatalf("%d of %d groups, %v", len(top), total, err)
			}
		}
		sample()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		sample()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 32<<10 {
			t.Errorf("%s: %d bytes allocated for a second sample", name, n)
		}
	}
}

// socketsOf makes a stream of sockets from bytes.
func socketsOf(b []byte) []*netlinkss.Socket {
	var list []*netlinkss.Socket
	for len(b) >= 8 {
		a := [16]byte{0: b[0], 7: b[1], 8: b[2], 15: b[3]}
		s := &netlinkss.Socket{
			Family: netlinkss.Inet6, State: netlinkss.State(b[4] % 16), Timer: netlinkss.Timer(b[4] / 16 % 8),
			Local: netip.MustParseAddrPort("[::1]:1"), Peer: netip.AddrPortFrom(netip.AddrFrom16(a), uint16(b[3])),
			UID: uint32(b[5]) << (b[5] % 25), RecvQ: uint32(b[6]) << (b[6] % 25), SendQ: uint32(b[7]) << (b[7] % 25),
		}
		setInfo(s, netlinkss.TCPInfo{LastDataSent: s.RecvQ, LastDataRecv: s.SendQ}, int(b[5]%2)*wholeInfo)
		list = append(list, s)
		b = b[8:]
	}
	return list
}

func FuzzTally(f *testing.F) {
	f.Add(uint8(0), []byte("one and the other peer, and the two of them again"))
	f.Add(uint8(3), slices.Repeat([]byte{0, 0, 0, 0, 1, 255, 255, 255}, 9))
	f.Fuzz(func(t *testing.T, by uint8, b []byte) {
		m := &mapTally{by: GroupBy(by) % ByState, idle: true, uptime: day, groups: map[mapKey]*Group{}}
		tally, other := small(m.by, &memorySpill{}), small(m.by, nil)
		b = b[:min(len(b), 4096)] // some hundred sockets have every case, and a megabyte of them takes seconds to count in the plain way
		for i, s := range socketsOf(b) {
			m.add(s)
			[]*Tally{tally, other}[i%2].Add(s)
		}
		tally.Merge(other)
		equalsMap(t, tally, m, rand.New(rand.NewPCG(1, 2)))
	})
}

// No bytes make a cursor panic, or give keys out of order.
func FuzzRun(f *testing.F) {
	_, spill := spilled(rand.New(rand.NewPCG(43, 47)))
	f.Add(3, 200, spill.b)
	f.Add(1, 400, []byte{0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80})
	f.Fuzz(func(t *testing.T, groups, window int, b []byte) {
		c := cursor{left: groups, more: source{
			from: &memorySpill{b: b}, window: make([]byte, leastWindow+max(window, 0)%1000), end: int64(len(b)),
		}}
		var last *groupKey
		for c.left > 0 {
			if c.next() != nil {
				return
			}
			if k := c.row.key; last != nil && !last.less(k) {
				t.Fatalf("%x after %x", k, *last)
			}
			k := c.row.key
			last = &k
		}
	})
}

func TestGroupKeyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(53, 59))
	for range 1000 {
		a, b := groupKey{uint64(r.IntN(3)) - 1, uint64(r.IntN(3)) - 1}, groupKey{uint64(r.IntN(3)) - 1, uint64(r.IntN(3)) - 1}
		if got, want := a.less(b), a.compare(b) < 0; got != want || want != (a.hi < b.hi || a.hi == b.hi && a.lo < b.lo) {
			t.Fatalf("%x < %x: %v", a, b, got)
		}
	}
}
