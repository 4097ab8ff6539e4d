package netlinkss

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The main thread outlives a goroutine that is locked to it, so no test may come to run there and
// leave it in another namespace.
func init() { runtime.LockOSThread() }

// netnsThread is a thread in a network namespace of its own.
type netnsThread struct {
	path string
	run  chan func()
}

// newNetns makes a namespace with a loopback device. It ends with the test.
func newNetns(t testing.TB) *netnsThread {
	t.Helper()
	if !capable(t, unix.CAP_SYS_ADMIN) {
		t.Skip("needs CAP_SYS_ADMIN, for a network namespace of its own")
	}
	n := &netnsThread{run: make(chan func())}
	ready := make(chan error)
	go n.serve(ready)
	if err := <-ready; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { close(n.run) })
	return n
}

// serve never unlocks its thread, so the thread ends with it, and the namespace with that.
func (n *netnsThread) serve(ready chan<- error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		ready <- err
		return
	}
	n.path = fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
	ready <- loopbackUp()
	for f := range n.run {
		f()
	}
}

// do runs f on the namespace's thread. f must not end the test.
func (n *netnsThread) do(f func()) {
	done := make(chan struct{})
	n.run <- func() { defer close(done); f() }
	<-done
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// socketThere listens in the namespace.
func (n *netnsThread) socketThere(t testing.TB) *sock {
	t.Helper()
	var fd int
	var err error
	n.do(func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) })
	must(t, err)
	s := own(t, fd)
	// A socket stays in the namespace that it was made in.
	must(t, unix.Bind(fd, loopbacks[0].sockaddr(0)))
	must(t, unix.Listen(fd, 5))
	return s
}

func TestKernelNetns(t *testing.T) {
	n := newNetns(t)
	there, here := n.socketThere(t), loopbacks[0].listen(t, 5)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadNetns(t)
	inside, outside := dialTest(t, &Config{Netns: n.path}), dialTest(t, &Config{})
	if after := threadNetns(t); after != before {
		t.Errorf("the thread is in %s now, was in %s", after, before)
	}
	for _, c := range []struct {
		name      string
		conn      *Conn
		own, dark uint64
	}{
		{"inside", inside, there.cookie, here.cookie},
		{"outside", outside, here.cookie, there.cookie},
	} {
		if _, err := dumpOne(c.conn, Request{}, withCookie(c.own)); err != nil {
			t.Errorf("%s: its own socket: %v", c.name, err)
		}
		if found, err := dumpWhere(c.conn, Request{}, withCookie(c.dark)); err != nil || len(found) > 0 {
			t.Errorf("%s: sees the other's socket: %v, error %v", c.name, found, err)
		}
	}
	if all, err := inodes(inside, Request{}); err != nil || len(all) != 1 {
		t.Errorf("inside are the sockets %v, error %v, want one", all, err)
	}
	wantNetnsCookies(t, inside, outside)
	wantThreadsIn(t, before, 1)
}

func threadNetns(t *testing.T) string {
	t.Helper()
	to, err := os.Readlink("/proc/thread-self/ns/net")
	must(t, err)
	return to
}

// wantThreadsIn allows some threads to be elsewhere: the namespace's own. A thread that is thrown
// away may take a moment to go.
func wantThreadsIn(t *testing.T, netns string, elsewhere int) {
	t.Helper()
	eventually(t, func() error {
		links, err := filepath.Glob("/proc/self/task/*/ns/net")
		must(t, err)
		strangers := 0
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && to != netns {
				strangers++
			}
		}
		if strangers > elsewhere {
			return fmt.Errorf("%d threads of %d are in another namespace, want %d", strangers, len(links), elsewhere)
		}
		return nil
	})
}

func wantNetnsCookies(t *testing.T, inside, outside *Conn) {
	t.Helper()
	a, errA := inside.NetnsCookie()
	b, errB := outside.NetnsCookie()
	if kernelBefore(t, 5, 14) {
		return
	}
	if errA != nil || errB != nil || a == b {
		t.Errorf("netns cookies %d and %d, errors %v, %v", a, b, errA, errB)
	}
}

// The connection keeps to its namespace after everything else of it is gone.
func TestKernelNetnsOutlivesPath(t *testing.T) {
	n := newNetns(t)
	s := n.socketThere(t)
	c := dialTest(t, &Config{Netns: n.path})
	n.do(func() { _ = unix.Unshare(unix.CLONE_NEWNET) })
	if _, err := dumpOne(c, Request{}, withCookie(s.cookie)); err != nil {
		t.Error(err)
	}
}

func TestKernelInNetns(t *testing.T) {
	n := newNetns(t)
	before := threadNetns(t)
	var want, got string
	n.do(func() { want, _ = os.Readlink("/proc/thread-self/ns/net") })
	cause := errors.New("cause")
	err := InNetns(n.path, func() error {
		got, _ = os.Readlink("/proc/thread-self/ns/net")
		return cause
	})
	if err != cause || got != want || got == before {
		t.Errorf("ran in %s, error %v, want %s, %v", got, err, want, cause)
	}
	wantThreadsIn(t, before, 1)
}

func TestInNetnsOwn(t *testing.T) {
	cause := errors.New("cause")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid, ran := unix.Gettid(), 0
	if err := InNetns("", func() error { ran = unix.Gettid(); return cause }); err != cause || ran != tid {
		t.Errorf("ran on thread %d, error %v, want %d, %v", ran, err, tid, cause)
	}
}

func TestInNetnsFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	never := func() error { t.Error("ran"); return nil }
	for path, want := range map[string]error{
		filepath.Join(t.TempDir(), "absent"): fs.ErrNotExist,
		file:                                 ErrNotNetns,
	} {
		var op *OpError
		if err := InNetns(path, never); !errors.Is(err, want) || !errors.As(err, &op) {
			t.Errorf("InNetns: error %v, want %v", err, want)
		}
		c, err := Dial(&Config{Netns: path})
		if c != nil || !errors.Is(err, want) || errors.Is(err, ErrNotSupported) {
			t.Errorf("Dial: %v, error %v, want %v", c, err, want)
		}
	}
}

// Without privilege even one's own namespace cannot be entered by name.
func TestInNetnsPrivilege(t *testing.T) {
	c, err := Dial(&Config{Netns: "/proc/self/ns/net"})
	if !capable(t, unix.CAP_SYS_ADMIN) {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("error %v, want a refusal", err)
		}
		return
	}
	must(t, err)
	defer c.Close()
	_, err = inodes(c, Request{})
	must(t, err)
}
