package diag

import (
	"iter"
	"slices"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// The keys of [Diff.Suspects], which tell a leak where there is no diagnosis. Those without [Side.NoInodes] are held by somebody.
const (
	SuspectCloseWait = "close_wait_held"
	SuspectFinWait2  = "fin_wait_2_held"
	SuspectIdle      = "estab_idle_no_keepalive" // for [Diff.IdleLimit]
)

// sideCount is a side while its sockets are counted.
type sideCount struct {
	*Side
	sockets iter.Seq[*netlinkss.Socket]
	whole   bool
	blind   bool // nothing could be read of any process, and there is nothing else
	at      time.Time
	host    procfd.Host
	uptime  time.Duration

	matrix  Matrix
	usual   Usual           // counted by the diagnosis, and not kept
	listens map[uint16]bool // ports on which anything listens

	closeWait, finWait2, idle int // the suspects
	noClocks                  int // of them that have no idle times, and may be idle
	connections, noCookie     int
	undirected                int // connections that cannot be told to be accepted or opened
}

func newSideCount(s *Side) *sideCount {
	c := &sideCount{Side: s, sockets: s.Sockets, whole: s.Whole && s.Sockets != nil, at: s.At, listens: map[uint16]bool{}}
	if r := s.Result; r != nil {
		c.host, c.uptime = r.Snapshot.Host, r.Snapshot.Host.Uptime
		if c.at.IsZero() {
			c.at = r.Snapshot.At
		}
		for _, p := range r.Procs() {
			for port := range p.Listens() {
				c.listens[port] = true
			}
		}
	}
	if s.Sockets == nil {
		c.countKept()
	}
	return c
}

// countKept has the sockets of the diagnosis stand for the side.
func (c *sideCount) countKept() {
	procs := c.Result.Procs()
	c.whole, c.sockets = false, c.kept
	c.blind = len(procs) > 0 && !slices.ContainsFunc(procs, func(p *Proc) bool { return !p.unread() })
}

// kept yields what the diagnosis has kept, each socket once, and counts what it has not.
func (c *sideCount) kept(yield func(*netlinkss.Socket) bool) {
	seen := map[uint64]bool{}
	for _, p := range c.Result.Procs() {
		c.usual.add(p.Usual)
		for i := range p.Held {
			h := &p.Held[i]
			if h.Counted || len(h.Others) > 0 && seen[uint64(h.Inode)] {
				continue
			}
			if len(h.Others) > 0 {
				seen[uint64(h.Inode)] = true
			}
			if !yield(h.Socket) {
				return
			}
		}
	}
}

// total is how many sockets were counted.
func (c *sideCount) total() int { return c.matrix.Total() + c.usual.Timer + c.usual.NoTimer }

// count takes a socket of a side into its counts.
func (c *comparison) count(side int, s *netlinkss.Socket) {
	n := c.sides[side]
	n.matrix.add(s)
	if s.Timer == netlinkss.TimerUnknown {
		n.NoTimers = true
	}
	switch {
	case s.State == netlinkss.Listen:
		n.listens[s.Local.Port()] = true
		return
	case !lasting(s):
		if s.State != netlinkss.TimeWait && s.Timer != netlinkss.TimerTimeWait && s.Peer.Port() != 0 {
			c.peers.add(side, s, n.directionOf(s))
		}
		return
	}
	n.connections++
	if s.Cookie == 0 {
		n.noCookie++
	}
	d := n.directionOf(s)
	if d == DirectionUnknown && s.InfoLen() < netlinkss.InfoHasBytes {
		n.undirected++
	}
	c.peers.add(side, s, d)
	if s.Inode != 0 || n.NoInodes {
		n.suspect(s, c.IdleLimit)
	}
}

// lasting: a connection that may last until a process closes it, and no mere record of one.
func lasting(s *netlinkss.Socket) bool {
	return (isConnection(s.State) || s.State == netlinkss.SynSent) && s.Timer != netlinkss.TimerTimeWait
}

// directionOf tells the direction by the counters, and without them by who listens.
func (c *sideCount) directionOf(s *netlinkss.Socket) Direction {
	if d := DirectionOf(s); d != DirectionUnknown {
		return d
	}
	switch {
	case s.State == netlinkss.SynSent:
		return Connected
	case s.State == netlinkss.SynRecv || c.listens[s.Local.Port()]:
		return Accepted
	}
	return DirectionUnknown
}

// suspect counts what may be leaked.
func (c *sideCount) suspect(s *netlinkss.Socket, limit time.Duration) {
	switch s.State {
	case netlinkss.CloseWait:
		c.closeWait++
	case netlinkss.FinWait2:
		c.finWait2++
	case netlinkss.Estab:
		if s.SendQ > 0 || s.Timer != netlinkss.TimerOff && s.Timer != netlinkss.TimerDelack {
			return
		}
		switch idle := Idle(s, c.uptime); {
		case !idle.Known():
			c.noClocks++
		case idle.AtLeast(limit):
			c.idle++
		}
	}
}

// lacks are the gaps that the sockets themselves show.
func (c *sideCount) lacks() (gaps []Gap) {
	judged := c.Result != nil // which tells leaks without these
	add := func(n int, what, why string) {
		if n > 0 {
			gaps = append(gaps, Gap{What: what, Count: n, Why: why, Minor: judged})
		}
	}
	add(c.noClocks, "idle times of connections", "the list has no tcp_info of them")
	if c.NoTimers {
		add(c.connections, "timers and keepalive of connections", "the list does not tell them")
	}
	if c.NoInodes {
		add(c.connections, "whether a process holds a connection", "the list has no inodes")
	}
	if n := c.usual.Timer + c.usual.NoTimer; n > 0 {
		gaps = append(gaps, Gap{
			What: "peers of connections in ESTAB", Count: n, Minor: true,
			Why: "something had moved on them within the grace, so they were counted and not kept",
		})
	}
	return gaps
}

// partial reports whether a gap may hide a leak.
func partial(gaps []Gap) bool {
	for _, g := range gaps {
		if !g.Minor {
			return true
		}
	}
	return false
}
