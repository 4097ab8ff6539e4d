package diag

import (
	"cmp"
	"math"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/sockleak/sockleak/netlinkss"
)

// nobody is what a dump has of sockets that no process holds, and of who listens where. It is kept until it is known what
// the processes hold: a second walk would cost more. The kernel bounds each kind (tcp_max_tw_buckets, tcp_max_orphans, somaxconn).
type nobody struct {
	timeWait, orphans []peerRow
	waiting           []*netlinkss.Socket // complete, and not accepted
	listeners         []listenRow         // of everybody
	listening         map[listenID]int    // of each, where it stands in listeners: a dump can repeat one
}

type peerRow struct {
	cookie uint64
	port   uint16
	peer   netip.AddrPort
}

type listenRow struct {
	listenAt
	queue uint32
}

// listenID identifies a listener. The cookie is 0 in what is not from sock_diag.
type listenID struct {
	cookie uint64
	inode  uint32
}

// listen notes a listener, once.
func (n *nobody) listen(s *netlinkss.Socket) {
	id := listenID{s.Cookie, s.Inode}
	if _, ok := n.listening[id]; ok {
		return
	}
	if n.listening == nil {
		n.listening = map[listenID]int{}
	}
	n.listening[id] = len(n.listeners)
	n.listeners = append(n.listeners, listenRow{listenAt{s.Family, s.Local}, s.RecvQ})
}

// hideQueue: the length of this listener's queue is not known, so it may be that everything waits there.
func (n *nobody) hideQueue(s *netlinkss.Socket) {
	if i, ok := n.listening[listenID{s.Cookie, s.Inode}]; ok {
		n.listeners[i].queue = math.MaxInt32
	}
}

// addUnheld takes a listener, of whomever, or a socket that nobody holds.
func (j *Join) addUnheld(s *netlinkss.Socket, reused bool) {
	if s.Inode != 0 {
		j.nobody.listen(s)
		return
	}
	switch s.State {
	case netlinkss.TimeWait:
		j.nobody.timeWait = append(j.nobody.timeWait, rowOf(s))
	case netlinkss.FinWait1, netlinkss.FinWait2, netlinkss.LastAck, netlinkss.Closing:
		j.nobody.orphans = append(j.nobody.orphans, rowOf(s))
	case netlinkss.Estab, netlinkss.CloseWait:
		if reused {
			s = j.keep(s)
		}
		j.nobody.waiting = append(j.nobody.waiting, s)
	}
}

func rowOf(s *netlinkss.Socket) peerRow {
	return peerRow{s.Cookie, s.Local.Port(), netlinkss.Unmap(s.Peer)}
}

// once leaves out what is listed twice: by a dump that was disturbed, or by two of them.
func once(rows []peerRow) []peerRow {
	slices.SortFunc(rows, func(a, b peerRow) int { return cmp.Compare(a.cookie, b.cookie) })
	return slices.CompactFunc(rows, func(a, b peerRow) bool { return a.cookie == b.cookie && a.cookie != 0 })
}

// settleNobodys tells each process what of nobody's sockets has to do with it.
func (j *Join) settleNobodys() {
	j.nobody.timeWait, j.nobody.orphans = once(j.nobody.timeWait), once(j.nobody.orphans)
	if j.space.TimeWaitSource == "" {
		j.space.TimeWait = len(j.nobody.timeWait)
	}
	j.queues()
	if len(j.nobody.timeWait)+len(j.nobody.orphans) == 0 {
		return
	}
	listens, peers := j.indexPorts()
	concerned := func(row *peerRow, f func(*Proc)) {
		byPort := listens[row.port]
		for _, i := range byPort {
			f(j.space.Procs[i])
		}
		fingerprint := printOf(j.seed, row.peer)
		k, _ := slices.BinarySearchFunc(peers, fingerprint, func(s peerSlot, fingerprint uint64) int { return cmp.Compare(s.fingerprint, fingerprint) })
		for ; k < len(peers) && peers[k].fingerprint == fingerprint; k++ {
			if i := int(peers[k].proc) - 1; !slices.Contains(byPort, i) {
				f(j.space.Procs[i])
			}
		}
	}
	for i := range j.nobody.timeWait {
		concerned(&j.nobody.timeWait[i], func(p *Proc) { p.TimeWait++ })
	}
	for i := range j.nobody.orphans {
		concerned(&j.nobody.orphans[i], func(p *Proc) { p.Orphans++ })
	}
}

// PortsOfNobodys are the ports, on either side, of what nobody holds and is told of the processes nevertheless: those that they listen
// on, and those of the peers that they are connected to. queues are only those of the former on which connections wait to be accepted.
func (j *Join) PortsOfNobodys() (all, queues []uint16) {
	var set, waiting portSet
	for _, p := range j.space.Procs {
		ports := p.Listens()
		for port := range ports {
			set.add(port)
		}
		for i := range p.Held {
			switch h := &p.Held[i]; {
			case h.State == netlinkss.Listen && h.RecvQ > 0:
				waiting.add(h.Local.Port())
			case h.Peer.Port() != 0 && !ports[h.Local.Port()]:
				set.add(h.Peer.Port())
			}
		}
		for i := range p.Dark {
			if d := &p.Dark[i]; d.Peer.IsValid() && d.Peer.Port() != 0 && !ports[d.Local.Port()] {
				set.add(d.Peer.Port())
			}
		}
	}
	for _, part := range j.parts {
		for i, bits := range part.ports {
			set[i] |= bits
		}
	}
	return set.list(), waiting.list()
}

// portSet is a set of ports.
type portSet [1 << 16 / 64]uint64

func (p *portSet) add(port uint16) { p[port/64] |= 1 << (port % 64) }

func (p *portSet) list() (ports []uint16) {
	for i, word := range p {
		for ; word != 0; word &= word - 1 {
			ports = append(ports, uint16(64*i+bits.TrailingZeros64(word)))
		}
	}
	return ports
}

// indexPorts notes which process listens where and is connected to whom, the latter by the fingerprints of the peers.
func (j *Join) indexPorts() (listens map[uint16][]int, peers []peerSlot) {
	listens = make(map[uint16][]int)
	var set peerSet
	for i, p := range j.space.Procs {
		ports := p.Listens()
		for port := range ports {
			listens[port] = append(listens[port], i)
		}
		add := func(peer netip.AddrPort, local uint16) {
			if peer.IsValid() && peer.Port() != 0 && !ports[local] {
				set.add(printOf(j.seed, netlinkss.Unmap(peer)), int32(i))
			}
		}
		for k := range p.Held {
			add(p.Held[k].Peer, p.Held[k].Local.Port())
		}
		for k := range p.Dark {
			add(p.Dark[k].Peer, p.Dark[k].Local.Port())
		}
	}
	for _, part := range j.parts {
		for _, s := range part.peers.slots {
			if s.proc != 0 {
				set.add(s.fingerprint, s.proc-1)
			}
		}
		part.peers = peerSet{}
	}
	peers = slices.DeleteFunc(set.slots, func(s peerSlot) bool { return s.proc == 0 })
	slices.SortFunc(peers, func(a, b peerSlot) int { return cmp.Compare(a.fingerprint, b.fingerprint) })
	return listens, peers
}

// listenAt is an address that somebody listens on. The sockets of its queue have the family of the listener.
type listenAt struct {
	family netlinkss.Family
	local  netip.AddrPort
}

// queues puts the connections that nobody has accepted behind their listeners.
func (j *Join) queues() {
	j.space.listens = make(map[uint16]bool, len(j.nobody.listeners))
	for _, l := range j.nobody.listeners {
		j.space.listens[l.local.Port()] = true
	}
	if len(j.nobody.waiting) == 0 {
		return
	}
	total := map[listenAt]int{} // of all listeners on that address
	for _, l := range j.nobody.listeners {
		total[l.listenAt] += int(l.queue)
	}
	waiting := map[listenAt][]*netlinkss.Socket{}
	seen := map[uint64]bool{} // a dump can repeat a socket
	for _, s := range j.nobody.waiting {
		at, ok := listenerOf(s, total)
		if !ok || s.Cookie != 0 && seen[s.Cookie] {
			continue
		}
		seen[s.Cookie] = true
		waiting[at] = append(waiting[at], s)
	}
	for _, p := range j.space.Procs {
		for i := range p.Held {
			h := &p.Held[i]
			if h.State != netlinkss.Listen {
				continue
			}
			at := listenAt{h.Family, h.Local}
			if list := waiting[at]; len(list) > 0 {
				// What came before this listener was there is still in the queue of the one on every address.
				others := total[at] - int(h.RecvQ)
				for _, every := range at.everywhere() {
					if every != at {
						others += total[every]
					}
				}
				p.Queues = append(p.Queues, AcceptQueue{Listener: h, Waiting: list, Others: max(others, 0)})
			}
		}
	}
}

// listenerOf is where a connection came in: the listener on its very address, or the one on every address.
func listenerOf(s *netlinkss.Socket, listeners map[listenAt]int) (at listenAt, ok bool) {
	at = listenAt{s.Family, s.Local}
	if _, ok = listeners[at]; ok {
		return at, true
	}
	for _, every := range at.everywhere() {
		if _, ok = listeners[every]; ok {
			return every, true
		}
	}
	return at, false
}

// v4Everywhere is where an IPv6 socket listens that was bound to ::ffff:0.0.0.0: on every address of IPv4.
var v4Everywhere = netip.AddrFrom16(netip.IPv4Unspecified().As16())

// everywhere are the listeners on every address that take what comes to this one.
func (at listenAt) everywhere() []listenAt {
	to := func(addr netip.Addr) listenAt { return listenAt{at.family, netip.AddrPortFrom(addr, at.local.Port())} }
	switch {
	case at.family != netlinkss.Inet6:
		return []listenAt{to(netip.IPv4Unspecified())}
	case at.local.Addr().Is4In6():
		return []listenAt{to(v4Everywhere), to(netip.IPv6Unspecified())}
	}
	return []listenAt{to(netip.IPv6Unspecified())}
}
