package diag

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// A fixture of testdata/rule/RULE is a txtar archive. Its comment says what the case is about; its
// sections are, in this order:
//
//	-- series --                     what was measured before, in the words of fixture_series_test.go
//	-- thresholds --                 all lines optional
//	idle 5m                          none: the namespace's tcp_keepalive_time
//	grace 60s
//	settle 3s
//	uptime 10d                       of the host
//	-- look --
//	netns keepalive_time=2h          begins a further namespace when it is not the first line
//	process 42 node runtime=node open=40 limit=1024 start=7 uptime=2d
//	fd 10 ESTAB LOCAL PEER timer=off accepted quiet=3h   # want risk idle-no-keepalive
//	fd 10-14 …                       five sockets; fd 10,11 …: one socket with two descriptors
//	dark 20 dead LOCAL PEER connected                    # want closed-fd
//	nobody CLOSE-WAIT LOCAL PEER     a socket that no descriptor is open on
//	timewait 120 LOCAL PEER
//	…                                and the words of fixture_family_test.go
//	-- look +3s --                   a second look, so much later
//	-- want --                       in the order in which they must come
//	idle-no-keepalive risk 1 10.0.0.7
//	  idle for 3h00m                 must stand in its message or in a line of its evidence
//	-- gaps --
//	1 keepalive of idle sockets of node[42]
//
// A "*" in an address is the number of the socket in its range, and as a port that plus 40000. quiet=
// sets the three clocks of tcp_info; accepted and connected set its counters. "# want" stands on lines
// of the last look, and without a severity means leak; several are parted by commas. A clock of "2h+10s*" is older by 10 s for each socket of its range.
// What was asked of a socket beside the dump is told by
//
//	watch=abandoned                  or watched
//	end=reader[7]:5,unread=10,read=50  the other end, its holder and descriptor; end=nobody
//	tickets                          what is unread may be session tickets of TLS
//	cloexec=on                       or off: of its first descriptor
//	options=rcvtimeo:5s,sndtimeo:5s,user:30s,keepidle:60s   those that are set; options= for none
type fixture struct {
	seriesFixture
	thresholds Thresholds
	uptime     time.Duration
	looks      []*fixtureLook
	want       []wantedFinding
	gaps       []string
}

// wantedFinding is a line of the section want, and what must be said of it.
type wantedFinding struct {
	line string
	says []string
}

type fixtureLook struct {
	after  time.Duration
	spaces []*fixtureSpace
}

type fixtureSpace struct {
	sysctls procfd.NetSysctls
	procs   []*procfd.Process
	sockets []*netlinkss.Socket   // of the dump, in its order
	asked   map[uint64]bool       // cookie → what the socket said of SO_KEEPALIVE
	dark    map[uint64]DarkSocket // by inode
	beside  map[uint64]func(*HeldSocket)
	marks   []string // "pid fd severity rule"
	family
}

// readFixture parses one file.
func readFixture(t testing.TB, file string) *fixture {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &fixtureParser{t: t, file: file, f: &fixture{
		thresholds: Thresholds{Grace: DefaultGrace, Settle: DefaultSettle}, uptime: 10 * 24 * time.Hour,
	}}
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		p.line = i + 1
		if name, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(name, " --") {
			p.begin(strings.TrimSuffix(name, " --"))
		} else if p.section != "" && strings.TrimSpace(line) != "" {
			p.parse(line)
		}
	}
	if len(p.f.looks) == 0 || !p.sawWant {
		p.fail("no look, or no section want")
	}
	return p.f
}

// history joins what was seen, look by look. order is applied to each dump first: a verdict must not
// hang on the order in which the kernel lists sockets.
func (f *fixture) history(order func([]*netlinkss.Socket)) *History {
	h := f.looked(order, nil)
	h.Series = f.series(h.Last())
	return h
}

// looked is the history of looks that keep all, or what is left of it by sieve.
func (f *fixture) looked(order func([]*netlinkss.Socket), sieve *sieve) *History {
	h := &History{}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, l := range f.looks {
		at = at.Add(l.after)
		snap := &Snapshot{At: at, Host: procfd.Host{Name: "host", Kernel: "6.18.0", Uptime: f.uptime}}
		for i, s := range l.spaces {
			snap.Spaces = append(snap.Spaces, s.join(uint64(4026531840+i), order, sieve))
		}
		h.Add(snap)
	}
	return h
}

func (s *fixtureSpace) join(netns uint64, order func([]*netlinkss.Socket), sieve *sieve) *Space {
	space := &Space{Netns: netns, Sysctls: s.sysctls}
	j := NewJoin(space, s.procs)
	s.addKin(j)
	dump := slices.Clone(s.sockets)
	order(dump)
	if sieve == nil {
		for _, sock := range dump {
			j.Add(sock)
		}
	} else {
		sieve.add(j, dump, s.took)
	}
	for _, u := range j.Unlisted() {
		j.Dark(u, s.dark[u.Inode])
	}
	if sieve != nil {
		sieve.recall(j, dump, s)
	}
	j.Space()
	if sieve != nil {
		sieve.share(j, dump, s.shared)
	}
	for _, p := range j.procs {
		for i := range p.Held {
			if on, ok := s.asked[p.Held[i].Cookie]; ok {
				p.Held[i].Ask(on)
			}
			if beside := s.beside[p.Held[i].Cookie]; beside != nil {
				beside(&p.Held[i])
				p.EventLoop = p.EventLoop || p.Held[i].Watch != procfd.WatchUnknown
			}
		}
	}
	s.settle(j)
	return space
}

// marks are those of the last look.
func (f *fixture) marks() (all []string) {
	for _, s := range f.looks[len(f.looks)-1].spaces {
		all = append(all, s.marks...)
	}
	slices.Sort(all)
	return all
}

// fixtureParser reads lines into a fixture.
type fixtureParser struct {
	t       testing.TB
	file    string
	line    int
	section string
	sawWant bool
	f       *fixture
	space   *fixtureSpace
	proc    *procfd.Process
}

func (p *fixtureParser) fail(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("%s:%d: %s", p.file, p.line, fmt.Sprintf(format, args...))
}

func (p *fixtureParser) begin(section string) {
	name, after, _ := strings.Cut(section, " +")
	p.section = name
	switch name {
	case "thresholds", "gaps", "series":
	case "want":
		p.sawWant = true
	case "look":
		l := &fixtureLook{spaces: []*fixtureSpace{newFixtureSpace()}}
		if after != "" {
			l.after = p.duration(after)
		}
		p.f.looks = append(p.f.looks, l)
		p.space, p.proc = l.spaces[0], nil
	default:
		p.fail("unknown section %q", section)
	}
}

func newFixtureSpace() *fixtureSpace {
	return &fixtureSpace{asked: map[uint64]bool{}, dark: map[uint64]DarkSocket{}, beside: map[uint64]func(*HeldSocket){}}
}

func (p *fixtureParser) parse(line string) {
	switch p.section {
	case "thresholds":
		p.threshold(strings.Fields(line))
	case "series":
		p.series(strings.Fields(line))
	case "look":
		line, mark, _ := strings.Cut(line, "#")
		if words := strings.Fields(line); len(words) > 0 {
			p.look(words, strings.TrimSpace(mark))
		}
	case "want":
		if says, ok := strings.CutPrefix(line, "  "); ok {
			last := &p.f.want[len(p.f.want)-1]
			last.says = append(last.says, strings.TrimSpace(says))
			return
		}
		p.f.want = append(p.f.want, wantedFinding{line: line})
	case "gaps":
		p.f.gaps = append(p.f.gaps, line)
	}
}

func (p *fixtureParser) threshold(words []string) {
	if len(words) != 2 {
		p.fail("want NAME DURATION")
	}
	d := p.duration(words[1])
	switch words[0] {
	case "idle":
		p.f.thresholds.Idle = d
	case "grace":
		p.f.thresholds.Grace = d
	case "settle":
		p.f.thresholds.Settle = d
	case "uptime":
		p.f.uptime = d
	default:
		p.fail("unknown threshold %q", words[0])
	}
}

func (p *fixtureParser) look(words []string, mark string) {
	switch words[0] {
	case "netns":
		p.netns(words[1:])
	case "process":
		p.process(words[1:])
	case "fd":
		p.sockets(words[1:], mark)
	case "dark":
		p.dark(words[1:], mark)
	case "nobody":
		p.nobody(words[1:], mark)
	case "timewait":
		for i := range p.number(words[1]) {
			p.space.sockets = append(p.space.sockets, p.socket(append([]string{"TIME-WAIT"}, words[2:]...), i+1))
		}
	default:
		p.kinOrDestination(words)
	}
}

func (p *fixtureParser) netns(words []string) {
	if len(p.space.procs) > 0 {
		p.space = newFixtureSpace()
		last := p.f.looks[len(p.f.looks)-1]
		last.spaces = append(last.spaces, p.space)
	}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		if key != "keepalive_time" {
			p.spaceWord(key, value)
			continue
		}
		p.space.sysctls.KeepaliveTime = p.duration(value)
	}
}

// someParent is the parent of processes of which a fixture says no other: none of them is an orphan.
const someParent = 20

func (p *fixtureParser) process(words []string) {
	p.proc = &procfd.Process{PID: p.number(words[0]), Start: 1, Name: words[1], SoftLimit: 65536, PPID: someParent}
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "runtime":
			p.proc.Runtime = value
		case "open":
			p.proc.Open = p.number(value)
		case "limit":
			p.proc.SoftLimit = procfd.NoLimit
			if value != "none" {
				p.proc.SoftLimit = uint64(p.number(value))
			}
		case "sockets":
			p.proc.ByKind[procfd.KindSocket] = p.number(value)
		case "start":
			p.proc.Start = uint64(p.number(value))
		default:
			p.familyWord(key, value)
		}
	}
	p.space.procs = append(p.space.procs, p.proc)
}

// descriptors adds fds to the process, all on the socket with the inode that it returns.
func (p *fixtureParser) descriptors(fds []int, mark string) (inode uint64) {
	if p.proc == nil {
		p.fail("no process yet")
	}
	inode = uint64(p.proc.PID*100_000 + fds[0])
	for _, fd := range fds {
		p.proc.Sockets = append(p.proc.Sockets, procfd.SocketFD{FD: fd, Inode: inode})
	}
	rules, ok := strings.CutPrefix(mark, "want ")
	if !ok && mark != "" {
		p.fail("want a remark of the form # want [SEVERITY] RULE[, …], not %q", mark)
	}
	for rule := range strings.SplitSeq(rules, ", ") {
		if rule == "" {
			continue
		}
		if !strings.Contains(rule, " ") {
			rule = Leak.String() + " " + rule
		}
		p.space.marks = append(p.space.marks, fmt.Sprintf("%d %d %s", p.proc.PID, fds[0], rule))
	}
	return inode
}

// span reads "10", "10-14" (several sockets) or "10,11" (one socket with several descriptors).
func (p *fixtureParser) span(word string) (sets [][]int) {
	if first, last, ok := strings.Cut(word, "-"); ok {
		for fd := p.number(first); fd <= p.number(last); fd++ {
			sets = append(sets, []int{fd})
		}
		return sets
	}
	var set []int
	for _, fd := range strings.Split(word, ",") {
		set = append(set, p.number(fd))
	}
	return [][]int{set}
}

func (p *fixtureParser) sockets(words []string, mark string) {
	for i, fds := range p.span(words[0]) {
		inode := p.descriptors(fds, mark)
		if p.shared(words[1:], len(fds), i) {
			continue
		}
		s := p.socket(words[1:], i+1)
		s.Inode = uint32(inode)
		s.Cookie = cmp.Or(s.Cookie, inode)
		for _, w := range words {
			if on, ok := strings.CutPrefix(w, "asked="); ok {
				p.space.asked[s.Cookie] = on == "on"
			}
		}
		p.space.beside[s.Cookie] = p.beside(words)
		p.space.sockets = append(p.space.sockets, s)
		p.bornWord(s.Cookie, words, i+1)
		p.heldWords(inode, words)
	}
}

func (p *fixtureParser) dark(words []string, mark string) {
	alive, ok := map[string]Alive{"never": NeverConnected, "dead": Dead, "unknown": AliveUnknown}[words[1]]
	if !ok {
		p.fail("want never, dead or unknown, not %q", words[1])
	}
	for i, fds := range p.span(words[0]) {
		inode := p.descriptors(fds, mark)
		// Closed sockets speak of themselves as listed ones do.
		s := p.socket(append([]string{"UNCONN"}, words[2:]...), i+1)
		p.bornWord(inode, words, i+1)
		p.space.dark[inode] = DarkSocket{Cookie: inode, Alive: alive, Local: s.Local, Peer: s.Peer, Info: s.Info}
	}
}

func (p *fixtureParser) number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		p.fail("%v", err)
	}
	return n
}

// duration is Go's, with days in front.
func (p *fixtureParser) duration(word string) time.Duration {
	var days int
	if d, rest, ok := strings.Cut(word, "d"); ok {
		days, word = p.number(d), cmp.Or(rest, "0s")
	}
	d, err := time.ParseDuration(word)
	if err != nil {
		p.fail("%v", err)
	}
	return d + time.Duration(days)*24*time.Hour
}

// setInfo gives s the first n bytes of a kernel's tcp_info.
func setInfo(s *netlinkss.Socket, info netlinkss.TCPInfo, n int) {
	b, err := binary.Append(nil, binary.NativeEndian, &info)
	if err != nil {
		panic(err) // TCPInfo has fields of fixed size alone
	}
	s.SetInfo(b[:min(n, len(b))])
}
