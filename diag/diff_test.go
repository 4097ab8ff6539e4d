package diag

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockleak/sockleak/internal/raced"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

var diffNoon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// diffSocket is accepted, with traffic both ways before it fell quiet.
func diffSocket(cookie int, state netlinkss.State, quiet time.Duration, change func(*netlinkss.Socket, *netlinkss.TCPInfo)) *netlinkss.Socket {
	s := &netlinkss.Socket{
		Family: netlinkss.Inet, State: state, Cookie: uint64(cookie), Inode: uint32(cookie),
		Local: netip.MustParseAddrPort("10.0.0.1:8080"), Peer: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(40000+cookie)),
	}
	info := quietFor(withTraffic(netlinkss.TCPInfo{}, false), quiet)
	if change != nil {
		change(s, &info)
	}
	setInfo(s, info, wholeInfo)
	return s
}

// idleSockets are ESTAB without keepalive, idle for three hours.
func idleSockets(first, n int) (list []*netlinkss.Socket) {
	for i := range n {
		list = append(list, diffSocket(first+i, netlinkss.Estab, 3*time.Hour, nil))
	}
	return list
}

func withState(list []*netlinkss.Socket, state netlinkss.State) []*netlinkss.Socket {
	for _, s := range list {
		s.State = state
	}
	return list
}

// unheld are as an accept queue has them.
func unheld(list []*netlinkss.Socket) []*netlinkss.Socket {
	for _, s := range list {
		s.Inode = 0
	}
	return list
}

func listSide(name string, at time.Duration, sockets []*netlinkss.Socket) *Side {
	return &Side{Name: name, Sockets: slices.Values(sockets), Whole: true, At: diffNoon.Add(at)}
}

// diffProcess is a process with its sockets, for judged sides.
type diffProcess struct {
	pid     int
	start   uint64
	name    string
	sockets []*netlinkss.Socket
	dark    []DarkSocket
	open    int // 0: as many as sockets
}

func judgedSide(name string, at time.Duration, procs ...diffProcess) *Side {
	var processes []*procfd.Process
	for _, p := range procs {
		q := &procfd.Process{PID: p.pid, Start: p.start, Name: p.name, Exe: "/usr/bin/" + p.name, Args: []string{p.name}, SoftLimit: 1 << 20, Open: p.open, RSS: 1 << 20}
		if q.Open == 0 {
			q.Open = len(p.sockets) + len(p.dark)
		}
		q.ByKind[procfd.KindSocket] = q.Open
		for i, s := range p.sockets {
			q.Sockets = append(q.Sockets, procfd.SocketFD{FD: 10 + i, Inode: uint64(s.Inode)})
		}
		for _, d := range p.dark {
			q.Sockets = append(q.Sockets, procfd.SocketFD{FD: d.FD, Inode: d.Inode})
		}
		processes = append(processes, q)
	}
	space := &Space{Sysctls: procfd.NetSysctls{KeepaliveTime: 2 * time.Hour}}
	j := NewJoin(space, processes)
	for _, p := range procs {
		for _, s := range p.sockets {
			j.Add(s)
		}
	}
	for _, u := range j.Unlisted() {
		for _, p := range procs {
			for _, d := range p.dark {
				if d.Inode == u.Inode {
					j.Dark(u, d)
				}
			}
		}
	}
	h := &History{}
	spaces := []*Space{j.Space()}
	h.Add(&Snapshot{At: diffNoon.Add(at - 2*time.Minute), Spaces: spaces}) // what is closed is proved by two looks
	h.Add(&Snapshot{At: diffNoon.Add(at), Host: procfd.Host{Name: "web-1", Kernel: "6.18.0", Uptime: 240*time.Hour + at}, Spaces: spaces})
	r := Check(h, Thresholds{Grace: DefaultGrace, Settle: DefaultSettle}, Rules())
	return &Side{Name: name, Result: r}
}

func proxyOf(pid int, sockets []*netlinkss.Socket) diffProcess {
	return diffProcess{pid: pid, start: uint64(pid), name: "proxy", sockets: sockets}
}

func compared(t testing.TB, a, b *Side) *Diff {
	t.Helper()
	d, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCompareNothing(t *testing.T) {
	if _, err := Compare(&Side{}, listSide("b", 0, nil)); err == nil {
		t.Error("a side without anything can be compared")
	}
	if _, err := Compare(listSide("b", 0, nil), nil); err == nil {
		t.Error("nothing can be compared")
	}
}

// Of a side on which some timer is not told, none is counted, and nothing that rests on one.
func TestCompareNoTimers(t *testing.T) {
	gvisor := func(at time.Duration, n int) *Side {
		list := idleSockets(1, n)
		for _, s := range list {
			s.Timer = netlinkss.TimerUnknown
		}
		return judgedSide("", at, proxyOf(42, list))
	}
	d := compared(t, gvisor(0, 3), gvisor(time.Minute, 20))
	for _, c := range d.Timers {
		if c.N != [2]int{NotKnown, NotKnown} {
			t.Errorf("%s is said to be %v", c.Key, c.N)
		}
	}
	if idle := d.Suspects[len(d.Suspects)-1]; idle.N != [2]int{NotKnown, NotKnown} {
		t.Errorf("%s is said to be %v", idle.Key, idle.N)
	}
	if states := d.States[0]; states.N != [2]int{3, 20} {
		t.Errorf("%s is said to be %v", states.Key, states.N)
	}
}

// Whether it got worse.
func TestCompareVerdict(t *testing.T) {
	idle := func(n int) []*netlinkss.Socket { return idleSockets(1, n) }
	busy := func(n int) (list []*netlinkss.Socket) {
		for i := range n {
			list = append(list, diffSocket(5000+i, netlinkss.Estab, time.Second, nil))
		}
		return list
	}
	judged := func(at time.Duration, n int) *Side { return judgedSide("", at, proxyOf(42, idle(n))) }
	unread := judgedSide("", 0, diffProcess{pid: 42, start: 42, name: "proxy", open: -1})
	cut := judged(time.Minute, 0)
	cut.Gaps = []Gap{{What: "dump", Why: "cut short"}}
	database := func(at time.Duration, cookie, n int) *Side {
		var list []*netlinkss.Socket
		for i := range n {
			list = append(list, diffSocket(cookie+i, netlinkss.Estab, 3*time.Hour, func(s *netlinkss.Socket, info *netlinkss.TCPInfo) {
				s.Local, s.Peer = netip.MustParseAddrPort(fmt.Sprintf("10.0.0.1:%d", 50000+i)), netip.MustParseAddrPort("10.0.0.9:5432")
				info.BytesAcked++
			}))
		}
		return judgedSide("", at, proxyOf(42, list))
	}
	for _, tt := range []struct {
		name string
		a, b *Side
		want Verdict
		says string
	}{
		{"nothing leaks", judged(0, 0), judged(time.Minute, 0), Same, "no leak was found, before or after"},
		{"as before", judged(0, 20), judged(time.Minute, 20), Same, "idle-no-keepalive in proxy[42] on its port 8080: 20 leaked, 20 before, no more than chance apart"},
		{"by chance", judged(0, 20), judged(time.Minute, 25), Same, "25 leaked, 20 before"},
		{"more", judged(0, 20), judged(time.Minute, 26), Worse, "26 leaked, 20 before"},
		{"a tenth of many", judged(0, 100), judged(time.Minute, 110), Same, "110 leaked, 100 before"},
		{"more than a tenth", judged(0, 100), judged(time.Minute, 111), Worse, "111 leaked, 100 before"},
		{"fewer", judged(0, 100), judged(time.Minute, 80), Better, "80 leaked, 100 before"},
		{"cured", judged(0, 8), judged(time.Minute, 0), Better, "none leaked, 8 before"},
		{"new", judged(0, 0), judged(time.Minute, 5), Worse, "5 leaked, none before"},
		{"swapped", judged(time.Minute, 100), judged(0, 20), Unclear, "the two may be swapped"},
		{"swapped, and worse", judged(time.Minute, 20), judged(0, 100), Worse, "100 leaked, 20 before"},
		{"cured as far as seen", judged(0, 8), cut, Unclear, "not everything could be seen: see the gaps"},
		{"not seen before", unread, judged(time.Minute, 8), Unclear, "before, the process could not be read"},
		{"another service", judged(0, 100), database(time.Minute, 1000, 20), Worse, "proxy[42] towards port 5432: 20 leaked, none before"},
		{"new process", judgedSide("", 0, diffProcess{pid: 7, name: "other"}), judged(time.Minute, 8), Worse, "8 leaked, and the process was not there before"},
		{"not seen after", judged(0, 8), unread, Unclear, "8 leaked before; after, the process could not be read"},
		{"gone", judged(0, 8), judgedSide("", time.Minute, diffProcess{pid: 7, name: "other"}), Unclear, "the process is not there to be judged"},
		{"leaks and grows", judgedSide("", 0, proxyOf(42, idle(8))), judgedSide("", time.Minute, proxyOf(42, append(idle(8), busy(20)...))), Worse, "proxy[42] leaks, and has 28 descriptors, 8 before"},
		{"grows and does not leak", judgedSide("", 0, proxyOf(42, nil)), judgedSide("", time.Minute, proxyOf(42, busy(20))), Same, "no leak was found"},

		{"lists", listSide("", 0, idle(20)), listSide("", time.Minute, idle(26)), Worse, "ESTAB without keepalive, idle for 2h00m or more: 26, 20 before"},
		{"lists as before", listSide("", 0, idle(20)), listSide("", time.Minute, idle(20)), Same, "has not grown"},
		{"lists, better", listSide("", 0, idle(20)), listSide("", time.Minute, idle(2)), Better, "2, 20 before"},
		{"lists, CLOSE-WAIT", listSide("", 0, nil), listSide("", time.Minute, withState(idle(6), netlinkss.CloseWait)), Worse, "CLOSE-WAIT that a process holds: 6, 0 before"},
		{"lists, FIN-WAIT-2", listSide("", 0, nil), listSide("", time.Minute, withState(idle(6), netlinkss.FinWait2)), Worse, "FIN-WAIT-2 that a process holds: 6, 0 before"},
		{"lists, held by nobody", listSide("", 0, nil), listSide("", time.Minute, unheld(append(idle(20), withState(idleSockets(100, 20), netlinkss.CloseWait)...))), Same, "has not grown"},
		{"lists, busy", listSide("", 0, nil), listSide("", time.Minute, busy(600)), Same, "has not grown"},
		{"a list after a diagnosis", judged(0, 8), listSide("", time.Minute, idle(100)), Unclear, "see the gaps"},
	} {
		d := compared(t, tt.a, tt.b)
		if d.Verdict != tt.want || d.Worse != (tt.want == Worse) || !strings.Contains(strings.Join(d.Reasons, "\n"), tt.says) {
			t.Errorf("%s: %v for %q, want %v for %q", tt.name, d.Verdict, d.Reasons, tt.want, tt.says)
		}
	}
}

// What does not tell which sockets are held, or which timers run, gives no number for it.
func TestCompareTexts(t *testing.T) {
	bare := func(at time.Duration, n int) *Side {
		list := withState(idleSockets(1, n), netlinkss.CloseWait)
		for _, s := range list {
			s.Cookie, s.Inode = 0, 0
			s.SetInfo(nil)
		}
		list = append(list, diffSocket(0, netlinkss.Estab, 0, func(s *netlinkss.Socket, _ *netlinkss.TCPInfo) { s.Inode = 0 }))
		side := listSide("netstat", at, list)
		side.NoTimers, side.NoInodes = true, true
		return side
	}
	d := compared(t, bare(0, 3), bare(time.Minute, 20))
	if d.Verdict != Worse || d.Reasons[0] != "CLOSE-WAIT: 20, 3 before" {
		t.Errorf("%v for %q", d.Verdict, d.Reasons)
	}
	if d.Turnover.Known || len(d.Residue) > 0 {
		t.Errorf("without cookies, %+v and a residue of %d", d.Turnover, len(d.Residue))
	}
	for _, c := range append(slices.Clone(d.Timers), d.Suspects[1:]...) {
		if c.N != [2]int{NotKnown, NotKnown} {
			t.Errorf("%s is said to be %v", c.Key, c.N)
		}
	}
	d = compared(t, bare(0, 3), listSide("", time.Minute, withState(idleSockets(1, 20), netlinkss.CloseWait)))
	if c := d.Suspects[0]; c.N != [2]int{NotKnown, 20} || d.Verdict != Unclear {
		t.Errorf("all CLOSE-WAIT and those that are held are %v, and it is %v", c.N, d.Verdict)
	}
	if len(d.Sides[0].Gaps) != 2 || len(d.Gaps) == 0 {
		t.Errorf("gaps %+v and %+v", d.Sides, d.Gaps)
	}
}

// The residue is what has not moved a byte, and no more.
func TestCompareResidue(t *testing.T) {
	type change = func(*netlinkss.Socket, *netlinkss.TCPInfo)
	none := func(*netlinkss.Socket, *netlinkss.TCPInfo) {}
	for _, tt := range []struct {
		name          string
		before, after change
		want          Turnover
	}{
		{"silent", none, none, Turnover{Stayed: 1, Silent: 1}},
		{"sent", none, func(_ *netlinkss.Socket, i *netlinkss.TCPInfo) { i.BytesSent += 10; i.BytesAcked += 10 }, Turnover{Stayed: 1, Moved: 1}},
		{"received", none, func(_ *netlinkss.Socket, i *netlinkss.TCPInfo) { i.BytesReceived++ }, Turnover{Stayed: 1, Moved: 1}},
		{"received and not read", none, func(s *netlinkss.Socket, i *netlinkss.TCPInfo) { i.BytesReceived += 4; s.RecvQ = 4 }, Turnover{Stayed: 1, Moved: 1}},
		{"read", func(s *netlinkss.Socket, _ *netlinkss.TCPInfo) { s.RecvQ = 4 }, none, Turnover{Stayed: 1, Moved: 1}},
		{"written and not sent", none, func(s *netlinkss.Socket, i *netlinkss.TCPInfo) { s.SendQ = 9; i.NotSentBytes = 9 }, Turnover{Stayed: 1, Moved: 1}},
		{"acknowledged", func(s *netlinkss.Socket, i *netlinkss.TCPInfo) { s.SendQ = 9; i.BytesAcked -= 9 }, none, Turnover{Stayed: 1, Moved: 1}},
		{
			"sent again in vain", func(s *netlinkss.Socket, i *netlinkss.TCPInfo) { s.SendQ = 9; i.BytesSent += 9 },
			func(s *netlinkss.Socket, i *netlinkss.TCPInfo) {
				s.SendQ = 9
				i.BytesSent, i.BytesRetrans, i.DataSegsOut = i.BytesSent+27, 18, 3
			},
			Turnover{Stayed: 1, Silent: 1},
		},
		{"keepalive", none, func(_ *netlinkss.Socket, i *netlinkss.TCPInfo) { i.SegsOut += 7; i.SegsIn += 7; i.LastAckRecv = 1 }, Turnover{Stayed: 1, Silent: 1}},
		{"probed with a byte of rubbish", none, func(_ *netlinkss.Socket, i *netlinkss.TCPInfo) { i.DataSegsIn++ }, Turnover{Stayed: 1, Silent: 1}},
		{"another state", none, func(s *netlinkss.Socket, _ *netlinkss.TCPInfo) { s.State = netlinkss.CloseWait }, Turnover{Stayed: 1, Changed: 1}},
		{"another socket", none, func(s *netlinkss.Socket, _ *netlinkss.TCPInfo) { s.Cookie = 77 }, Turnover{Gone: 1, New: 1}},
		{"the cookie of another", none, func(s *netlinkss.Socket, _ *netlinkss.TCPInfo) {
			s.Peer = netip.MustParseAddrPort("10.0.0.7:1")
		}, Turnover{Gone: 1, New: 1}},
		{"accepted by nobody", none, func(s *netlinkss.Socket, _ *netlinkss.TCPInfo) { s.Inode = 0 }, Turnover{Gone: 1}},
		{"a listener", func(s *netlinkss.Socket, _ *netlinkss.TCPInfo) { s.State = netlinkss.Listen }, func(s *netlinkss.Socket, _ *netlinkss.TCPInfo) { s.State = netlinkss.Listen }, Turnover{}},
		{"a record", func(s *netlinkss.Socket, _ *netlinkss.TCPInfo) { s.State = netlinkss.TimeWait }, func(s *netlinkss.Socket, _ *netlinkss.TCPInfo) { s.State = netlinkss.TimeWait }, Turnover{}},
	} {
		a := listSide("", 0, []*netlinkss.Socket{diffSocket(1, netlinkss.Estab, time.Hour, tt.before)})
		b := listSide("", time.Minute, []*netlinkss.Socket{diffSocket(1, netlinkss.Estab, time.Hour, tt.after)})
		d := compared(t, a, b)
		tt.want.Known = true
		if d.Turnover != tt.want || len(d.Residue) != tt.want.Silent || d.ResidueIdle != tt.want.Silent {
			t.Errorf("%s: %+v with a residue of %d, want %+v", tt.name, d.Turnover, len(d.Residue), tt.want)
		}
	}
	// Without byte counters on one side it cannot be told.
	short := diffSocket(1, netlinkss.Estab, time.Hour, nil)
	setInfo(short, short.Info, netlinkss.InfoHasDataSegs)
	d := compared(t, listSide("", 0, idleSockets(1, 1)), listSide("", time.Minute, []*netlinkss.Socket{short}))
	if d.Turnover != (Turnover{Known: true, Stayed: 1, Untold: 1}) || !partial(d.Gaps) {
		t.Errorf("with other counters: %+v, gaps %v", d.Turnover, d.Gaps)
	}
	d = compared(t, listSide("", 0, []*netlinkss.Socket{short}), listSide("", time.Minute, []*netlinkss.Socket{short}))
	if d.Turnover.Silent != 1 {
		t.Errorf("with the counters of an old kernel on both sides: %+v", d.Turnover)
	}
}

// What a finding names leaks; a pool with keepalive is idle and no more. What is closed and held is a residue, too.
func TestCompareResidueLeaked(t *testing.T) {
	sockets := func() []*netlinkss.Socket {
		list := idleSockets(1, 12)
		list[0].State = netlinkss.Listen
		for i := range 4 {
			list = append(list, diffSocket(100+i, netlinkss.Estab, 5*time.Hour, func(s *netlinkss.Socket, info *netlinkss.TCPInfo) {
				s.Timer, s.Local, s.Peer = netlinkss.TimerKeepalive, netip.MustParseAddrPort(fmt.Sprintf("10.0.0.1:%d", 50000+i)), netip.MustParseAddrPort("10.0.0.9:5432")
				info.BytesAcked++
			}))
		}
		return list
	}
	p := proxyOf(42, nil)
	p.dark = []DarkSocket{{FD: 99, Inode: 999, Alive: Dead, Local: netip.MustParseAddrPort("10.0.0.1:8080"), Peer: netip.MustParseAddrPort("10.0.0.3:7"), Direction: Accepted}}
	side := func(at time.Duration) *Side {
		p.sockets = sockets()
		return judgedSide("", at, p)
	}
	d := compared(t, side(0), side(time.Minute))
	var got []string
	for _, r := range d.Residue {
		got = append(got, fmt.Sprintf("%d %s %v %s[%d] %s %s %s %s %s %v, %d samples", r.Sockets, r.Rule, r.Leaked(), r.Proc.Name, r.Proc.PID,
			r.Direction, r.Peer, r.State, r.Timer, r.Keepalive, r.Oldest, len(r.Samples)))
	}
	want := []string{
		"11 idle-no-keepalive true proxy[42] accepted 10.0.0.7 ESTAB off off 3h00m, 3 samples",
		"1 closed-fd true proxy[42] accepted 10.0.0.3 closed off unknown -, 1 samples",
		"4  false proxy[42] connected 10.0.0.9:5432 ESTAB keepalive on 5h00m, 3 samples",
	}
	if !slices.Equal(got, want) || d.ResidueLeaked != 12 || d.ResidueIdle != 4 {
		t.Errorf("%d leaked and %d idle:\n%s\nwant\n%s", d.ResidueLeaked, d.ResidueIdle, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if s := d.Residue[0].Samples[0]; s.PID != 42 || s.FD == 0 || s.Cookie == 0 {
		t.Errorf("sample %+v", s)
	}
}

// Cookies and process numbers mean nothing to another host, or after a reboot.
func TestCompareElsewhere(t *testing.T) {
	side := func(at time.Duration) *Side { return judgedSide("", at, proxyOf(42, idleSockets(1, 8))) }
	other, rebooted := side(time.Minute), side(time.Hour)
	other.Result.Snapshot.Host.Name = "web-2"
	rebooted.Result.Snapshot.Host.Uptime = 5 * time.Minute
	for note, b := range map[string]*Side{"different hosts: web-1 and web-2": other, "started anew": rebooted} {
		d := compared(t, side(0), b)
		if len(d.Residue) > 0 || d.Turnover.Known || d.Processes[0].Match != MatchRestarted || !strings.Contains(strings.Join(d.Notes, "\n"), note) {
			t.Errorf("%s: residue %v, %+v, notes %q", note, d.Residue, d.Processes[0], d.Notes)
		}
	}
	if d := compared(t, side(time.Hour), side(0)); !strings.Contains(strings.Join(d.Reasons, "\n"), "is younger than") || d.Turnover.Silent != 8 {
		t.Errorf("backwards: %+v, reasons %q", d.Turnover, d.Reasons)
	}
}

// Processes are found again by number and start, and else by what they are.
func TestCompareProcesses(t *testing.T) {
	worker := func(pid int, start uint64, n int) diffProcess {
		return diffProcess{pid: pid, start: start, name: "worker", sockets: idleSockets(pid*100, n)}
	}
	other := func(pid int, start uint64, name string) diffProcess {
		return diffProcess{pid: pid, start: start, name: name, open: 3}
	}
	a := judgedSide("", 0, worker(1, 1, 6), worker(2, 1, 6), worker(3, 1, 6), other(10, 1, "api"), other(11, 1, "gone"), other(12, 1, "db"))
	b := judgedSide("", 2*time.Minute, worker(1, 1, 16), worker(4, 9, 1), worker(5, 9, 1), other(20, 9, "api"), other(21, 9, "new"), other(12, 1, "db"))
	d := compared(t, a, b)
	var got []string
	for _, p := range d.Processes {
		got = append(got, fmt.Sprintf("%s %s open %v sockets %v leaked %v %.1f/min", p.Subject(), p.Match, p.Open, p.Sockets, p.Leaked, p.OpenPerMinute))
	}
	want := []string{
		"worker (2 → 2 processes) alike open [12 2] sockets [12 2] leaked [12 0] NaN/min",
		"worker[1] same open [6 16] sockets [6 16] leaked [6 16] 5.0/min",
		"gone[11] gone open [3 -1] sockets [0 -1] leaked [0 -1] NaN/min",
		"new[21] new open [-1 3] sockets [-1 0] leaked [-1 0] NaN/min",
		"api[10 → 20] restarted open [3 3] sockets [0 0] leaked [0 0] NaN/min",
		"db[12] same open [3 3] sockets [0 0] leaked [0 0] 0.0/min",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Contains(d.Notes, "restarted: api, pid 10 → 20") {
		t.Errorf("notes %q", d.Notes)
	}
}

// What is alike by name alone may be something else.
func TestCompareTakenFor(t *testing.T) {
	side := func(pid int, args, cgroup string) *Side {
		s := judgedSide("", 0, diffProcess{pid: pid, start: uint64(pid), name: "node", open: 3})
		s.Result.Procs()[0].Args, s.Result.Procs()[0].Cgroup = []string{"node", args}, cgroup
		return s
	}
	for _, tt := range []struct{ args, cgroup, note string }{
		{"a.js", "/a", "restarted: node, pid 1 → 2"},
		{"a.js", "/b", "restarted: node, pid 1 → 2"},
		{"b.js", "/a", "restarted: node, pid 1 → 2"},
		{"b.js", "/b", "taken for the same program, by executable and name: node[1 → 2]"},
	} {
		if d := compared(t, side(1, "a.js", "/a"), side(2, tt.args, tt.cgroup)); !slices.Equal(d.Notes, []string{tt.note}) {
			t.Errorf("%v: %q", tt, d.Notes)
		}
	}
}

// What could not be read is no number, and of another process nothing is known before.
func TestCompareUnread(t *testing.T) {
	b := judgedSide("b", time.Minute, diffProcess{pid: 42, start: 42, name: "proxy", open: -1})
	d := compared(t, judgedSide("a", 0, proxyOf(42, idleSockets(1, 8))), b)
	p := d.Processes[0]
	if d.States[0].N != [2]int{8, NotKnown} || d.Kinds[0].N != [2]int{8, NotKnown} || p.Open != [2]int{8, NotKnown} || p.Leaked != [2]int{8, NotKnown} {
		t.Errorf("states %v, kinds %v, %+v", d.States, d.Kinds, p)
	}
	if l := d.Leaks[0]; l.N != [2]int{8, NotKnown} || d.Findings[0].N != [2]int{8, NotKnown} || d.Verdict != Unclear {
		t.Errorf("%+v, %+v, %v", l, d.Findings, d.Verdict)
	}
	if _, ok := d.States[0].Delta(); ok {
		t.Error("the change is known")
	}
}

// Peers that are too many to be named are not said to have gone.
func TestCompareFurtherPeers(t *testing.T) {
	side := func(at time.Duration, peers int) *Side {
		var list []*netlinkss.Socket
		for i := range peers {
			for k := range 1 + min(i, 1) {
				list = append(list, diffSocket(1+2*i+k, netlinkss.Estab, 3*time.Hour, func(s *netlinkss.Socket, _ *netlinkss.TCPInfo) {
					s.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 4000+uint16(k))
				}))
			}
		}
		return judgedSide("", at, proxyOf(42, list))
	}
	d := compared(t, side(0, 3), side(time.Minute, 40))
	for _, f := range d.Findings {
		if f.Peer == "10.1.0.0" && f.N != [2]int{1, NotKnown} {
			t.Errorf("a peer with fewer sockets than others: %+v", f)
		}
	}
	if l := d.Leaks; len(l) != 1 || l[0].N != [2]int{5, 79} || l[0].Port != 0 {
		t.Errorf("leaks %+v", l)
	}
}

// Compared with itself, nothing has changed, and all that is silent is a residue.
func TestCompareItself(t *testing.T) {
	sides := map[string]*Side{
		"list":   listSide("a", 0, append(idleSockets(1, 300), withState(idleSockets(1000, 9), netlinkss.CloseWait)...)),
		"judged": judgedSide("a", 0, proxyOf(42, idleSockets(1, 300)), proxyOf(43, withState(idleSockets(1000, 9), netlinkss.CloseWait))),
	}
	for name, s := range sides {
		d := compared(t, s, s)
		if d.Verdict != Same || d.Turnover != (Turnover{Known: true, Stayed: 309, Silent: 309}) || d.ResidueLeaked+d.ResidueIdle != 309 {
			t.Errorf("%s: %v, %+v, residue %d + %d, %q", name, d.Verdict, d.Turnover, d.ResidueLeaked, d.ResidueIdle, d.Reasons)
		}
		for _, c := range slices.Concat(d.States, d.Timers, d.Suspects, d.Kinds) {
			if n, ok := c.Delta(); n != 0 || !ok {
				t.Errorf("%s: %+v has changed", name, c)
			}
		}
	}
}

// The other way round, each change is the opposite.
func TestCompareSwapped(t *testing.T) {
	a := judgedSide("a", 0, proxyOf(42, idleSockets(1, 30)), proxyOf(50, idleSockets(200, 3)))
	b := judgedSide("b", time.Minute, proxyOf(42, withState(idleSockets(10, 40), netlinkss.CloseWait)), proxyOf(51, nil))
	there, back := compared(t, a, b), compared(t, b, a)
	changes := func(d *Diff) map[string]int {
		m := map[string]int{}
		for _, c := range slices.Concat(d.States, d.Timers, d.Suspects, d.Kinds) {
			m[c.Key], _ = c.Delta()
		}
		for _, p := range d.Peers {
			m["peer "+p.Peer] = p.N[1] - p.N[0]
		}
		for _, f := range d.Findings {
			m["finding "+f.Rule+f.Peer+f.Severity.String()] += f.N[1] - f.N[0]
		}
		return m
	}
	x, y := changes(there), changes(back)
	for k := range y {
		y[k] = -y[k]
	}
	if !reflect.DeepEqual(x, y) || len(x) < 8 {
		t.Errorf("there %v, back %v", x, y)
	}
	if !there.Worse || there.Turnover.New != back.Turnover.Gone || there.Turnover.Gone != back.Turnover.New {
		t.Errorf("there %v %+v, back %+v", there.Verdict, there.Turnover, back.Turnover)
	}
}

// All sockets and those of processes are two things: those of processes are compared where both sides have them.
func TestCompareScopes(t *testing.T) {
	a, b := judgedSide("a", 0, proxyOf(42, idleSockets(1, 8))), judgedSide("b", time.Minute, proxyOf(42, idleSockets(1, 8)))
	b.Sockets, b.Whole = slices.Values(idleSockets(1, 500)), true
	if d := compared(t, a, b); d.States[0].N != [2]int{8, 8} || d.Sides[1].Whole {
		t.Errorf("%+v", d.States)
	}
	d := compared(t, a, listSide("b", time.Minute, idleSockets(1, 500)))
	if _, ok := d.States[0].Delta(); ok || d.States[0].N != [2]int{8, 500} || d.Verdict != Unclear {
		t.Errorf("%+v, %v", d.States, d.Verdict)
	}
}

// Every number of a reason stands in one of the lists.
func TestCompareReasonNumbers(t *testing.T) {
	for _, tt := range [][2]*Side{
		{judgedSide("", 0, proxyOf(42, idleSockets(1, 20))), judgedSide("", time.Minute, proxyOf(42, idleSockets(1, 137)))},
		{judgedSide("", 0, proxyOf(42, idleSockets(1, 20))), judgedSide("", time.Minute, proxyOf(43, nil))},
		{listSide("", 0, idleSockets(1, 19)), listSide("", time.Minute, idleSockets(1, 38))},
	} {
		d := compared(t, tt[0], tt[1])
		known := fmt.Sprint(d.Leaks, d.Suspects, d.Processes)
		for _, r := range d.Reasons {
			_, text, _ := strings.Cut(r, ": ")
			for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
				if !strings.Contains(known, word) {
					t.Errorf("%q: %s is in no list: %s", r, word, known)
				}
			}
		}
	}
}

// However the sockets come, each is counted once, and the parts add up to the whole.
func TestCompareRandom(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b := randomSockets(r), randomSockets(r)
		d := compared(t, listSide("a", 0, a), listSide("b", time.Minute, b))
		if want := naiveTurnover(a, b); d.Turnover != want {
			t.Fatalf("seed %d: %+v, want %+v", seed, d.Turnover, want)
		}
		var states, peers, connections [2]int
		for _, c := range d.States {
			states[0], states[1] = states[0]+c.N[0], states[1]+c.N[1]
		}
		for _, p := range d.Peers {
			peers[0], peers[1] = peers[0]+p.N[0], peers[1]+p.N[1]
		}
		for i, list := range [2][]*netlinkss.Socket{a, b} {
			for _, s := range list {
				if s.State != netlinkss.Listen && s.State != netlinkss.TimeWait {
					connections[i]++
				}
			}
		}
		residue := 0
		for _, g := range d.Residue {
			residue += g.Sockets
		}
		if states != [2]int{len(a), len(b)} || peers != connections || residue != d.ResidueIdle || residue != d.Turnover.Silent {
			t.Fatalf("seed %d: states %v, peers %v, residue %d of %d", seed, states, peers, residue, d.Turnover.Silent)
		}
	}
}

// randomSockets have few cookies and counters, so that many are met again.
func randomSockets(r *rand.Rand) (list []*netlinkss.Socket) {
	states := []netlinkss.State{netlinkss.Estab, netlinkss.Estab, netlinkss.CloseWait, netlinkss.FinWait2, netlinkss.TimeWait, netlinkss.Listen}
	for _, cookie := range r.Perm(60)[:r.IntN(60)] {
		list = append(list, diffSocket(1+cookie, states[r.IntN(len(states))], time.Hour, func(s *netlinkss.Socket, info *netlinkss.TCPInfo) {
			info.BytesReceived += uint64(r.IntN(2))
			s.RecvQ = uint32(r.IntN(2))
			s.Inode *= uint32(min(r.IntN(5), 1))
		}))
	}
	return list
}

func naiveTurnover(a, b []*netlinkss.Socket) Turnover {
	t := Turnover{Known: true}
	counts := func(s *netlinkss.Socket) bool {
		return s.Inode != 0 && s.State != netlinkss.Listen && s.State != netlinkss.TimeWait
	}
	was := map[uint64]*netlinkss.Socket{}
	for _, s := range a {
		if counts(s) {
			was[s.Cookie] = s
		}
	}
	t.Gone = len(was)
	for _, s := range b {
		old := was[s.Cookie]
		switch {
		case !counts(s):
			continue
		case old == nil:
			t.New++
			continue
		case old.State != s.State:
			t.Changed++
		case old.Info.BytesReceived != s.Info.BytesReceived || old.RecvQ != s.RecvQ:
			t.Moved++
		default:
			t.Silent++
		}
		t.Gone--
		t.Stayed++
	}
	return t
}

// Peers and groups that are too many to list are counted together, and that is said.
func TestCompareBounds(t *testing.T) {
	if raced.On {
		t.Skip("nothing here is concurrent, and the race detector makes it several times slower")
	}
	const n = maxPeersCounted + 1000
	side := func() *Side {
		s := diffSocket(1, netlinkss.Estab, time.Hour, nil)
		return &Side{Whole: true, Sockets: func(yield func(*netlinkss.Socket) bool) {
			for i := range uint32(n) {
				s.Cookie, s.Inode = uint64(i+1), i+1
				s.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), 4000)
				if !yield(s) {
					return
				}
			}
		}}
	}
	d := compared(t, side(), side())
	listed, groups := 0, 0
	for _, p := range d.Peers {
		if p.N != [2]int{1, 1} {
			t.Fatalf("%+v", p)
		}
		listed++
	}
	for _, g := range d.Residue {
		groups += g.Sockets
	}
	rest := PeersRest{Peers: NotKnown, N: [2]int{n - MaxDiffPeers, n - MaxDiffPeers}}
	if listed != MaxDiffPeers || d.PeersRest != rest || len(d.Residue) != maxResidue || groups != maxResidue || d.ResidueIdle != n || len(d.Gaps) != 2 {
		t.Errorf("%d peers and %+v, %d groups of %d sockets, %d silent, gaps %v", listed, d.PeersRest, len(d.Residue), groups, d.ResidueIdle, d.Gaps)
	}
	if d.Verdict != Same {
		t.Errorf("%v: %q", d.Verdict, d.Reasons)
	}
}

// Where one side does not tell who opened a connection, both are counted by address.
func TestCompareDirections(t *testing.T) {
	short := diffSocket(1, netlinkss.Estab, time.Hour, nil)
	setInfo(short, short.Info, netlinkss.InfoHasDataSegs)
	d := compared(t, listSide("", 0, idleSockets(1, 3)), listSide("", time.Minute, []*netlinkss.Socket{short}))
	if want := []PeerChange{{Peer: "10.0.0.7", N: [2]int{3, 1}}}; !slices.Equal(d.Peers, want) {
		t.Errorf("%+v, want %+v", d.Peers, want)
	}
}
