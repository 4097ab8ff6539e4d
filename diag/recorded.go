package diag

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// What a look keeps beside its exported fields, for a recording that puts it into a file and takes it out again.

// Reading is the host's uptime when the socket was read, at the earliest, 0 when it is not known, and whether that was behind the
// end of the dump.
func (h *HeldSocket) Reading() (from time.Duration, late bool) { return h.readFrom, h.late }

// SetReading puts back what [HeldSocket.Reading] told.
func (h *HeldSocket) SetReading(from time.Duration, late bool) { h.readFrom, h.late = from, late }

// Listens are the ports that anybody listens on in the namespace, in their order; nil when that was not looked for.
func (s *Space) Listens() []uint16 {
	if s.listens == nil {
		return nil
	}
	ports := slices.AppendSeq(make([]uint16, 0, len(s.listens)), maps.Keys(s.listens))
	slices.Sort(ports)
	return ports
}

// SetListens puts back what [Space.Listens] told.
func (s *Space) SetListens(ports []uint16) {
	s.listens = nil
	if ports == nil {
		return
	}
	s.listens = make(map[uint16]bool, len(ports))
	for _, port := range ports {
		s.listens[port] = true
	}
}

// Passed counts connections of a process that were not kept, from one address to one peer towards which much of the ports goes.
type Passed struct {
	Local netip.Addr
	Peer  netip.AddrPort
	Count int
}

// Passed are the connections that [Proc.Usual] counts towards busy peers, in the order of their addresses.
func (p *Proc) Passed() []Passed {
	var list []Passed
	for to, n := range p.passed {
		list = append(list, Passed{to.local, to.peer, n})
	}
	slices.SortFunc(list, func(a, b Passed) int { return cmp.Or(a.Peer.Compare(b.Peer), a.Local.Compare(b.Local)) })
	return list
}

// SetPassed puts back what [Proc.Passed] told.
func (p *Proc) SetPassed(list []Passed) {
	p.passed = nil
	for _, one := range list {
		if p.passed == nil {
			p.passed = map[toward]int{}
		}
		p.passed[toward{one.Local, one.Peer}] = one.Count
	}
}

// Again are the process's connections as they were read a second time, in the order of their cookies, and how long that reading
// took; ok is false when there was none.
func (p *Proc) Again() (legs []*netlinkss.Socket, took time.Duration, ok bool) {
	if p.again == nil {
		return nil, 0, false
	}
	for _, cookie := range slices.Sorted(maps.Keys(p.again.legs)) {
		legs = append(legs, p.again.legs[cookie])
	}
	return legs, p.again.took, true
}

// SetAgain puts back what [Proc.Again] told.
func (p *Proc) SetAgain(legs []*netlinkss.Socket, took time.Duration) {
	p.again = &again{took: took, legs: make(map[uint64]*netlinkss.Socket, len(legs))}
	for _, s := range legs {
		p.again.legs[s.Cookie] = s
	}
}
