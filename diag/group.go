package diag

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/sockleak/sockleak/netlinkss"
)

// maxPeers is how many peers of one process a rule names one by one, the largest groups. The others
// share a last finding, which counts them all.
const maxPeers = 20

// peerKey is the other side as a reader thinks of it: for an accepted connection the peer's port
// means nothing, and its own port is the service; for a connected one the peer's port is the service.
type peerKey struct {
	addr      netip.Addr
	port      uint16
	localPort uint16
	direction Direction
}

func keyOf(h *HeldSocket) peerKey { return keyTo(h.Direction, h.Peer, h.Local.Port()) }

func keyTo(d Direction, peer netip.AddrPort, localPort uint16) peerKey {
	peer = netlinkss.Unmap(peer)
	if d == Accepted {
		return peerKey{addr: peer.Addr(), localPort: localPort, direction: Accepted}
	}
	return peerKey{addr: peer.Addr(), port: peer.Port(), direction: d}
}

// Peer is how a report names the other side.
func (k peerKey) Peer() string {
	switch {
	case !k.addr.IsValid():
		return ""
	case k.port == 0:
		return k.addr.String()
	}
	return netip.AddrPortFrom(k.addr, k.port).String()
}

// towards is the peer in a sentence.
func (k peerKey) towards() string {
	if k.direction == Accepted {
		return "from " + k.addr.String() + " on its port " + strconv.Itoa(int(k.localPort))
	}
	return "to " + k.Peer()
}

// peerGroup is what one process has with one peer, or with all that are not named.
type peerGroup[T any] struct {
	peerKey
	others int // > 0: how many further peers share this group
	items  []T
}

// towards names the group in a sentence.
func (g *peerGroup[T]) towards() string {
	switch {
	case g.others > 0:
		return "with " + strconv.Itoa(g.others) + " further peers"
	case !g.addr.IsValid():
		return ""
	}
	return g.peerKey.towards()
}

// evidence is the number of peers, where the sentence has it in place of a name.
func (g *peerGroup[T]) evidence() []Evidence {
	if g.others == 0 {
		return nil
	}
	return []Evidence{{"further peers", strconv.Itoa(g.others), "those with fewer sockets than the " + strconv.Itoa(maxPeers) + " that are named"}}
}

// groupByPeer sorts items into groups, the largest first; beyond [maxPeers] they share the last.
func groupByPeer[T any](items []T, key func(T) peerKey) []*peerGroup[T] {
	byKey := map[peerKey]*peerGroup[T]{}
	var groups []*peerGroup[T]
	for _, item := range items {
		k := key(item)
		g := byKey[k]
		if g == nil {
			g = &peerGroup[T]{peerKey: k}
			byKey[k] = g
			groups = append(groups, g)
		}
		g.items = append(g.items, item)
	}
	slices.SortStableFunc(groups, func(a, b *peerGroup[T]) int {
		return cmp.Or(cmp.Compare(len(b.items), len(a.items)), a.addr.Compare(b.addr),
			cmp.Compare(a.port, b.port), cmp.Compare(a.localPort, b.localPort))
	})
	if len(groups) <= maxPeers+1 {
		return groups
	}
	rest := &peerGroup[T]{others: len(groups) - maxPeers}
	for _, g := range groups[maxPeers:] {
		rest.items = append(rest.items, g.items...)
	}
	return append(groups[:maxPeers], rest)
}

// count writes "1 socket", "37 sockets".
func count(n int, one, many string) string { return strconv.Itoa(n) + " " + plural(n, one, many) }

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
