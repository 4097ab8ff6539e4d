package diag

import (
	"slices"

	"github.com/sockleak/sockleak/netlinkss"
)

// A relay that cannot write does not read: what its one side sends waits in the receive queue until the other side takes what it
// has. That is back pressure, and no leak, however long it lasts: that other side is slow, or it is stalled-send's.
//
// The two are told to belong together as legs are (see leg): one was accepted and the other made, and what was read on one has been
// written on the other, but for what the relay holds itself. There is no clock to compare, since both are in the middle of it.

const (
	// relayHolds is how much a relay may have read and not yet written: the largest pipe that splice(2) goes through, and a buffer.
	relayHolds = 1<<20 + 64<<10
	// relayAdds is how much it may have written of its own: a PROXY protocol header.
	relayAdds = 1 << 10
)

// underPressure divides connections with unread data into those whose process waits to write it on, and the others.
func underPressure(p *Pass, list []*HeldSocket) (waiting, rest []*HeldSocket) {
	if len(list) == 0 {
		return nil, nil
	}
	full := fullLegs(p)
	for _, h := range list {
		l, ok := pressedLeg(p, h)
		i := -1
		if ok {
			i = slices.IndexFunc(full, func(other leg) bool { return waitsFor(&l, &other) })
		}
		if i < 0 {
			rest = append(rest, h)
			continue
		}
		full = slices.Delete(full, i, i+1) // it blocks one other
		waiting = append(waiting, h)
	}
	return waiting, rest
}

// fullLegs are the process's connections that take no more for now: there is something in the send queue that could not even be sent.
func fullLegs(p *Pass) []leg {
	var legs []leg
	for i := range p.Proc.Held {
		h := &p.Proc.Held[i]
		if h.SendQ == 0 || h.Info.NotSentBytes == 0 {
			continue
		}
		if l, ok := pressedLeg(p, h); ok {
			legs = append(legs, l)
		}
	}
	return legs
}

// pressedLeg is the leg of a connection. Before Linux 4.19 the payload that was written is not told, nor is the direction; what was
// acknowledged and what waits come to as much, but for a SYN.
func pressedLeg(p *Pass, h *HeldSocket) (leg, bool) {
	if l, ok := legOf(p.Proc, h, p.Uptime); ok {
		return l, true
	}
	if s := p.Proc.reading(h); s != nil && s.State == netlinkss.Estab && hasCounters(s) && s.InfoLen() < netlinkss.InfoHasBytes {
		return leg{held: h, traffic: traffic{read: taken(s), written: s.Info.BytesAcked + uint64(s.SendQ)}}, true
	}
	return leg{}, false
}

// waitsFor reports whether l, of which nothing is read, may wait for other, on which nothing can be written.
func waitsFor(l, other *leg) bool {
	apart := l.direction != other.direction || l.direction == DirectionUnknown
	return apart && l.held.Socket != other.held.Socket &&
		relayed(l.read, other.written) && relayed(other.read, l.written)
}

// relayed reports whether what was read on one connection may have been written on another, but for what is held and added.
func relayed(read, written uint64) bool {
	return read <= written+relayHolds && written <= read+relayAdds
}
