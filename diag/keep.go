package diag

import (
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// A host may have a million connections of which nothing is to be said. They are counted, process by process, and not kept; the
// fewer are kept, the less memory a look takes. A socket that a rule may have a word to say of is kept in full. It is usual, and
// counted alone, when all of this holds:
//
//   - It is ESTAB: close-wait, fin-wait-2, connect-stuck, accept-queue and who listens where are about other states, and so is
//     half-closed-pair where it tells who has the other end.
//   - Recv-Q and Send-Q are 0: else it is a matter of unread-data or stalled-send, and a second look may have to find it again.
//   - Its TCP_INFO has the clocks: else nothing can be proved of it, which is a gap.
//   - Something has moved within the idle threshold of its namespace: else it is a matter of idle-no-keepalive, whatever its keepalive,
//     which may have to be asked, and whoever has the other end.
//   - Something has moved within the grace, or since its process began: else it may be inherited and left ([MayBeLeft]).
//   - Nobody else in the join has a descriptor on it: inherited-fd and duplicate-fd tell of those.
//   - It is of the process's own namespace, and no part of an MPTCP connection.
//
// What is told of a usual socket yet needs no more than the index and a number: [Usual] of the states, a [peerSet] of who is
// concerned by TIME-WAIT and orphans, [towardPeers] of busy peers. What turns out to be needed later is taken from a further
// dump: see [Recall]. Two things may differ from what keeping everything tells, both in who is concerned by TIME-WAIT and orphans, and
// by a few: the peer of a socket counts yet whose inode turns out to be another's, too, and so do those of connections that came in on a
// port on which their process began to listen while it was looked at.

// Usual are the connections in ESTAB that a process holds and of which there is nothing to say.
type Usual struct {
	Timer, NoTimer int  // with a timer running, and without
	Quiet          bool // on some of them nothing has moved for the grace
}

func (u *Usual) add(v Usual) {
	u.Timer += v.Timer
	u.NoTimer += v.NoTimer
	u.Quiet = u.Quiet || v.Quiet
}

// sift tells what is usual.
type sift struct {
	grace, idle time.Duration
	uptime      time.Duration // of the host, before the first socket was read
}

// Sift has the join keep only what a rule may have a word to say of, before the first [Join.Add]. uptime is the host's, before the
// sockets are read. Listeners must come before all others, and what is added must be all that [netlinkss.AttrInfo] gives.
func (j *Join) Sift(t Thresholds, uptime time.Duration) {
	idle, _ := t.IdleIn(j.space)
	j.sift = &sift{grace: t.Grace, idle: idle, uptime: uptime}
}

// usual reports whether there is nothing to say of a connection that is held by p alone, and what is remembered of it.
// read is the host's uptime when s was read at the earliest, 0: not told.
func (f *sift) usual(p *Proc, s *netlinkss.Socket, read time.Duration) (facts, bool) {
	if s.State != netlinkss.Estab || s.RecvQ|s.SendQ != 0 || !hasClocks(s) || isMPTCP(s) {
		return 0, false
	}
	known := factConnection
	if s.Timer == netlinkss.TimerOff {
		known |= factNoTimer
	}
	more, usual := f.usualSince(p, time.Duration(min(s.Info.LastDataSent, s.Info.LastDataRecv))*time.Millisecond, read)
	return known | more, usual
}

// usualSince is usual as far as it depends on how long ago data went either way.
func (f *sift) usualSince(p *Proc, idle, read time.Duration) (facts, bool) {
	known := f.quiet(idle)
	return known, idle < f.idle && (known == 0 || idle+2*clockTick < f.began(p, read))
}

// quiet is what is remembered of how long nothing has moved.
func (f *sift) quiet(idle time.Duration) facts {
	if idle < f.grace {
		return 0
	}
	return factQuiet
}

// began is how long the process had been running when a socket was read, at the most as long as it really had.
func (f *sift) began(p *Proc, read time.Duration) time.Duration {
	return min(p.Uptime, p.At(f.uptime)) + max(read-f.uptime, 0)
}

// countUsual counts a socket that is not kept, for the one process that holds it.
func (u *Usual) countUsual(f facts) {
	if f&factNoTimer != 0 {
		u.NoTimer++
	} else {
		u.Timer++
	}
	u.Quiet = u.Quiet || f&factQuiet != 0
}
