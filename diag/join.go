package diag

import (
	"net/netip"
	"slices"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Join puts the sockets of one network namespace and the descriptors of its processes together.
//
// A scan takes time, and both sides move. The descriptors are listed before the sockets are dumped:
// what was opened later is not missed for long, and what was closed meanwhile is not in the dump or
// has no inode any more. A descriptor whose inode is not in the dump proves nothing yet: see
// [Join.Unlisted]. Inode numbers come from a 32-bit counter that a long-lived host wraps round, so two
// living sockets can share one; such an inode is blamed on nobody and becomes a gap.
type Join struct {
	space    *Space
	inodes   map[uint64]*wanted
	fds      []int
	kept     []netlinkss.Socket // the last block
	twice    int                // inodes of two sockets
	timeWait []timeWaitRow
}

// wanted is a socket inode that processes have descriptors on.
type wanted struct {
	owners []owner // process by process
	found  bool
	twice  bool
	cookie uint64
}

// owner is one descriptor, as its indexes into Space.Procs and that process's Sockets.
type owner struct{ proc, socket int32 }

// timeWaitRow is what is kept of a socket in TIME-WAIT until it is known who listens where. The kernel bounds how many there are
// (tcp_max_tw_buckets), and a second walk for them would cost more.
type timeWaitRow struct {
	port uint16
	peer netip.AddrPort
}

// NewJoin begins the join of a namespace, described by space, with processes that live in it.
func NewJoin(space *Space, processes []*procfd.Process) *Join {
	descriptors := 0
	for _, p := range processes {
		descriptors += len(p.Sockets)
	}
	j := &Join{space: space, inodes: make(map[uint64]*wanted, descriptors), fds: make([]int, 0, descriptors)}
	// One block for all, cut into pieces of one: nearly every socket has one descriptor.
	entries := make([]wanted, 0, descriptors)
	owners := make([]owner, 0, descriptors)
	for i, p := range processes {
		// A place for each descriptor, in their order.
		space.Procs = append(space.Procs, &Proc{
			Process: p, Space: space, Gaps: processGaps(p), Held: make([]HeldSocket, len(p.Sockets)),
		})
		for k, s := range p.Sockets {
			o := owner{int32(i), int32(k)}
			if w := j.inodes[s.Inode]; w != nil {
				w.owners = append(w.owners, o)
				continue
			}
			owners = append(owners, o)
			n := len(owners)
			entries = append(entries, wanted{owners: owners[n-1 : n : n]})
			j.inodes[s.Inode] = &entries[len(entries)-1]
		}
	}
	return j
}

func processGaps(p *procfd.Process) []Gap {
	var gaps []Gap
	for _, g := range p.Gaps {
		why := g.Err.Error()
		if g.Denied() {
			why = "permission denied: run as root, or as the process's own user"
		}
		gaps = append(gaps, Gap{
			What: g.What + " of " + Subject(p), Count: g.Count, Why: why,
			Minor: g.What == "executable" || g.What == "status",
		})
	}
	return gaps
}

// Add takes one socket of the dump and keeps it if one of the processes holds it, or what counts of it
// if it is in TIME-WAIT. A socket that the dump repeats counts once.
func (j *Join) Add(s *netlinkss.Socket) { j.add(s, true) }

// Take is Add for a socket that stays as it is: it is kept without being copied.
func (j *Join) Take(s *netlinkss.Socket) { j.add(s, false) }

// keepBlock is how many sockets share one piece of memory.
const keepBlock = 128

// keep copies a socket out of the sequence that reuses it.
func (j *Join) keep(s *netlinkss.Socket) *netlinkss.Socket {
	if len(j.kept) == cap(j.kept) {
		j.kept = make([]netlinkss.Socket, 0, keepBlock)
	}
	j.kept = append(j.kept, *s)
	return &j.kept[len(j.kept)-1]
}

func (j *Join) add(s *netlinkss.Socket, reused bool) {
	if s.State == netlinkss.TimeWait {
		j.timeWait = append(j.timeWait, timeWaitRow{s.Local.Port(), netlinkss.Unmap(s.Peer)})
		return
	}
	w := j.inodes[uint64(s.Inode)]
	if w == nil || s.Inode == 0 {
		return
	}
	if w.found {
		if w.cookie != s.Cookie && !w.twice {
			w.twice = true
			j.twice++
		}
		return
	}
	w.found, w.cookie = true, s.Cookie
	if reused {
		s = j.keep(s)
	}
	var held *HeldSocket
	last := int32(-1)
	for _, o := range w.owners {
		p := j.space.Procs[o.proc]
		fd := p.Sockets[o.socket].FD
		if o.proc != last {
			held, last = &p.Held[o.socket], o.proc
			held.Socket, held.Keepalive, held.Direction = s, KeepaliveOf(s), DirectionOf(s)
		}
		if len(held.FDs) == 0 {
			// Nearly every socket has one: a piece of one block.
			j.fds = append(j.fds, fd)
			n := len(j.fds)
			held.FDs = j.fds[n-1 : n : n]
			continue
		}
		held.FDs = append(held.FDs, fd)
	}
}

// Unlisted is a socket descriptor that the dump did not show.
type Unlisted struct {
	Proc *Proc
	procfd.SocketFD
}

// Unlisted lists the descriptors whose socket the dump did not show, after the last [Join.Add]. Such a
// socket may be of another kind than TCP, or of another namespace, or closed since, or passed over by
// the dump, or dark. Asking it decides; then one of Dark, Found, Foreign or Unread takes the answer.
func (j *Join) Unlisted() []Unlisted {
	var list []Unlisted
	for _, p := range j.space.Procs {
		for _, s := range p.Sockets {
			if !j.inodes[s.Inode].found {
				list = append(list, Unlisted{Proc: p, SocketFD: s})
			}
		}
	}
	return list
}

// Dark records a descriptor on a TCP socket that is listed nowhere.
func (j *Join) Dark(u Unlisted, d DarkSocket) {
	d.FD, d.Inode = u.FD, u.Inode
	switch {
	case d.Alive == Dead && d.Info.SegsIn > 0:
		d.Direction = directionOfCounters(&d.Info)
	case d.Alive == NeverConnected && d.Peer.IsValid():
		d.Direction = Connected
	}
	u.Proc.Dark = append(u.Proc.Dark, d)
}

// Found records a socket that the dump passed over and an exact look-up showed.
func (j *Join) Found(s *netlinkss.Socket) { j.Add(s) }

// Foreign records a TCP socket of another network namespace, whose state was not seen.
func (j *Join) Foreign(u Unlisted) { u.Proc.Foreign++ }

// Unread records descriptors of one process that could not be told to be TCP or not, alive or not.
func (j *Join) Unread(p *Proc, what string, count int, why string) {
	p.Gaps = append(p.Gaps, Gap{What: what + " of " + Subject(p.Process), Count: count, Why: why})
}

// Space ends the join.
func (j *Join) Space() *Space {
	for _, p := range j.space.Procs {
		p.Held = j.compact(p.Held)
		slices.SortFunc(p.Dark, func(a, b DarkSocket) int { return a.FD - b.FD })
		settleDirections(p)
		if p.Foreign > 0 {
			p.Gaps = append(p.Gaps, Gap{
				What: "sockets of " + Subject(p.Process), Count: p.Foreign,
				Why: "they belong to another network namespace than the process, which was not read",
			})
		}
		if p.MPTCPEnded > 0 {
			p.Gaps = append(p.Gaps, Gap{
				What: "MPTCP connections of " + Subject(p.Process) + " that the peer has closed", Count: p.MPTCPEnded,
				Why: "TCP's own records still say ESTAB, and MPTCP's have no clock of it, so it is not known for how long",
			})
		}
	}
	if j.twice > 0 {
		j.space.Gaps = append(j.space.Gaps, Gap{
			What: "sockets", Count: j.twice, Why: "another socket has the same inode number (the kernel's counter went round), so the holder is not certain",
		})
	}
	j.countTimeWait()
	return j.space
}

// compact closes the gaps that descriptors have left whose socket was not found, or is not certain.
func (j *Join) compact(held []HeldSocket) []HeldSocket {
	n := 0
	for i := range held {
		h := &held[i]
		if len(h.FDs) == 0 || j.twice > 0 && j.inodes[uint64(h.Inode)].twice {
			continue
		}
		if n != i {
			held[n] = *h
		}
		n++
	}
	clear(held[n:])
	return held[:n]
}

// countTimeWait counts for each process what is in TIME-WAIT on its ports or towards its peers.
func (j *Join) countTimeWait() {
	if j.space.TimeWaitSource == "" {
		j.space.TimeWait = len(j.timeWait)
	}
	if len(j.timeWait) == 0 {
		return
	}
	listens, peers := j.indexPorts()
	for _, row := range j.timeWait {
		byPort := listens[row.port]
		for _, i := range byPort {
			j.space.Procs[i].TimeWait++
		}
		for _, i := range peers[row.peer] {
			if !slices.Contains(byPort, i) {
				j.space.Procs[i].TimeWait++
			}
		}
	}
}

// indexPorts notes which process listens where and is connected to whom.
func (j *Join) indexPorts() (listens map[uint16][]int, peers map[netip.AddrPort][]int) {
	listens, peers = make(map[uint16][]int), make(map[netip.AddrPort][]int)
	for i, p := range j.space.Procs {
		ports := p.Listens()
		for port := range ports {
			listens[port] = append(listens[port], i)
		}
		add := func(peer netip.AddrPort, local uint16) {
			if !peer.IsValid() || peer.Port() == 0 || ports[local] {
				return
			}
			peer = netlinkss.Unmap(peer)
			if list := peers[peer]; !slices.Contains(list, i) {
				peers[peer] = append(list, i)
			}
		}
		for k := range p.Held {
			add(p.Held[k].Peer, p.Held[k].Local.Port())
		}
		for k := range p.Dark {
			add(p.Dark[k].Peer, p.Dark[k].Local.Port())
		}
	}
	return listens, peers
}

// settleDirections lets the listening ports decide where the counters could not.
func settleDirections(p *Proc) {
	ports := p.Listens()
	for i := range p.Held {
		if h := &p.Held[i]; h.State != netlinkss.Listen {
			h.Direction = settleDirection(h.Direction, h.Local.Port(), ports)
		}
	}
	for i := range p.Dark {
		// A FIN of ours that was acknowledged counts like a SYN, so of a dead one the counters say less than the port.
		if d := &p.Dark[i]; d.Alive == Dead && ports[d.Local.Port()] {
			d.Direction = Accepted
		}
	}
}

// settleDirection lets a listening port decide where the counters could not.
func settleDirection(d Direction, port uint16, listens map[uint16]bool) Direction {
	if d == DirectionUnknown && listens[port] {
		return Accepted
	}
	return d
}

// FoundAsked records a socket that neither the dump nor an exact look-up showed; the socket itself said what it is.
// Its timer and queues are not known, so it is for sockets on which no verdict rests: listeners.
func (j *Join) FoundAsked(s *netlinkss.Socket, keepalive bool) {
	j.Add(s)
	for _, o := range j.inodes[uint64(s.Inode)].owners {
		if h := &j.space.Procs[o.proc].Held[o.socket]; len(h.FDs) > 0 {
			h.Ask(keepalive)
		}
	}
}

// HasMPTCP reports whether a process holds a connection that is a part of an MPTCP one.
func (j *Join) HasMPTCP() bool {
	for _, p := range j.space.Procs {
		for i := range p.Held {
			if isMPTCP(&p.Held[i]) {
				return true
			}
		}
	}
	return false
}

// isMPTCP: the peer's end of such a connection is told by MPTCP's own dump alone; TCP goes on saying ESTAB.
func isMPTCP(h *HeldSocket) bool {
	return len(h.FDs) > 0 && h.State == netlinkss.Estab && h.ULP.String() == "mptcp"
}

// AddMPTCP takes one socket of a dump of MPTCP. That has no clock of the end: how long ago it came cannot be told, so
// it is a gap and no finding.
func (j *Join) AddMPTCP(s *netlinkss.Socket) {
	w := j.inodes[uint64(s.Inode)]
	if w == nil || s.State != netlinkss.CloseWait {
		return
	}
	last := int32(-1)
	for _, o := range w.owners {
		p := j.space.Procs[o.proc]
		if o.proc != last && isMPTCP(&p.Held[o.socket]) {
			p.MPTCPEnded++
		}
		last = o.proc
	}
}
