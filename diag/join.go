package diag

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"time"

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
	space *Space
	procs []*Proc // those of the space, then their kin
	index index
	sift  *sift // nil: everything is kept
	own   *Part // of Add
	late  bool  // what is still added is not of the dump

	seed   maphash.Seed
	toward towardPeers

	mu      sync.Mutex         // of what follows, while sockets are added
	kept    []netlinkss.Socket // the last block
	fds     []int              // the last block
	twice   map[uint32]bool    // inodes of two sockets, by their first descriptor
	listens map[listenPort]bool
	parts   []*Part
	nobody  nobody
	mptcp   map[uint32]mptcpWhole // by inode
}

// listenPort is a port that a process of the join listens on.
type listenPort struct {
	proc int32
	port uint16
}

// NewJoin begins the join of a namespace, described by space, with processes that live in it.
func NewJoin(space *Space, processes []*procfd.Process) *Join {
	descriptors := 0
	for _, p := range processes {
		descriptors += len(p.Sockets)
	}
	j := &Join{
		space: space, index: newIndex(len(processes), descriptors), seed: maphash.MakeSeed(),
		twice: map[uint32]bool{}, listens: map[listenPort]bool{},
	}
	j.toward = newTowardPeers(j.seed, descriptors)
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
	proc := &Proc{Process: p, Space: j.space, Gaps: processGaps(p)}
	j.procs = append(j.procs, proc)
	j.index.admit(p.Sockets)
	return proc
}

// descriptor is one of the join, and its process.
func (j *Join) descriptor(d uint32) (*Proc, procfd.SocketFD) {
	proc := j.index.fds[d].process()
	p := j.procs[proc]
	return p, p.Sockets[d-j.index.base[proc]]
}

func processGaps(p *procfd.Process) []Gap {
	var gaps []Gap
	for _, g := range p.Gaps {
		why := g.Err.Error()
		if g.Denied() {
			why = "permission denied: " + cmp.Or(g.Remedy, "run as root, or as the process's own user")
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
func (j *Join) Add(s *netlinkss.Socket) { j.whole().add(s, true) }

// Take is Add for a socket that stays as it is: it is kept without being copied.
func (j *Join) Take(s *netlinkss.Socket) { j.whole().add(s, false) }

// AddForeign is Add for a socket of another namespace than the processes': only what they hold of it counts.
func (j *Join) AddForeign(space *Space, s *netlinkss.Socket) {
	first, ok := j.index.find(uint64(s.Inode))
	if !ok {
		return
	}
	if marked, _ := j.index.mark(first, s.Cookie); !marked {
		return
	}
	j.index.fds[first].facts = factsOf(s) | factKept
	if connectedTo(s) {
		j.index.fds[first].facts |= factConnected
	}
	j.hold(first, s, true, HeldSocket{Space: space})
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

// keepFD makes a list of one descriptor, which is what nearly every socket has: a piece of a block.
func (j *Join) keepFD(fd int) []int {
	if len(j.fds) == cap(j.fds) {
		j.fds = make([]int, 0, 4*keepBlock)
	}
	j.fds = append(j.fds, fd)
	n := len(j.fds)
	return j.fds[n-1 : n : n]
}

// hold puts a socket to those who hold it, with what is known of its reading.
func (j *Join) hold(first uint32, s *netlinkss.Socket, reused bool, known HeldSocket) {
	if reused {
		s = j.keep(s)
	}
	if s.State == netlinkss.Listen {
		j.index.procs(first, func(proc int32) { j.listens[listenPort{proc, s.Local.Port()}] = true })
	}
	known.late = j.late
	var holder *Proc
	var held *HeldSocket
	j.index.ring(first, func(d uint32) {
		p, fd := j.descriptor(d)
		if p != holder {
			if p.Held == nil && j.sift == nil {
				p.Held = make([]HeldSocket, 0, len(p.Sockets)) // nearly all of them will be
			}
			p.Held = append(p.Held, known)
			holder, held = p, &p.Held[len(p.Held)-1]
			held.Socket, held.FDs, held.Task = s, j.keepFD(fd.FD), fd.Task
			held.Keepalive, held.Direction = KeepaliveOf(s), DirectionOf(s)
			held.Asked = s.Has(netlinkss.AttrKeepAlive)
			return
		}
		if held.Task == fd.Task { // else a copy in a thread's own table: see shareHolders
			held.FDs = append(held.FDs, fd.FD)
		}
	})
}

// Late tells that the dump is over: what is added from now on was read later, by [Space.Late] at the most.
func (j *Join) Late() { j.late = true }

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
	for i, p := range j.space.Procs { // what kin have unlisted is not theirs to be judged for
		for k, s := range p.Sockets {
			if !j.isListed(j.index.base[i]+uint32(k), s.Inode) {
				list = append(list, Unlisted{Proc: p, SocketFD: s})
			}
		}
	}
	return list
}

// isListed is Listed for one descriptor of those on the socket, and quicker.
func (j *Join) isListed(d uint32, inode uint64) bool {
	if j.index.alone(d) {
		return j.index.fds[d].mark != 0
	}
	return j.Listed(inode)
}

// Listed reports whether a socket was found.
func (j *Join) Listed(inode uint64) bool {
	_, ok := j.index.found(inode)
	return ok
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
		j.settleHeld(p)
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
		j.mptcpGaps(p)
	}
	if n := len(j.twice); n > 0 {
		j.space.Gaps = append(j.space.Gaps, Gap{
			What: "sockets", Count: n, Why: "another socket has the same inode number (the kernel's counter went round), so the holder is not certain",
		})
	}
	j.settleUsual()
	j.shareHolders()
	j.settleNobodys()
	return j.space
}

// settleUsual sums up what was counted. Of two sockets with one inode neither counts.
func (j *Join) settleUsual() {
	for _, part := range j.parts {
		for i, u := range part.usual {
			j.procs[i].Usual.add(u)
		}
	}
	for first := range j.twice {
		facts := j.index.fds[first].facts
		if u := &j.procs[j.index.fds[first].process()].Usual; facts&factKept != 0 {
			continue
		} else if facts&factNoTimer != 0 {
			u.NoTimer--
		} else {
			u.Timer--
		}
	}
}

// shareHolders notes who else has a descriptor on a socket: the other processes of the join, and threads that have a
// table of their own.
func (j *Join) shareHolders() {
	for _, slot := range j.index.slots {
		first := uint32(0)
		if slot.inode != 0 {
			first = j.index.fds[slot.last].next
		}
		if slot.inode == 0 || first == slot.last || j.index.fds[first].mark == 0 || j.twice[first] {
			continue
		}
		j.index.ring(first, func(d uint32) {
			p, own := j.descriptor(d)
			h := p.heldBy(own)
			if h == nil {
				return // a further descriptor of a socket that the process has already
			}
			j.index.ring(first, func(d uint32) {
				if q, s := j.descriptor(d); q != p || s.Task != own.Task {
					h.Others = append(h.Others, Holder{PID: q.PID, Task: s.Task, FD: s.FD, Name: q.Name})
				}
			})
		})
	}
}

// heldBy is the socket whose first descriptor that is, nil when none is kept. After [Join.Space].
func (p *Proc) heldBy(fd procfd.SocketFD) *HeldSocket {
	i, ok := slices.BinarySearchFunc(p.Held, fd, func(h HeldSocket, s procfd.SocketFD) int { return byTable(h.SocketFD(), s) })
	if !ok {
		return nil
	}
	return &p.Held[i]
}

// settleHeld puts the sockets of a process in the order of their descriptors, those left out that are not certain.
func (j *Join) settleHeld(p *Proc) {
	if len(j.twice) > 0 {
		p.Held = slices.DeleteFunc(p.Held, func(h HeldSocket) bool {
			first, _ := j.index.find(uint64(h.Inode))
			return j.twice[first]
		})
	}
	sortHeld(p.Held)
}

// sortHeld sorts by table and descriptor. What is sorted are numbers: of the sockets themselves, which are large, each is moved once.
func sortHeld(held []HeldSocket) {
	type place struct{ task, fd, at int32 }
	places := make([]place, len(held))
	for i := range held {
		places[i] = place{int32(held[i].Task), int32(held[i].FD()), int32(i)}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.task, b.task), cmp.Compare(a.fd, b.fd)) })
	for to := range places { // round the ring of those that take each other's place
		if places[to].at < 0 {
			continue
		}
		first := held[to]
		for at := to; ; {
			from := int(places[at].at)
			places[at].at = -1
			if from == to {
				held[at] = first
				break
			}
			held[at] = held[from]
			at = from
		}
	}
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
	first, ok := j.index.find(uint64(s.Inode))
	if !ok {
		return
	}
	j.index.procs(first, func(proc int32) {
		held := j.procs[proc].Held
		for i := len(held) - 1; i >= 0; i-- { // it is the last one as a rule
			if held[i].Inode == s.Inode {
				held[i].Ask(keepalive)
				return
			}
		}
	})
}

// Sockets is how many of the namespace's sockets were found that the processes have descriptors on.
func (j *Join) Sockets() (n int) {
	for _, part := range j.parts {
		n += part.found
	}
	return n
}

// Descriptors is how many descriptors on sockets of any kind the processes have.
func (j *Join) Descriptors() int { return len(j.index.fds) }

// IsConnection reports whether a socket was found and is neither listening nor closed. Several goroutines may ask.
func (j *Join) IsConnection(inode uint64) bool {
	first, ok := j.index.found(inode)
	return ok && j.index.fds[first].facts&factConnection != 0 && !j.twice[first]
}

// Holders are the descriptors that the processes of the join have on a socket.
func (j *Join) Holders(inode uint64) []Holder {
	first, ok := j.index.found(inode)
	if !ok || j.twice[first] {
		return nil
	}
	var list []Holder
	j.index.ring(first, func(d uint32) {
		p, s := j.descriptor(d)
		list = append(list, Holder{PID: p.PID, FD: s.FD, Task: s.Task, Name: p.Name})
	})
	return list
}

// Share notes that somebody else has a descriptor on a socket. After [Join.Space].
func (j *Join) Share(inode uint64, holder Holder) {
	first, ok := j.index.found(inode)
	if !ok || j.index.fds[first].facts&factConnection == 0 {
		return
	}
	last := (*Proc)(nil)
	j.index.ring(first, func(d uint32) {
		if p, s := j.descriptor(d); p != last {
			last = p
			if h := p.heldBy(s); h != nil {
				h.Others = append(h.Others, holder)
			}
		}
	})
}

// HasMPTCP reports whether a process holds a connection that is a part of an MPTCP one.
func (j *Join) HasMPTCP() bool {
	for _, p := range j.space.Procs {
		for i := range p.Held {
			if isMPTCP(p.Held[i].Socket) {
				return true
			}
		}
	}
	return false
}

// isMPTCP: the peer's end of such a connection is told by MPTCP's own dump alone; TCP goes on saying ESTAB.
func isMPTCP(s *netlinkss.Socket) bool {
	return s.State == netlinkss.Estab && s.ULP[0] == 'm' && s.ULP.String() == "mptcp"
}

// AddMPTCP takes one socket of a dump of MPTCP. That has no clock of the end: how long ago it came cannot be told, so
// it is a gap and no finding. What is unread, or shut down, is one if nothing has come for the grace.
func (j *Join) AddMPTCP(s *netlinkss.Socket, grace time.Duration) {
	first, ok := j.index.found(uint64(s.Inode))
	if !ok || j.index.fds[first].facts&factMPTCP == 0 {
		return
	}
	switch s.State {
	case netlinkss.CloseWait:
	case netlinkss.Estab, netlinkss.FinWait1, netlinkss.FinWait2, netlinkss.Closing, netlinkss.LastAck:
		if j.mptcp == nil {
			j.mptcp = map[uint32]mptcpWhole{}
		}
		j.mptcp[s.Inode] = mptcpWhole{unread: s.RecvQ > 0, shut: s.State != netlinkss.Estab, grace: grace}
		return
	default:
		return
	}
	j.index.procs(first, func(proc int32) { j.procs[proc].MPTCPEnded++ })
}

// mptcpGaps are of connections on which nothing has come for the grace, and that may leak by what MPTCP alone tells: how long it has been
// so, it does not.
func (j *Join) mptcpGaps(p *Proc) {
	var unread, shut int
	for i := range p.Held {
		h := &p.Held[i]
		whole, ok := j.mptcp[h.Inode]
		if !ok || !isMPTCP(h.Socket) || !hasClocks(h.Socket) || time.Duration(h.Info.LastDataRecv)*time.Millisecond < whole.grace {
			continue
		}
		unread += valueIf(whole.unread)
		shut += valueIf(whole.shut)
	}
	for _, gap := range []Gap{
		{What: "MPTCP connections of " + Subject(p.Process) + " with unread data", Count: unread, Why: "TCP's own records have none of it, and MPTCP's do not tell since when, or how much"},
		{What: "MPTCP connections of " + Subject(p.Process) + " that it has shut down and holds", Count: shut, Why: "TCP's own records still say ESTAB, and MPTCP's do not tell since when"},
	} {
		if gap.Count > 0 {
			p.Gaps = append(p.Gaps, gap)
		}
	}
}

func valueIf(is bool) int {
	if is {
		return 1
	}
	return 0
}

// mptcpWhole is an MPTCP connection, of which TCP tells but one part.
type mptcpWhole struct {
	unread, shut bool
	grace        time.Duration
}
