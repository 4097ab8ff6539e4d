package diag

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"
	"sync/atomic"

	"github.com/sockleak/sockleak/netlinkss"
)

// printOf tells a peer from others in 64 bits: of a million of them, two are taken for one with a chance of one in ten million.
func printOf(seed maphash.Seed, peer netip.AddrPort) uint64 {
	addr := peer.Addr().As16()
	var b [18]byte
	copy(b[:], addr[:])
	binary.LittleEndian.PutUint16(b[16:], peer.Port())
	return maphash.Bytes(seed, b[:])
}

// peerSet is which processes are connected to which peers, each pair once, in a few bytes.
type peerSet struct {
	slots []peerSlot // an open hash table, a power of two, at most three quarters full
	taken int
}

type peerSlot struct {
	fingerprint uint64
	proc        int32 // plus one; 0: free
}

func (p *peerSet) add(fingerprint uint64, proc int32) {
	if 4*(p.taken+1) > 3*len(p.slots) {
		old := p.slots
		p.slots = make([]peerSlot, max(2*len(old), 16))
		for _, s := range old {
			if s.proc != 0 {
				*p.at(s) = s
			}
		}
	}
	entry := peerSlot{fingerprint, proc + 1}
	if s := p.at(entry); s.proc == 0 {
		*s = entry
		p.taken++
	}
}

func (p *peerSet) at(entry peerSlot) *peerSlot {
	const odd = 0x9e3779b97f4a7c15 // spreads the processes that are connected to one peer
	mask := uint64(len(p.slots) - 1)
	for i := (entry.fingerprint + uint64(entry.proc)*odd) & mask; ; i = (i + 1) & mask {
		if s := &p.slots[i]; s.proc == 0 || *s == entry {
			return s
		}
	}
}

// towardPeers counts connections by their peer, many peers together: where all of them are not enough, none of them alone is.
type towardPeers struct {
	seed    maphash.Seed
	buckets []atomic.Uint64 // 32 bits of a count, 16 of the port of the first, and one for more than one port; a power of two
}

const (
	bucketPort  = 32
	bucketMixed = 1 << 63
)

func newTowardPeers(seed maphash.Seed, descriptors int) towardPeers {
	const least, most = 1 << 12, 1 << 16
	return towardPeers{seed, make([]atomic.Uint64, min(max(1<<bits.Len(uint(descriptors)), least), most))}
}

func (t *towardPeers) bucket(fingerprint uint64) *atomic.Uint64 {
	return &t.buckets[fingerprint&uint64(len(t.buckets)-1)]
}

func (t *towardPeers) add(fingerprint uint64, port uint16) {
	b := t.bucket(fingerprint)
	for {
		was := b.Load()
		now := was + 1
		switch {
		case uint32(was) == 0:
			now |= uint64(port) << bucketPort
		case uint16(was>>bucketPort) != port:
			now |= bucketMixed
		}
		if b.CompareAndSwap(was, now) {
			return
		}
	}
}

// count is how many there are to a peer at the most.
func (t *towardPeers) count(peer netip.AddrPort) int {
	return int(uint32(t.bucket(printOf(t.seed, peer)).Load()))
}

// connectedTo takes a connection that was opened from here.
func connectedTo(s *netlinkss.Socket) bool {
	return DirectionOf(s) == Connected || s.State == netlinkss.SynSent
}
