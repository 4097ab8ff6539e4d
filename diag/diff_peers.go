package diag

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/sockleak/sockleak/netlinkss"
)

const (
	// MaxDiffPeers is how many peers a [Diff] names.
	MaxDiffPeers = 1000
	// maxPeersCounted is how many peers are counted one by one, of the first side and of both together.
	maxPeersCounted, maxPeersBoth = 1 << 18, 1 << 19
)

// peerID is the other side of a connection, without a pointer: a map of these is nothing to the garbage collector.
type peerID struct {
	addr      [16]byte
	port      uint16 // 0 unless the connection was opened from here
	direction Direction
}

func peerIDOf(s *netlinkss.Socket, d Direction) peerID {
	id := peerID{addr: s.Peer.Addr().As16(), direction: d}
	if d == Connected {
		id.port = s.Peer.Port()
	}
	return id
}

// String is "" where there is no peer.
func (id peerID) String() string {
	if id.addr == [16]byte{} && id.port == 0 {
		return ""
	}
	a := netip.AddrFrom16(id.addr).Unmap()
	if id.port == 0 {
		return a.String()
	}
	return netip.AddrPortFrom(a, id.port).String()
}

func (id peerID) compare(o peerID) int {
	return cmp.Or(slices.Compare(id.addr[:], o.addr[:]), cmp.Compare(id.port, o.port), cmp.Compare(id.direction, o.direction))
}

// peerCounts counts connections by peer. Where the peers of the first side are too many, those of the second get no rows of their own:
// one that the first has not counted by itself would have a false before.
type peerCounts struct {
	byID map[peerID][2]int
	rest [2]int
	over [2]bool // the peers of a side were too many
}

func (p *peerCounts) add(side int, s *netlinkss.Socket, d Direction) {
	if p.byID == nil {
		p.byID = map[peerID][2]int{}
	}
	id := peerIDOf(s, d)
	n, ok := p.byID[id]
	if limit := [2]int{maxPeersCounted, maxPeersBoth}[side]; !ok && (p.over[0] || len(p.byID) >= limit) {
		p.over[side] = true
		p.rest[side]++
		return
	}
	n[side]++
	p.byID[id] = n
}

// fold counts by address alone.
func (p *peerCounts) fold() {
	folded := make(map[peerID][2]int, len(p.byID))
	for id, n := range p.byID {
		id.port, id.direction = 0, DirectionUnknown
		sum := folded[id]
		folded[id] = [2]int{sum[0] + n[0], sum[1] + n[1]}
	}
	p.byID = folded
}

// sumAll leaves no peer by itself.
func (p *peerCounts) sumAll() {
	for _, n := range p.byID {
		p.rest[0] += n[0]
		p.rest[1] += n[1]
	}
	clear(p.byID)
}

// listPeers lists the largest changes. Who opened a connection must be told on both sides or on none, or one peer would be two.
func (c *comparison) listPeers() {
	p := &c.peers
	over := p.over[0] || p.over[1]
	if (c.sides[0].undirected > 0) != (c.sides[1].undirected > 0) {
		c.Gaps = append(c.Gaps, Gap{What: "who opened the connections with a peer", Why: "one side has no byte counters: all are counted by address", Minor: true})
		if over {
			p.sumAll()
		} else {
			p.fold()
		}
	}
	if over {
		c.Gaps = append(c.Gaps, Gap{What: "connections by peer", Why: "the peers are too many to count each: further ones are counted together", Minor: true})
	}
	ids := make([]peerID, 0, len(p.byID))
	for id := range p.byID {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b peerID) int { return p.order(a, b) })
	c.PeersRest = PeersRest{Peers: max(len(ids)-MaxDiffPeers, 0), N: p.rest}
	for i, id := range ids {
		n := p.byID[id]
		if i >= MaxDiffPeers {
			c.PeersRest.N[0] += n[0]
			c.PeersRest.N[1] += n[1]
			continue
		}
		c.Peers = append(c.Peers, PeerChange{Peer: id.String(), Direction: id.direction, N: c.seenOf(n), Unlike: c.unlike})
	}
	c.PeersRest.N = c.seenOf(c.PeersRest.N)
	if over {
		c.PeersRest.Peers = NotKnown
	}
	for i, s := range c.sides {
		c.Unkept[i] = s.usual.Timer + s.usual.NoTimer
	}
}

// seenOf are two numbers without that of a side of which nothing could be seen.
func (c *comparison) seenOf(n [2]int) [2]int {
	for i, s := range c.sides {
		if s.blind {
			n[i] = NotKnown
		}
	}
	return n
}

// order has the largest change first, then the most connections.
func (p *peerCounts) order(a, b peerID) int {
	x, y := p.byID[a], p.byID[b]
	return cmp.Or(cmp.Compare(distance(y), distance(x)), cmp.Compare(max(y[0], y[1]), max(x[0], x[1])), a.compare(b))
}

// distance is how far two counts are apart.
func distance(n [2]int) int { return max(n[0]-n[1], n[1]-n[0]) }
