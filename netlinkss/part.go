package netlinkss

import (
	"fmt"
	"slices"
)

// Part is a share of the sockets, by local port and then by the peer's. The zero value is all of them.
type Part struct {
	side        side
	local, peer uint16
}

// side is which of two halves a [Part] is.
type side uint8

const (
	below side = iota + 1
	from
)

// halves cuts the sockets in two: those with a lesser local port, or the same one and a lesser port of the peer, and the
// others. ok is false where the kernel's comparisons cannot say that.
func halves(local, peer uint16) (low, high Part, ok bool) {
	return Part{below, local, peer}, Part{from, local, peer}, local > 0 && local < 1<<16-1 && peer > 0
}

// Has reports whether a socket with these ports belongs to the part.
func (p Part) Has(local, peer uint16) bool {
	less := local < p.local || local == p.local && peer < p.peer
	return p.side == 0 || less == (p.side == below)
}

// String says which ports the part has.
func (p Part) String() string {
	switch p.side {
	case below:
		return fmt.Sprintf("local port below %d, or %d with a peer's below %d", p.local, p.local, p.peer)
	case from:
		return fmt.Sprintf("local port above %d, or %d with a peer's from %d on", p.local, p.local, p.peer)
	}
	return "all"
}

// More operations of the kernel's filter machine, as old as itself.
const (
	bcSourceGe = 2
	bcSourceLe = 3
	bcDestGe   = 4
	bcDestLe   = 5
)

// appendPart is a filter for one half: the local port is beyond the middle, or it is the middle and the peer's port is on
// that side, too.
func (p Part) appendFilter(b []byte) []byte {
	const size = 3*bcPortCond + bcOp
	local, peer, beyond, after := byte(bcSourceGe), byte(bcDestGe), p.local+1, p.peer
	if p.side == below {
		local, peer, beyond, after = bcSourceLe, bcDestLe, p.local-1, p.peer-1
	}
	b = native.AppendUint16(b, uint16(sizeofNlattr+size))
	b = native.AppendUint16(b, reqBytecode)
	b = appendBC(b, local, bcPortCond, bcPortCond+bcOp)
	b = appendBC(b, 0, 0, beyond)
	b = appendBC(b, bcJump, bcOp, bcOp+2*bcPortCond) // to the end, which is a match
	b = appendBC(b, local, bcPortCond, 2*bcPortCond+bcOp)
	b = appendBC(b, 0, 0, p.local)
	b = appendBC(b, peer, bcPortCond, bcPortCond+bcOp)
	return appendBC(b, 0, 0, after)
}

// middle cuts so that about half of the sockets are on either side; ports are those of a sample. ok is false when there is no
// such cut, because too many have the same ports.
func middle(ports [][2]uint16) (low, high Part, ok bool) {
	slices.SortFunc(ports, func(a, b [2]uint16) int { return slices.Compare(a[:], b[:]) })
	m := ports[len(ports)/2]
	low, high, ok = halves(m[0], m[1])
	in := 0
	for _, p := range ports {
		if low.Has(p[0], p[1]) {
			in++
		}
	}
	return low, high, ok && in > len(ports)/4
}
