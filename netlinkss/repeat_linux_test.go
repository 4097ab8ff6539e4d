package netlinkss

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cookied is a record with a cookie.
func cookied(inode uint32, cookie uint64) []byte {
	b := recordOf(inode)
	native.PutUint32(b[44:], uint32(cookie))
	native.PutUint32(b[48:], uint32(cookie>>32))
	return b
}

// What the kernel lists twice is listed once, and told; sockets without a cookie cannot be told apart.
func TestDumpRepeats(t *testing.T) {
	rows := func(cookies ...uint64) func(uint32) []byte {
		return func(seq uint32) (b []byte) {
			for i, c := range cookies {
				b = append(b, nlmsg(msgByFamily, 2, seq, cookied(uint32(i+1), c)...)...)
			}
			return b
		}
	}
	const far = recentSize + 1
	for _, tt := range []struct {
		datagrams []func(uint32) []byte
		want      []uint32
		repeats   int
	}{
		{[]func(uint32) []byte{rows(5, 6, 6, 5), rows(5), rows(7), done}, []uint32{1, 2, 1}, 3},
		{[]func(uint32) []byte{rows(0, 0), rows(0), done}, []uint32{1, 2, 1}, 0},
		{[]func(uint32) []byte{rows(1, far, 1), done}, []uint32{1, 2, 3}, 0}, // out of sight
		{[]func(uint32) []byte{rows(1<<32+1, 1, 1<<32), done}, []uint32{1, 2, 3}, 0},
	} {
		c, _ := newFake(t, datagrams(tt.datagrams...), datagrams(tt.datagrams...))
		for dump := range 2 { // a further dump lists all of them again
			got, err := inodes(c, Request{})
			wantInodes(t, got, err, tt.want...)
			if n := c.Repeats(); n != tt.repeats*(dump+1) {
				t.Errorf("%d repeats after dump %d, want %d in each", n, dump+1, tt.repeats)
			}
		}
	}
}

// smallTable is a thread in a network namespace with a hash table of its own of 16 buckets.
func smallTable(t *testing.T) *netnsThread {
	t.Helper()
	if !capable(t, unix.CAP_SYS_ADMIN) {
		t.Skip("needs CAP_SYS_ADMIN, for a network namespace of its own")
	}
	n := &netnsThread{run: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		// What is set in a namespace is for those that are made from it.
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- err
			return
		}
		if err := os.WriteFile("/proc/sys/net/ipv4/tcp_child_ehash_entries", []byte("16"), 0); err != nil {
			ready <- err
			return
		}
		n.serve(ready)
	}()
	if err := <-ready; err != nil {
		t.Skipf("no table of its own (Linux 6.1): %v", err)
	}
	t.Cleanup(func() { close(n.run) })
	return n
}

// pairsIn are connections over loopback, both ends open.
func pairsIn(n *netnsThread, count int) (fds []int, err error) {
	n.do(func() { fds, err = connectPairs(count) })
	return fds, err
}

func connectPairs(count int) (fds []int, err error) {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ln)
	if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, err
	}
	if err := unix.Listen(ln, 128); err != nil {
		return nil, err
	}
	addr, err := unix.Getsockname(ln)
	if err != nil {
		return nil, err
	}
	for range count {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fds, err
		}
		fds = append(fds, c)
		// A reset at the end leaves no TIME-WAIT.
		_ = unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		if err := unix.Connect(c, addr); err != nil {
			return fds, err
		}
		a, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
		if err != nil {
			return fds, err
		}
		fds = append(fds, a)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// In a small table, under churn, the kernel repeats sockets and passes over others. None is listed twice.
func TestKernelRepeats(t *testing.T) {
	n := smallTable(t)
	const stable = 1500
	fds, err := pairsIn(n, stable)
	defer closeAll(fds)
	must(t, err)
	steady := map[uint64]bool{}
	for _, fd := range fds {
		cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
		must(t, err)
		steady[cookie] = true
	}
	var stop atomic.Bool
	churned := make(chan int)
	go n.do(func() {
		rounds := 0
		for ; !stop.Load(); rounds++ {
			fds, _ := connectPairs(20)
			closeAll(fds)
		}
		churned <- rounds
	})
	c := dialTest(t, &Config{Netns: n.path})
	missed, twice, rows, dumps := 0, 0, 0, 0
	for end := time.Now().Add(3 * time.Second); dumps < 10 || c.Repeats() == 0 && time.Now().Before(end); dumps++ {
		seen := map[uint64]int{}
		for s, err := range c.Dump(background, Request{Attrs: AttrInfo}) {
			if err != nil {
				t.Error(err)
				break
			}
			rows++
			if seen[s.Cookie]++; seen[s.Cookie] == 2 {
				twice++
			}
		}
		for cookie := range steady {
			if seen[cookie] == 0 {
				missed++
			}
		}
	}
	stop.Store(true)
	report := fmt.Sprintf("%d dumps of %d rows beside %d rounds of churn: %d repeated, of which %d were not noticed, and %d of %d stable ones missed",
		dumps, rows, <-churned, c.Repeats()+twice, twice, missed, dumps*len(steady))
	t.Log(report)
	if twice > 0 {
		t.Error(report)
	}
}
