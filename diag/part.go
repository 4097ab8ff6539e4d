package diag

import (
	"maps"
	"net/netip"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// Part takes a share of a dump. Each may have a goroutine of its own.
type Part struct {
	join    *Join
	listens map[listenPort]bool // as far as they are known
	usual   []Usual             // by process
	found   int                 // sockets that the join has descriptors on
	peers   peerSet
	ports   portSet // of these peers
	// The host's uptime when it was told last, and the time before that.
	now, was time.Duration
}

// ClockEvery is after how many sockets [Part.Clock] is to be told what time it is. The kernel reads sockets up to two messages ahead,
// of at most 264 records each, so a socket was not read before the time that was told last but one.
const ClockEvery = 1024

// Clock tells the host's uptime, before the first socket and after every [ClockEvery] of them. Without it, sockets were read at any
// moment of the dump.
func (p *Part) Clock(uptime time.Duration) {
	p.was, p.now = p.now, uptime
	if p.was == 0 {
		p.was = uptime
	}
}

// At tells that what comes next was read at that uptime of the host at the earliest.
func (p *Part) At(uptime time.Duration) { p.was, p.now = uptime, uptime }

// Brief is a connection of which another source than a dump tells no more than that it may be usual: in ESTAB, of the namespace of the
// join, no part of an MPTCP connection, with empty queues, and one on which something has moved within the grace or since the process began
// that has it.
type Brief struct {
	Family      netlinkss.Family
	Inode       uint32
	Cookie      uint64
	Local, Peer netip.AddrPort
	Idle        time.Duration // since data went either way
	Timer       bool          // one is running
	Connected   bool          // opened from here, as its counters say
}

// AddBrief is [Part.Add] for a usual connection. It reports false for one that is not: that one is to be added with all there is.
func (p *Part) AddBrief(b *Brief) bool {
	j := p.join
	first, ok := j.index.find(uint64(b.Inode))
	if !ok {
		return true
	}
	if j.sift == nil || !j.index.alone(first) {
		return false
	}
	if b.Idle >= j.sift.idle {
		return false
	}
	known := j.sift.quiet(b.Idle)
	if marked, same := j.index.mark(first, b.Cookie); !marked {
		if !same {
			j.mu.Lock()
			j.twice[first] = true
			j.mu.Unlock()
		}
		return true
	}
	p.found++
	known |= factConnection
	if !b.Timer {
		known |= factNoTimer
	}
	peer := netlinkss.Unmap(b.Peer)
	fingerprint := printOf(j.seed, peer)
	if b.Connected {
		known |= factConnected
		j.toward.add(fingerprint, peer.Port())
	}
	p.count(first, known, fingerprint, b.Local.Port(), peer.Port())
	return true
}

// Part is a new part, after the listeners.
func (j *Join) Part() *Part {
	p := &Part{join: j, listens: maps.Clone(j.listens), usual: make([]Usual, len(j.procs))}
	j.parts = append(j.parts, p)
	return p
}

// whole is the part that [Join.Add] adds to.
func (j *Join) whole() *Part {
	if j.own == nil {
		j.own = j.Part()
		j.own.listens = j.listens
	}
	return j.own
}

// Add is [Join.Add].
func (p *Part) Add(s *netlinkss.Socket) { p.add(s, true) }

func (p *Part) add(s *netlinkss.Socket, reused bool) {
	j := p.join
	if s.Inode == 0 || s.State == netlinkss.Listen {
		j.mu.Lock()
		j.addUnheld(s, reused)
		j.mu.Unlock()
	}
	first, ok := j.index.find(uint64(s.Inode))
	if !ok {
		return
	}
	if marked, same := j.index.mark(first, s.Cookie); !marked {
		if !same {
			j.mu.Lock()
			j.twice[first] = true
			j.mu.Unlock()
		}
		return
	}
	p.found++
	peer := netlinkss.Unmap(s.Peer)
	connected := connectedTo(s)
	fingerprint := uint64(0)
	if connected || j.sift != nil {
		fingerprint = printOf(j.seed, peer)
	}
	known := factsOf(s)
	if connected {
		known |= factConnected
		j.index.procs(first, func(int32) { j.toward.add(fingerprint, peer.Port()) })
	}
	if p.pass(first, s, known, fingerprint) {
		return
	}
	j.index.fds[first].facts = known | factKept
	j.mu.Lock()
	j.hold(first, s, reused, HeldSocket{readFrom: p.was})
	j.mu.Unlock()
}

// pass counts a socket of which there is nothing to say, and reports whether it is one.
func (p *Part) pass(first uint32, s *netlinkss.Socket, known facts, fingerprint uint64) bool {
	j := p.join
	if j.sift == nil || !j.index.alone(first) {
		return false
	}
	proc := j.index.fds[first].process()
	more, usual := j.sift.usual(j.procs[proc], s, p.was)
	if !usual {
		return false
	}
	p.count(first, known|more, fingerprint, s.Local.Port(), s.Peer.Port())
	return true
}

// count counts a usual connection, for the one process that holds it.
func (p *Part) count(first uint32, known facts, fingerprint uint64, local, peer uint16) {
	j := p.join
	proc := j.index.fds[first].process()
	j.index.fds[first].facts = known
	p.usual[proc].countUsual(known)
	if int(proc) < len(j.space.Procs) && peer != 0 && !p.listens[listenPort{proc, local}] {
		p.peers.add(fingerprint, proc)
		p.ports.add(peer)
	}
}

func factsOf(s *netlinkss.Socket) (f facts) {
	switch s.State {
	case netlinkss.Listen, netlinkss.Unconn, netlinkss.BoundInactive:
	default:
		f = factConnection
	}
	if isMPTCP(s) {
		f |= factMPTCP
	}
	return f
}
