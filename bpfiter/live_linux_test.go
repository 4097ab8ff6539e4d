package bpfiter

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

func open(t testing.TB) *Source {
	t.Helper()
	s, err := Open()
	if errors.Is(err, os.ErrPermission) || errors.Is(err, ErrOld) {
		t.Skipf("%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// The iterators tell of a socket what sock_diag tells, field by field.
func TestKernelSame(t *testing.T) {
	s := open(t)
	c := variety(t)
	conn, err := netlinkss.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	listed := map[uint32]*netlinkss.Socket{}
	for sock, err := range conn.Dump(t.Context(), netlinkss.Request{Attrs: netlinkss.AttrInfo}) {
		if err != nil {
			t.Fatal(err)
		}
		if sock.Inode != 0 {
			listed[sock.Inode] = sock.Clone()
		}
	}
	found := 0
	for row := range own(t, s).All() {
		if !row.IsTCP() {
			continue
		}
		var sock Socket
		s.Socket(row, &sock)
		want := listed[sock.Inode]
		if want == nil {
			t.Errorf("inode %d, %v %v to %v, is not listed", sock.Inode, sock.State, sock.Local, sock.Peer)
			continue
		}
		found++
		compare(t, &sock, want)
		if netns := netns(t); sock.Netns != netns {
			t.Errorf("network namespace %d, want %d", sock.Netns, netns)
		}
	}
	if found != c {
		t.Errorf("%d sockets of this process, want %d", found, c)
	}
}

func own(t *testing.T, s *Source) Rows {
	t.Helper()
	pieces, err := s.Descriptors(t.Context(), Table{PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if len(pieces[1]) > 0 {
		t.Errorf("not asked for in two pieces")
	}
	return pieces[0]
}

func netns(t *testing.T) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// What is told in short are the connections with empty queues on which something has moved lately, with what a list tells of them.
func TestKernelUsual(t *testing.T) {
	s := open(t)
	variety(t)
	if err := s.Choose(Sieve{Idle: time.Hour, Grace: time.Hour}); err != nil {
		t.Fatal(err)
	}
	short, full := map[uint32]Usual{}, map[uint32]bool{}
	for row := range own(t, s).All() {
		switch {
		case row.IsUsual():
			u := s.Usual(row)
			short[u.Inode] = u
		case row.IsTCP():
			full[uint32(row.Inode())] = true
		}
	}
	conn, err := netlinkss.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	found := map[netlinkss.Family]int{}
	for sock, err := range conn.Dump(t.Context(), netlinkss.Request{Attrs: netlinkss.AttrInfo}) {
		if err != nil {
			t.Fatal(err)
		}
		u, ok := short[sock.Inode]
		switch {
		case !ok && full[sock.Inode] && sock.State == netlinkss.Estab && sock.RecvQ|sock.SendQ == 0:
			t.Errorf("%v to %v is told in full", sock.Local, sock.Peer)
		case !ok:
			continue
		}
		found[sock.Family]++
		idle := time.Duration(min(sock.Info.LastDataSent, sock.Info.LastDataRecv)) * time.Millisecond
		if d := u.Idle - idle; d < -time.Second || d > time.Second {
			t.Errorf("%v: idle %v, want %v", sock.Local, u.Idle, idle)
		}
		connected := sock.Info.BytesAcked == sock.Info.BytesSent+1
		want := Usual{sock.Family, sock.Inode, sock.Cookie, sock.Local, sock.Peer, u.Idle, sock.Timer != netlinkss.TimerOff, connected}
		if u != want || sock.State != netlinkss.Estab || sock.RecvQ|sock.SendQ != 0 {
			t.Errorf("%+v, want %+v (%v, %d, %d)", u, want, sock.State, sock.RecvQ, sock.SendQ)
		}
	}
	if found[netlinkss.Inet] < 2 || found[netlinkss.Inet6] < 2 || len(full) < 6 {
		t.Errorf("%v in short, %d in full", found, len(full))
	}
	if err := s.Choose(Sieve{Idle: 100 * time.Millisecond, Grace: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for row := range own(t, s).All() {
		if row.IsUsual() {
			t.Errorf("%+v: idle for longer, and told in short", s.Usual(row))
		}
	}
}

// A connection that a process has from another is told in full until something moves on it.
func TestKernelInherited(t *testing.T) {
	s := open(t)
	if err := s.Choose(Sieve{Idle: time.Hour}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // no clock is as coarse

	heir := exec.CommandContext(t.Context(), os.Args[0])
	heir.Env, heir.ExtraFiles = append(os.Environ(), heirEnv+"=1"), []*os.File{file}
	use, err := heir.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := heir.Start(); err != nil {
		t.Fatal(err)
	}
	defer heir.Wait()
	defer use.Close()
	conn.Close()
	file.Close()
	time.Sleep(200 * time.Millisecond)
	inherited := func() Row {
		pieces, err := s.Descriptors(t.Context(), Table{PID: heir.Process.Pid})
		if err != nil {
			t.Fatal(err)
		}
		for row := range pieces[0].All() {
			if row.Descriptor().FD == 3 {
				return row
			}
		}
		t.Fatal("the other process does not have it")
		return Row{}
	}
	if row := inherited(); !row.IsTCP() {
		t.Errorf("told in short, and nothing has moved since the process began: %+v", s.Usual(row))
	}
	if _, err := use.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // and it is acknowledged
	if !inherited().IsUsual() {
		t.Error("told in full, and something has moved since the process began")
	}
}

const heirEnv = "SOCKLEAK_TEST_HEIR"

// TestMain is the other process of some tests, too: what it reads it writes to the connection.
func TestMain(m *testing.M) {
	if os.Getenv(heirEnv) == "" {
		os.Exit(m.Run())
	}
	if _, err := io.Copy(os.NewFile(3, "connection"), os.Stdin); err != nil {
		panic(err)
	}
}

// A socket that two descriptors are open on is told in full.
func TestKernelShared(t *testing.T) {
	s := open(t)
	variety(t)
	if err := s.Choose(Sieve{Idle: time.Hour, Grace: time.Hour}); err != nil {
		t.Fatal(err)
	}
	var fd int
	for row := range own(t, s).All() {
		if row.IsUsual() {
			fd = row.Descriptor().FD
		}
	}
	second, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(second)
	for row := range own(t, s).All() {
		if d := row.Descriptor(); (d.FD == fd || d.FD == second) && !row.IsTCP() {
			t.Errorf("fd %d is told in short", d.FD)
		}
	}
}

// Two halves are the whole.
func TestKernelHalves(t *testing.T) {
	s := open(t)
	variety(t)
	whole := own(t, s)
	fds := func(pieces ...Rows) (list []procfd.Descriptor) {
		for _, rows := range pieces {
			for row := range rows.All() {
				if row.IsSocket() {
					list = append(list, row.Descriptor())
				}
			}
		}
		return list
	}
	for _, most := range []int{2, 10, 40, 1 << 20} {
		pieces, err := s.Descriptors(t.Context(), Table{PID: os.Getpid(), Most: most, Halves: true})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fds(pieces...), fds(whole); !slices.Equal(got, want) {
			t.Errorf("%d: %v, want %v", most, got, want)
		}
		if most == 10 && (len(pieces[0]) == 0 || len(pieces[1]) == 0) {
			t.Errorf("%d and %d bytes", len(pieces[0]), len(pieces[1]))
		}
	}
	for _, u := range s.uppers {
		if u != (upper{}) {
			t.Errorf("thread %d passes over descriptors below %d still", u.TID, u.From)
		}
	}
}

// A thread is not in the way of another that has its place.
func TestPassOver(t *testing.T) {
	s := open(t)
	if !s.passOver(7, 100) || s.passOver(7+64, 50) || !s.passOver(8, 10) || !s.passOver(7, 0) || !s.passOver(7+64, 50) {
		t.Errorf("%v", s.uppers)
	}
}

// What is not of this program is not read beyond its end.
func TestRowsCut(t *testing.T) {
	s := open(t)
	variety(t)
	rows := own(t, s)
	for n := range min(len(rows), 2000) {
		for row := range rows[:n].All() {
			_ = row.Descriptor()
		}
	}
}

// The inodes alone are those of all sockets.
func TestKernelInodes(t *testing.T) {
	s, err := OpenOwners()
	if errors.Is(err, os.ErrPermission) || errors.Is(err, ErrOld) {
		t.Skipf("%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	variety(t)
	p := readSelf(t)
	for _, halves := range []bool{false, true} {
		var mu sync.Mutex
		got := map[uint64]int{}
		table := Table{PID: os.Getpid(), Most: p.Open, Halves: halves}
		err := s.Inodes(t.Context(), table, func(inode uint64) {
			mu.Lock()
			defer mu.Unlock()
			got[inode]++
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, sock := range p.Sockets {
			if got[sock.Inode] != 1 {
				t.Errorf("halves %t, fd %d: inode %d told %d times", halves, sock.FD, sock.Inode, got[sock.Inode])
			}
		}
	}
	none := func(uint64) { t.Error("a socket where there is none") }
	if err := s.Inodes(t.Context(), Table{PID: 1 << 22}, none); !errors.Is(err, ErrNone) {
		t.Errorf("a process that there is not: %v", err)
	}
	// Without a socket is not without descriptors.
	heir := exec.CommandContext(t.Context(), os.Args[0])
	heir.Env = append(os.Environ(), heirEnv+"=1")
	wait, err := heir.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := heir.Start(); err != nil {
		t.Fatal(err)
	}
	defer heir.Wait()
	defer wait.Close()
	for _, halves := range []bool{false, true} {
		if err := s.Inodes(t.Context(), Table{PID: heir.Process.Pid, Most: 6, Halves: halves}, none); err != nil {
			t.Errorf("a process without sockets, halves %t: %v", halves, err)
		}
	}
}

// Of a process that has none, or shows none, nothing is told as if it were all.
func TestKernelNone(t *testing.T) {
	s := open(t)
	for _, halves := range []bool{false, true} {
		if _, err := s.Descriptors(t.Context(), Table{PID: 1 << 22, Most: 10, Halves: halves}); !errors.Is(err, ErrNone) {
			t.Errorf("a process that there is not, halves %t: %v", halves, err)
		}
	}
}

// compare allows for the time between the two readings.
func compare(t *testing.T, got *Socket, want *netlinkss.Socket) {
	t.Helper()
	a, b := *got, *want
	near := func(what string, x, y *uint32, ms uint32) {
		if d := int64(*x) - int64(*y); d > int64(ms) || d < -int64(ms) {
			t.Errorf("%v: %s %d, want %d", want.Local, what, *x, *y)
		}
		*x, *y = 0, 0
	}
	near("last_data_sent", &a.Info.LastDataSent, &b.Info.LastDataSent, 500)
	near("last_data_recv", &a.Info.LastDataRecv, &b.Info.LastDataRecv, 500)
	near("last_ack_recv", &a.Info.LastAckRecv, &b.Info.LastAckRecv, 500)
	if d := a.Expires - b.Expires; d > time.Second || d < -time.Second {
		t.Errorf("%v: expires %v, want %v", want.Local, a.Expires, b.Expires)
	}
	if b.InfoLen() < 240 { // before Linux 6.2
		a.Info.RcvWnd = 0
	}
	for _, x := range []struct {
		what      string
		got, want any
	}{
		{"family", a.Family, b.Family}, {"state", a.State, b.State}, {"timer", a.Timer, b.Timer}, {"retrans", a.Retrans, b.Retrans},
		{"local", a.Local, b.Local}, {"peer", a.Peer, b.Peer}, {"interface", a.Interface, b.Interface}, {"cookie", a.Cookie, b.Cookie},
		{"Recv-Q", a.RecvQ, b.RecvQ}, {"Send-Q", a.SendQ, b.SendQ}, {"uid", a.UID, b.UID}, {"shutdown", a.Shutdown, b.Shutdown},
		{"cgroup", a.CgroupID, b.CgroupID}, {"rto", a.Info.RTO, b.Info.RTO}, {"backoff", a.Info.Backoff, b.Info.Backoff},
		{"probes", a.Info.Probes, b.Info.Probes}, {"retransmits", a.Info.Retransmits, b.Info.Retransmits},
		{"snd_mss", a.Info.SndMSS, b.Info.SndMSS}, {"rcv_mss", a.Info.RcvMSS, b.Info.RcvMSS}, {"unacked", a.Info.Unacked, b.Info.Unacked},
		{"sacked", a.Info.Sacked, b.Info.Sacked}, {"rtt", a.Info.RTT, b.Info.RTT}, {"rttvar", a.Info.RTTVar, b.Info.RTTVar},
		{"snd_cwnd", a.Info.SndCwnd, b.Info.SndCwnd}, {"snd_ssthresh", a.Info.SndSSThresh, b.Info.SndSSThresh}, {"advmss", a.Info.AdvMSS, b.Info.AdvMSS},
		{"rcv_ssthresh", a.Info.RcvSSThresh, b.Info.RcvSSThresh}, {"reordering", a.Info.Reordering, b.Info.Reordering},
		{"total_retrans", a.Info.TotalRetrans, b.Info.TotalRetrans},
		{"bytes_acked", a.Info.BytesAcked, b.Info.BytesAcked}, {"bytes_received", a.Info.BytesReceived, b.Info.BytesReceived},
		{"bytes_sent", a.Info.BytesSent, b.Info.BytesSent}, {"bytes_retrans", a.Info.BytesRetrans, b.Info.BytesRetrans},
		{"segs_in", a.Info.SegsIn, b.Info.SegsIn}, {"segs_out", a.Info.SegsOut, b.Info.SegsOut}, {"data_segs_in", a.Info.DataSegsIn, b.Info.DataSegsIn},
		{"data_segs_out", a.Info.DataSegsOut, b.Info.DataSegsOut}, {"notsent", a.Info.NotSentBytes, b.Info.NotSentBytes},
		{"delivered", a.Info.Delivered, b.Info.Delivered}, {"snd_wnd", a.Info.SndWnd, b.Info.SndWnd}, {"rcv_wnd", a.Info.RcvWnd, b.Info.RcvWnd},
	} {
		if x.got != x.want {
			t.Errorf("inode %d, %v %v to %v: %s %v, want %v", got.Inode, b.State, b.Local, b.Peer, x.what, x.got, x.want)
		}
	}
}

// variety makes sockets in many conditions, and returns how many.
func variety(t *testing.T) (n int) {
	t.Helper()
	for _, network := range []string{"tcp4", "tcp6"} {
		lc := net.ListenConfig{KeepAlive: -1}
		lc.SetMultipathTCP(false)
		at := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network]
		ln, err := lc.Listen(context.Background(), network, at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		n++
		pair := func(keepalive time.Duration) (client, server *net.TCPConn) {
			d := net.Dialer{KeepAlive: keepalive}
			d.SetMultipathTCP(false)
			c, err := d.Dial(network, ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			a, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close(); a.Close() })
			n += 2
			return c.(*net.TCPConn), a.(*net.TCPConn)
		}
		pair(-1)                           // silent
		c, s := pair(time.Hour)            // keepalive, with data both ways
		_, _ = c.Write(make([]byte, 3000)) // unread
		_, _ = s.Write([]byte("answer"))
		_, _ = c.Read(make([]byte, 3))
		c, _ = pair(-1) // half closed
		_ = c.CloseWrite()
		c, _ = pair(time.Minute) // the peer reads nothing
		_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		for err == nil {
			_, err = c.Write(make([]byte, 1<<20))
		}
	}
	time.Sleep(700 * time.Millisecond)
	return n
}

// Every descriptor of this process is told as /proc tells it.
func TestKernelFDs(t *testing.T) {
	s := open(t)
	variety(t)
	p := readSelf(t)
	kinds, sockets, n := map[procfd.Kind]int{}, map[int]uint64{}, 0
	for row := range own(t, s).All() {
		fd := row.Descriptor()
		n++
		kinds[fd.Kind]++
		if fd.Kind == procfd.KindSocket {
			sockets[fd.FD] = fd.Inode
		}
		if row.Own() {
			t.Errorf("fd %d is in a table of a thread's own", fd.FD)
		}
	}
	for k, want := range p.ByKind {
		k := procfd.Kind(k)
		d := kinds[k] - want
		if readers := k == procfd.KindOther || k == procfd.KindFile; !readers && d != 0 || d < -3 || d > 3 { // the readers' own
			t.Errorf("%d of kind %v, want %d", kinds[k], k, want)
		}
	}
	for _, want := range p.Sockets {
		if sockets[want.FD] != want.Inode {
			t.Errorf("fd %d is on socket %d, want %d", want.FD, sockets[want.FD], want.Inode)
		}
	}
	if n < p.Open-3 || len(p.Sockets) < 10 {
		t.Errorf("%d descriptors, want %d; %d sockets", n, p.Open, len(p.Sockets))
	}
}

func readSelf(t *testing.T) *procfd.Process {
	t.Helper()
	e, err := unix.EpollCreate1(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(e) })
	m, err := unix.MemfdCreate("x", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(m) })
	for _, ns := range []string{"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "user", "uts"} {
		f, err := os.Open("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
	}
	fs, err := procfd.New("/proc")
	if err != nil {
		t.Fatal(err)
	}
	p, err := fs.Process(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTickRate(t *testing.T) {
	for _, tt := range []struct {
		hz uint64
		up time.Duration
	}{{100, time.Hour}, {250, time.Minute}, {300, 40 * 24 * time.Hour}, {1000, 400 * 24 * time.Hour}, {1000, 10 * time.Second}} {
		jiffies := uint64(int64(1<<32) - 300*int64(tt.hz) + int64(tt.up.Seconds()*float64(tt.hz)))
		if got, err := tickRate(jiffies, tt.up); got != tt.hz || err != nil {
			t.Errorf("%d after %v: %d, %v", tt.hz, tt.up, got, err)
		}
	}
	if hz, err := tickRate(1<<32+10, 300*time.Second); err == nil {
		t.Errorf("where all rates look the same: %d", hz)
	}
}
