package diag

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// GroupBy is what a tally groups sockets by.
type GroupBy uint8

// The groupings.
const (
	ByPeer GroupBy = iota
	ByPeerPort
	ByLocalPort
	ByUID
	ByState
)

var groupByNames = [...]string{"peer", "peer-port", "local-port", "uid", "state"}

// String is the grouping's name, as the command line takes it.
func (b GroupBy) String() string { return groupByNames[int(b)%len(groupByNames)] }

// GroupByNames lists what [ParseGroupBy] takes.
func GroupByNames() []string { return groupByNames[:] }

// ParseGroupBy reads the name of a grouping.
func ParseGroupBy(name string) (GroupBy, error) {
	if i := slices.Index(groupByNames[:], name); i >= 0 {
		return GroupBy(i), nil
	}
	return 0, fmt.Errorf("unknown grouping %q", name)
}

// Filter says which sockets of a dump count. The zero value takes all.
type Filter struct {
	States  netlinkss.States // zero: all
	Peer    netip.Prefix     // not valid: all; a v4-mapped address is its IPv4 address
	Local   netip.Prefix
	Port    uint16        // of either side; 0: all
	MinIdle time.Duration // sockets without clocks (LISTEN, TIME-WAIT, …) are left out when it is set
	Uptime  time.Duration // of the host
}

// Keep reports whether s counts.
func (f *Filter) Keep(s *netlinkss.Socket) bool {
	switch {
	case f.States != 0 && !f.hasState(s.State):
	case f.Port != 0 && s.Local.Port() != f.Port && s.Peer.Port() != f.Port:
	case f.Peer.IsValid() && !f.Peer.Contains(s.Peer.Addr().Unmap()):
	case f.Local.IsValid() && !f.Local.Contains(s.Local.Addr().Unmap()):
	case f.MinIdle > 0 && !Idle(s, f.Uptime).AtLeast(f.MinIdle):
	default:
		return true
	}
	return false
}

// hasState: the kernel lists a BOUND-INACTIVE socket with the number of UNCONN.
func (f *Filter) hasState(s netlinkss.State) bool {
	return f.States.Has(s) || s == netlinkss.Unconn && f.States.Has(netlinkss.BoundInactive)
}

// Dimensions of the matrix: one more than what has a name, for what has none.
const (
	NumStates = int(netlinkss.BoundInactive) + 2
	NumTimers = int(netlinkss.TimerDelack) + 2
)

// Matrix counts sockets by state and timer. The last row and column are for numbers without a name.
type Matrix [NumStates][NumTimers]int

func (m *Matrix) add(s *netlinkss.Socket) {
	m[min(int(s.State), NumStates-1)][min(int(s.Timer), NumTimers-1)]++
}

// State counts one state over all timers.
func (m *Matrix) State(s netlinkss.State) int {
	n := 0
	for _, c := range m[min(int(s), NumStates-1)] {
		n += c
	}
	return n
}

// Sum is the matrix of both.
func (m *Matrix) Sum(o *Matrix) *Matrix {
	sum := *m
	for i := range o {
		for k := range o[i] {
			sum[i][k] += o[i][k]
		}
	}
	return &sum
}

// Total counts every socket.
func (m *Matrix) Total() int {
	n := 0
	for s := range m {
		n += m.State(netlinkss.State(s))
	}
	return n
}

// Group counts the sockets that share a key.
type Group struct {
	key groupKey

	Sockets      int
	Estab        int
	EstabTimer   int // ESTAB with any timer
	EstabNoTimer int // ESTAB with timer off
	CloseWait    int
	OldestIdle   Span
	RecvQ        uint64 // bytes; listeners, whose queues count connections, left out
	SendQ        uint64
}

// groupKey is an address, or a number with a zero address.
type groupKey struct {
	addr [16]byte
	n    uint32
}

// Tally counts sockets as they come. Its memory grows with the groups and not with the sockets.
type Tally struct {
	By     GroupBy
	Filter Filter
	IPv4   Matrix
	IPv6   Matrix
	// NoClocks counts connections that came without TCP_INFO: their idle times are not known, and
	// [Filter.MinIdle] leaves them out.
	NoClocks int

	index  map[groupKey]int32
	groups []Group
}

// Add counts one socket, if the filter keeps it. It keeps nothing of s.
func (t *Tally) Add(s *netlinkss.Socket) {
	// After close, FIN-WAIT-2 is soon a mere record with the timewait timer, which never has any.
	if isConnection(s.State) && s.Timer != netlinkss.TimerTimeWait && s.InfoLen() < netlinkss.InfoHasClocks {
		t.NoClocks++
	}
	if !t.Filter.Keep(s) {
		return
	}
	if s.IsIPv4() {
		t.IPv4.add(s)
	} else {
		t.IPv6.add(s)
	}
	t.group(t.keyOf(s)).add(s, t.Filter.Uptime)
}

func (t *Tally) keyOf(s *netlinkss.Socket) groupKey {
	switch t.By {
	case ByPeerPort:
		return groupKey{n: uint32(s.Peer.Port())}
	case ByLocalPort:
		return groupKey{n: uint32(s.Local.Port())}
	case ByUID:
		return groupKey{n: s.UID}
	case ByState:
		return groupKey{n: uint32(s.State)}
	}
	if a := s.Peer.Addr(); !a.Unmap().IsUnspecified() {
		return groupKey{addr: a.As16()} // v4 and v4-mapped are the same sixteen bytes
	}
	return groupKey{} // no peer, of either family
}

func (t *Tally) group(k groupKey) *Group {
	if i, ok := t.index[k]; ok {
		return &t.groups[i]
	}
	if t.index == nil {
		t.index = make(map[groupKey]int32)
	}
	t.index[k] = int32(len(t.groups))
	t.groups = append(t.groups, Group{key: k})
	return &t.groups[len(t.groups)-1]
}

func (g *Group) add(s *netlinkss.Socket, uptime time.Duration) {
	g.Sockets++
	switch s.State {
	case netlinkss.Estab:
		g.Estab++
		if s.Timer == netlinkss.TimerOff {
			g.EstabNoTimer++
		} else {
			g.EstabTimer++
		}
	case netlinkss.CloseWait:
		g.CloseWait++
	case netlinkss.Listen:
		return
	}
	g.RecvQ += uint64(s.RecvQ)
	g.SendQ += uint64(s.SendQ)
	if idle := Idle(s, uptime); idle.Known() && (idle.D > g.OldestIdle.D || !g.OldestIdle.Known()) {
		g.OldestIdle = idle
	}
}

// Key is the group's key as a report shows it: an address, a port, a uid or a state. "*" is no peer.
func (t *Tally) Key(g *Group) string {
	switch t.By {
	case ByPeer:
		a := netip.AddrFrom16(g.key.addr).Unmap()
		if a.IsUnspecified() {
			return "*"
		}
		return a.String()
	case ByState:
		return netlinkss.State(g.key.n).String()
	case ByPeerPort:
		if g.key.n == 0 {
			return "*"
		}
	}
	return strconv.FormatUint(uint64(g.key.n), 10)
}

// groupSorts order groups; ties go by key.
var groupSorts = map[string]func(a, b *Group) int{
	"sockets":    func(a, b *Group) int { return cmp.Compare(b.Sockets, a.Sockets) },
	"estab":      func(a, b *Group) int { return cmp.Compare(b.Estab, a.Estab) },
	"timer":      func(a, b *Group) int { return cmp.Compare(b.EstabTimer, a.EstabTimer) },
	"no-timer":   func(a, b *Group) int { return cmp.Compare(b.EstabNoTimer, a.EstabNoTimer) },
	"close-wait": func(a, b *Group) int { return cmp.Compare(b.CloseWait, a.CloseWait) },
	"idle":       func(a, b *Group) int { return cmp.Compare(b.OldestIdle.D, a.OldestIdle.D) },
	"recv-q":     func(a, b *Group) int { return cmp.Compare(b.RecvQ, a.RecvQ) },
	"send-q":     func(a, b *Group) int { return cmp.Compare(b.SendQ, a.SendQ) },
	"key":        func(_, _ *Group) int { return 0 },
}

// GroupSorts lists what [Tally.Groups] sorts by.
func GroupSorts() []string {
	return []string{"sockets", "estab", "timer", "no-timer", "close-wait", "idle", "recv-q", "send-q", "key"}
}

// Groups lists the groups, the largest by the named order first ("sockets" when it has no such name).
func (t *Tally) Groups(order string) []*Group {
	by, ok := groupSorts[order]
	if !ok {
		by = groupSorts["sockets"]
	}
	list := make([]*Group, len(t.groups))
	for i := range t.groups {
		list[i] = &t.groups[i]
	}
	slices.SortFunc(list, func(a, b *Group) int {
		return cmp.Or(by(a, b), slices.Compare(a.key.addr[:], b.key.addr[:]), cmp.Compare(a.key.n, b.key.n))
	})
	return list
}

// Stat is a host's count: a look without processes.
type Stat struct {
	Snapshot Snapshot // no spaces
	Took     time.Duration
	Source   string // where the sockets came from: sock_diag, /proc/net/tcp, a file's name
	Tally    *Tally
	Sockstat *procfd.Sockstat // nil when there is none, as for a recorded dump
}
