package procfd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// waits reads what the child waits for.
func (c *child) waits() *Waits {
	c.t.Helper()
	w, err := liveFS(c.t).Waits(live(c.t, c.pid))
	must(c.t, err)
	return w
}

// tells skips where the calls of the child's threads may not be read, although it is a child and of the same user.
func (w *Waits) tells(t *testing.T) {
	t.Helper()
	if isDenied(w.Blind) {
		t.Skip(w.Blind)
	}
}

func (w *Waits) want(t *testing.T, s SocketFD, want Watch) {
	t.Helper()
	if got := w.Watched(s); got != want {
		t.Errorf("%+v is %v, want %v; blind: %v", s, got, want, w.Blind)
	}
}

func (c *child) udp() SocketFD {
	c.t.Helper()
	return c.socketFD(c.do("socket", unix.AF_INET, unix.SOCK_DGRAM, 0))
}

func TestKernelWaitsEpoll(t *testing.T) {
	c := start(t, "serve", nil)
	alone := c.udp()
	w := c.waits()
	w.tells(t)
	w.want(t, alone, Abandoned)
	if w.Sets != 0 || w.Blind != nil {
		t.Errorf("%d sets, blind: %v", w.Sets, w.Blind)
	}

	in, out, twice, moved, inner := c.udp(), c.udp(), c.udp(), c.udp(), c.udp()
	epoll, second := c.do("open", int(KindEpoll)), c.do("open", int(KindEpoll))
	c.do("epoll add", epoll, in.FD, unix.EPOLLIN)
	c.do("epoll add", epoll, out.FD, unix.EPOLLOUT)
	c.do("epoll add", epoll, twice.FD, unix.EPOLLIN)
	c.do("epoll add", second, twice.FD, unix.EPOLLOUT|unix.EPOLLET)
	c.do("epoll add", second, inner.FD, unix.EPOLLIN)
	c.do("epoll add", epoll, second, unix.EPOLLIN) // one set within another
	// The entry stays with the socket, and not with the number, which another socket takes.
	c.do("epoll add", epoll, moved.FD, unix.EPOLLIN)
	c.do("dup2", moved.FD, moved.FD+100)
	c.do("dup2", c.udp().FD, moved.FD)
	usurper := c.socketFD(moved.FD)
	moved.FD += 100

	w = c.waits()
	for _, s := range []SocketFD{in, out, twice, moved, inner} {
		w.want(t, s, Watched)
	}
	for _, s := range []SocketFD{alone, usurper} {
		w.want(t, s, Abandoned)
	}
	w.want(t, SocketFD{FD: 3, Inode: 1}, WatchUnknown) // not of the process, or younger than the reading
	if w.Sets != 2 || w.Blind != nil {
		t.Errorf("%d sets, blind: %v", w.Sets, w.Blind)
	}
	const always = unix.EPOLLERR | unix.EPOLLHUP
	for s, want := range map[SocketFD]uint32{
		in: unix.EPOLLIN | always, out: unix.EPOLLOUT | always, twice: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET | always, alone: 0,
	} {
		if got := w.Events(s); got != want {
			t.Errorf("%+v: events %x, want %x", s, got, want)
		}
	}
}

// A set in the table of a thread counts as one of the process.
func TestKernelWaitsOwnTable(t *testing.T) {
	c := start(t, "serve", nil)
	s, alone := c.udp(), c.udp()
	r := c.ask("watch in own table", s.FD)
	if r.Errno != 0 {
		t.Fatal(r.Errno)
	}
	w := c.waits()
	w.tells(t)
	w.want(t, s, Watched)
	w.want(t, alone, Abandoned)
	if w.Sets != 1 {
		t.Errorf("%d sets", w.Sets)
	}
}

func TestKernelWaitsAsleep(t *testing.T) {
	for _, role := range []string{"serve", "no main thread"} {
		t.Run(role, func(t *testing.T) {
			c := start(t, role, nil)
			s, alone := c.udp(), c.udp()
			c.do("sleep in read", s.FD)
			if role != "serve" {
				c.endMainThread()
			}
			c.waits().tells(t)
			eventually(t, func() error {
				if got := c.waits().Watched(s); got != Watched {
					return fmt.Errorf("%v while a thread sleeps in read", got)
				}
				return nil
			})
			c.waits().want(t, alone, Abandoned)
			// A thread in poll has in its memory what it waits for.
			c.do("sleep in poll", alone.FD)
			eventually(t, func() error {
				if got := c.waits().Watched(alone); got != Watched {
					return fmt.Errorf("%v while a thread sleeps in poll", got)
				}
				return nil
			})
			c.waits().want(t, s, Watched)
		})
	}
}

func TestKernelWaitsRing(t *testing.T) {
	c := start(t, "serve", nil)
	s := c.udp()
	if _, err := c.try("open", int(KindIOUring)); err != nil {
		t.Skipf("no io_uring: %v", err)
	}
	w := c.waits()
	w.want(t, s, WatchUnknown)
	if w.Blind == nil || isDenied(w.Blind) {
		t.Errorf("blind: %v", w.Blind)
	}
}

// What may not be read is never abandoned.
func TestKernelWaitsDenied(t *testing.T) {
	c, s := target(t, nobody())
	c.do("undumpable")
	r := start(t, "serve", nobody()).ask("waits", c.pid, s.FD, int(s.Inode))
	if want := []int{int(WatchUnknown), 1}; r.Errno != 0 || !slices.Equal(r.Values, want) {
		t.Errorf("%v, %v; want %v: unknown, and denied", r.Values, r.Errno, want)
	}
}

func waitsOp(r *reply, args []int) error {
	f, err := New("/proc")
	if err != nil {
		return err
	}
	p, err := f.Process(args[0])
	if err != nil {
		return err
	}
	w, err := f.Waits(p)
	if err != nil {
		return err
	}
	r.Values = []int{int(w.Watched(SocketFD{FD: args[1], Inode: uint64(args[2])})), 0}
	if isDenied(w.Blind) {
		r.Values[1] = 1
	}
	return nil
}

func TestKernelWaitsGone(t *testing.T) {
	c := start(t, "serve", nil)
	p := live(t, c.pid)
	c.end()
	if w, err := liveFS(t).Waits(p); !errors.Is(err, ErrGone) {
		t.Errorf("%+v, %v", w, err)
	}
}

// sleeping is process 42 with one thread, in a system call, and socket 100 at descriptor 5.
func sleeping(t *testing.T, syscall string) *Waits {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	f := process42().with(tree{
		"42/task/42/exe": "-> " + exe, "42/fd/5": "-> socket:[100]", "42/fd/6": "-> socket:[101]",
		"42/task/42/fd/5": "-> socket:[100]", "42/task/42/fd/6": "-> socket:[101]", "42/task/42/syscall": syscall,
	}).mount(t)
	p, err := f.Process(42)
	must(t, err)
	w, err := f.Waits(p)
	must(t, err)
	return w
}

func TestWaitsCalls(t *testing.T) {
	if !knowsCalls {
		t.Skip("the calls of this architecture are not known")
	}
	line := func(number uint64, args string) string {
		return fmt.Sprintf("%d %s 0x0 0x0 0x0 0x7ffe0 0x7f0", number, args)
	}
	for _, tt := range []struct {
		syscall  string
		fd5, fd6 Watch
	}{
		{"running\n", Abandoned, Abandoned},
		{"", WatchUnknown, WatchUnknown},
		{"-1 0x5 0x7f0\n", Abandoned, Abandoned},
		{line(unix.SYS_FUTEX, "0x5 0x0 0x0"), Abandoned, Abandoned},
		{line(unix.SYS_READ, "0x5 0x6 0x0"), Watched, Abandoned},
		{line(unix.SYS_READ, "0xdeadbeef00000005 0x6 0x0"), Watched, Abandoned}, // the upper half is not looked at
		{line(unix.SYS_READ, "0xffffffff 0x6 0x0"), Abandoned, Abandoned},
		{line(unix.SYS_READ, "5 x y"), Watched, Abandoned},
		{fmt.Sprint(unix.SYS_READ), Abandoned, Abandoned},
		{line(unix.SYS_ACCEPT4, "0x6 0x0 0x0"), Abandoned, Watched},
		{line(unix.SYS_SPLICE, "0x5 0x0 0x6"), Watched, Watched},
		{line(unix.SYS_SENDFILE, "0x6 0x5 0x0"), Watched, Watched},
		{line(unix.SYS_PPOLL, "0x5 0x0 0x0"), WatchUnknown, WatchUnknown},
		{line(unix.SYS_PSELECT6, "0x5 0x0 0x0"), WatchUnknown, WatchUnknown},
		{line(unix.SYS_IO_URING_ENTER, "0x5 0x0 0x0"), WatchUnknown, WatchUnknown},
		{line(unix.SYS_RESTART_SYSCALL, "0x5 0x0 0x0"), WatchUnknown, WatchUnknown},
		{line(1<<30+unix.SYS_READ, "0x5 0x0 0x0"), WatchUnknown, WatchUnknown},
	} {
		w := sleeping(t, tt.syscall)
		fd5, fd6 := w.Watched(SocketFD{FD: 5, Inode: 100}), w.Watched(SocketFD{FD: 6, Inode: 101})
		if fd5 != tt.fd5 || fd6 != tt.fd6 {
			t.Errorf("%q: %v and %v, want %v and %v; blind: %v", tt.syscall, fd5, fd6, tt.fd5, tt.fd6, w.Blind)
		}
	}
}

// What was not read of the descriptors may have held an epoll set.
func TestWaitsGaps(t *testing.T) {
	f := process42().with(fds("socket:[100]")).mount(t)
	p, err := f.Process(42)
	must(t, err)
	p.gap("descriptors", 3, os.ErrPermission)
	w, err := f.Waits(p)
	if err != nil || !isDenied(w.Blind) || w.Watched(SocketFD{Inode: 100}) != WatchUnknown {
		t.Errorf("%+v, %v", w, err)
	}
}

const setHead = "pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t1038\n"

var setTests = []struct {
	lines  string
	events uint32 // of inode 0xebb2b4
	blind  bool
}{
	{"", 0, false},
	{"tfd:        5 events: 80000019 data:                5  pos:0 ino:ebb2b4 sdev:9\n", 0x80000019, false},
	{"tfd:        5 events:       19 data: ffffffffffffffff  pos:0 ino:ebb2b4 sdev:9\ntfd:        6 events: 4 data: 0  pos:0 ino:ebb2b4 sdev:9\n", 0x1d, false},
	{"tfd:        5 events:       19 data:                5  pos:0 ino:ebb2b5 sdev:9\n", 0, false},
	{"tfd:        5 events:       19 data:                5\n", 0, true}, // before Linux 4.13
	{"tfd:        5 events:        x data:                5  pos:0 ino:ebb2b4 sdev:9\n", 0, true},
	{"tfd: 5 events: 19 data: 5  pos:0 ino:\n", 0, true},
	{"inotify wd:1 ino:ebb2b4 sdev:9 mask:fce\n", 0, false},
}

func TestWaitsSet(t *testing.T) {
	for _, tt := range setTests {
		w := &Waits{sockets: map[uint64]awaited{0xebb2b4: {}}}
		must(t, eachLine(strings.NewReader(setHead+tt.lines), w.entry))
		if got := w.Events(SocketFD{Inode: 0xebb2b4}); got != tt.events || (w.Blind != nil) != tt.blind {
			t.Errorf("%q: events %x, blind: %v; want %x, %v", tt.lines, got, w.Blind, tt.events, tt.blind)
		}
	}
}

func FuzzWaitsSet(f *testing.F) {
	for _, tt := range setTests {
		f.Add([]byte(tt.lines))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		w := &Waits{sockets: map[uint64]awaited{100: {}}}
		w.entry(line)
		if len(w.sockets) != 1 {
			t.Errorf("%q: %v", line, w.sockets)
		}
	})
}

// A set has as many entries as the process has connections.
func TestWaitsSetAllocs(t *testing.T) {
	w := &Waits{sockets: map[uint64]awaited{0xebb2b4: {}}}
	allocs := func(entries int) float64 {
		r := strings.NewReader(setHead + strings.Repeat(setTests[1].lines, entries))
		return testing.AllocsPerRun(10, func() {
			r.Seek(0, io.SeekStart)
			must(t, eachLine(r, w.entry))
		})
	}
	if few, many := allocs(10), allocs(1000); many != few {
		t.Errorf("%v allocations for 1000 entries, and %v for 10", many, few)
	}
}

func TestWatchString(t *testing.T) {
	for w, want := range map[Watch]string{WatchUnknown: "unknown", Watched: "watched", Abandoned: "abandoned", 9: "unknown(9)"} {
		if got := w.String(); got != want {
			t.Errorf("%d is named %q, want %q", uint8(w), got, want)
		}
	}
}
