package screen

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// noon is when the first of the looks of these tests is taken.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// made is a process of a made-up look, with its sockets.
type made struct {
	*procfd.Process
	sockets []*netlinkss.Socket
}

func madeProcess(pid int, name string) *made {
	return &made{Process: &procfd.Process{
		PID: pid, Start: uint64(pid), Name: name, Args: []string{"node", "proxy.js", "--port", "8080"}, Runtime: "node", Uptime: 30 * time.Hour,
		RSS: 212 << 20, Netns: 1, SoftLimit: 20000,
	}}
}

// hold opens a descriptor on a socket that has been quiet for so long.
func (m *made) hold(fd int, state netlinkss.State, local, peer netip.AddrPort, quiet time.Duration) *netlinkss.Socket {
	ms := uint32(quiet.Milliseconds())
	info := netlinkss.TCPInfo{
		LastDataSent: ms, LastDataRecv: ms, LastAckRecv: ms, SegsIn: 4, DataSegsIn: 1, DataSegsOut: 1, BytesSent: 100, BytesAcked: 100, BytesReceived: 50,
	}
	b, err := binary.Append(nil, binary.NativeEndian, &info)
	if err != nil {
		panic(err) // TCPInfo has fields of fixed size alone
	}
	inode := uint32(m.PID*1000 + fd)
	s := &netlinkss.Socket{Family: netlinkss.Inet, State: state, Local: local, Peer: peer, Inode: inode, Cookie: uint64(inode)}
	s.SetInfo(b)
	m.Sockets = append(m.Sockets, procfd.SocketFD{FD: fd, Inode: uint64(inode)})
	m.sockets = append(m.sockets, s)
	m.ByKind[procfd.KindSocket]++
	m.Open++
	return s
}

func addr(last byte, port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, last}), uint16(port))
}

// leak opens n connections that nobody will close, from five peers.
func (m *made) leak(n int) *made {
	for i := range n {
		m.hold(100+i, netlinkss.Estab, addr(1, 8080), addr(byte(7+i%5), 20000+i%40000), 3*time.Hour+time.Duration(i)*time.Second)
	}
	return m
}

// closeWait opens n connections that the peer has closed.
func (m *made) closeWait(n int) *made {
	for i := range n {
		m.hold(100_000+i, netlinkss.CloseWait, addr(1, 51000+i), addr(99, 5432), 12*time.Minute)
	}
	return m
}

// healthy opens n connections with keepalive.
func (m *made) healthy(n int) *made {
	for i := range n {
		s := m.hold(200_000+i, netlinkss.Estab, addr(1, 8080), addr(42, 30000+i), time.Duration(i)*time.Second)
		s.Timer, s.Expires = netlinkss.TimerKeepalive, 50*time.Minute
	}
	return m
}

// resultOf judges one look at some processes.
func resultOf(at time.Time, gaps []diag.Gap, list ...*made) *diag.Result {
	var processes []*procfd.Process
	for _, m := range list {
		processes = append(processes, m.Process)
	}
	j := diag.NewJoin(&diag.Space{Netns: 1, Sysctls: procfd.NetSysctls{KeepaliveTime: 2 * time.Hour}}, processes)
	for _, m := range list {
		for _, s := range m.sockets {
			j.Add(s)
		}
	}
	h := &diag.History{}
	h.Add(&diag.Snapshot{At: at, Host: procfd.Host{Name: "web-1", Kernel: "6.18.0", Uptime: 240 * time.Hour}, Spaces: []*diag.Space{j.Space()}, Gaps: gaps})
	return diag.Check(h, diag.Thresholds{Grace: diag.DefaultGrace}, diag.Rules())
}

var someGaps = []diag.Gap{{What: "kind of sockets of proxy[4242]", Count: 2, Why: "permission denied: needs CAP_SYS_PTRACE"}}

// film is a series of looks, as a caller makes them.
type film struct {
	looks  int
	series diag.Series
}

// frame is the next look at some processes.
func (f *film) frame(gaps []diag.Gap, list ...*made) *Frame {
	at := noon.Add(time.Duration(f.looks) * 2 * time.Second)
	f.looks++
	r := resultOf(at, gaps, list...)
	if f.looks%500 == 0 {
		f.series = diag.Series{}
	}
	f.series.Add(r)
	return &Frame{Result: r, Series: &f.series, Took: 42 * time.Millisecond}
}

// leaking is the next look at a process of which n sockets leak.
func (f *film) leaking(n int) *Frame {
	p := madeProcess(4242, "proxy").leak(n).healthy(3)
	p.hold(10, netlinkss.Listen, addr(1, 8080), netip.AddrPortFrom(netip.IPv4Unspecified(), 0), 0)
	p.ByKind[procfd.KindPipe], p.ByKind[procfd.KindEpoll] = 4, 1
	p.Open += 5
	return f.frame(someGaps, p)
}

// series has lines of every kind, for n looks two seconds apart.
func series(n int) *diag.Series {
	s := &diag.Series{}
	t := &diag.Track{PID: 4242, Start: 4242, Name: "proxy", Limit: 20000}
	line := func(kind diag.LineKind, name string, value func(i int) float64) *diag.Line {
		l := &diag.Line{LineKey: diag.LineKey{Kind: kind, Name: name}}
		for i := range n {
			l.Values = append(l.Values, value(i))
		}
		t.Lines = append(t.Lines, l)
		return l
	}
	steady := func(v float64) func(int) float64 { return func(int) float64 { return v } }
	grows := func(from, by float64) func(int) float64 {
		return func(i int) float64 { return from + by*float64(i) }
	}
	line(diag.LineOpen, "open", grows(60, 3))
	line(diag.LineFDs, "socket", grows(50, 3))
	line(diag.LineFDs, "pipe", steady(4))
	line(diag.LineFDs, "eventfd", steady(1))
	line(diag.LineState, "ESTAB", grows(45, 3))
	line(diag.LineState, "CLOSE-WAIT", func(i int) float64 { return float64(i % 7) })
	line(diag.LineState, "LISTEN", steady(1))
	line(diag.LineTimer, "no timer", grows(40, 3))
	line(diag.LineTimer, "timer", steady(5))
	line(diag.LineLeaked, "leaked", grows(40, 3))
	line(diag.LineRSS, "rss", grows(212<<20, 1<<18))
	line(diag.LinePSS, "pss", grows(210<<20, 1<<18))
	line(diag.LineCPU, "cpu", func(i int) float64 { return 0.1 + 0.05*float64(i%4) })
	g := line(diag.LineGroup, "from 10.0.0.7 on 8080", grows(45, 3))
	for i := range n {
		s.Times = append(s.Times, noon.Add(time.Duration(i)*2*time.Second))
		g.Born, g.Died = append(g.Born, float64(5*i)), append(g.Died, float64(2*i))
	}
	s.Tracks = []*diag.Track{t}
	return s
}

// statFrame is a count of a host.
func statFrame(at time.Time, n int) *Frame {
	t := &diag.Tally{Idle: true}
	add := func(n int, state netlinkss.State, timer netlinkss.Timer, peer string) {
		s := &netlinkss.Socket{Family: netlinkss.Inet, State: state, Timer: timer, Local: addr(1, 8080), Peer: netip.MustParseAddrPort(peer)}
		for range n {
			t.Add(s)
		}
	}
	add(n, netlinkss.Estab, netlinkss.TimerOff, "127.0.0.1:40001")
	add(115, netlinkss.Estab, netlinkss.TimerKeepalive, "10.0.0.7:40001")
	add(7, netlinkss.CloseWait, netlinkss.TimerOff, "[2001:db8::9]:443")
	add(40, netlinkss.TimeWait, netlinkss.TimerTimeWait, "10.0.0.8:443")
	add(2, netlinkss.SynSent, netlinkss.TimerOn, "10.0.0.8:443")
	for i := range 30 {
		add(1, netlinkss.Estab, netlinkss.TimerOn, fmt.Sprintf("10.2.0.%d:443", i))
	}
	groups, distinct, err := t.Groups("sockets", 20)
	if err != nil {
		panic(err) // nothing was spilled
	}
	host := procfd.Host{Name: "web-1", Kernel: "6.18.0"}
	return &Frame{Took: 42 * time.Millisecond, Stat: &diag.Stat{
		Snapshot: diag.Snapshot{At: at, Host: host}, Source: "sock_diag", Tally: t, Groups: groups, Distinct: distinct,
	}}
}

// stage is a model with what feeds it, without a terminal.
type stage struct {
	*model
	taker taker
	frame *Frame
}

func newStage(o Options) *stage {
	if o.Interval == 0 {
		o.Interval = 2 * time.Second
	}
	return &stage{model: newModel(o)}
}

// feed gives the model a look.
func (s *stage) feed(f *Frame) {
	s.frame = f
	s.look(s.taker.take(f, s.want))
}

// press types keys, as the library names them, and returns what the last asks for.
func (s *stage) press(names ...string) (e effect) {
	for _, name := range names {
		text := name
		if len(name) > 1 {
			text = ""
		}
		if e = s.key(name, text); e == retake && s.frame != nil {
			shot := s.taker.take(s.frame, s.want)
			shot.again = true
			s.look(shot)
		}
	}
	return e
}

// filmed samples looks at a process whose leak grows.
func filmed() Sample {
	f := &film{}
	return func(context.Context) (*Frame, error) { return f.leaking(10 + f.looks%40), nil }
}
