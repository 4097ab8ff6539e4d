package diag

import (
	"cmp"
	"slices"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// A proxy has two legs for each of its clients: a connection that it accepted, and one that it made. What it reads on one it
// writes on the other, so the bytes of both agree, crosswise, and their clocks moved together. That is how a leg that was left
// open is told to belong to one that has ended: the kernel keeps no record of it.
//
// Agreement may be chance where many connections carry the same few bytes, and so it is not enough:
//
//   - One leg was accepted and the other one made. Two clients of one server that hear the same are no legs.
//   - The last answer left within [legTight] of when it came, on top of how long the dump took: a row is read when the dump
//     comes to it, and the clocks of two rows are as far apart as their reading. The first request may have waited for the
//     connect, so a request may take [legDial] longer.
//     Where the bytes are many, both ways, and no third connection carried the same, a proxy may have been busy for [legLoose].
//   - The leg that was made is not older than the one that it was made for, where that can be told.
//   - Wherever another connection that lives could be the other leg just as well, or more legs were left than have ended,
//     nothing is said.

const (
	// legTight is how long a proxy may take from reading to writing: some turns of its loop, and a tick of 10 ms on each side.
	legTight = 50 * time.Millisecond
	// legDial is how long a request may wait for the leg on which it goes on.
	legDial = time.Second
	// legLoose is how long a busy proxy may take, where at least legDistinct bytes make chance unlikely.
	legLoose    = 5 * time.Second
	legDistinct = 256
	// maxLook bounds what a long dump adds.
	maxLook = time.Second - legTight
)

// leg is one connection of a proxy, as the program sees it.
type leg struct {
	held      *HeldSocket // nil for a dead one
	direction Direction
	ended     bool
	traffic
	lastRead, lastWritten time.Duration // before the look
	age                   Span
}

// traffic are the bytes of payload that a program has read from a connection and written to it.
type traffic struct{ read, written uint64 }

// mirrored is what the other leg carried.
func (t traffic) mirrored() traffic { return traffic{read: t.written, written: t.read} }

// legKey is what the two legs of one proxied connection agree in, as the accepted one has it.
type legKey struct {
	traffic
	ended Direction // of the leg that has ended
}

func (l *leg) key(ended Direction) legKey {
	if l.direction == Accepted {
		return legKey{l.traffic, ended}
	}
	return legKey{l.mirrored(), ended}
}

// trafficOf is what a program has read from a connection in ESTAB or CLOSE-WAIT and written to it; ok is false when its counters do
// not tell.
func trafficOf(s *netlinkss.Socket) (t traffic, ok bool) {
	if s.State != netlinkss.Estab && s.State != netlinkss.CloseWait || !hasClocks(s) || s.InfoLen() < netlinkss.InfoHasBytes {
		return traffic{}, false
	}
	i := &s.Info
	received, unread := i.BytesReceived, uint64(s.RecvQ)
	if s.State == netlinkss.CloseWait {
		received-- // its FIN; Recv-Q counts that as well while it is not read
		unread -= min(unread, 1)
	}
	t = traffic{read: received - unread, written: i.BytesSent - i.BytesRetrans + uint64(i.NotSentBytes)}
	return t, unread <= received && received <= i.BytesReceived
}

// legOf is the leg of a connection in ESTAB or CLOSE-WAIT; ok is false when that is not told.
func legOf(p *Proc, h *HeldSocket, uptime time.Duration) (l leg, ok bool) {
	s := p.reading(h)
	if s == nil || h.Direction == DirectionUnknown {
		return leg{}, false
	}
	l = leg{held: h, direction: h.Direction, ended: s.State == netlinkss.CloseWait, age: Age(s, uptime)}
	if l.traffic, ok = trafficOf(s); !ok {
		return leg{}, false
	}
	l.lastRead, l.lastWritten = lastOf(&s.Info)
	return l, true
}

// reading is the record of a connection whose clocks may be compared with those of others; nil when it was gone, or in another state,
// at the second of two readings.
func (p *Proc) reading(h *HeldSocket) *netlinkss.Socket {
	if p.again == nil || h.Space != nil {
		return h.Socket
	}
	if s := p.again.legs[h.Cookie]; s != nil && s.State == h.State {
		return s
	}
	return nil
}

// rowsTook is how far apart the readings of its connections are at the most.
func (p *Proc) rowsTook() time.Duration {
	if p.again != nil {
		return p.again.took
	}
	return p.Space.Took
}

// legsOfDead are the legs that a dead connection may have been.
func legsOfDead(d *DarkSocket) []leg {
	if d.Direction == DirectionUnknown {
		return nil
	}
	var legs []leg
	for _, t := range trafficsOfDead(d) {
		l := leg{direction: d.Direction, ended: true, traffic: t}
		l.lastRead, l.lastWritten = lastOf(&d.Info)
		legs = append(legs, l)
	}
	return legs
}

// trafficsOfDead are what a dead connection may have carried: whether its peer had sent a FIN, which counts as one byte, cannot be
// told any more.
func trafficsOfDead(d *DarkSocket) []traffic {
	i := &d.Info
	if d.Alive != Dead || i.SegsIn == 0 {
		return nil
	}
	t := traffic{read: i.BytesReceived, written: i.BytesSent - i.BytesRetrans}
	if i.BytesReceived == 0 {
		return []traffic{t}
	}
	fin := t
	fin.read--
	if i.DataSegsIn == 0 {
		return []traffic{fin}
	}
	return []traffic{t, fin}
}

func lastOf(i *netlinkss.TCPInfo) (read, written time.Duration) {
	return time.Duration(i.LastDataRecv) * time.Millisecond, time.Duration(i.LastDataSent) * time.Millisecond
}

// pairing finds what was left open when the other leg ended.
type pairing struct {
	tight  time.Duration
	groups map[legKey]*legGroup
	keys   []legKey
}

// legGroup are connections that carried the same.
type legGroup struct {
	ended, open []leg // open: those that may be the other leg of one that has ended
	rivals      []leg // those that live and may be the other leg of one of open
}

// newPairing takes the legs that have ended; nil when there are none that carried anything. took is how long the dump lasted.
func newPairing(ended []leg, took time.Duration) *pairing {
	p := &pairing{tight: legTight + min(took, maxLook)}
	for _, l := range ended {
		if l.read+l.written == 0 {
			continue
		}
		k := l.key(l.direction)
		if p.groups == nil {
			p.groups = map[legKey]*legGroup{}
		}
		g := p.groups[k]
		if g == nil {
			g = &legGroup{}
			p.groups[k] = g
			p.keys = append(p.keys, k)
		}
		g.ended = append(g.ended, l)
	}
	if p.groups == nil {
		return nil
	}
	slices.SortFunc(p.keys, func(a, b legKey) int {
		return cmp.Or(cmp.Compare(a.read, b.read), cmp.Compare(a.written, b.written), cmp.Compare(a.ended, b.ended))
	})
	return p
}

// add takes a connection that lives. free is whether it may be one that was left.
func (p *pairing) add(l leg, free bool) {
	for _, ended := range []Direction{Accepted, Connected} {
		g := p.groups[l.key(ended)]
		switch {
		case g == nil:
		case l.direction == ended:
			g.rivals = append(g.rivals, l)
		case free:
			g.open = append(g.open, l)
		}
	}
}

// left are the connections that were left, none of them twice.
func (p *pairing) left() []*HeldSocket {
	var list []*HeldSocket
	seen := map[*HeldSocket]bool{}
	for _, k := range p.keys {
		for _, h := range p.leftIn(k) {
			if !seen[h] {
				seen[h] = true
				list = append(list, h)
			}
		}
	}
	return list
}

// leftIn cuts the group of a key where none of it moved for longer than legs may be apart. What is in one piece could be
// confused; what is in two could not.
func (p *pairing) leftIn(k legKey) []*HeldSocket {
	g := p.groups[k]
	if len(g.open) == 0 {
		return nil
	}
	if len(g.ended) == 1 && len(g.open) == 1 && len(g.rivals) == 0 && k.distinct() {
		if agree(k, &g.ended[0], &g.open[0], legLoose) {
			return []*HeldSocket{g.open[0].held}
		}
		return nil
	}
	type moved struct {
		*leg
		at time.Duration
	}
	var all []moved
	for _, legs := range [][]leg{g.ended, g.open, g.rivals} {
		for i := range legs {
			all = append(all, moved{&legs[i], legs[i].answered(k)})
		}
	}
	slices.SortFunc(all, func(a, b moved) int { return cmp.Or(cmp.Compare(a.at, b.at), legOrder(a.leg, b.leg)) })
	var list []*HeldSocket
	for from := 0; from < len(all); {
		to := from + 1
		for to < len(all) && all[to].at-all[to-1].at <= p.tight {
			to++
		}
		var ended, open []*leg
		rivals := 0
		for _, m := range all[from:to] {
			switch {
			case m.ended:
				ended = append(ended, m.leg)
			case m.direction == k.ended:
				rivals++
			default:
				open = append(open, m.leg)
			}
		}
		if rivals == 0 && len(open) <= len(ended) {
			list = append(list, p.match(k, ended, open)...)
		}
		from = to
	}
	return list
}

// legOrder makes the order of legs with the same clock total.
func legOrder(a, b *leg) int {
	if a.held == nil || b.held == nil {
		return 0 // dead ones are alike
	}
	return cmp.Compare(a.held.FD(), b.held.FD())
}

// match gives each of open one of ended, in the order of their clocks, each of which serves once.
func (p *pairing) match(k legKey, ended, open []*leg) (list []*HeldSocket) {
	for len(ended) > 0 && len(open) > 0 {
		switch a, b := ended[0], open[0]; {
		case agree(k, a, b, p.tight):
			list = append(list, b.held)
			ended, open = ended[1:], open[1:]
		case a.answered(k) < b.answered(k):
			ended = ended[1:]
		default:
			open = open[1:]
		}
	}
	return list
}

// answered is when the last answer passed the leg, or the last request where there was no answer. An answer comes on the leg
// that was made, and leaves on the one that was accepted.
func (l *leg) answered(k legKey) time.Duration {
	answer := k.written > 0
	if (l.direction == Accepted) == answer {
		return l.lastWritten
	}
	return l.lastRead
}

// distinct: so many bytes, both ways, that another connection would hardly carry the same.
func (k legKey) distinct() bool {
	return k.read > 0 && k.written > 0 && k.read+k.written >= legDistinct
}

// agree reports whether two legs moved together.
func agree(k legKey, a, b *leg, tight time.Duration) bool {
	accepted, made := a, b
	if a.direction == Connected {
		accepted, made = b, a
	}
	answer := k.written == 0 || within(made.lastRead-accepted.lastWritten, -tight, tight)
	request := k.read == 0
	switch took := accepted.lastRead - made.lastWritten; {
	case k.read > 0 && k.written > 0:
		request = within(took, -tight, tight+legDial)
	case k.read > 0:
		request = within(took, -tight, tight) // no answer agrees, too
	}
	// An exact age is also the most that it can be.
	older := accepted.age.Exact && made.age.Known() && made.age.D > accepted.age.D+tight
	return answer && request && !older
}

func within(d, least, most time.Duration) bool { return least <= d && d <= most }
