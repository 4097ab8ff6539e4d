package procfd

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// holder starts a child with sockets, and returns their inodes.
func holder(t testing.TB, n int) (*child, []int) {
	t.Helper()
	c := start(t, "serve", nil)
	r := c.ask("sockets", n)
	if r.Errno != 0 {
		t.Fatal(r.Errno)
	}
	return c, r.Values
}

func want[T int | uint64](inodes ...[]T) *Wanted {
	w := NewWanted(0)
	for _, list := range inodes {
		for _, inode := range list {
			w.Add(uint64(inode))
		}
	}
	return w
}

// ownersOf are the numbers of the processes by slot, 0 for none. Only some are asked: others of the machine can be slow.
func ownersOf(t testing.TB, f *FS, w *Wanted, among ...int) (pids []int, o *Owned) {
	t.Helper()
	o, err := f.ownersAmong(t.Context(), w, func() ([]int, error) { return among, nil }, nil)
	must(t, err)
	pids = make([]int, w.Len())
	missing := 0
	w.Each(func(slot, process int) {
		if process < 0 {
			missing++
			return
		}
		pids[slot] = o.Processes[process].PID
	})
	if missing != o.Missing {
		t.Errorf("%d without a process, and %d missing", missing, o.Missing)
	}
	for i, p := range o.Processes {
		if !slices.Contains(pids, p.PID) || slices.ContainsFunc(o.Processes[:i], func(q Owner) bool { return q.PID == p.PID }) {
			t.Errorf("%+v owns nothing, or is there twice", p)
		}
	}
	return pids, o
}

// ownersOp is what another user finds: how many sockets are missing, how many processes were not read, whether a certain one is
// among these, and how many descriptors it has.
func ownersOp(r *reply, args []int) error {
	f, err := New("/proc")
	if err != nil {
		return err
	}
	o, err := f.ownersAmong(context.Background(), want(args[1:]), func() ([]int, error) { return []int{args[0], os.Getpid()}, nil }, nil)
	if err != nil {
		return err
	}
	r.Values = []int{o.Missing, len(o.Processes), 0, 0}
	for _, u := range o.Unread {
		if u.PID == args[0] && isDenied(u.Err) {
			r.Values[2], r.Values[3] = 1, u.Open
		}
	}
	return nil
}

func all(pid, n int) []int { return slices.Repeat([]int{pid}, n) }

// needCounts: which process has the most descriptors is known from then on.
func needCounts(t *testing.T) {
	t.Helper()
	if liveFS(t).CountDescriptors(os.Getpid()) == 0 {
		t.Skip("stat of /proc/PID/fd does not tell how many there are (Linux 6.2)")
	}
}

func TestKernelOwners(t *testing.T) {
	needCounts(t)
	small, few := holder(t, 10)
	large, many := holder(t, parallelFrom+denseFrom)
	f, w := liveFS(t), want(few, many, []int{1 << 40})
	pids, o := ownersOf(t, f, w, small.pid, os.Getpid(), large.pid, 2)
	if expected := slices.Concat(all(small.pid, len(few)), all(large.pid, len(many)), []int{0}); !slices.Equal(pids, expected) {
		t.Errorf("owners %v, want %v", pids, expected)
	}
	if o.Missing != 1 || len(o.Processes) != 2 || o.Processes[0].PID != large.pid {
		t.Errorf("%+v", o)
	}
	for _, p := range o.Processes {
		id, err := f.Identify(p.PID)
		must(t, err)
		if want := (Owner{id.PID, id.Start, id.Name, id.UID}); p != want {
			t.Errorf("%+v, want %+v", p, want)
		}
	}
	if again, o := ownersOf(t, f, w, large.pid, small.pid); o.Missing != 1 || !slices.Equal(pids, again) {
		t.Errorf("the second time: %v", again)
	}
}

// All processes of the machine are asked, and this is one of them.
func TestKernelOwnersHere(t *testing.T) {
	fd := ipv4.socket(t).fd
	inode, err := inodeOf(fd)
	must(t, err)
	dup(t, denseFrom) // so that it is among the first, and the last
	o, err := liveFS(t).Owners(t.Context(), want([]uint64{inode}), nil)
	must(t, err)
	if o.Missing != 0 || len(o.Processes) != 1 || o.Processes[0].PID != os.Getpid() || o.Unread != nil {
		t.Errorf("%+v", o)
	}
}

// borrow gives the test a descriptor of a child.
func (c *child) borrow(fd int) {
	c.t.Helper()
	pidfd, err := unix.PidfdOpen(c.pid, 0)
	must(c.t, err)
	defer unix.Close(pidfd)
	own, err := unix.PidfdGetfd(pidfd, fd, 0)
	if errors.Is(err, unix.EPERM) {
		c.t.Skip("may not borrow a descriptor")
	}
	must(c.t, err)
	c.t.Cleanup(func() { unix.Close(own) })
}

// Of several holders the one with the most descriptors is told, on however many cores, also when it is the last to be read.
func TestKernelOwnersShared(t *testing.T) {
	needCounts(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	c, inodes := holder(t, 50)
	shared := c.socketFD(c.do("socket", unix.AF_UNIX, unix.SOCK_STREAM, 0))
	c.borrow(shared.FD)
	f := liveFS(t)
	for _, tt := range []struct {
		name string
		more int
		pid  int
	}{{"the child has more", 0, c.pid}, {"the test has more", parallelFrom * 2, os.Getpid()}} {
		if tt.more > 0 {
			dup(t, tt.more) // what was borrowed is in front of these, and what is wanted beside it in the child
		}
		for range 20 {
			pids, o := ownersOf(t, f, want([]uint64{shared.Inode}, []uint64{uint64(inodes[0])}), c.pid, os.Getpid())
			if o.Missing != 0 || pids[0] != tt.pid || pids[1] != c.pid {
				t.Fatalf("%s: owners %v, want %d and %d; %+v", tt.name, pids, tt.pid, c.pid, o)
			}
		}
	}
}

// When all is found, no process is begun any more.
func TestKernelOwnersStop(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	first, inodes := holder(t, 600)
	second, _ := holder(t, 300)
	w := want(inodes)
	w.reset()
	o := &ownership{fs: liveFS(t), wanted: w}
	asked := 0
	s := &sweep{fs: o.fs, list: []candidate{{first.pid, 600}, {second.pid, 300}}, over: func(i int) bool { return w.over(uint32(i)) }}
	s.walked = func(int, int, unread) { asked++ }
	s.run(func() taker { return func(i, _, _ int, inode uint64) { w.claim(inode, uint32(i)) } })
	if asked != 1 || w.missing.Load() != 0 {
		t.Errorf("%d processes were asked, %d sockets are missing", asked, w.missing.Load())
	}
}

// Neither the table of a thread nor that of a process without its leader is passed over, and an ended process owns nothing.
func TestKernelOwnersOddTables(t *testing.T) {
	leaderless := startLeaderless(t)
	left := leaderless.socketFD(leaderless.do("open", int(KindSocket)))
	leaderless.endMainThread()
	threaded := start(t, "serve", nil)
	own, _ := threaded.connectOwn()
	zombie, lost := holder(t, 1)
	zombie.in.Close()
	zombie.waitZombie(func(threads int) bool { return threads <= 1 })
	f := liveFS(t)
	pids, o := ownersOf(t, f, want([]uint64{left.Inode, own.Inode, uint64(lost[0])}), leaderless.pid, threaded.pid, zombie.pid)
	if expected := []int{leaderless.pid, threaded.pid, 0}; !slices.Equal(pids, expected) || o.Missing != 1 {
		t.Errorf("owners %v, want %v", pids, expected)
	}
	if slices.ContainsFunc(f.candidates([]int{zombie.pid, 2}), func(c candidate) bool { return c.open == 0 }) {
		t.Error("somebody without descriptors is asked")
	}
}

// The directory of a process is that of no other: of one that has ended nothing is told.
func TestKernelOwnersEnded(t *testing.T) {
	c, inodes := holder(t, 1)
	shared := c.socketFD(c.do("socket", unix.AF_UNIX, unix.SOCK_STREAM, 0))
	c.borrow(shared.FD)
	f := liveFS(t)
	dir, err := openDir(f.Path(c.pid))
	must(t, err)
	defer unix.Close(dir)
	if got := ownerAt(dir, c.pid); got.PID != c.pid || got.Name == "" || got.UID != uint32(os.Geteuid()) {
		t.Errorf("%+v", got)
	}
	// It had both sockets, and ends before it is asked who it is.
	w := want([]uint64{shared.Inode}, []uint64{uint64(inodes[0])})
	w.reset()
	o := &ownership{fs: f, wanted: w, owners: make([]Owner, 1)}
	w.claim(shared.Inode, 0)
	w.claim(uint64(inodes[0]), 0)
	c.in.Close()
	c.waitZombie(func(threads int) bool { return threads <= 1 })
	if got := ownerAt(dir, c.pid); got != (Owner{}) {
		t.Errorf("a zombie: %+v", got)
	}
	must(t, c.cmd.Wait())
	if got := ownerAt(dir, c.pid); got != (Owner{}) {
		t.Errorf("ended: %+v", got)
	}
	if !o.release() {
		t.Error("nothing was released")
	}
	if o.sweep(t.Context(), f.candidates([]int{c.pid, os.Getpid()})) {
		t.Error("nobody has ended since")
	}
	r := o.result()
	if len(r.Processes) != 1 || r.Processes[0].PID != os.Getpid() || r.Missing != 1 {
		t.Errorf("%+v, want the test with one, and one missing", r)
	}
}

// A process found in two sweeps is one.
func TestOwnersTwice(t *testing.T) {
	w := want([]uint64{1, 2, 3})
	w.reset()
	o := &ownership{wanted: w, owners: []Owner{{PID: 5, Start: 9}, {PID: 6}, {PID: 5, Start: 9, Name: "renamed"}, {PID: 5, Start: 10}}}
	w.claim(1, 0)
	w.claim(2, 2)
	w.claim(3, 3)
	if r := o.result(); len(r.Processes) != 2 || r.Processes[1].Start != 10 || r.Missing != 0 {
		t.Errorf("%+v", r)
	}
	got := make([]int, 3)
	w.Each(func(slot, process int) { got[slot] = process })
	if !slices.Equal(got, []int{0, 0, 1}) {
		t.Errorf("owners %v", got)
	}
}

// Who may not look is told where the missing may be.
func TestKernelOwnersDenied(t *testing.T) {
	c, s := target(t, nobody())
	c.do("undumpable")
	info, err := os.Stat(liveFS(t).Path(c.pid, "fd"))
	must(t, err)
	open := int(info.Size())
	if open == 0 {
		open = -1
	}
	r := start(t, "serve", nobody()).ask("owners", c.pid, int(s.Inode))
	if want := []int{1, 0, 1, open}; r.Errno != 0 || !slices.Equal(r.Values, want) {
		t.Errorf("%v, %v; want %v", r.Values, r.Errno, want)
	}
}

// A socket that moves to another descriptor amid the walks is still its process's, and nobody else's.
func TestKernelOwnersChurn(t *testing.T) {
	c, inodes := holder(t, denseFrom*2)
	kept := c.socketFD(c.do("socket", unix.AF_UNIX, unix.SOCK_STREAM, 0))
	f := liveFS(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			other := c.do("socket", unix.AF_UNIX, unix.SOCK_STREAM, 0)
			c.do("close", other)
		}
	}()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		pids, o := ownersOf(t, f, want(inodes, []int{int(kept.Inode)}), c.pid, os.Getpid())
		if o.Missing != 0 || !slices.Equal(pids, all(c.pid, len(inodes)+1)) {
			t.Fatalf("%d missing, owners %v", o.Missing, o.Processes)
		}
	}
}

func TestOwnersInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o, err := liveFS(t).Owners(ctx, want([]uint64{1}), nil); o != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("owners %v, error %v, want none and that of the context", o, err)
	}
}
