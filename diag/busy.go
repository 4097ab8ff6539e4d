package diag

import (
	"net/netip"
	"sync"

	"github.com/sockleak/sockleak/netlinkss"
)

// busyShare is which part of the port range the processes must take towards one peer for everybody's to be counted.
const busyShare = 20

// Busy counts in a further dump which local ports are taken towards the peers to which the processes have many connections.
type Busy struct {
	join    *Join
	atLeast int
	ports   []uint16
	most    int // of the descriptors, how many may be on connections to such peers

	mu     sync.Mutex
	counts map[toward]*Destination // of everybody
	peers  map[netip.AddrPort]*busyPeer
}

// toward is where a local port goes.
type toward struct {
	local netip.Addr
	peer  netip.AddrPort
}

// busyPeer is what the processes of the join have towards one peer.
type busyPeer struct {
	opened, timeWait int
	procs            map[int32]bool // that have opened connections
	passed           map[passedTo]int
}

// passedTo are connections of one process from one address that were not kept.
type passedTo struct {
	proc  int32
	local netip.Addr
}

// Busy is nil when there is no such peer. After [Join.Space].
func (j *Join) Busy() *Busy {
	low, high := j.space.Sysctls.PortLow, j.space.Sysctls.PortHigh
	if low <= 0 || high < low {
		return nil
	}
	b := &Busy{
		join: j, atLeast: max((high-low+1)/busyShare, 1),
		counts: map[toward]*Destination{}, peers: map[netip.AddrPort]*busyPeer{},
	}
	return b.choose()
}

// choose drops the peers that cannot be busy, TIME-WAIT included.
func (b *Busy) choose() *Busy {
	t := &b.join.toward
	for i := range b.join.nobody.timeWait {
		if row := &b.join.nobody.timeWait[i]; t.count(row.peer) > 0 {
			t.add(printOf(t.seed, row.peer), row.peer.Port())
		}
	}
	ports, mixed := map[uint16]bool{}, false
	for i := range t.buckets {
		bucket := t.buckets[i].Load()
		n := int(uint32(bucket))
		if n < b.atLeast {
			t.buckets[i].Store(0)
			continue
		}
		b.most += n
		mixed = mixed || bucket&bucketMixed != 0
		if port := uint16(bucket >> bucketPort); !ports[port] {
			ports[port] = true
			b.ports = append(b.ports, port)
		}
	}
	if b.most == 0 {
		return nil
	}
	if mixed || len(b.ports) > netlinkss.MaxPorts || 2*b.most > len(b.join.index.fds) {
		b.ports = nil
	}
	return b
}

// Ports are those that the dump has to have; none: all.
func (b *Busy) Ports() []uint16 { return b.ports }

// Add takes one socket of the dump. Several goroutines may call it.
func (b *Busy) Add(s *netlinkss.Socket) {
	peer := netlinkss.Unmap(s.Peer)
	if s.State == netlinkss.Listen || b.join.toward.count(peer) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	local := netlinkss.Unmap(s.Local)
	if port := int(local.Port()); port >= b.join.space.Sysctls.PortLow && port <= b.join.space.Sysctls.PortHigh {
		b.take(toward{local.Addr(), peer}, s.State)
	}
	p := b.peers[peer]
	if p == nil {
		p = &busyPeer{procs: map[int32]bool{}, passed: map[passedTo]int{}}
		b.peers[peer] = p
	}
	if s.State == netlinkss.TimeWait {
		p.timeWait++
	}
	b.hold(p, s, local.Addr())
}

func (b *Busy) take(t toward, state netlinkss.State) {
	d := b.counts[t]
	if d == nil {
		d = &Destination{Local: t.local, Peer: t.peer, Low: b.join.space.Sysctls.PortLow, High: b.join.space.Sysctls.PortHigh}
		b.counts[t] = d
	}
	d.Used++
	if state == netlinkss.TimeWait {
		d.TimeWait++
	}
}

// hold counts what processes of the space hold, and held when the sockets were joined.
func (b *Busy) hold(p *busyPeer, s *netlinkss.Socket, local netip.Addr) {
	j := b.join
	first, ok := j.index.find(uint64(s.Inode))
	if !ok || !j.index.is(first, s.Cookie) || j.twice[first] {
		return
	}
	facts := j.index.fds[first].facts
	j.index.procs(first, func(proc int32) {
		if int(proc) >= len(j.space.Procs) {
			return
		}
		if facts&factConnected != 0 {
			p.opened++
			p.procs[proc] = true
		}
		if facts&factKept == 0 {
			p.passed[passedTo{proc, local}]++
		}
	})
}

// Settle tells the processes where their ports go.
func (b *Busy) Settle() {
	for to, d := range b.counts {
		p := b.peers[to.peer]
		if p.opened == 0 || p.opened+p.timeWait < b.atLeast {
			continue
		}
		for proc := range p.procs {
			q := b.join.procs[proc]
			q.Destinations = append(q.Destinations, *d)
		}
	}
	for peer, p := range b.peers {
		for of, n := range p.passed {
			q := b.join.procs[of.proc]
			if q.passed == nil {
				q.passed = map[toward]int{}
			}
			q.passed[toward{of.local, peer}] = n
		}
	}
	for _, p := range b.join.space.Procs {
		SortDestinations(p.Destinations)
	}
}
