package diag

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// mixed is a namespace by chance: a bit of everything that processes do with sockets, near every threshold.
type mixed struct {
	*rand.Rand
	uptime  time.Duration
	procs   []*procfd.Process
	kin     *procfd.Process
	dump    []*netlinkss.Socket
	dark    map[uint64]DarkSocket
	sharing []uint64 // inodes that strangers have
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func newMixed(seed uint64) *mixed {
	c := &mixed{Rand: rand.New(rand.NewPCG(seed, 7)), uptime: 10 * day, dark: map[uint64]DarkSocket{}}
	for pid := 40; pid < 40+1+c.IntN(4); pid++ {
		c.procs = append(c.procs, c.process(pid))
	}
	if c.IntN(2) == 0 {
		c.kin = c.process(90)
	}
	inode := uint32(1000)
	for range 30 + c.IntN(120) {
		inode++
		c.socket(inode)
	}
	if c.IntN(2) == 0 {
		inode += uint32(c.proxy(inode))
	}
	for range c.IntN(60) {
		s := sock(pick(c.Rand, netlinkss.TimeWait, netlinkss.TimeWait, netlinkss.FinWait1, netlinkss.LastAck, netlinkss.Estab, netlinkss.CloseWait), c.address(), c.address())
		inode++
		s.Cookie = uint64(inode)
		c.dump = append(c.dump, s)
	}
	c.Shuffle(len(c.dump), func(i, k int) { c.dump[i], c.dump[k] = c.dump[k], c.dump[i] })
	return c
}

func (c *mixed) process(pid int) *procfd.Process {
	return &procfd.Process{
		PID: pid, Start: 1, Name: fmt.Sprint("app", pid), PPID: pick(c.Rand, 1, 30), Open: 50, SoftLimit: 1024,
		Uptime: pick(c.Rand, 0, 30*time.Second, 3*time.Minute, 3*time.Hour, 5*day),
	}
}

// address is one of a few, so that many connections share a peer, or a listener's.
func (c *mixed) address() string {
	return fmt.Sprintf("10.0.0.%d:%d", 1+c.IntN(3), pick(c.Rand, 80, 5432, 40000+c.IntN(10), 1024+c.IntN(60000)))
}

// all are the processes that may hold something.
func (c *mixed) all() []*procfd.Process {
	if c.kin != nil {
		return append([]*procfd.Process{c.kin}, c.procs...)
	}
	return c.procs
}

func (c *mixed) socket(inode uint32) {
	state := pick(c.Rand, netlinkss.CloseWait, netlinkss.FinWait2, netlinkss.FinWait1, netlinkss.SynSent, netlinkss.Listen, netlinkss.LastAck)
	if c.IntN(5) > 0 {
		state = netlinkss.Estab
	}
	s := sock(state, c.address(), c.address())
	s.Inode, s.Cookie = inode, uint64(inode)
	s.Timer = pick(c.Rand, netlinkss.TimerOff, netlinkss.TimerOff, netlinkss.TimerKeepalive, netlinkss.TimerOn, netlinkss.TimerPersist)
	if c.IntN(8) == 0 {
		s.RecvQ, s.SendQ = uint32(c.IntN(2)*100), uint32(c.IntN(3))
	}
	if state == netlinkss.Listen {
		s.Peer, s.RecvQ = netip.MustParseAddrPort("0.0.0.0:0"), uint32(c.IntN(3))
	}
	info := withTraffic(netlinkss.TCPInfo{}, c.IntN(2) == 0)
	if c.IntN(3) == 0 { // of many connections, some carry what others do
		info.BytesReceived, info.BytesSent = uint64(300+c.IntN(2)), uint64(300+c.IntN(2))
		info.BytesAcked = info.BytesSent + uint64(c.IntN(2))
	}
	ms := func() uint32 { return uint32(c.clock() / time.Millisecond) }
	info.LastDataSent, info.LastDataRecv, info.LastAckRecv = ms(), ms(), ms()
	if c.IntN(2) == 0 {
		info.LastDataRecv, info.LastAckRecv = info.LastDataSent, info.LastDataSent
	}
	setInfo(s, info, pick(c.Rand, wholeInfo, wholeInfo, wholeInfo, wholeInfo, netlinkss.InfoHasClocks, 0))
	if c.IntN(30) == 0 {
		copy(s.ULP[:], "mptcp")
	}
	c.hold(uint64(inode), s)
}

// proxy has the first process be one, with a pair of legs for each client; of some, one has ended.
func (c *mixed) proxy(inode uint32) int {
	pairs := 2 + c.IntN(10)
	c.procs[0].Uptime = 5 * day
	for range pairs {
		quiet := c.clock() + time.Duration(c.IntN(20_000))*time.Millisecond
		read, written := uint64(200+c.IntN(20)), uint64(1000+c.IntN(20))
		leg := func(local, peer string, sent, received uint64, ended bool) {
			inode++
			s := estab(inode, local, peer)
			i := quietFor(s.Info, quiet)
			i.BytesReceived, i.BytesSent, i.BytesAcked = received, sent, sent
			if local != "10.0.0.1:80" {
				i.BytesAcked++
			}
			if ended {
				s.State = netlinkss.CloseWait
				i.BytesReceived++
			}
			s.Timer = pick(c.Rand, netlinkss.TimerOff, netlinkss.TimerKeepalive)
			setInfo(s, i, wholeInfo)
			c.procs[0].Sockets = append(c.procs[0].Sockets, procfd.SocketFD{FD: 3 + len(c.procs[0].Sockets), Inode: uint64(inode)})
			c.dump = append(c.dump, s)
		}
		ended := c.IntN(4)
		leg("10.0.0.1:80", c.address(), written, read, ended == 0)
		leg(fmt.Sprintf("10.0.0.1:%d", 40000+inode%10), "10.0.0.9:5432", read, written, ended == 1)
	}
	return 2 * pairs
}

// clock is near a threshold as a rule.
func (c *mixed) clock() time.Duration {
	near := pick(c.Rand, time.Millisecond, time.Minute, 2*time.Minute, 3*time.Minute, 2*time.Hour, 3*time.Hour, 5*day)
	return max(near+time.Duration(c.IntN(5)-2)*50*time.Millisecond, 0)
}

// hold gives the socket to processes, once or more, and lists it, or has it be dark.
func (c *mixed) hold(inode uint64, s *netlinkss.Socket) {
	for range 1 + c.IntN(30)/29 + c.IntN(20)/19 {
		p := pick(c.Rand, c.all()...)
		p.Sockets = append(p.Sockets, procfd.SocketFD{FD: 3 + len(p.Sockets), Inode: inode, Task: c.IntN(25) / 24 * 99})
		p.Open++
	}
	switch {
	case c.IntN(12) == 0:
		c.dark[inode] = DarkSocket{Cookie: s.Cookie, Alive: pick(c.Rand, Dead, NeverConnected, AliveUnknown), Local: s.Local, Peer: s.Peer, Info: s.Info}
		return
	case c.IntN(40) == 0:
		c.sharing = append(c.sharing, inode)
	}
	c.dump = append(c.dump, s)
	if c.IntN(40) == 0 {
		again := s.Clone() // the dump repeats it
		if s.State != netlinkss.Estab && s.State != netlinkss.Listen {
			again.Cookie += uint64(c.IntN(2)) << 32 // or another has that inode
		}
		c.dump = append(c.dump, again)
	}
}

// look joins it; with a sieve, only what matters is kept.
func (c *mixed) look(sieve *sieve) *Space {
	space := &Space{Sysctls: procfd.NetSysctls{KeepaliveTime: 2 * time.Hour, PortLow: 40000, PortHigh: 40009}}
	procs := make([]*procfd.Process, 0, len(c.procs))
	for _, p := range c.procs {
		clone := *p
		procs = append(procs, &clone)
	}
	j := NewJoin(space, procs)
	if c.kin != nil {
		clone := *c.kin
		j.Kin(j.procs[0], &clone)
	}
	if sieve != nil {
		sieve.add(j, c.dump, 0)
	} else {
		for _, s := range c.dump {
			j.Add(s)
		}
	}
	for _, u := range j.Unlisted() {
		j.Dark(u, c.dark[u.Inode])
	}
	if sieve != nil {
		sieve.recall(j, c.dump, &fixtureSpace{})
	}
	j.Space()
	if r := j.Shared(c.sharing); r != nil {
		for _, s := range c.dump {
			r.Add(s)
		}
		r.Settle()
	}
	for i, inode := range c.sharing {
		if j.IsConnection(inode) {
			j.Share(inode, Holder{PID: 200 + i, FD: 7, Name: "stranger"})
		}
	}
	if busy := j.Busy(); busy != nil {
		for _, s := range c.dump {
			busy.Add(s)
		}
		busy.Settle()
	}
	for _, p := range j.procs {
		p.Alone, p.Parent = true, "/bin/parent"
		for i := range p.Held {
			p.Held[i].Watch = procfd.Abandoned
		}
		if sieve != nil {
			sieve.usual += p.Usual.Timer + p.Usual.NoTimer
		}
	}
	return space
}

// SiftedAtRandom is what a namespace by chance shows in two looks, with all sockets kept, and with what is usual counted. counted is how
// many that was.
func SiftedAtRandom(t testing.TB, seed uint64) (whole, sifted *Result, counted int) {
	t.Helper()
	thresholds := Thresholds{Grace: DefaultGrace, Settle: DefaultSettle}
	s := &sieve{thresholds: thresholds, uptime: 10 * day}
	judge := func(s *sieve) *Result {
		c := newMixed(seed)
		h := &History{}
		at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		for range 2 {
			h.Add(&Snapshot{At: at, Host: procfd.Host{Uptime: c.uptime}, Spaces: []*Space{c.look(s)}})
			at = at.Add(DefaultSettle)
		}
		return Check(h, thresholds, Rules())
	}
	whole, sifted = judge(nil), judge(s)
	if a, b := resultText(whole), resultText(sifted); a != b {
		t.Errorf("seed %d: %s", seed, FirstDifference(b, a))
	}
	return whole, sifted, s.usual
}
