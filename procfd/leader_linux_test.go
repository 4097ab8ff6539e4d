package procfd

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// startLeaderless runs a child that can end its main thread while others live on.
func startLeaderless(t *testing.T) *child {
	t.Helper()
	return start(t, "no main thread", nil)
}

func (c *child) endMainThread() {
	c.t.Helper()
	c.do("end main thread")
	c.waitZombie(func(threads int) bool { return threads > 1 })
}

// waitZombie waits until the leader has exited, with as many threads left as wanted.
func (c *child) waitZombie(threads func(n int) bool) {
	c.t.Helper()
	eventually(c.t, func() error {
		p, err := liveFS(c.t).Identify(c.pid)
		if err != nil || p.State != 'Z' || !threads(p.Threads) {
			return fmt.Errorf("%+v, %w", p, err)
		}
		return nil
	})
}

// /proc/PID/fd of such a process lists nothing, and no error tells of it.
func TestKernelLeaderExited(t *testing.T) {
	c := startLeaderless(t)
	s := c.socketFD(c.do("open", int(KindSocket)))
	c.endMainThread()
	f, p := liveFS(t), live(t, c.pid)
	if p.FDTask == c.pid || !slices.Contains(p.Sockets, s) || p.Threads < 2 || !f.SameProcess(p) {
		t.Errorf("read through %d: sockets %v without %+v, %d threads", p.FDTask, p.Sockets, s, p.Threads)
	}
	if slices.Contains(gapsOf(p), "descriptors") {
		t.Errorf("gaps %v", p.Gaps)
	}
	if inode, ok := f.SocketInode(p, s); !ok || inode != s.Inode {
		t.Errorf("descriptor %d is on %d %v", s.FD, inode, ok)
	}
	if _, err := f.FirstLookedAt(p, s); err != nil {
		t.Error(err)
	}
	if name, err := f.Protocol(p, s); err != nil || name == "" {
		t.Errorf("protocol %q, %v", name, err)
	}
}

// A pidfd of the process borrows nothing then; one of a thread does.
func TestKernelLeaderExitedAsk(t *testing.T) {
	c := startLeaderless(t)
	fd, peer := ipv4.pairWith(c)
	c.endMainThread()
	asker, err := liveFS(t).Ask(live(t, c.pid))
	if errors.Is(err, unix.EINVAL) {
		t.Skip("PIDFD_THREAD needs Linux 6.9")
	}
	must(t, err)
	defer asker.Close()
	a, err := asker.Socket(c.socketFD(fd))
	must(t, err)
	if a.Peer != peer.addr() || !a.IsTCP() {
		t.Errorf("%+v, want one with peer %v", a, peer.addr())
	}
}

// The main thread ends when the process has been identified, and its descriptors have not been read.
func TestKernelLeaderExitsMeanwhile(t *testing.T) {
	c := startLeaderless(t)
	s := c.socketFD(c.do("open", int(KindSocket)))
	f := liveFS(t)
	p, err := f.Identify(c.pid)
	must(t, err)
	if p.State == 'Z' {
		t.Fatal("too soon")
	}
	c.endMainThread()
	must(t, f.ReadDescriptors(p, nil))
	if p.FDTask == c.pid || !slices.Contains(p.Sockets, s) || len(p.Gaps) != 0 || p.State != 'Z' {
		t.Errorf("read through %d: sockets %v without %+v, gaps %v, state %c", p.FDTask, p.Sockets, s, p.Gaps, p.State)
	}
}

// A process that has ended, and was not waited for, holds nothing. Not to be let in says no more.
func TestKernelZombie(t *testing.T) {
	c := start(t, "serve", nil)
	c.in.Close()
	c.waitZombie(func(threads int) bool { return threads <= 1 })
	p := live(t, c.pid)
	if p.Open != 0 || p.FDTask != c.pid || slices.Contains(gapsOf(p), "descriptors") {
		t.Errorf("%d descriptors, read through %d, gaps %v", p.Open, p.FDTask, p.Gaps)
	}
}
