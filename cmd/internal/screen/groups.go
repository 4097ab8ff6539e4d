package screen

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// group is some sockets of the shown processes that have something in common.
type group struct {
	key     string
	tallied // what diag counts of a group of a host, too
	members []int32
	trend   []float64 // sockets, of the last looks
}

// tallied is what is counted of a group.
type tallied struct {
	sockets, estab, noTimer, closeWait int
	untold                             int       // of which no timer is known; where there are any, noTimer is not, either
	idle                               diag.Span // the longest
	recvQ, sendQ                       uint64    // bytes; listeners left out
}

// groupings are what the sockets of processes are grouped by; the first is the default.
func groupings() []string {
	return []string{"peer", "peer-port", "local-port", "state", "timer", "process"}
}

// groupKey is comparable, and is written out once a group.
type groupKey struct {
	addr   netip.Addr
	number int
	kind   byte
}

const (
	keyNone byte = iota
	keyAddr
	keyPort
	keyState
	keyTimer
	keyDark
	keyProc
)

func keyOf(r socket, by string) groupKey {
	local, peer := r.ends()
	switch by {
	case "peer-port":
		return portKey(peer)
	case "local-port":
		return portKey(local)
	case "process":
		return groupKey{kind: keyProc, number: r.proc.PID}
	case "state", "timer":
		switch {
		case r.dark != nil:
			return groupKey{kind: keyDark}
		case by == "state":
			return groupKey{kind: keyState, number: int(r.held.State)}
		}
		return groupKey{kind: keyTimer, number: int(r.held.Timer)}
	}
	if !peer.Addr().IsValid() || peer.Port() == 0 && peer.Addr().IsUnspecified() {
		return groupKey{}
	}
	return groupKey{kind: keyAddr, addr: peer.Addr().Unmap()}
}

func portKey(a netip.AddrPort) groupKey {
	if a.Port() == 0 {
		return groupKey{}
	}
	return groupKey{kind: keyPort, number: int(a.Port())}
}

func (r socket) ends() (local, peer netip.AddrPort) {
	if r.dark != nil {
		return r.dark.Local, r.dark.Peer
	}
	return r.held.Local, r.held.Peer
}

// text is the key for a reader; "*" is none.
func (k groupKey) text(p *diag.Proc) string {
	switch k.kind {
	case keyAddr:
		return k.addr.String()
	case keyPort:
		return strconv.Itoa(k.number)
	case keyState:
		return netlinkss.State(k.number).String()
	case keyTimer:
		return netlinkss.Timer(k.number).String()
	case keyDark:
		return diag.DarkState
	case keyProc:
		return diag.Subject(p.Process)
	}
	return "*"
}

// groupsOf sorts sockets into groups, the largest first. uptime is the host's.
func groupsOf(s *sockets, by string, uptime time.Duration) []group {
	var groups []group
	at := map[groupKey]int32{}
	in := make([]int32, len(s.refs)) // the group of each
	var last groupKey
	now := int32(0)
	for i := range s.refs {
		r := s.at(int32(i))
		k := keyOf(r, by)
		if i == 0 || k != last { // neighbours are often alike
			n, ok := at[k]
			if !ok {
				n = int32(len(groups))
				at[k] = n
				groups = append(groups, group{key: k.text(r.proc)})
			}
			now, last = n, k
		}
		in[i] = now
		groups[now].add(r, uptime)
	}
	members := make([]int32, len(s.refs)) // of all groups, one behind the other
	for i := range groups {
		n := groups[i].sockets
		groups[i].members, members = members[:0:n], members[n:]
	}
	for i, n := range in {
		groups[n].members = append(groups[n].members, int32(i))
	}
	slices.SortFunc(groups, func(a, b group) int { return cmp.Or(cmp.Compare(b.sockets, a.sockets), cmp.Compare(a.key, b.key)) })
	return groups
}

func (g *group) add(r socket, uptime time.Duration) {
	g.sockets++
	if r.dark != nil {
		return
	}
	switch r.held.State {
	case netlinkss.Estab:
		g.estab++
		switch r.held.Timer {
		case netlinkss.TimerOff:
			g.noTimer++
		case netlinkss.TimerUnknown:
			g.untold++
		}
	case netlinkss.CloseWait:
		g.closeWait++
	case netlinkss.Listen:
		return // its queues count connections
	}
	if idle := diag.Idle(r.held.Socket, uptime); idle.Known() && (!g.idle.Known() || idle.D > g.idle.D) {
		g.idle = idle
	}
	g.recvQ += uint64(r.held.RecvQ)
	g.sendQ += uint64(r.held.SendQ)
}

// Bounds on what is remembered of groups.
const (
	mostTrends  = 256 // groups, the largest
	trendPoints = 60  // looks
)

// trends remembers how large groups were.
type trends struct {
	want want
	of   map[string][]float64 // of the last looks in a row that it was in
}

// follow adds a look at groups, the largest first, and gives each what is known of its past.
func (t *trends) follow(w want, groups []group) {
	if t.of == nil || t.want != w {
		*t = trends{want: w, of: map[string][]float64{}}
	}
	old := t.of
	t.of = make(map[string][]float64, min(len(groups), mostTrends))
	for i := range groups[:min(len(groups), mostTrends)] {
		g := &groups[i]
		past := old[g.key]
		past = past[max(len(past)-trendPoints+1, 0):]
		g.trend = append(slices.Clone(past), float64(g.sockets))
		t.of[g.key] = g.trend
	}
}
