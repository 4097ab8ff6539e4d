package diag

import (
	"cmp"
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
	space  *Space
	procs  []*Proc // those of the space, then their kin
	inodes map[uint64]*wanted
	fds    []int
	kept   []netlinkss.Socket // the last block
	twice  int                // inodes of two sockets
	nobody nobody
}

// wanted is a socket inode that processes have descriptors on.
type wanted struct {
	owners []owner // process by process
	found  bool
	twice  bool
	cookie uint64
}

// owner is one descriptor, as its indexes into Join.procs and that process's Sockets.
type owner struct{ proc, socket int32 }

// NewJoin begins the join of a namespace, described by space, with processes that live in it.
func NewJoin(space *Space, processes []*procfd.Process) *Join {
	descriptors := 0
	for _, p := range processes {
		descriptors += len(p.Sockets)
	}
	j := &Join{space: space, inodes: make(map[uint64]*wanted, descriptors), fds: make([]int, 0, descriptors)}
	for _, p := range processes {
		space.Procs = append(space.Procs, j.admit(p))
	}
	return j
}

// Kin adds a descendant of p, before the first [Join.Add]. What it holds is joined as p's is; it is judged for what it has
// inherited alone. One that is in the join already, as a process of the space or as kin of another, is not joined twice: it
// would share its sockets with itself.
func (j *Join) Kin(p *Proc, child *procfd.Process) {
	for _, q := range j.procs {
		if q.PID == child.PID && q.Start == child.Start {
			p.Kin = append(p.Kin, q)
			return
		}
	}
	p.Kin = append(p.Kin, j.admit(child))
}

// byTable orders descriptors by the table that they are in, the process's own first.
func byTable(a, b procfd.SocketFD) int {
	return cmp.Or(cmp.Compare(a.Task, b.Task), cmp.Compare(a.FD, b.FD))
}

// admit notes which sockets a process has.
func (j *Join) admit(p *procfd.Process) *Proc {
	if !slices.IsSortedFunc(p.Sockets, byTable) {
		slices.SortFunc(p.Sockets, byTable) // shareHolders looks them up
	}
	n := int32(len(j.procs))
	proc := &Proc{Process: p, Space: j.space, Gaps: processGaps(p), Held: make([]HeldSocket, len(p.Sockets))}
	j.procs = append(j.procs, proc)
	// One block for all, cut into pieces of one: nearly every socket has one descriptor.
	entries := make([]wanted, 0, len(p.Sockets))
	owners := make([]owner, 0, len(p.Sockets))
	for k, s := range p.Sockets {
		o := owner{n, int32(k)}
		if w := j.inodes[s.Inode]; w != nil {
			w.owners = append(w.owners, o)
			continue
		}
		owners = append(owners, o)
		n := len(owners)
		entries = append(entries, wanted{owners: owners[n-1 : n : n]})
		j.inodes[s.Inode] = &entries[len(entries)-1]
	}
	return proc
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

// Add takes one socket of the dump and keeps it if one of the processes holds it, or what counts of it if
// nobody does. A socket that the dump repeats counts once.
func (j *Join) Add(s *netlinkss.Socket) { j.add(s, true) }

// Take is Add for a socket that stays as it is: it is kept without being copied.
func (j *Join) Take(s *netlinkss.Socket) { j.add(s, false) }

// AddForeign is Add for a socket of another namespace than the processes': only what they hold of it counts.
func (j *Join) AddForeign(space *Space, s *netlinkss.Socket) {
	w := j.inodes[uint64(s.Inode)]
	if s.Inode == 0 || w == nil || w.found {
		return
	}
	j.hold(w, s, true)
	for _, o := range w.owners {
		if h := &j.procs[o.proc].Held[o.socket]; len(h.FDs) > 0 {
			h.Space = space
		}
	}
}

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
	if s.Inode == 0 {
		j.addNobodys(s, reused)
		return
	}
	if s.State == netlinkss.Listen {
		j.nobody.listen(s)
	}
	w := j.inodes[uint64(s.Inode)]
	if w == nil {
		return
	}
	if w.found {
		if w.cookie != s.Cookie && !w.twice {
			w.twice = true
			j.twice++
		}
		return
	}
	j.hold(w, s, reused)
}

// hold puts a socket to those who hold it.
func (j *Join) hold(w *wanted, s *netlinkss.Socket, reused bool) {
	w.found, w.cookie = true, s.Cookie
	if reused {
		s = j.keep(s)
	}
	var held *HeldSocket
	var last owned
	for i, o := range w.owners {
		p := j.procs[o.proc]
		fd := p.Sockets[o.socket]
		switch now := (owned{o.proc, fd.Task}); {
		case i == 0 || now.proc != last.proc:
			held, last = &p.Held[o.socket], now
			held.Socket, held.Task, held.Keepalive, held.Direction = s, fd.Task, KeepaliveOf(s), DirectionOf(s)
		case now != last:
			continue // a copy in a thread's own table: see shareHolders
		}
		if len(held.FDs) == 0 {
			// Nearly every socket has one: a piece of one block.
			j.fds = append(j.fds, fd.FD)
			n := len(j.fds)
			held.FDs = j.fds[n-1 : n : n]
			continue
		}
		held.FDs = append(held.FDs, fd.FD)
	}
}

// owned is a descriptor table: that of a process, or of one of its threads.
type owned struct {
	proc int32
	task int
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
	for _, p := range j.space.Procs { // what kin have unlisted is not theirs to be judged for
		for _, s := range p.Sockets {
			if !j.inodes[s.Inode].found {
				list = append(list, Unlisted{Proc: p, SocketFD: s})
			}
		}
	}
	return list
}

// Listed reports whether a socket was found.
func (j *Join) Listed(inode uint64) bool {
	w := j.inodes[inode]
	return w != nil && w.found
}

// Dark records a descriptor on a TCP socket that is listed nowhere.
func (j *Join) Dark(u Unlisted, d DarkSocket) {
	d.FD, d.Task, d.Inode = u.FD, u.Task, u.Inode
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
	for _, p := range j.procs {
		p.Held = j.compact(p.Held)
		slices.SortFunc(p.Dark, func(a, b DarkSocket) int { return cmp.Or(a.Task-b.Task, a.FD-b.FD) })
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
	j.shareHolders()
	j.settleNobodys()
	return j.space
}

// shareHolders notes who else has a descriptor on a socket: the other processes of the join, and threads that have a
// table of their own.
func (j *Join) shareHolders() {
	for _, w := range j.inodes {
		if !w.found || len(w.owners) < 2 {
			continue
		}
		for _, o := range w.owners {
			p := j.procs[o.proc]
			own := p.Sockets[o.socket]
			i, ok := slices.BinarySearchFunc(p.Held, own, func(h HeldSocket, s procfd.SocketFD) int {
				return byTable(procfd.SocketFD{Task: h.Task, FD: h.FD()}, s)
			})
			if !ok {
				continue // a further descriptor of a socket that the process has already
			}
			for _, other := range w.owners {
				q := j.procs[other.proc]
				if s := q.Sockets[other.socket]; q != p || s.Task != own.Task {
					p.Held[i].Others = append(p.Held[i].Others, Holder{PID: q.PID, Task: s.Task, FD: s.FD, Name: q.Name})
				}
			}
		}
	}
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
	j.nobody.hideQueue(s)
	for _, o := range j.inodes[uint64(s.Inode)].owners {
		if h := &j.procs[o.proc].Held[o.socket]; len(h.FDs) > 0 {
			h.Ask(keepalive)
		}
	}
}

// QueuePorts are the ports of the processes' listeners on which connections wait to be accepted.
func (j *Join) QueuePorts() []uint16 {
	var ports []uint16
	for _, p := range j.space.Procs {
		for i := range p.Held {
			if h := &p.Held[i]; len(h.FDs) > 0 && h.State == netlinkss.Listen && h.RecvQ > 0 && !slices.Contains(ports, h.Local.Port()) {
				ports = append(ports, h.Local.Port())
			}
		}
	}
	return ports
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
		p := j.procs[o.proc]
		if o.proc != last && isMPTCP(&p.Held[o.socket]) {
			p.MPTCPEnded++
		}
		last = o.proc
	}
}
