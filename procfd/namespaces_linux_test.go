package procfd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Real ones: of this process, of a thread of a child alone, and two that are mounted in the child's mount namespace and in which
// nobody lives.
func TestLiveNamespaces(t *testing.T) {
	f := liveFS(t)
	own, err := f.Namespaces(context.Background())
	must(t, err)
	here := namespaceOf(own, f.Netns())
	if here == nil || here.PID == 0 || len(here.Members) == 0 {
		t.Fatalf("own namespace %d: %+v", f.Netns(), here)
	}
	if !capable(t, unix.CAP_SYS_ADMIN) {
		t.Log("without CAP_SYS_ADMIN there are no others to be made")
		return
	}
	c := start(t, "own mounts", nil)
	threads := c.ask("netns in a thread").Values
	mounted := c.ask("mount netns").Values
	got, err := f.Namespaces(context.Background())
	must(t, err)
	if n := namespaceOf(got, uint64(threads[0])); n == nil || n.PID != c.pid || n.Task != threads[1] || len(n.Members) != 1 {
		t.Errorf("of a thread: %+v", n)
	}
	var n *Namespace
	eventually(t, func() error { // the thread that has mounted it ends a moment later
		got, err := f.Namespaces(context.Background())
		must(t, err)
		if n = namespaceOf(got, uint64(mounted[0])); n == nil || n.PID != 0 || n.Name() != "sockleak test" {
			return fmt.Errorf("mounted: %+v", n)
		}
		return nil
	})
	var st unix.Stat_t
	if err := unix.Stat(n.Path, &st); err != nil || st.Ino != n.Inode {
		t.Errorf("%q leads to %d: %v", n.Path, st.Ino, err)
	}
	c.end()
	got, err = f.Namespaces(context.Background())
	must(t, err)
	for _, inode := range []int{threads[0], mounted[0]} {
		if n := namespaceOf(got, uint64(inode)); n != nil {
			t.Errorf("after the end of the child: %+v", n)
		}
	}
}

func namespaceOf(n *Namespaces, inode uint64) *Namespace {
	for i := range n.List {
		if n.List[i].Inode == inode {
			return &n.List[i]
		}
	}
	return nil
}

// netnsInThread makes a network namespace in which one thread stays. It answers with its inode and the thread.
func netnsInThread(r *reply, _ []int) error {
	done := make(chan error)
	go onThread(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		var st unix.Stat_t
		err := unix.Stat("/proc/thread-self/ns/net", &st)
		r.Values = []int{int(st.Ino), unix.Gettid()}
		done <- err
		select {} // the thread stays
	})
	return <-done
}

// testNetns is where a child mounts one.
const testNetns = "/run/netns/sockleak test"

// serveWithOwnMounts starts again in a mount namespace of its own.
func serveWithOwnMounts() {
	runtime.LockOSThread()
	for _, step := range []func() error{
		func() error { return unix.Unshare(unix.CLONE_NEWNS) },
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("tmpfs", "/run", "tmpfs", 0, "") },
		func() error { return os.MkdirAll(filepath.Dir(testNetns), 0o755) },
		func() error { return os.WriteFile(testNetns, nil, 0o600) },
		func() error { return os.Setenv(roleEnv, "serve") },
		func() error { return unix.Exec("/proc/self/exe", os.Args, os.Environ()) },
	} {
		if err := step(); err != nil {
			panic(err)
		}
	}
}

// mountNetns makes a network namespace and mounts it, as `ip netns add` does. It answers with its inode.
func mountNetns(r *reply, _ []int) error {
	done := make(chan error)
	go onThread(func() { // the thread ends with the function
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			if err := unix.Mount("/proc/thread-self/ns/net", testNetns, "", unix.MS_BIND, ""); err != nil {
				return err
			}
			var st unix.Stat_t
			err := unix.Stat(testNetns, &st)
			r.Values = []int{int(st.Ino)}
			return err
		}()
	})
	return <-done
}
