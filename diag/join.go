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
	space   *Space
	wanted  map[uint64][]owner // by inode
	found   map[uint64]uint64  // inode → cookie
	twice   map[uint64]bool    // inodes of two sockets
	listens map[uint16][]int   // port → indexes into space.Procs
	peers   map[netip.AddrPort][]int
}

// owner is one descriptor.
type owner struct {
	proc int // index into Space.Procs
	fd   int
}

// NewJoin begins the join of a namespace, described by space, with processes that live in it.
func NewJoin(space *Space, processes []*procfd.Process) *Join {
	j := &Join{
		space:  space,
		wanted: make(map[uint64][]owner),
		found:  make(map[uint64]uint64),
		twice:  make(map[uint64]bool),
	}
	for i, p := range processes {
		space.Procs = append(space.Procs, &Proc{Process: p, Space: space, Gaps: processGaps(p)})
		for _, s := range p.Sockets {
			j.wanted[s.Inode] = append(j.wanted[s.Inode], owner{proc: i, fd: s.FD})
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

// Add takes one socket of the dump and keeps it if one of the processes holds it. A socket that the
// dump repeats counts once.
func (j *Join) Add(s *netlinkss.Socket) {
	inode := uint64(s.Inode)
	if inode == 0 {
		return
	}
	owners, ok := j.wanted[inode]
	if !ok {
		return
	}
	if cookie, again := j.found[inode]; again {
		if cookie != s.Cookie {
			j.twice[inode] = true
		}
		return
	}
	j.found[inode] = s.Cookie
	var last *HeldSocket
	lastProc := -1
	for _, o := range owners {
		if o.proc == lastProc { // owners come process by process
			last.FDs = append(last.FDs, o.fd)
			continue
		}
		p := j.space.Procs[o.proc]
		p.Held = append(p.Held, HeldSocket{Socket: *s, FDs: []int{o.fd}, Keepalive: KeepaliveOf(s), Direction: DirectionOf(s)})
		last, lastProc = &p.Held[len(p.Held)-1], o.proc
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
			if _, ok := j.found[s.Inode]; !ok {
				list = append(list, Unlisted{Proc: p, SocketFD: s})
			}
		}
	}
	return list
}

// Dark records a descriptor on a TCP socket that is listed nowhere.
func (j *Join) Dark(u Unlisted, d DarkSocket) {
	d.FD, d.Inode = u.FD, u.Inode
	if d.Alive == Dead && d.Info.SegsIn > 0 {
		d.Direction = directionOfCounters(&d.Info)
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

// AddTimeWait takes one socket in TIME-WAIT, after all other states were added.
func (j *Join) AddTimeWait(s *netlinkss.Socket) {
	if j.listens == nil {
		j.indexPorts()
	}
	j.space.TimeWait++
	byPort, byPeer := j.listens[s.Local.Port()], j.peers[netlinkss.Unmap(s.Peer)]
	for _, i := range byPort {
		j.space.Procs[i].TimeWait++
	}
	for _, i := range byPeer {
		if !slices.Contains(byPort, i) {
			j.space.Procs[i].TimeWait++
		}
	}
}

// indexPorts notes which process listens where and is connected to whom.
func (j *Join) indexPorts() {
	j.listens = make(map[uint16][]int)
	j.peers = make(map[netip.AddrPort][]int)
	for i, p := range j.space.Procs {
		ports := p.Listens()
		for port := range ports {
			j.listens[port] = append(j.listens[port], i)
		}
		for k := range p.Held {
			h := &p.Held[k]
			if h.State != netlinkss.Listen && !ports[h.Local.Port()] {
				j.peer(h.Peer, i)
			}
		}
		for k := range p.Dark {
			j.peer(p.Dark[k].Peer, i)
		}
	}
}

func (j *Join) peer(peer netip.AddrPort, proc int) {
	if !peer.IsValid() || peer.Port() == 0 {
		return
	}
	peer = netlinkss.Unmap(peer)
	if list := j.peers[peer]; !slices.Contains(list, proc) {
		j.peers[peer] = append(list, proc)
	}
}

// Space ends the join.
func (j *Join) Space() *Space {
	for _, p := range j.space.Procs {
		ports := p.Listens()
		p.Held = slices.DeleteFunc(p.Held, func(h HeldSocket) bool { return j.twice[uint64(h.Inode)] })
		for i := range p.Held {
			if h := &p.Held[i]; h.State != netlinkss.Listen {
				h.Direction = settleDirection(h.Direction, h.Local.Port(), ports)
			}
		}
		for i := range p.Dark {
			d := &p.Dark[i]
			d.Direction = settleDirection(d.Direction, d.Local.Port(), ports)
		}
		slices.SortFunc(p.Held, func(a, b HeldSocket) int { return a.FD() - b.FD() })
		slices.SortFunc(p.Dark, func(a, b DarkSocket) int { return a.FD - b.FD })
		if p.Foreign > 0 {
			p.Gaps = append(p.Gaps, Gap{
				What: "sockets of " + Subject(p.Process), Count: p.Foreign,
				Why: "they belong to another network namespace than the process, which was not read",
			})
		}
	}
	if n := len(j.twice); n > 0 {
		j.space.Gaps = append(j.space.Gaps, Gap{
			What: "sockets", Count: n, Why: "another socket has the same inode number (the kernel's counter went round), so the holder is not certain",
		})
	}
	return j.space
}

// settleDirection lets a listening port decide where the counters could not.
func settleDirection(d Direction, port uint16, listens map[uint16]bool) Direction {
	if d == DirectionUnknown && listens[port] {
		return Accepted
	}
	return d
}

// FoundAsked records a socket that the dump passed over and that an exact look-up did not show either;
// the socket itself said what it is. Its timer is not known.
func (j *Join) FoundAsked(s *netlinkss.Socket, keepalive bool) {
	j.Add(s)
	for _, o := range j.wanted[uint64(s.Inode)] {
		held := j.space.Procs[o.proc].Held
		if n := len(held); n > 0 && held[n-1].Cookie == s.Cookie {
			held[n-1].Ask(keepalive)
		}
	}
}
