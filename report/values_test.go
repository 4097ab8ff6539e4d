package report

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// noon is when the values of these tests were taken.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var webHost = procfd.Host{Name: "web-1", Kernel: "6.18.0", Uptime: 240 * time.Hour}

// traffic is the tcp_info of an accepted connection that carried payload both ways and has been quiet
// for d since.
func traffic(d time.Duration) netlinkss.TCPInfo {
	ms := uint32(d / time.Millisecond)
	return netlinkss.TCPInfo{
		LastDataSent: ms, LastDataRecv: ms, LastAckRecv: ms,
		SegsIn: 4, DataSegsIn: 1, DataSegsOut: 1, BytesSent: 100, BytesAcked: 100, BytesReceived: 50,
	}
}

// dialled is the same of the side that connected.
func dialled(d time.Duration) netlinkss.TCPInfo {
	t := traffic(d)
	t.BytesAcked++
	return t
}

func sock(state netlinkss.State, local, peer string, info netlinkss.TCPInfo) *netlinkss.Socket {
	s := &netlinkss.Socket{
		Family: netlinkss.Inet, State: state, Local: netip.MustParseAddrPort(local), Peer: netip.MustParseAddrPort(peer),
	}
	if s.Local.Addr().Is6() {
		s.Family = netlinkss.Inet6
	}
	b, err := binary.Append(nil, binary.NativeEndian, &info)
	if err != nil {
		panic(err) // TCPInfo has fields of fixed size alone
	}
	s.SetInfo(b)
	return s
}

// look is what one process of a value holds.
type look struct {
	process *procfd.Process
	sockets []*netlinkss.Socket
	dark    map[int]diag.DarkSocket // by descriptor
}

// hold opens a descriptor on s.
func (l *look) hold(fd int, s *netlinkss.Socket) *netlinkss.Socket {
	inode := uint64(l.process.PID*1000 + fd)
	l.process.Sockets = append(l.process.Sockets, procfd.SocketFD{FD: fd, Inode: inode})
	s.Inode, s.Cookie = uint32(inode), inode
	l.sockets = append(l.sockets, s)
	return s
}

// again opens a further descriptor on a socket that is held.
func (l *look) again(fd int, s *netlinkss.Socket) {
	l.process.Sockets = append(l.process.Sockets, procfd.SocketFD{FD: fd, Inode: uint64(s.Inode)})
}

func (l *look) holdDark(fd int, d diag.DarkSocket) {
	l.process.Sockets = append(l.process.Sockets, procfd.SocketFD{FD: fd, Inode: uint64(l.process.PID*1000 + fd)})
	if l.dark == nil {
		l.dark = map[int]diag.DarkSocket{}
	}
	l.dark[fd] = d
}

// join puts the looks into one namespace, with n sockets in TIME-WAIT on local.
func join(space *diag.Space, looks []*look, n int, local string) *diag.Space {
	var processes []*procfd.Process
	for _, l := range looks {
		processes = append(processes, l.process)
	}
	j := diag.NewJoin(space, processes)
	for _, l := range looks {
		for _, s := range l.sockets {
			j.Add(s)
		}
	}
	for i := range n {
		j.Add(sock(netlinkss.TimeWait, local, fmt.Sprintf("10.0.0.50:%d", 40000+i), netlinkss.TCPInfo{}))
	}
	for _, u := range j.Unlisted() {
		for _, l := range looks {
			if d, ok := l.dark[u.FD]; ok && l.process == u.Proc.Process {
				j.Dark(u, d)
			}
		}
	}
	return j.Space()
}

// result judges two looks at the same, three seconds apart.
func result(snapshot func() *diag.Snapshot) *diag.Result {
	h := &diag.History{}
	first, last := snapshot(), snapshot()
	first.At, last.At = noon.Add(-3*time.Second), noon
	h.Add(first)
	h.Add(last)
	t := diag.Thresholds{Grace: diag.DefaultGrace, Settle: diag.DefaultSettle}
	r := diag.Check(h, t, diag.Rules())
	r.Took = 3142 * time.Millisecond
	return r
}

// leaking is a diagnosis with something of everything: leaks, risks and a word; sockets with several
// descriptors, dark ones, IPv6 and v4-mapped ones; gaps.
func leaking() *diag.Result {
	return result(func() *diag.Snapshot {
		space := &diag.Space{
			Netns: 4026531840, Sysctls: procfd.NetSysctls{KeepaliveTime: 2 * time.Hour},
			Gaps: []diag.Gap{{What: "dump of TCP sockets", Why: "the kernel cut it short"}},
		}
		space = join(space, []*look{leakingProxy(), leakingAPI()}, 150, "10.0.0.1:8080")
		space.Procs[0].Gaps = append(space.Procs[0].Gaps, diag.Gap{
			What: "kind of sockets of proxy[4242]", Count: 2, Why: "permission denied: needs CAP_SYS_PTRACE",
		})
		return &diag.Snapshot{Host: webHost, Spaces: []*diag.Space{space}}
	})
}

// apiPlace is a container of a pod.
func apiPlace() procfd.Place {
	p := procfd.ParseCgroup("/kubepods/burstable/pod045b1e35-7f13-11e7-ac42-0050568ffca0/crio-" + strings.Repeat("3f2a9c1b", 8))
	p.Container.Name, p.Container.PodSpace, p.Container.PodName = "api", "shop", "web-7d9"
	return p
}

func leakingProxy() *look {
	l := &look{process: &procfd.Process{
		PID: 4242, Start: 100, Name: "proxy", Exe: "/usr/bin/node", Args: []string{"node", "proxy.js", "--port", "8080"},
		Runtime: "node", UID: 33, Uptime: 30*time.Hour + 5*time.Minute, Cgroup: "/system.slice/proxy.service", RSS: 212 << 20,
		Netns: 4026531840, Open: 60, SoftLimit: 1024, ByKind: [procfd.NumKinds]int{procfd.KindSocket: 20, procfd.KindPipe: 4, procfd.KindEpoll: 1},
		Place: procfd.ParseCgroup("/system.slice/proxy.service"),
	}}
	l.hold(20, sock(netlinkss.Listen, "[::]:8080", "[::]:0", netlinkss.TCPInfo{}))
	for i := range 6 {
		peer := fmt.Sprintf("10.0.0.7:%d", 40001+i)
		l.hold(21+i, sock(netlinkss.Estab, "10.0.0.1:8080", peer, traffic(time.Duration(3+i)*time.Hour)))
	}
	mapped := l.hold(27, sock(netlinkss.Estab, "[::ffff:10.0.0.1]:8080", "[::ffff:10.0.0.7]:41000", traffic(26*time.Hour)))
	l.again(28, mapped)
	l.again(29, mapped)
	v6 := l.hold(30, sock(netlinkss.Estab, "[2001:db8::1]:50000", "[2001:db8::9]:5432", dialled(4*time.Hour)))
	v6.RecvQ, v6.SendQ = 17, 0
	young := l.hold(31, sock(netlinkss.Estab, "10.0.0.1:50001", "10.0.0.9:6379", dialled(time.Second)))
	young.Timer, young.Expires = netlinkss.TimerKeepalive, 90*time.Minute
	closed := l.hold(32, sock(netlinkss.CloseWait, "10.0.0.1:8080", "10.0.0.8:40001", traffic(12*time.Minute)))
	closed.RecvQ = 1
	masked := l.hold(33, sock(netlinkss.Estab, "10.0.0.1:8080", "10.0.0.7:42000", traffic(3*time.Hour)))
	masked.Timer, masked.Expires, masked.SendQ = netlinkss.TimerOn, 1200*time.Millisecond, 0
	l.holdDark(40, diag.DarkSocket{Alive: diag.NeverConnected, Cookie: 0xdead01, Local: netip.MustParseAddrPort("0.0.0.0:0")})
	l.holdDark(41, diag.DarkSocket{Alive: diag.NeverConnected, Cookie: 0xdead02})
	l.holdDark(42, diag.DarkSocket{
		Alive: diag.Dead, Cookie: 0xdead03, Info: traffic(time.Hour),
		Local: netip.MustParseAddrPort("[::ffff:10.0.0.1]:8080"), Peer: netip.MustParseAddrPort("[::ffff:10.0.0.7]:43000"),
	})
	l.holdDark(43, diag.DarkSocket{})
	return l
}

func leakingAPI() *look {
	l := &look{process: &procfd.Process{
		PID: 777, Start: 7, Name: "api", Exe: "/usr/lib/jvm/bin/java", Runtime: "java", Uptime: 45 * time.Second, RSS: 900,
		Place: apiPlace(), Inner: []int{7},
		Netns: 4026531840, Open: 90, SoftLimit: 100, ByKind: [procfd.NumKinds]int{procfd.KindSocket: 1, procfd.KindFile: 89},
	}}
	info := dialled(30 * time.Minute)
	info.LastAckRecv = 8000 // answers to keepalive probes
	s := l.hold(9, sock(netlinkss.CloseWait, "10.0.0.1:51000", "10.0.0.9:5432", info))
	s.Timer, s.Expires = netlinkss.TimerKeepalive, 52*time.Second
	return l
}

// clean is a diagnosis without a finding or a gap that could hide a leak.
func clean() *diag.Result {
	return result(func() *diag.Snapshot {
		l := &look{process: &procfd.Process{
			PID: 9, Start: 3, Name: "server", Exe: "/srv/server", Args: []string{"/srv/server"}, Runtime: "go", Uptime: time.Minute,
			Cgroup: "/", RSS: 3 << 30, Open: 3, SoftLimit: procfd.NoLimit, ByKind: [procfd.NumKinds]int{procfd.KindSocket: 1, procfd.KindEpoll: 1, procfd.KindEventfd: 1},
		}}
		l.hold(3, sock(netlinkss.Listen, "0.0.0.0:80", "0.0.0.0:0", netlinkss.TCPInfo{}))
		return &diag.Snapshot{Host: webHost, Spaces: []*diag.Space{join(&diag.Space{}, []*look{l}, 0, "")}}
	})
}

// partial is a diagnosis that found nothing and could not see all.
func partial() *diag.Result {
	return result(func() *diag.Snapshot {
		l := &look{process: &procfd.Process{PID: 9, Start: 3, Name: "secret", Open: -1}}
		space := join(&diag.Space{}, []*look{l}, 0, "")
		space.Procs[0].Foreign = 2
		space.Procs[0].Gaps = []diag.Gap{
			{What: "descriptors of secret[9]", Why: "permission denied: run as root, or as the process's own user"},
			{What: "executable of secret[9]", Why: "permission denied: run as root, or as the process's own user", Minor: true},
		}
		return &diag.Snapshot{Spaces: []*diag.Space{space}}
	})
}

// stat is a count with every timer, both families, and states with and without clocks.
func stat() *diag.Stat { return statOf(&diag.Tally{Idle: true}, "sockets", 0) }

// statOf is that of a tally, and the first groups of an order.
func statOf(t *diag.Tally, order string, top int) *diag.Stat {
	t.Filter.Uptime = webHost.Uptime
	add := func(n int, timer netlinkss.Timer, s *netlinkss.Socket) {
		s.Timer = timer
		for range n {
			t.Add(s)
		}
	}
	add(2, netlinkss.TimerOff, sock(netlinkss.Listen, "[::]:8080", "[::]:0", netlinkss.TCPInfo{}))
	add(28636, netlinkss.TimerOff, sock(netlinkss.Estab, "127.0.0.1:8080", "127.0.0.1:40001", traffic(26*time.Hour)))
	add(115, netlinkss.TimerKeepalive, sock(netlinkss.Estab, "[::ffff:10.0.0.1]:8080", "[::ffff:10.0.0.7]:40001", traffic(time.Minute)))
	stalled := sock(netlinkss.Estab, "10.0.0.1:50000", "10.0.0.9:5432", dialled(2*time.Second))
	stalled.RecvQ, stalled.SendQ = 10, 70000
	add(3, netlinkss.TimerPersist, stalled)
	add(1, netlinkss.TimerOn, stalled)
	add(7, netlinkss.TimerOff, sock(netlinkss.CloseWait, "[2001:db8::1]:50001", "[2001:db8::9]:443", dialled(12*time.Minute)))
	add(40, netlinkss.TimerTimeWait, sock(netlinkss.TimeWait, "10.0.0.1:8080", "10.0.0.7:40002", netlinkss.TCPInfo{}))
	add(1, netlinkss.TimerDelack, sock(netlinkss.Estab, "10.0.0.1:8080", "10.0.0.8:1", traffic(time.Second)))
	add(1, netlinkss.Timer(42), sock(netlinkss.State(77), "10.0.0.1:8080", "10.0.0.8:1", netlinkss.TCPInfo{}))
	groups, distinct, err := t.Groups(order, top)
	if err != nil {
		panic(err) // nothing was spilled
	}
	return &diag.Stat{
		Groups: groups, Distinct: distinct,
		Snapshot: diag.Snapshot{At: noon, Host: webHost, Gaps: []diag.Gap{{What: "MPTCP sockets", Count: 3, Why: "not read"}}},
		Took:     42 * time.Millisecond, Source: "sock_diag", Tally: t,
		Sockstat: &procfd.Sockstat{InUse: 28800, InUse6: 9, Orphan: 0, TW: 40, Alloc: -1},
	}
}

// byProcess is a count by process, of which one has that name, with sockets of nobody and of one who was not found.
func byProcess(name string) *diag.Stat {
	t := &diag.Tally{By: diag.ByProcess}
	for inode := range uint32(6) {
		s := sock(netlinkss.Estab, "10.0.0.1:8080", "10.0.0.8:1", netlinkss.TCPInfo{})
		s.Inode = inode
		t.Add(s)
	}
	t.Wanted(func(inode uint64) (int, bool) { return int(inode) - 1, true })
	t.Own([]procfd.Owner{{PID: 4242, UID: 1000, Name: name}, {PID: 7, Name: "nginx"}}, []int32{0, 1, 0, -1, 0})
	groups, distinct, err := t.Groups("sockets", 3)
	if err != nil {
		panic(err) // nothing was spilled
	}
	return &diag.Stat{
		Groups: groups, Distinct: distinct, Tally: t, Source: "sock_diag", Took: 42 * time.Millisecond,
		Snapshot: diag.Snapshot{At: noon, Host: webHost, Gaps: []diag.Gap{{What: "processes of sockets", Count: 1, Why: "the descriptors of one process may not be read: run as root"}}},
	}
}

// proved is a trial of a leak of that name, in which all was as it should be.
func proved(name string) *Trial {
	return &Trial{
		Name: name, About: "a pipe that waits for ever", Names: [2]string{"leaky", "fixed"}, Results: [2]*diag.Result{manySamples(2), clean()},
		Proof: "the leak was found in the leaky pipe, and none in the fixed one", LooksWhen: "These showed it while the pipe was process 4242.",
		Looks: []Command{
			{`ss -Htn state close-wait "( sport = :8080 )" | awk '$1 > 0' | wc -l`, "2: clients that nobody closes"},
			{"ls -l /proc/4242/fd | grep -c socket:", "3: the descriptors that they take, that of the listener, and a text that is long enough to be broken"},
		},
		Story: []string{"The pipe starts.", "Clients come & go, and what is told of them is long enough that an 80-column terminal cannot show it in one line.", "It leaks."},
	}
}

// doubted is a trial that proves nothing, and in which not everything could be seen.
func doubted() *Trial {
	return &Trial{
		Name: "half-close", About: "a pipe that waits for itself", Names: [2]string{"leaky", "fixed"}, Results: [2]*diag.Result{leaking(), partial()},
		Doubt: "the scans could not see everything, so they prove nothing",
	}
}
