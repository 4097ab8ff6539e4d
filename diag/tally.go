package diag

import (
	"fmt"
	"math"
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
	ByProcess   // see [Tally.Wanted]
	ByNetns     // see [Tally.Netns]
	ByCgroup    // see [Tally.Cgroups]
	ByContainer // as ByCgroup
)

var groupByNames = [...]string{"peer", "peer-port", "local-port", "uid", "state", "process", "netns", "cgroup", "container"}

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

// Tally counts sockets as they come. Its memory grows neither with the sockets, but for [ByProcess], nor with the groups: it
// holds at most 16,384 groups, and what is more goes to Spill, at 5 to 20 bytes a group.
//
// By, Filter, Idle and Spill are set before the first Add, and are the same in tallies that are merged.
type Tally struct {
	By     GroupBy
	Filter Filter
	// Netns is the inode of the network namespace that the next sockets are of. It may change from one Add to the next.
	Netns uint32
	// Names has what to call a group of [ByNetns] beside its number.
	Names map[uint64]string
	// Idle: idle times are wanted. Without it [Tally.Add] looks at no TCP_INFO, unless [Filter.MinIdle] does.
	Idle bool
	// Spill takes the groups that are too many to hold. With nil, or where it takes none, they are kept in
	// memory in the same compact form.
	Spill Spill

	IPv4 Matrix
	IPv6 Matrix
	// NoClocks counts connections that came without TCP_INFO while it was wanted: their idle times are not
	// known, and [Filter.MinIdle] leaves them out.
	NoClocks int
	// NoTimers counts sockets of which it is not told whether a timer runs: where there are any, a group's timers are not known.
	NoTimers int

	started  bool
	filtered bool // the filter may leave something out
	clocks   bool // TCP_INFO is wanted
	table    table
	runs     []run
	spilled  int64    // bytes that Spill holds
	parts    []*Tally // merged
	scratch  scratch
	blocks   [][]waiting // by process
	owners   []procfd.Owner
	cgroups  map[uint64]Cgroup // by id
}

// start settles what does not change from socket to socket.
func (t *Tally) start() {
	f := t.Filter
	t.clocks = t.Idle || f.MinIdle > 0
	t.filtered = f.States != 0 || f.Port != 0 || f.Peer.IsValid() || f.Local.IsValid() || f.MinIdle > 0
	t.table.start()
	t.started = true
}

// Add counts one socket, if the filter keeps it. It keeps nothing of s.
func (t *Tally) Add(s *netlinkss.Socket) {
	if !t.started {
		t.start()
	}
	// After close, FIN-WAIT-2 is soon a mere record with the timewait timer, which never has any.
	if t.clocks && isConnection(s.State) && s.Timer != netlinkss.TimerTimeWait && s.InfoLen() < netlinkss.InfoHasClocks {
		t.NoClocks++
	}
	if t.filtered && !t.Filter.Keep(s) {
		return
	}
	if s.Timer == netlinkss.TimerUnknown {
		t.NoTimers++
	}
	if s.IsIPv4() {
		t.IPv4.add(s)
	} else {
		t.IPv6.add(s)
	}
	if t.By == ByProcess {
		t.wait(s)
		return
	}
	t.row(t.keyOf(s)).add(s, t.Idle)
}

// row is the row of a group, with room for one more socket.
func (t *Tally) row(k groupKey) *row {
	r := t.table.row(k)
	if r == nil || r.sockets == math.MaxUint32 {
		r = t.room(k)
	}
	return r
}

// Merge counts what other has counted, disjoint sockets of the same dump, and may have in part the same
// groups. other is only referred to: it must not change before t is Reset, nor have the same Spill.
func (t *Tally) Merge(other *Tally) {
	t.IPv4 = *t.IPv4.Sum(&other.IPv4)
	t.IPv6 = *t.IPv6.Sum(&other.IPv6)
	t.NoClocks += other.NoClocks
	t.NoTimers += other.NoTimers
	t.parts = append(append(t.parts, other), other.parts...)
}

// Reset forgets what was counted, for another sample. Buffers, and what Spill has of space, are used again.
func (t *Tally) Reset() {
	t.IPv4, t.IPv6, t.NoClocks, t.NoTimers = Matrix{}, Matrix{}, 0, 0
	t.started = false
	t.table.clear()
	t.runs, t.spilled = t.runs[:0], 0
	t.blocks, t.owners, t.cgroups = t.blocks[:0], nil, nil
	clear(t.parts)
	t.parts = t.parts[:0]
}

func (t *Tally) keyOf(s *netlinkss.Socket) groupKey {
	switch t.By {
	case ByPeerPort:
		return numberKey(uint32(s.Peer.Port()))
	case ByLocalPort:
		return numberKey(uint32(s.Local.Port()))
	case ByUID:
		return numberKey(s.UID)
	case ByState:
		return numberKey(uint32(s.State))
	case ByNetns:
		return numberKey(t.Netns)
	case ByCgroup, ByContainer:
		return cgroupKey(s)
	}
	return addrKey(s.Peer.Addr())
}

// Key is the group's key as a report shows it: an address, a port, a uid, a state, name[PID], net:[INODE], a path, or a container. "*" is
// no peer.
func (t *Tally) Key(g *Group) string {
	switch t.By {
	case ByPeer:
		if g.key == (groupKey{}) {
			return "*"
		}
		return g.key.addr().String()
	case ByState:
		return netlinkss.State(g.key.lo).String()
	case ByProcess:
		return t.ownerKey(g)
	case ByNetns:
		return "net:[" + strconv.FormatUint(g.key.lo, 10) + "]"
	case ByCgroup, ByContainer:
		return t.cgroupName(g)
	case ByPeerPort:
		if g.key.lo == 0 {
			return "*"
		}
	}
	return strconv.FormatUint(g.key.lo, 10)
}

// Name is what people call the group, "" where its key says all.
func (t *Tally) Name(g *Group) string {
	if t.By != ByNetns {
		return ""
	}
	return t.Names[g.key.lo]
}

// Stat is a host's count: a look without processes.
type Stat struct {
	Snapshot Snapshot // no spaces
	Took     time.Duration
	Source   string // where the sockets came from: sock_diag, /proc/net/tcp, a file's name
	Tally    *Tally
	Groups   []Group          // as [Tally.Groups] gave them
	Distinct int              // groups that there are, of which Groups may be the first
	Sockstat *procfd.Sockstat // nil when there is none, as for a recorded dump
	// Where is the network namespace that was counted, in words; "" the reader's own, or that of a recording.
	Where string
}
