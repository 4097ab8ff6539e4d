package diag

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// groupKind is what is common to the sockets of a group.
type groupKind uint8

const (
	groupOther groupKind = iota // not connected, and no listener
	groupAccepted
	groupConnected
	groupUnknown
	groupListening
	groupClosed
	groupFurther
	numGroupKinds
)

// The names of groups that are one.
var groupKindNames = [numGroupKinds]string{
	groupOther: "not connected", groupUnknown: "unknown direction", groupListening: "listening", groupClosed: "closed",
	groupFurther: "further groups",
}

// notTCP counts the socket descriptors that are none of TCP.
const notTCP = "not TCP"

// seriesGroup identifies a group.
type seriesGroup struct {
	kind groupKind
	port uint16         // its own, of groupAccepted
	peer netip.AddrPort // of groupConnected
}

// String is the name of its line.
func (g seriesGroup) String() string {
	switch g.kind {
	case groupAccepted:
		return "accepted on :" + strconv.Itoa(int(g.port))
	case groupConnected:
		return "to " + g.peer.String()
	}
	return groupKindNames[g.kind%numGroupKinds]
}

// slot tells most groups of a process apart.
func (g seriesGroup) slot() int {
	if g.kind == groupConnected {
		return int(g.peer.Addr().As16()[15]) + int(g.peer.Port())
	}
	return int(g.port) + int(g.kind)
}

func seriesGroupOf(h *HeldSocket) seriesGroup {
	switch h.State {
	case netlinkss.Listen:
		return seriesGroup{kind: groupListening}
	case netlinkss.Unconn, netlinkss.BoundInactive:
		return seriesGroup{}
	case netlinkss.SynSent:
		return seriesGroup{kind: groupConnected, peer: netlinkss.Unmap(h.Peer)}
	}
	switch h.Direction {
	case Accepted:
		return seriesGroup{kind: groupAccepted, port: h.Local.Port()}
	case Connected:
		return seriesGroup{kind: groupConnected, peer: netlinkss.Unmap(h.Peer)}
	}
	return seriesGroup{kind: groupUnknown}
}

// GroupLine is the name of the group that a socket counts in: "accepted on :8080", "to 10.0.0.7:5432", "unknown direction",
// "listening" or "not connected". Beside these, a series has "closed" for dark ones, "not TCP", and "further groups" for those
// that it has no line for.
func GroupLine(h *HeldSocket) string { return seriesGroupOf(h).String() }

// stayAges are the ages of which it is counted how many sockets have been seen for so long.
var stayAges = [...]time.Duration{
	3 * time.Second, 6 * time.Second, 12 * time.Second, 24 * time.Second, 50 * time.Second, 100 * time.Second, 200 * time.Second,
	400 * time.Second, 800 * time.Second, 1600 * time.Second, 3200 * time.Second, 6400 * time.Second,
}

var notKnown32 = float32(math.NaN())

// tick is a time since the first sample of a series, in steps of bornTick: a uint32 of them is 13 years.
type tick uint32

const bornTick = 100 * time.Millisecond

func (s *Series) tickOf(t time.Time) tick { return tick(t.Sub(s.began) / bornTick) }

// socketTrack follows the sockets of one process from sample to sample.
type socketTrack struct {
	members map[uint64]member      // those of the last sample of which the groups were known
	byGroup map[seriesGroup]uint32 // the place in lines
	lines   []*groupTally
	named   int  // lines that count against MostGroups
	began   tick // of the first sample of which the groups were known
	gen     uint32
	recent  []tick // when the last samples were, of which recentMost are remembered

	fresh map[seriesGroup]int // sockets of one sample in groups that have no line
	near  [64]nearGroup       // groups that were asked for, each in its slot
}

// recentMost is how many samples are known by their time. Of those before it is known to one of so many parts.
const recentMost = 512

// nearGroup spares a look into a map.
type nearGroup struct {
	group seriesGroup
	place uint32
	ok    bool
}

// member is a socket that was there in the last sample.
type member struct {
	group uint32
	seen  uint32 // the number of that sample
	born  tick   // of the sample that saw it first
}

// groupTally is a group, and what is counted of it in one sample.
type groupTally struct {
	group      seriesGroup
	count      int
	born, died int
	stayed     [len(stayAges)]int
}

// inodeBit tells an inode from a cookie.
const inodeBit = 1 << 63

// identity of a socket, for as long as a process has it.
func identity(h *HeldSocket) uint64 { return cmp.Or(h.Cookie, uint64(h.Inode)|inodeBit) }

// groups counts the process's sockets by group. Of those that are usual nobody knows what they are.
func (t *Track) groups(p *Proc, s *Series) {
	n := len(s.Times) - 1
	if p.Usual.Timer+p.Usual.NoTimer > 0 {
		return
	}
	now, first := s.tickOf(s.Times[n]), t.sockets == nil
	if first {
		t.sockets = &socketTrack{members: map[uint64]member{}, byGroup: map[seriesGroup]uint32{}, fresh: map[seriesGroup]int{}, began: now}
		for _, l := range t.Lines { // it was away for a while
			l.born, l.died = math.NaN(), math.NaN()
		}
	}
	t.known[n] |= knowsGroups
	k := t.sockets
	k.gen++
	k.admit(p)
	for i := range p.Held {
		k.see(identity(&p.Held[i]), k.placeOf(seriesGroupOf(&p.Held[i])), now)
	}
	if len(p.Dark) > 0 {
		closed := k.placeOf(seriesGroup{kind: groupClosed})
		for i := range p.Dark {
			k.see(p.Dark[i].Inode|inodeBit, closed, now)
		}
	}
	k.settle(now)
	t.reach(n, now)
	for _, g := range k.lines {
		g.write(t, n, first, now-k.began)
	}
	t.notTCP(p, n)
}

// admit gives lines to groups that have none, the largest first, while there are some left.
func (k *socketTrack) admit(p *Proc) {
	if k.named >= MostGroups {
		return
	}
	for i := range p.Held {
		g := seriesGroupOf(&p.Held[i])
		if g.kind != groupAccepted && g.kind != groupConnected {
			continue
		}
		if _, ok := k.find(g); !ok {
			k.fresh[g]++
		}
	}
	if len(k.fresh) == 0 {
		return
	}
	list := slices.SortedFunc(maps.Keys(k.fresh), func(a, b seriesGroup) int {
		return cmp.Or(cmp.Compare(k.fresh[b], k.fresh[a]), cmp.Compare(a.kind, b.kind), cmp.Compare(a.port, b.port), a.peer.Compare(b.peer))
	})
	for _, g := range list[:min(len(list), MostGroups-k.named)] {
		k.line(g)
		k.named++
	}
	clear(k.fresh)
}

// find is the place of a group that has a line.
func (k *socketTrack) find(g seriesGroup) (place uint32, ok bool) {
	n := &k.near[g.slot()%len(k.near)]
	if n.ok && n.group == g {
		return n.place, true
	}
	if place, ok = k.byGroup[g]; ok {
		*n = nearGroup{g, place, true}
	}
	return place, ok
}

// line begins a group.
func (k *socketTrack) line(g seriesGroup) uint32 {
	k.lines = append(k.lines, &groupTally{group: g})
	k.byGroup[g] = uint32(len(k.lines) - 1)
	return k.byGroup[g]
}

// placeOf is the place of a group. What has no line is counted with the further ones.
func (k *socketTrack) placeOf(g seriesGroup) uint32 {
	place, ok := k.find(g)
	switch {
	case ok:
		return place
	case g.kind == groupAccepted || g.kind == groupConnected:
		return k.placeOf(seriesGroup{kind: groupFurther})
	}
	return k.line(g)
}

// see counts one socket.
func (k *socketTrack) see(id uint64, place uint32, now tick) {
	m, ok := k.members[id]
	switch {
	case !ok:
		m.born = now
		k.lines[place].born++
	case m.group == place:
	case k.lines[place].group.kind == groupUnknown && k.lines[m.group].group.kind != groupOther:
		place = m.group // the counters do not tell while something is on its way
	default:
		k.lines[m.group].died++
		k.lines[place].born++
	}
	m.group, m.seen = place, k.gen
	k.members[id] = m
	k.lines[place].count++
}

// now is when the last sample was.
func (k *socketTrack) now() tick { return k.recent[len(k.recent)-1] }

// placeNamed is the place of the group of a line.
func (k *socketTrack) placeNamed(name string) int {
	return slices.IndexFunc(k.lines, func(g *groupTally) bool { return g.group.String() == name })
}

// memberOf is a socket of a look, and whether it counts in the group at a place. What no sample has seen is born now.
func (k *socketTrack) memberOf(h *HeldSocket, place int) (member, bool) {
	m, ok := k.members[identity(h)]
	if !ok {
		m.born = k.now()
		m.group, ok = k.byGroup[seriesGroupOf(h)]
	}
	return m, ok && int(m.group) == place
}

// reach notes, for each of stayAges, which sample the youngest of those were first seen in that have been seen for so long.
func (t *Track) reach(n int, now tick) {
	k := t.sockets
	if len(k.recent) == 2*recentMost {
		k.recent = append(k.recent[:0], k.recent[recentMost:]...)
	}
	k.recent = append(k.recent, now)
	for i, age := range stayAges {
		a := tick(age / bornTick)
		if now-k.began < a {
			return
		}
		at := now - a
		if k, _ := slices.BinarySearch(k.recent, at+1); k > 0 {
			at = t.sockets.recent[k-1]
		}
		t.reached[i] = append(padded(t.reached[i], n, notKnown32)[:n], float32(at)*float32(bornTick.Seconds()))
	}
}

// settle forgets those that have gone, and counts those that have been there for long.
func (k *socketTrack) settle(now tick) {
	for id, m := range k.members {
		g := k.lines[m.group]
		if m.seen != k.gen {
			g.died++
			delete(k.members, id)
			continue
		}
		for i, age := range stayAges {
			if now-m.born < tick(age/bornTick) {
				break
			}
			g.stayed[i]++
		}
	}
}

// write gives the line of the group what was counted, and begins to count anew. first: it is the process's first sample, which has
// no births.
func (g *groupTally) write(t *Track, n int, first bool, observed tick) {
	key := LineKey{LineGroup, g.group.String()}
	if g.count > 0 || t.byKey[key] != nil {
		l := t.set(key, n, float64(g.count))
		if !first {
			l.born, l.died = l.born+float64(g.born), l.died+float64(g.died)
		}
		l.events(n, l.born, l.died)
		l.stay(n, &g.stayed, observed)
	}
	*g = groupTally{group: g.group}
}

// events puts the counts of births and deaths of sample n.
func (l *Line) events(n int, born, died float64) {
	l.Born = append(padded(l.Born, n, math.NaN())[:n], born)
	l.Died = append(padded(l.Died, n, math.NaN())[:n], died)
}

// stay puts how many have been seen for each of stayAges, once the process was observed for so long.
func (l *Line) stay(n int, stayed *[len(stayAges)]int, observed tick) {
	for i, age := range stayAges {
		if observed < tick(age/bornTick) {
			return
		}
		l.stayed[i] = append(padded(l.stayed[i], n, notKnown32)[:n], float32(stayed[i]))
	}
}

// notTCP counts the socket descriptors that are none of TCP: all less those that are. Where some could not be told it is not known.
func (t *Track) notTCP(p *Proc, n int) {
	count := p.ByKind[procfd.KindSocket]
	for i := range p.Held {
		if p.Held[i].Task == 0 {
			count -= len(p.Held[i].FDs)
		}
	}
	for i := range p.Dark {
		if p.Dark[i].Task == 0 {
			count--
		}
	}
	key := LineKey{LineGroup, notTCP}
	unsure := count < 0 || slices.ContainsFunc(p.Gaps, func(g Gap) bool { return !g.Minor })
	switch {
	case unsure:
		t.level(key, n, math.NaN())
	case count > 0 || t.byKey[key] != nil:
		t.level(key, n, float64(count))
	}
}

// level is set for a group of which births and deaths are not known.
func (t *Track) level(key LineKey, n int, v float64) {
	if t.byKey[key] == nil {
		l := t.newLine(key, n)
		l.Born, l.Died = nil, nil
	}
	t.set(key, n, v).events(n, math.NaN(), math.NaN())
}
