package procfd

import (
	"cmp"
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// ownTable starts a thread with a descriptor table of its own, a copy of the process's, and has it do something
// with that. It answers with the thread's number and what that made of it.
func ownTable(r *reply, args []int, do func(args []int) ([]int, error)) error {
	done := make(chan error)
	go onThread(func() {
		err := unix.Unshare(unix.CLONE_FILES)
		r.Values = []int{unix.Gettid()}
		if err == nil {
			var more []int
			more, err = do(args)
			r.Values = append(r.Values, more...)
		}
		done <- err
		select {}
	})
	return <-done
}

// onThread calls f on a thread that is locked to it, and not the main thread: that one's table is the process's.
func onThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		f()
		return
	}
	go onThread(f) // on another, as this one is taken for now
	select {}
}

// connectOp opens a socket to a port of the IPv4 loopback, which the rest of the process does not have.
func connectOp(args []int) ([]int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	inode, err := inodeOf(fd)
	if err == nil {
		err = unix.Connect(fd, ipv4.sockaddr(args[0]))
	}
	return []int{fd, int(inode)}, err
}

// connectOwn has a thread of the child connect to the test, out of its own table.
func (c *child) connectOwn() (SocketFD, *sock) {
	c.t.Helper()
	listener := ipv4.listen(c.t)
	r := c.ask("connect in own table", listener.port())
	if r.Errno != 0 {
		c.t.Fatal(r.Errno)
	}
	peer := listener.accept()
	listener.close()
	return SocketFD{Task: r.Values[0], FD: r.Values[1], Inode: uint64(r.Values[2])}, peer
}

func inTableOrder(a, b SocketFD) int { return cmp.Or(a.Task-b.Task, a.FD-b.FD) }

// Where the kernel does not compare tables, their sizes tell, by either way to learn them.
func TestKernelOwnTablesBySize(t *testing.T) {
	c := start(t, "serve", nil)
	c.do("open", int(KindSocket))
	first, _ := c.connectOwn()
	second, _ := c.connectOwn()
	f := liveFS(t)
	tids := f.threads(c.pid)
	byCmp, _, certain := f.tables(tids, c.pid)
	if want := []int{first.Task, second.Task}; !certain || !slices.Equal(byCmp, slices.Sorted(slices.Values(want))) {
		t.Fatalf("compared: %v, %v, want %v", byCmp, certain, want)
	}
	for _, f.counts = range []bool{f.counts, false} {
		if own, rest := f.tablesBySize(tids, c.pid); !slices.Equal(own, byCmp) || rest != 0 {
			t.Errorf("by size %v: %v, and %d too many, want %v", f.counts, own, rest, byCmp)
		}
	}
	// As with other numbers than the reader's: what is held there is found.
	f.nativeOnce.Do(func() {})
	f.native = false
	p, err := f.Process(c.pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []SocketFD{first, second} {
		if !slices.Contains(p.Sockets, want) {
			t.Errorf("%v is not among %v", want, p.Sockets)
		}
	}
}

// Threads with tables of their own are read, and the rest of the process is counted as without them.
func TestKernelOwnTables(t *testing.T) {
	c := start(t, "serve", nil)
	shared := c.socketFD(c.do("open", int(KindSocket)))
	first, _ := c.connectOwn()
	second, _ := c.connectOwn()
	f, p := liveFS(t), live(t, c.pid)
	for _, s := range []SocketFD{
		shared, first, second,
		{Task: first.Task, FD: shared.FD, Inode: shared.Inode}, {Task: second.Task, FD: shared.FD, Inode: shared.Inode},
	} {
		if !slices.Contains(p.Sockets, s) {
			t.Errorf("%+v is not among %v", s, p.Sockets)
		}
		if inode, ok := f.SocketInode(p, s); !ok || inode != s.Inode {
			t.Errorf("%+v is on %d %v", s, inode, ok)
		}
	}
	listed, err := os.ReadDir(f.Path(c.pid, "fd"))
	must(t, err)
	if p.Open != len(listed) || p.ByKind[KindSocket] != 1 || len(p.Sockets) != 5 || len(p.Gaps) != 0 || !slices.IsSortedFunc(p.Sockets, inTableOrder) {
		t.Errorf("%d descriptors, want %d; kinds %v, sockets %v, gaps %v", p.Open, len(listed), p.ByKind, p.Sockets, p.Gaps)
	}
	if name, err := f.Protocol(p, first); err != nil || name != "TCP" {
		t.Errorf("protocol %q, %v", name, err)
	}
	if at, err := f.FirstLookedAt(p, first); err != nil || at.IsZero() {
		t.Errorf("first looked at %v, %v", at, err)
	}
	if inode, ok := f.SocketInode(p, SocketFD{FD: first.FD}); ok {
		t.Errorf("the process has descriptor %d on %d, which only a thread has", first.FD, inode)
	}
}

// One asker serves all tables of a process.
func TestKernelOwnTablesAsk(t *testing.T) {
	c := start(t, "serve", nil)
	fd, peer := ipv4.pairWith(c)
	first, firstPeer := c.connectOwn()
	second, secondPeer := c.connectOwn()
	a := c.asker()
	for range 2 {
		for _, tt := range []struct {
			s    SocketFD
			peer *sock
		}{{c.socketFD(fd), peer}, {first, firstPeer}, {second, secondPeer}} {
			answer, err := a.Socket(tt.s)
			if errors.Is(err, unix.EINVAL) {
				t.Skip("PIDFD_THREAD needs Linux 6.9")
			}
			must(t, err)
			if answer.Peer != tt.peer.addr() || answer.Inode != tt.s.Inode {
				t.Errorf("%+v: %+v, want peer %v", tt.s, answer, tt.peer.addr())
			}
		}
	}
	if _, err := a.Socket(SocketFD{FD: first.FD, Inode: first.Inode}); !errors.Is(err, ErrOtherSocket) {
		t.Errorf("asked for it in the table of the process: %v", err)
	}
	// A thread of another process, with the very descriptor.
	if _, err := newAsker(t, os.Getpid()).Socket(first); !errors.Is(err, ErrGone) {
		t.Errorf("asked for it as a thread of another process: %v", err)
	}
}
