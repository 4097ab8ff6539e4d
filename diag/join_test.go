package diag

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// held is what a process holds: descriptors and the cookie of each socket.
func held(p *Proc) (list []string) {
	for i := range p.Held {
		list = append(list, fmt.Sprintf("%v %d", p.Held[i].FDs, p.Held[i].Cookie))
	}
	return list
}

func wantHeld(t *testing.T, p *Proc, want ...string) {
	t.Helper()
	if got := held(p); !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", Subject(p.Process), got, want)
	}
}

func wantGaps(t *testing.T, gaps []Gap, want ...string) {
	t.Helper()
	if got := gapLines(gaps); !slices.Equal(got, want) {
		t.Errorf("gaps %q, want %q", got, want)
	}
}

func TestJoin(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101, 102), process(2, 200)})
	// The dump's order is the kernel's, and not that of descriptors. It reuses its one value.
	reused := &netlinkss.Socket{}
	for _, s := range []*netlinkss.Socket{
		estab(102, "10.0.0.1:80", "10.0.0.7:3"),
		estab(999, "10.0.0.1:80", "10.0.0.7:4"), // somebody else's
		estab(200, "10.0.0.1:80", "10.0.0.7:5"),
		estab(100, "10.0.0.1:80", "10.0.0.7:1"),
		estab(0, "10.0.0.1:80", "10.0.0.7:6"), // nobody's
		estab(101, "10.0.0.1:80", "10.0.0.7:2"),
	} {
		*reused = *s
		j.Add(reused)
	}
	if left := j.Unlisted(); len(left) != 0 {
		t.Errorf("unlisted: %v", left)
	}
	space := j.Space()
	wantHeld(t, space.Procs[0], "[10] 100", "[11] 101", "[12] 102")
	wantHeld(t, space.Procs[1], "[10] 200")
	if peer := space.Procs[0].Held[1].Peer; peer != netip.MustParseAddrPort("10.0.0.7:2") {
		t.Errorf("a kept socket changed with the dump's one value: peer %v", peer)
	}
	if space.Procs[0].Space != space {
		t.Error("the process does not know its namespace")
	}
	wantGaps(t, space.Gaps)
}

// A socket that stays as it is is kept and not copied.
func TestJoinTake(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101)})
	taken, added := estab(100, "10.0.0.1:80", "10.0.0.7:1"), estab(101, "10.0.0.1:80", "10.0.0.7:2")
	j.Take(taken)
	j.Add(added)
	held := j.Space().Procs[0].Held
	if held[0].Socket != taken {
		t.Error("a socket that was taken is a copy")
	}
	if held[1].Socket == added {
		t.Error("a socket that was added is none")
	}
}

func TestJoinCountsRepeatedSocketOnce(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100)})
	for range 3 {
		j.Add(estab(100, "10.0.0.1:80", "10.0.0.7:1"))
	}
	space := j.Space()
	wantHeld(t, space.Procs[0], "[10] 100")
	wantGaps(t, space.Gaps)
}

// Inode numbers go round: of two living sockets with one number nobody can say whose it is.
func TestJoinBlamesNobodyForSharedInode(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101), process(2, 100)})
	for cookie := range uint64(3) { // three sockets are one inode
		s := estab(100, "10.0.0.1:80", "10.0.0.7:1")
		s.Cookie = 7000 + cookie
		j.Add(s)
	}
	j.Add(estab(101, "10.0.0.1:80", "10.0.0.7:2"))
	space := j.Space()
	wantHeld(t, space.Procs[0], "[11] 101")
	wantHeld(t, space.Procs[1])
	wantGaps(t, space.Gaps, "1 sockets")

	r := Check(looked(space), Thresholds{Idle: 1, Grace: 1}, Rules())
	if !r.Partial() {
		t.Error("the result is not partial")
	}
	for _, f := range r.Findings {
		for _, s := range f.Samples {
			if s.Inode == 100 {
				t.Errorf("%s is blamed for the inode of two sockets", Subject(f.Proc.Process))
			}
		}
	}
}

func TestJoinSeveralHolders(t *testing.T) {
	worker := process(2, 300)
	worker.Sockets = append(worker.Sockets, procfd.SocketFD{FD: 40, Inode: 100}, procfd.SocketFD{FD: 41, Inode: 100})
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101, 100, 100), worker})
	for _, inode := range []uint32{101, 300, 100} {
		j.Add(estab(inode, "10.0.0.1:80", "10.0.0.7:1"))
	}
	space := j.Space()
	wantHeld(t, space.Procs[0], "[10 12 13] 100", "[11] 101")
	wantHeld(t, space.Procs[1], "[10] 300", "[40 41] 100")

	twoFDs := sampleOf(&space.Procs[1].Held[1], 0)
	if !slices.Equal(twoFDs.FDs, []int{40, 41}) {
		t.Errorf("sample of descriptors %v, want 40 and 41", twoFDs.FDs)
	}
	// A sample names the lowest descriptor, and all of them when there are several.
	s := sampleOf(&space.Procs[0].Held[0], 0)
	if s.FD != 10 || !slices.Equal(s.FDs, []int{10, 12, 13}) {
		t.Errorf("sample of descriptor %d, of %v", s.FD, s.FDs)
	}
	if s := sampleOf(&space.Procs[0].Held[1], 0); s.FD != 11 || s.FDs != nil {
		t.Errorf("sample of descriptor %d, of %v", s.FD, s.FDs)
	}
}

// What the dump did not show is asked one by one, and each answer has its place.
func TestJoinUnlisted(t *testing.T) {
	const listed, dark, found, asked, foreign, other, dead = 100, 101, 102, 103, 104, 105, 106 // one socket each
	p := process(1, listed, dark, found, asked, foreign, other, dead, foreign)
	j := NewJoin(&Space{}, []*procfd.Process{p})
	j.Add(estab(listed, "10.0.0.1:8080", "10.0.0.7:1"))
	unlisted := map[uint64]Unlisted{}
	var order []int
	for _, u := range j.Unlisted() {
		order = append(order, u.FD)
		switch unlisted[u.Inode] = u; u.Inode {
		case foreign:
			j.Foreign(u)
		}
	}
	if want := []int{11, 12, 13, 14, 15, 16, 17}; !slices.Equal(order, want) {
		t.Fatalf("unlisted descriptors %v, want %v", order, want)
	}
	j.Dark(unlisted[dead], DarkSocket{
		Alive: Dead, Peer: netip.MustParseAddrPort("10.0.0.9:5432"), Info: withTraffic(netlinkss.TCPInfo{}, true),
	})
	j.Dark(unlisted[dark], DarkSocket{Alive: NeverConnected, Cookie: 7})
	j.Found(estab(found, "10.0.0.1:8080", "10.0.0.7:2"))
	masked := estab(asked, "10.0.0.1:8080", "10.0.0.7:3")
	j.FoundAsked(masked, true)
	j.Unread(unlisted[other].Proc, "kind of sockets", 1, "permission denied")
	space := j.Space()

	proc := space.Procs[0]
	wantHeld(t, proc, "[10] 100", "[12] 102", "[13] 103")
	if h := proc.Held[2]; h.Keepalive != KeepaliveOn || !h.Asked {
		t.Errorf("the socket said that keepalive is on: %v, asked %v", h.Keepalive, h.Asked)
	}
	if h := proc.Held[1]; h.Keepalive != KeepaliveOff || h.Asked {
		t.Errorf("its timer says that keepalive is off: %v, asked %v", h.Keepalive, h.Asked)
	}
	if len(proc.Dark) != 2 || proc.Dark[0].FD != 11 || proc.Dark[0].Inode != dark || proc.Dark[1].FD != 16 {
		t.Errorf("dark: %+v", proc.Dark)
	}
	if d := proc.Dark[1].Direction; d != Connected {
		t.Errorf("the dead connection was %v, want connected", d)
	}
	if proc.Foreign != 2 {
		t.Errorf("%d foreign sockets, want 2", proc.Foreign)
	}
	wantGaps(t, proc.Gaps, "1 kind of sockets of app[1]", "2 sockets of app[1]")
}

// One unlisted socket with two descriptors is asked through each of them, and is one socket.
func TestJoinFoundAskedTwice(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 100), process(2, 100)})
	for range j.Unlisted() {
		j.FoundAsked(estab(100, "10.0.0.1:80", "10.0.0.7:1"), true)
	}
	space := j.Space()
	wantHeld(t, space.Procs[0], "[10 11] 100")
	wantHeld(t, space.Procs[1], "[10] 100")
	for _, p := range space.Procs {
		if !p.Held[0].Asked || p.Held[0].Keepalive != KeepaliveOn {
			t.Errorf("%s: keepalive %v, asked %v", Subject(p.Process), p.Held[0].Keepalive, p.Held[0].Asked)
		}
	}
}

func TestJoinGapsOfProcess(t *testing.T) {
	p := process(1)
	p.Gaps = []procfd.Gap{
		{What: "descriptors", Err: fmt.Errorf("open: %w", fs.ErrPermission)},
		{What: "executable", Err: fs.ErrPermission},
		{What: "status", Err: errors.New("short read")},
		{What: "limits", Count: 2, Err: errors.New("short read")},
	}
	gaps := NewJoin(&Space{}, []*procfd.Process{p}).Space().Procs[0].Gaps
	denied := "permission denied: run as root, or as the process's own user"
	want := []Gap{
		{What: "descriptors of app[1]", Why: denied},
		{What: "executable of app[1]", Why: denied, Minor: true},
		{What: "status of app[1]", Why: "short read", Minor: true},
		{What: "limits of app[1]", Count: 2, Why: "short read"},
	}
	if !slices.Equal(gaps, want) {
		t.Errorf("gaps:\n%+v\nwant:\n%+v", gaps, want)
	}
}

// Records in TIME-WAIT are counted on the ports that a process listens on and towards the peers that
// it is connected to, dead connections included, each once for a process.
func TestJoinTimeWait(t *testing.T) {
	server, client, ghost, idle := process(1, 100, 101), process(2, 200, 201), process(3, 300), process(4)
	j := NewJoin(&Space{}, []*procfd.Process{server, client, ghost, idle})
	timeWait := func(n int, local, peer string) {
		for range n {
			s := sock(netlinkss.TimeWait, local, peer)
			s.Timer = netlinkss.TimerTimeWait
			j.Add(s)
		}
	}
	// They come in between, and before it is known who listens where.
	timeWait(1, "10.0.0.1:8080", "10.0.0.7:1") // the server's port
	timeWait(2, "[::ffff:10.0.0.1]:8080", "[::ffff:10.0.0.7]:2")
	listen := estab(100, "[::]:8080", "[::]:0")
	listen.State = netlinkss.Listen
	j.Add(listen)
	j.Add(estab(101, "10.0.0.1:8080", "10.0.0.7:50000")) // accepted: its peer is not one that it dials
	j.Add(estab(200, "[::ffff:10.0.0.1]:50001", "[::ffff:10.0.0.9]:5432"))
	j.Add(estab(201, "10.0.0.1:50002", "10.0.0.9:5432"))
	timeWait(4, "10.0.0.1:50003", "10.0.0.9:5432")   // the client's peer, over either of its sockets
	timeWait(8, "10.0.0.1:50004", "10.0.0.9:6379")   // the dead connection's peer
	timeWait(16, "10.0.0.1:50005", "10.0.0.7:50000") // nobody's
	timeWait(32, "10.0.0.1:8080", "10.0.0.9:5432")   // the server's port and the client's peer
	for _, u := range j.Unlisted() {
		j.Dark(u, DarkSocket{Alive: Dead, Peer: netip.MustParseAddrPort("10.0.0.9:6379")})
	}
	space := j.Space()
	for i, want := range []int{1 + 2 + 32, 4 + 32, 8, 0} {
		if got := space.Procs[i].TimeWait; got != want {
			t.Errorf("%s: %d in TIME-WAIT, want %d", Subject(space.Procs[i].Process), got, want)
		}
	}
	if space.TimeWait != 63 {
		t.Errorf("%d in TIME-WAIT in the namespace, want 63", space.TimeWait)
	}
}

// A listening port tells who opened a connection where its counters cannot, and never overrules them.
func TestJoinDirection(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101, 102, 103, 104, 105, 106, 107, 108)})
	unknown := func(inode uint32, local string) *netlinkss.Socket {
		s := estab(inode, local, "10.0.0.7:1")
		setInfo(s, netlinkss.TCPInfo{BytesAcked: 9}, wholeInfo)
		return s
	}
	dialled := estab(103, "10.0.0.1:8080", "10.0.0.7:1")
	setInfo(dialled, withTraffic(netlinkss.TCPInfo{}, true), wholeInfo)
	listen := estab(100, "0.0.0.0:8080", "0.0.0.0:0")
	listen.State = netlinkss.Listen
	for _, s := range []*netlinkss.Socket{unknown(101, "10.0.0.1:8080"), unknown(102, "10.0.0.1:9090"), dialled, listen} {
		j.Add(s)
	}
	for _, u := range j.Unlisted() {
		j.Dark(u, map[uint64]DarkSocket{
			104: {Alive: Dead, Local: netip.MustParseAddrPort("10.0.0.1:8080")},
			105: {Alive: Dead, Local: netip.MustParseAddrPort("10.0.0.1:9090")},
			106: {Alive: NeverConnected, Peer: netip.MustParseAddrPort("10.0.0.9:1")}, // who tried to connect is known
			107: {Alive: NeverConnected},
			108: {Alive: AliveUnknown, Peer: netip.MustParseAddrPort("10.0.0.9:1")},
		}[u.Inode])
	}
	p := j.Space().Procs[0]
	var got []Direction
	for i := range p.Held {
		got = append(got, p.Held[i].Direction)
	}
	for i := range p.Dark {
		got = append(got, p.Dark[i].Direction)
	}
	want := []Direction{
		DirectionUnknown, Accepted, DirectionUnknown, Connected, // held
		Accepted, DirectionUnknown, Connected, DirectionUnknown, DirectionUnknown, // dark
	}
	if !slices.Equal(got, want) {
		t.Errorf("directions %v, want %v", got, want)
	}
}

// TCP's records of an MPTCP connection that the peer has closed go on saying ESTAB; MPTCP's own say
// CLOSE-WAIT. That is a gap, once for a connection and a process.
func TestJoinMPTCP(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101, 102, 100), process(2, 100)})
	part := func(inode uint32, ulp string) *netlinkss.Socket {
		s := estab(inode, "10.0.0.1:8080", "10.0.0.7:1")
		copy(s.ULP[:], ulp)
		return s
	}
	j.Add(part(102, "tls"))
	if j.HasMPTCP() {
		t.Error("a TLS connection is held to be of MPTCP")
	}
	j.Add(part(100, "mptcp"))
	j.Add(part(101, "mptcp"))
	if !j.HasMPTCP() {
		t.Error("an MPTCP connection is not noticed")
	}
	whole := func(inode uint32, state netlinkss.State) *netlinkss.Socket {
		s := estab(inode, "10.0.0.1:8080", "10.0.0.7:1")
		s.State = state
		return s
	}
	j.AddMPTCP(whole(100, netlinkss.CloseWait), time.Minute) // ended, and held by both processes
	j.AddMPTCP(whole(101, netlinkss.Estab), time.Minute)     // alive
	j.AddMPTCP(whole(102, netlinkss.CloseWait), time.Minute) // not a part of this one
	j.AddMPTCP(whole(999, netlinkss.CloseWait), time.Minute) // somebody else's
	space := j.Space()
	for _, p := range space.Procs {
		wantGaps(t, p.Gaps, fmt.Sprintf("1 MPTCP connections of %s that the peer has closed", Subject(p.Process)))
		if p.MPTCPEnded != 1 {
			t.Errorf("%s: %d ended, want 1", Subject(p.Process), p.MPTCPEnded)
		}
	}
}

// What MPTCP alone tells of unread data and of an end by this side is a gap, once nothing has come for the grace.
func TestJoinMPTCPOpen(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101, 102, 103, 104)})
	for inode := uint32(100); inode <= 104; inode++ {
		s := estab(inode, "10.0.0.1:8080", "10.0.0.7:1")
		copy(s.ULP[:], "mptcp")
		info := netlinkss.TCPInfo{LastDataRecv: 90_000}
		if inode == 102 {
			info.LastDataRecv = 30_000
		}
		setInfo(s, info, wholeInfo)
		j.Add(s)
	}
	for inode, change := range map[uint32]func(*netlinkss.Socket){
		100: func(s *netlinkss.Socket) { s.RecvQ = 768 },
		101: func(s *netlinkss.Socket) { s.State = netlinkss.FinWait2 },
		102: func(s *netlinkss.Socket) { s.RecvQ, s.State = 768, netlinkss.FinWait2 }, // something came just now
		103: func(*netlinkss.Socket) {},
		104: func(s *netlinkss.Socket) { s.RecvQ, s.State = 768, netlinkss.FinWait2 },
	} {
		s := estab(inode, "10.0.0.1:8080", "10.0.0.7:1")
		change(s)
		j.AddMPTCP(s, time.Minute)
	}
	p := j.Space().Procs[0]
	wantGaps(t, p.Gaps, "2 MPTCP connections of "+Subject(p.Process)+" with unread data",
		"2 MPTCP connections of "+Subject(p.Process)+" that it has shut down and holds")
}

func TestSortHeld(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 40 {
		held := make([]HeldSocket, n)
		for i := range held {
			held[i] = HeldSocket{Socket: &netlinkss.Socket{}, FDs: []int{r.IntN(30)}, Task: r.IntN(2) * 70, Direction: Direction(i)}
		}
		want := slices.Clone(held)
		slices.SortStableFunc(want, func(a, b HeldSocket) int { return byTable(a.SocketFD(), b.SocketFD()) })
		sortHeld(held)
		seen := map[Direction]bool{}
		for i := range held {
			seen[held[i].Direction] = true
			if byTable(held[i].SocketFD(), want[i].SocketFD()) != 0 {
				t.Fatalf("%d sockets: %d is %v, want %v", n, i, held[i].SocketFD(), want[i].SocketFD())
			}
		}
		if len(seen) != n {
			t.Fatalf("%d sockets: %d are left", n, len(seen))
		}
	}
}
