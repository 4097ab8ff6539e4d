package procfd

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also where the children begin, and it fails the run when a test left a descriptor open:
// a package that counts them must not leak one.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		roles[role]()
		os.Exit(0)
	}
	startPoller()
	before := openHere()
	code := m.Run()
	if left := leftOpen(before); len(left) > 0 && code == 0 {
		fmt.Fprintln(os.Stderr, "left open:", strings.Join(left, ", "))
		code = 1
	}
	os.Exit(code)
}

// startPoller has the runtime open its own descriptors, which it keeps, before they are counted.
func startPoller() {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	r.Close()
	w.Close()
}

// leftOpen gives descriptors that close in the background a moment.
func leftOpen(before []string) (left []string) {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) {
		left = slices.DeleteFunc(openHere(), func(s string) bool { return slices.Contains(before, s) })
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// openHere lists the descriptors of this process, but for the one that it takes to list them.
func openHere() (found []string) {
	err := walkFDs("/proc/self/fd", func(fd int, target []byte, err error) {
		if own := fmt.Sprintf("/proc/%d/fd", os.Getpid()); err == nil && string(target) != own {
			found = append(found, fmt.Sprintf("%d -> %s", fd, target))
		}
	})
	if err != nil {
		panic(err)
	}
	return found
}

// eventually repeats f until it is content. What others do on their own time is waited for, and never
// for a set time.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// liveFS is the proc filesystem of this machine.
func liveFS(t testing.TB) *FS {
	t.Helper()
	f, err := New("/proc")
	must(t, err)
	return f
}

// live reads a process of this machine.
func live(t testing.TB, pid int) *Process {
	t.Helper()
	p, err := liveFS(t).Process(pid)
	must(t, err)
	return p
}

// needFDs skips when a descriptor may not have a number up to n, beside the few that are open anyway.
func needFDs(t testing.TB, n int) {
	t.Helper()
	var lim unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim)) // Go has raised it to the hard limit
	if uint64(n+200) > lim.Cur {
		t.Skipf("needs descriptors up to %d, and RLIMIT_NOFILE is %d", n+200, lim.Cur)
	}
}

// dup opens n descriptors on a socket of their own, until the test ends.
func dup(t testing.TB, n int) []int {
	t.Helper()
	needFDs(t, n)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	fds := []int{fd}
	for range n - 1 {
		fds = append(fds, dupAt(t, fd, 0))
	}
	return fds
}

// dupAt opens a descriptor on what fd is open on, with the first free number from at on.
func dupAt(t testing.TB, fd, at int) int {
	t.Helper()
	needFDs(t, at)
	more, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, at)
	must(t, err)
	t.Cleanup(func() { unix.Close(more) })
	return more
}

// capable reports whether the test has a privilege.
func capable(t testing.TB, capability int) bool {
	t.Helper()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	must(t, unix.Capget(&hdr, &data[0]))
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}
