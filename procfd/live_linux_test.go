package procfd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test reads itself, and knows what it is.
func TestKernelSelf(t *testing.T) {
	f := liveFS(t)
	p := live(t, os.Getpid())
	exe, err := os.Executable()
	must(t, err)
	if p.Exe != exe || !slices.Equal(p.Args, os.Args) || p.Runtime != "go" {
		t.Errorf("executable %q, arguments %q, runtime %q; want %q, %q", p.Exe, p.Args, p.Runtime, exe, os.Args)
	}
	if p.PID != os.Getpid() || p.PPID != os.Getppid() || p.FDTask != p.PID || p.UID != uint32(os.Geteuid()) || p.Start == 0 || p.Threads == 0 || p.RSS == 0 {
		t.Errorf("%+v", p)
	}
	comm, err := os.ReadFile("/proc/self/comm")
	must(t, err)
	if want := strings.TrimSuffix(string(comm), "\n"); p.Name != want {
		t.Errorf("name %q, want %q", p.Name, want)
	}
	if c, e, err := f.Names(p.PID); c != p.Name || e != p.Exe || err != nil {
		t.Errorf("names %q, %q; want %q, %q", c, e, p.Name, p.Exe)
	}
	var lim unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	if p.SoftLimit != lim.Cur {
		t.Errorf("soft limit %d, want %d", p.SoftLimit, lim.Cur)
	}
	var ns unix.Stat_t
	must(t, unix.Stat("/proc/self/ns/net", &ns))
	if p.Netns != ns.Ino || f.Netns() != ns.Ino {
		t.Errorf("network namespaces %d and %d, want %d", p.Netns, f.Netns(), ns.Ino)
	}
	if len(p.Gaps) != 0 || !f.SameProcess(p) {
		t.Errorf("gaps %v, same %v", p.Gaps, f.SameProcess(p))
	}
}

func TestKernelHost(t *testing.T) {
	f := liveFS(t)
	name, err := os.Hostname()
	must(t, err)
	var u unix.Utsname
	must(t, unix.Uname(&u))
	if h := f.Host(); h.Name != name || h.Kernel != unix.ByteSliceToString(u.Release[:]) || h.Uptime <= 0 {
		t.Errorf("%+v", h)
	}
	if s := f.NetSysctls(); s.KeepaliveTime <= 0 || s.PortLow <= 0 || s.PortHigh < s.PortLow {
		t.Errorf("%+v", s)
	}
	pids, err := f.PIDs()
	if err != nil || !slices.Contains(pids, os.Getpid()) || !slices.IsSorted(pids) {
		t.Errorf("%v, %v", pids, err)
	}
}

// Others open and close sockets, too; the own listener is the least that there is.
func TestKernelSockstat(t *testing.T) {
	ipv4.listen(t)
	for _, pid := range []int{0, os.Getpid()} {
		s, err := liveFS(t).Sockstat(pid)
		if err != nil || s.InUse < 1 || s.Alloc < 1 || s.Orphan < 0 || s.TW < 0 {
			t.Errorf("of %d: %+v, %v", pid, s, err)
		}
	}
}

func TestKernelKinds(t *testing.T) {
	c := start(t, "serve", nil)
	before := live(t, c.pid)
	want := before.ByKind
	var sockets []int
	for k := Kind(0); k < NumKinds; k++ {
		for range k%3 + 1 { // not the same number of each
			fd, err := c.try("open", int(k))
			if k == KindIOUring && err != nil {
				t.Logf("no io_uring: %v", err)
				continue
			}
			must(t, err)
			want[k]++
			if k == KindSocket {
				sockets = append(sockets, fd)
			}
		}
	}
	for _, s := range [][3]int{{unix.AF_INET, unix.SOCK_STREAM}, {unix.AF_INET, unix.SOCK_DGRAM}, {unix.AF_NETLINK, unix.SOCK_RAW}} {
		sockets = append(sockets, c.do("socket", s[:]...))
		want[KindSocket]++
	}

	p := live(t, c.pid)
	if p.ByKind != want {
		t.Errorf("kinds %v, want %v", p.ByKind, want)
	}
	listed, err := os.ReadDir(liveFS(t).Path(c.pid, "fd"))
	must(t, err)
	if p.Open != len(listed) || len(p.Gaps) != 0 {
		t.Errorf("%d descriptors, gaps %v; the directory has %d", p.Open, p.Gaps, len(listed))
	}
	if len(p.Sockets) != want[KindSocket] || !slices.IsSortedFunc(p.Sockets, func(a, b SocketFD) int { return a.FD - b.FD }) {
		t.Errorf("sockets %v", p.Sockets)
	}
	for _, fd := range sockets {
		if s := c.socketFD(fd); !slices.Contains(p.Sockets, s) {
			t.Errorf("%+v is not among %v", s, p.Sockets)
		}
	}
}

// An interpreter by another name is recognised by what it has mapped.
func TestKernelRecogniseLibraries(t *testing.T) {
	f := liveFS(t)
	if got := f.byLibraries(os.Getpid()); got != "" {
		t.Errorf("a Go program is taken for %q", got)
	}
	lib := filepath.Join(t.TempDir(), "libjvm.so")
	must(t, os.WriteFile(lib, make([]byte, 4096), 0o644))
	file, err := os.Open(lib)
	must(t, err)
	defer file.Close()
	b, err := unix.Mmap(int(file.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE)
	must(t, err)
	defer unix.Munmap(b)
	if got := f.byLibraries(os.Getpid()); got != "java" {
		t.Errorf("with %s mapped: %q", lib, got)
	}
}

// What a process waits on is known by its descriptors, and a pipe by whether it has both ends.
func TestKernelWaiters(t *testing.T) {
	c := start(t, "serve", nil)
	before := live(t, c.pid)
	epolls, urings, pairs := slices.Clone(before.Epolls), slices.Clone(before.Urings), before.PipePairs
	for range 2 {
		epolls = append(epolls, c.do("open", int(KindEpoll)))
		if fd, err := c.try("open", int(KindIOUring)); err == nil {
			urings = append(urings, fd)
		}
		end := c.do("pipe")
		c.do("dup2", end, end+100) // a third descriptor is no second pair
		c.do("open", int(KindPipe))
		pairs++
	}
	p := live(t, c.pid)
	if !slices.Equal(p.Epolls, epolls) || !slices.Equal(p.Urings, urings) || p.PipePairs != pairs {
		t.Errorf("epoll sets %v, rings %v, %d pipes; want %v, %v, %d", p.Epolls, p.Urings, p.PipePairs, epolls, urings, pairs)
	}
}

// A process is identified first, and its descriptors are read when there is time for it.
func TestKernelIdentify(t *testing.T) {
	c := start(t, "serve", nil)
	f := liveFS(t)
	p, err := f.Identify(c.pid)
	must(t, err)
	if p.Open != 0 || p.Sockets != nil || p.Start == 0 || p.FDTask != c.pid || len(p.Gaps) != 0 {
		t.Errorf("identified: %+v", p)
	}
	s := c.socketFD(c.do("open", int(KindSocket)))
	must(t, f.ReadDescriptors(p, nil))
	if !slices.Contains(p.Sockets, s) {
		t.Errorf("%+v is not among %v", s, p.Sockets)
	}
	if n := f.CountDescriptors(c.pid); n != p.Open && n != 0 { // 0 before Linux 6.2
		t.Errorf("counted %d descriptors, and read %d", n, p.Open)
	}

	other := *p
	other.Start++
	if err := f.ReadDescriptors(&other, nil); !errors.Is(err, ErrGone) {
		t.Errorf("of another process with its number: %v", err)
	}
	c.end()
	if err := f.ReadDescriptors(p, nil); !errors.Is(err, ErrGone) {
		t.Errorf("after the end: %v", err)
	}
	if n := f.CountDescriptors(c.pid); n != 0 {
		t.Errorf("after the end: %d descriptors", n)
	}
}

// More descriptors than are listed in one go are counted as exactly.
func TestKernelManyDescriptors(t *testing.T) {
	for _, n := range []int{denseFrom, parallelFrom + 100} {
		fds := dup(t, n)
		inode, err := inodeOf(fds[0])
		must(t, err)
		p := live(t, os.Getpid())
		for _, fd := range fds {
			if _, found := slices.BinarySearchFunc(p.Sockets, fd, func(s SocketFD, fd int) int { return s.FD - fd }); !found {
				t.Fatalf("descriptor %d is not among %d", fd, len(p.Sockets))
			}
		}
		here := 0
		for _, s := range p.Sockets {
			if s.Inode == inode {
				here++
			}
		}
		if total := p.Open; here != n || p.ByKind[KindSocket] != len(p.Sockets) || total < n {
			t.Errorf("%d descriptors on the socket, want %d; %d in all, %d sockets, kinds %v", here, n, total, len(p.Sockets), p.ByKind)
		}
	}
}

// What is read twice is read anew: descriptors come and go, and numbers are used again.
func TestKernelDescriptorsChange(t *testing.T) {
	c := start(t, "serve", nil)
	f := liveFS(t)
	stays, goes, changes := c.do("open", int(KindSocket)), c.do("open", int(KindSocket)), c.do("open", int(KindSocket))
	was := live(t, c.pid)
	old := c.socketFD(changes)
	c.do("close", goes)
	c.do("dup2", c.do("open", int(KindSocket)), changes)

	now := live(t, c.pid)
	if now.Open != was.Open || len(now.Sockets) != len(was.Sockets) {
		t.Errorf("%d descriptors with sockets %v, before %d with %v", now.Open, now.Sockets, was.Open, was.Sockets)
	}
	if slices.Contains(now.Sockets, old) || !slices.Contains(now.Sockets, c.socketFD(changes)) {
		t.Errorf("sockets %v, before %v", now.Sockets, was.Sockets)
	}
	if inode, ok := f.SocketInode(was, SocketFD{FD: changes}); !ok || inode == old.Inode || inode != c.socketFD(changes).Inode {
		t.Errorf("descriptor %d is on %d %v, before on %d", changes, inode, ok, old.Inode)
	}
	if inode, ok := f.SocketInode(was, SocketFD{FD: stays}); !ok || inode != c.socketFD(stays).Inode {
		t.Errorf("descriptor %d is on %d %v", stays, inode, ok)
	}
	c.do("dup2", c.do("open", int(KindPipe)), stays)
	for _, fd := range []int{stays, 1 << 20} {
		if inode, ok := f.SocketInode(was, SocketFD{FD: fd}); ok {
			t.Errorf("descriptor %d is on socket %d", fd, inode)
		}
	}
}

// Descriptors that are closed between being listed and being read are no gap, and those beside them
// are not lost.
func TestKernelChurn(t *testing.T) {
	c := start(t, "serve", nil)
	var stable []SocketFD
	for range 20 {
		stable = append(stable, c.socketFD(c.do("open", int(KindSocket))))
	}
	c.do("churn")
	for range 200 {
		p := live(t, c.pid)
		if len(p.Gaps) != 0 {
			t.Fatalf("gaps %v", p.Gaps)
		}
		for _, s := range stable {
			if !slices.Contains(p.Sockets, s) {
				t.Fatalf("%+v is not among %v", s, p.Sockets)
			}
		}
	}
}

// The process ends when its first descriptor has been read, and there were more. Its directory is root's
// then, as soon as anybody looks there, and an ordinary user is denied.
func TestKernelEndsDuringWalk(t *testing.T) {
	c := start(t, "serve", nil)
	p := live(t, c.pid)
	read, closed := 0, 0
	_ = walkFDs(liveFS(t).Path(c.pid, "fd"), func(_ int, _ []byte, err error) {
		switch {
		case err == nil:
			read++
		case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || isDenied(err):
			closed++
		default:
			t.Error(err)
		}
		c.end()
	})
	if read != 1 || closed != p.Open-1 {
		t.Errorf("read %d and %d closed, of %d", read, closed, p.Open)
	}
}

// However the end of a process and the reading of it fall together, the answer is a process or
// ErrGone.
func TestKernelEndsDuringScan(t *testing.T) {
	for range 5 {
		c := start(t, "serve", nil)
		p := live(t, c.pid)
		ended := make(chan error, 1)
		go func() { ended <- scanUntilGone(p) }()
		c.end()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

func scanUntilGone(p *Process) error {
	f, err := New("/proc")
	if err != nil {
		return err
	}
	for {
		again, err := f.Process(p.PID)
		switch {
		case errors.Is(err, ErrGone):
			if f.SameProcess(p) {
				return errors.New("gone, and the same process")
			}
			return nil
		case err != nil:
			return fmt.Errorf("neither a process nor gone: %w", err)
		case again.Start != p.Start:
			return fmt.Errorf("start %d was %d", again.Start, p.Start)
		}
	}
}

// Another process takes the number while it is being read. limits is a named pipe, so that the reader
// waits there.
func TestKernelReplacedDuringRead(t *testing.T) {
	f := process42().with(tree{"42/limits": absent}).mount(t)
	pipe := f.Path(42, "limits")
	must(t, unix.Mkfifo(pipe, 0o600))
	read := make(chan error, 1)
	go func() {
		_, err := f.Process(42)
		read <- err
	}()
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // blocks until the reader has come
	must(t, err)
	write(t, filepath.Join(f.root, "42/stat"), statLine(42, "payments", 'S', 250001))
	_, err = w.WriteString(limitsFile("1024"))
	must(t, err)
	must(t, w.Close())
	if err := <-read; !errors.Is(err, ErrGone) {
		t.Errorf("%v, want %v", err, ErrGone)
	}
}

func TestKernelHolders(t *testing.T) {
	a, b := start(t, "serve", nil), start(t, "serve", nil)
	s := a.socketFD(a.do("open", int(KindSocket)))
	other := b.socketFD(b.do("open", int(KindSocket)))
	f := liveFS(t)
	pids, missing, _, err := f.Holders(map[uint64]bool{s.Inode: true, other.Inode: true})
	want := []int{a.pid, b.pid}
	slices.Sort(want)
	if err != nil || missing != 0 || !slices.Equal(pids, want) {
		t.Errorf("held by %v, %d missing, %v; want %v", pids, missing, err, want)
	}
	self := dup(t, 3)
	inode, err := inodeOf(self[0])
	must(t, err)
	holders, denied := f.Search([]int{a.pid, os.Getpid(), b.pid}, func(i uint64) bool { return i == s.Inode || i == inode })
	wantHolders := []Holder{{PID: a.pid, FD: s.FD, Inode: s.Inode}}
	for _, fd := range self {
		wantHolders = append(wantHolders, Holder{PID: os.Getpid(), FD: fd, Inode: inode})
	}
	slices.SortStableFunc(wantHolders, func(a, b Holder) int { return a.PID - b.PID })
	if !slices.Equal(holders, wantHolders) || denied != nil {
		t.Errorf("found %v, denied %v; want %v", holders, denied, wantHolders)
	}
	for _, h := range holders {
		if f.Closed(h) {
			t.Errorf("%v is closed", h)
		}
	}
	a.do("close", s.FD)
	if h := (Holder{PID: a.pid, FD: s.FD, Inode: s.Inode}); !f.Closed(h) {
		t.Errorf("%v is open", h)
	}
	if pids, missing, _, err := f.Holders(map[uint64]bool{s.Inode: true}); err != nil || missing != 1 || len(pids) != 0 {
		t.Errorf("after closing held by %v, %d missing, %v", pids, missing, err)
	}
}

// What no list of a process's own descriptors shows is found, too: those of a thread, and those behind a main thread
// that has exited.
func TestKernelSearchThreads(t *testing.T) {
	c, zombie := start(t, "serve", nil), startLeaderless(t)
	own, _ := c.connectOwn()
	s := zombie.socketFD(zombie.do("open", int(KindSocket)))
	zombie.endMainThread()
	found, denied := liveFS(t).Search([]int{c.pid, zombie.pid}, func(i uint64) bool { return i == own.Inode || i == s.Inode })
	want := []Holder{{PID: c.pid, FD: own.FD, Task: own.Task, Inode: own.Inode}, {PID: zombie.pid, FD: s.FD, Inode: s.Inode}}
	slices.SortFunc(want, func(a, b Holder) int { return a.PID - b.PID })
	if !slices.Equal(found, want) || denied != nil {
		t.Errorf("found %v, denied %v; want %v", found, denied, want)
	}
	for _, h := range found {
		if liveFS(t).Closed(h) {
			t.Errorf("%v is closed", h)
		}
	}
}

// What is not wanted costs nothing but its walk.
func TestSearchAllocs(t *testing.T) {
	f := liveFS(t)
	search := func() float64 {
		return testing.AllocsPerRun(10, func() {
			f.Search([]int{os.Getpid()}, func(uint64) bool { return false })
		})
	}
	few := search()
	dup(t, 1000)
	if many := search(); many > few+50 { // the directory of threads is read, too, and the runtime starts some
		t.Errorf("%v allocations with 1000 sockets more, %v before", many, few)
	}
}

func TestKernelParents(t *testing.T) {
	c := start(t, "serve", nil)
	parents, err := liveFS(t).Parents()
	if err != nil || parents[c.pid] != os.Getpid() || parents[os.Getpid()] != os.Getppid() {
		t.Errorf("of %d: %d, of the test: %d, %v; want %d and %d", c.pid, parents[c.pid], parents[os.Getpid()], err, os.Getpid(), os.Getppid())
	}
}

func TestKernelProtocol(t *testing.T) {
	f, p := liveFS(t), live(t, os.Getpid())
	for _, tt := range []struct {
		domain, typ, protocol int
		want                  []string
	}{
		{unix.AF_INET, unix.SOCK_STREAM, 0, []string{"TCP"}},
		{unix.AF_INET6, unix.SOCK_STREAM, 0, []string{"TCPv6"}},
		{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, []string{"MPTCP"}},
		{unix.AF_INET, unix.SOCK_DGRAM, 0, []string{"UDP"}},
		{unix.AF_INET6, unix.SOCK_DGRAM, 0, []string{"UDPv6"}},
		{unix.AF_UNIX, unix.SOCK_STREAM, 0, []string{"UNIX-STREAM", "UNIX"}}, // UNIX before Linux 5.15
		{unix.AF_NETLINK, unix.SOCK_RAW, 0, []string{"NETLINK"}},
	} {
		fd, err := unix.Socket(tt.domain, tt.typ|unix.SOCK_CLOEXEC, tt.protocol)
		if err != nil {
			t.Logf("this kernel has no %s: %v", tt.want[0], err)
			continue
		}
		s := own(t, fd)
		if got, err := f.Protocol(p, SocketFD{FD: s.fd}); err != nil || !slices.Contains(tt.want, got) {
			t.Errorf("%q, %v; want %q", got, err, tt.want)
		}
		s.close()
		if got, err := f.Protocol(p, SocketFD{FD: fd}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after closing %q, %v", got, err)
		}
	}
	pipe, err := openKind(KindPipe)
	must(t, err)
	if got, err := f.Protocol(p, SocketFD{FD: own(t, pipe).fd}); err == nil {
		t.Errorf("a pipe speaks %q", got)
	}
}

// The date is that of the entry in /proc, which is what lstat tells; memory pressure can renew it in
// between.
func TestKernelFirstLookedAt(t *testing.T) {
	f, p := liveFS(t), live(t, os.Getpid())
	s := ipv4.socket(t)
	path := f.fdPath(p, SocketFD{FD: s.fd})
	eventually(t, func() error {
		got, err := f.FirstLookedAt(p, SocketFD{FD: s.fd})
		must(t, err)
		info, err := os.Lstat(path)
		must(t, err)
		if got.IsZero() || !got.Equal(info.ModTime()) {
			return fmt.Errorf("date %v, want %v", got, info.ModTime())
		}
		return nil
	})
	fd := s.fd
	s.close()
	if got, err := f.FirstLookedAt(p, SocketFD{FD: fd}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after closing %v, %v", got, err)
	}
}

// The clock and the file are one, in the namespace of the reader.
func TestKernelUptime(t *testing.T) {
	f := liveFS(t)
	before := f.Uptime()
	file := (&FS{root: f.root + "/."}).Uptime()
	after := f.Uptime()
	if before > file || file > after || before == 0 || before%(10*time.Millisecond) != 0 {
		t.Errorf("the clock tells %v and %v, the file between them %v", before, after, file)
	}
}

func TestReadPSS(t *testing.T) {
	fs := liveFS(t)
	p := &Process{PID: os.Getpid()}
	if err := fs.ReadPSS(p); err != nil {
		t.Fatal(err)
	}
	if p.PSS < 1<<20 || p.PSS > 1<<34 {
		t.Errorf("PSS of %d bytes", p.PSS)
	}
	if err := fs.ReadPSS(&Process{PID: 1 << 22}); !errors.Is(err, ErrGone) {
		t.Errorf("of no process: %v, want ErrGone", err)
	}
}
