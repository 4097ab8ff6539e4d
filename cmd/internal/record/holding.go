package record

import (
	"math"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// procRow is what moves of a process.
type procRow struct {
	pid        int32
	start      uint64
	who, loose uint32 // words
	space      uint32 // from 1 on; 0: none
	rank       int32  // among the processes of the space; -1: it is kin alone
	over       int64  // ns that its uptime is above the sample's less its start
	rss, pss   uint64
	cpu        int64 // ns
	threads, open, pipePairs,
	usualTimer, usualNoTimer,
	timeWait, orphans, mptcpEnded, foreign int32
	kinds       [procfd.NumKinds]int32
	state, flag uint8
	again       uint8 // of processes with the same number and start, which one
}

// userTick is the unit of [procfd.Process.Start].
const userTick = 10 * time.Millisecond

// Bits of a process's row.
const (
	procQuiet  = 1 << iota // [diag.Usual.Quiet]
	procUnlike             // [diag.Proc.Unlike]
)

func newProcTable() *table[procRow] {
	type r = procRow
	cols := []column[r]{
		number("pid", func(p *r) *int32 { return &p.pid }),
		number("start", func(p *r) *uint64 { return &p.start }),
		number("who", func(p *r) *uint32 { return &p.who }),
		number("loose", func(p *r) *uint32 { return &p.loose }),
		number("space", func(p *r) *uint32 { return &p.space }),
		number("rank", func(p *r) *int32 { return &p.rank }),
		number("uptime_over", func(p *r) *int64 { return &p.over }),
		number("rss", func(p *r) *uint64 { return &p.rss }),
		number("pss", func(p *r) *uint64 { return &p.pss }),
		number("cpu", func(p *r) *int64 { return &p.cpu }),
		number("threads", func(p *r) *int32 { return &p.threads }),
		number("open", func(p *r) *int32 { return &p.open }),
		number("pipe_pairs", func(p *r) *int32 { return &p.pipePairs }),
		number("usual_timer", func(p *r) *int32 { return &p.usualTimer }),
		number("usual_no_timer", func(p *r) *int32 { return &p.usualNoTimer }),
		number("time_wait", func(p *r) *int32 { return &p.timeWait }),
		number("orphans", func(p *r) *int32 { return &p.orphans }),
		number("mptcp_ended", func(p *r) *int32 { return &p.mptcpEnded }),
		number("foreign", func(p *r) *int32 { return &p.foreign }),
		number("state", func(p *r) *uint8 { return &p.state }),
		number("quiet", func(p *r) *uint8 { return &p.flag }),
		number("same", func(p *r) *uint8 { return &p.again }),
	}
	for k := range procfd.NumKinds {
		cols = append(cols, number("fd_"+k.String(), func(p *r) *int32 { return &p.kinds[k] }))
	}
	return &table[r]{name: "procs", cols: cols}
}

// int32Of is a count that fits; a larger one is the largest.
func int32Of(n int) int32 { return int32(min(max(n, math.MinInt32), math.MaxInt32)) }

func procRowOf(p *diag.Proc, up time.Duration) procRow {
	r := procRow{
		pid: int32Of(p.PID), start: p.Start,
		rss: p.RSS, pss: p.PSS, cpu: int64(p.CPU), over: int64(p.Uptime - up + time.Duration(p.Start)*userTick),
		threads: int32Of(p.Threads), open: int32Of(p.Open), pipePairs: int32Of(p.PipePairs),
		usualTimer: int32Of(p.Usual.Timer), usualNoTimer: int32Of(p.Usual.NoTimer),
		timeWait: int32Of(p.TimeWait), orphans: int32Of(p.Orphans), mptcpEnded: int32Of(p.MPTCPEnded), foreign: int32Of(p.Foreign),
		state: p.State, flag: uint8(valueIf(p.Usual.Quiet, procQuiet) | valueIf(p.Unlike, procUnlike)),
	}
	for k, n := range p.ByKind {
		r.kinds[k] = int32Of(n)
	}
	return r
}

func sameProc(a, b *procRow) bool { return a.pid == b.pid && a.start == b.start && a.again == b.again }

func (r *procRow) hash() uint32 { return mix(uint64(r.pid)<<32 ^ r.start<<8 ^ uint64(r.again)) }

func (r *procRow) restore(p *diag.Proc, up time.Duration) {
	p.RSS, p.PSS, p.CPU = r.rss, r.pss, time.Duration(r.cpu)
	p.Uptime = time.Duration(r.over) + up - time.Duration(p.Start)*userTick
	p.Threads, p.Open, p.PipePairs = int(r.threads), int(r.open), int(r.pipePairs)
	p.Usual = diag.Usual{Timer: int(r.usualTimer), NoTimer: int(r.usualNoTimer), Quiet: r.flag&procQuiet != 0}
	p.Unlike = r.flag&procUnlike != 0
	p.TimeWait, p.State = int(r.timeWait), r.state
	p.Orphans, p.MPTCPEnded, p.Foreign = int(r.orphans), int(r.mptcpEnded), int(r.foreign)
	for k, n := range r.kinds {
		p.ByKind[k] = int(n)
	}
}

// heldRow is a process's hold on a socket.
type heldRow struct {
	proc, sock, end uint32 // slots; end from 1 on, 0: none
	fd, task        int32
	flags           uint32
	space           uint32 // from 1 on; 0: the process's own
	read            int32  // ms behind the sample's uptime, at the earliest
	more            uint32 // word
}

// notTold stands for a reading of which it is not known when it was: at any time.
const notTold = math.MinInt32

// Fields of heldRow.flags, by their lowest bits. Each is two wide, and one where there are but yes and no.
const (
	flagKeepalive   = 0
	flagAsked       = 2
	flagDirection   = 3
	flagTickets     = 5
	flagCloseOnExec = 6
	flagWatch       = 8
	flagLate        = 10
	flagCounted     = 11
	flagPassing     = 12
)

func newHeldTable() *table[heldRow] {
	type r = heldRow
	return &table[r]{name: "held", cols: []column[r]{
		number("proc", func(h *r) *uint32 { return &h.proc }),
		number("socket", func(h *r) *uint32 { return &h.sock }),
		number("fd", func(h *r) *int32 { return &h.fd }),
		number("task", func(h *r) *int32 { return &h.task }),
		number("flags", func(h *r) *uint32 { return &h.flags }),
		number("space", func(h *r) *uint32 { return &h.space }),
		number("read", func(h *r) *int32 { return &h.read }),
		number("end", func(h *r) *uint32 { return &h.end }),
		number("more", func(h *r) *uint32 { return &h.more }),
	}}
}

func (r *heldRow) hash() uint32 {
	return mix(uint64(r.proc)<<48 ^ uint64(uint32(r.task))<<24 ^ uint64(uint32(r.fd))<<8 ^ uint64(r.sock)<<32)
}

func sameHeld(a, b *heldRow) bool {
	return a.proc == b.proc && a.sock == b.sock && a.fd == b.fd && a.task == b.task
}

func heldFlags(h *diag.HeldSocket, late bool) uint32 {
	bit := func(b bool, at int) uint32 { return uint32(valueIf(b, 1)) << at }
	return uint32(h.Keepalive)<<flagKeepalive | bit(h.Asked, flagAsked) | uint32(h.Direction)<<flagDirection | bit(h.Tickets, flagTickets) |
		uint32(h.CloseOnExec)<<flagCloseOnExec | uint32(h.Watch)<<flagWatch | bit(late, flagLate) | bit(h.Counted, flagCounted) | bit(h.Passing, flagPassing)
}

// restore gives back what the row itself has.
func (r *heldRow) restore(h *diag.HeldSocket, up time.Duration) {
	two := func(at int) uint8 { return uint8(r.flags>>at) & 3 }
	one := func(at int) bool { return r.flags>>at&1 == 1 }
	h.Task = int(r.task)
	h.Keepalive, h.Direction = diag.Keepalive(two(flagKeepalive)), diag.Direction(two(flagDirection))
	h.CloseOnExec, h.Watch = diag.Flag(two(flagCloseOnExec)), procfd.Watch(two(flagWatch))
	h.Asked, h.Tickets, h.Counted, h.Passing = one(flagAsked), one(flagTickets), one(flagCounted), one(flagPassing)
	from := time.Duration(0)
	if r.read != notTold {
		from = up.Truncate(time.Millisecond) + time.Duration(r.read)*time.Millisecond
	}
	h.SetReading(from, one(flagLate))
}

// readOf is when a socket was read, as heldRow has it.
func readOf(from, up time.Duration) int32 {
	ms := int64(from/time.Millisecond) - int64(up/time.Millisecond)
	if from <= 0 || ms <= notTold || ms > math.MaxInt32 {
		return notTold
	}
	return int32(ms)
}

// darkRow is a descriptor on a socket that is listed nowhere; what that says of itself is a row of the sockets.
type darkRow struct {
	proc, sock       uint32
	fd, task         int32
	inode            uint64
	alive, direction uint8
	told             uint8
	errno            uint32
}

func newDarkTable() *table[darkRow] {
	type r = darkRow
	return &table[r]{name: "dark", cols: []column[r]{
		number("proc", func(d *r) *uint32 { return &d.proc }),
		number("socket", func(d *r) *uint32 { return &d.sock }),
		number("fd", func(d *r) *int32 { return &d.fd }),
		number("task", func(d *r) *int32 { return &d.task }),
		number("inode", func(d *r) *uint64 { return &d.inode }),
		number("alive", func(d *r) *uint8 { return &d.alive }),
		number("direction", func(d *r) *uint8 { return &d.direction }),
		number("told", func(d *r) *uint8 { return &d.told }),
		number("errno", func(d *r) *uint32 { return &d.errno }),
	}}
}

func (r *darkRow) hash() uint32 {
	return mix(uint64(r.proc)<<48 ^ uint64(uint32(r.fd))<<8 ^ r.inode<<24 ^ uint64(uint32(r.task)))
}

func sameDark(a, b *darkRow) bool {
	return a.proc == b.proc && a.fd == b.fd && a.task == b.task && a.inode == b.inode
}

// wholeInfo is the length of a tcp_info that has all fields.
const wholeInfo = math.MaxInt32

// darkSocket is what a dark socket says of itself, as the rows of others have it. The state is one that runs clocks.
func darkSocket(d *diag.DarkSocket) *netlinkss.Socket {
	s := &netlinkss.Socket{State: netlinkss.Unconn, Cookie: d.Cookie, Local: d.Local, Peer: d.Peer, Info: d.Info}
	s.SetPresence(netlinkss.AttrInfo, wholeInfo)
	return s
}

func (r *socketRow) set(s *netlinkss.Socket, kind uint32, z *zones, n now) (err error) {
	if r.local, err = z.endpoint(s.Local); err != nil {
		return err
	}
	if r.peer, err = z.endpoint(s.Peer); err != nil {
		return err
	}
	i := &s.Info
	r.cookie, r.trait, r.inode, r.recvQ, r.sendQ = s.Cookie, kind, s.Inode, s.RecvQ, s.SendQ
	r.state, r.timer, r.retrans, r.infoState = uint8(s.State), uint8(s.Timer), s.Retrans, i.State
	r.retransmits, r.probes, r.backoff = i.Retransmits, i.Probes, i.Backoff
	r.bytesReceived, r.bytesSent, r.bytesRetrans = i.BytesReceived, i.BytesSent, i.BytesRetrans
	r.ackedOver = int64(i.BytesAcked - (i.BytesSent - i.BytesRetrans))
	r.rto, r.notSent, r.sndWnd, r.totalRetrans = i.RTO, i.NotSentBytes, i.SndWnd, i.TotalRetrans
	r.dataIn, r.dataOut = i.DataSegsIn, i.DataSegsOut
	r.segsInOver, r.segsOutOver = int32(i.SegsIn-i.DataSegsIn), int32(i.SegsOut-i.DataSegsOut)
	r.setClocks(s, n)
	return nil
}

func (r *socketRow) restore(s *netlinkss.Socket, t *trait, z *zones, n now) {
	t.restore(s)
	s.Local, s.Peer = z.addrPort(r.local), z.addrPort(r.peer)
	i := &s.Info
	s.Cookie, s.Inode, s.RecvQ, s.SendQ = r.cookie, r.inode, r.recvQ, r.sendQ
	s.State, s.Timer, s.Retrans, i.State = netlinkss.State(r.state), netlinkss.Timer(r.timer), r.retrans, r.infoState
	i.Retransmits, i.Probes, i.Backoff = r.retransmits, r.probes, r.backoff
	i.BytesReceived, i.BytesSent, i.BytesRetrans = r.bytesReceived, r.bytesSent, r.bytesRetrans
	i.BytesAcked = uint64(r.ackedOver) + i.BytesSent - i.BytesRetrans
	i.RTO, i.NotSentBytes, i.SndWnd, i.TotalRetrans = r.rto, r.notSent, r.sndWnd, r.totalRetrans
	i.DataSegsIn, i.DataSegsOut = r.dataIn, r.dataOut
	i.SegsIn, i.SegsOut = i.DataSegsIn+uint32(r.segsInOver), i.DataSegsOut+uint32(r.segsOutOver)
	r.restoreClocks(s, n)
}
