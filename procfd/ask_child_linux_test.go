package procfd

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// What the child closes after it was asked is closed: nobody keeps a copy.
func TestKernelAskGivesBack(t *testing.T) {
	eachLoopback(t, func(t *testing.T, l loopback) {
		c := start(t, "serve", nil)
		fd, peer := l.pairWith(c)
		asker := c.asker()
		before := openHere()
		a, err := asker.Socket(c.socketFD(fd))
		must(t, err)
		if now := openHere(); !slices.Equal(now, before) {
			t.Errorf("open after asking: %q, before: %q", now, before)
		}
		if a.Peer != peer.addr() || a.Info[0] != established {
			t.Errorf("%+v", a)
		}
		c.do("close", fd)
		peer.wait(unix.POLLIN)
		if n, err := unix.Read(peer.fd, make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("read %d, %v; want the end", n, err)
		}
	})
}

// An error that waits for the owner of a socket still waits after the socket was asked.
func TestKernelAskLeavesError(t *testing.T) {
	eachLoopback(t, func(t *testing.T, l loopback) {
		c := start(t, "serve", nil)
		fd, peer := l.pairWith(c)
		was := peer.addr()
		peer.reset()
		c.do("wait", fd, unix.POLLIN)
		a, err := c.asker().Socket(c.socketFD(fd))
		must(t, err)
		if a.Info[0] != dead || a.Peer != was {
			t.Errorf("state %d, peer %v; want %d, %v", a.Info[0], a.Peer, dead, was)
		}
		if n, err := c.try("read", fd); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the child read %d, %v; want %v", n, err, unix.ECONNRESET)
		}
	})
}

// Between being listed and being asked, a descriptor can be closed and its number used again.
func TestKernelAskOtherSocket(t *testing.T) {
	c := start(t, "serve", nil)
	asker := c.asker()
	fd := c.do("socket", unix.AF_INET, unix.SOCK_STREAM, 0)
	s := c.socketFD(fd)
	_, err := asker.Socket(s)
	must(t, err)
	wantOther := func(name string) {
		t.Helper()
		if a, err := asker.Socket(s); !errors.Is(err, ErrOtherSocket) || a != nil {
			t.Errorf("%s: %+v, %v; want %v", name, a, err, ErrOtherSocket)
		}
	}
	c.do("close", fd)
	wantOther("closed")
	c.do("dup2", c.do("socket", unix.AF_INET, unix.SOCK_STREAM, 0), fd+100)
	s.FD = fd + 100
	wantOther("another socket")
	for k := KindPipe; k < NumKinds; k++ {
		if other, err := c.try("open", int(k)); err == nil {
			c.do("dup2", other, s.FD)
			wantOther(k.String())
		}
	}
	// The number of an inode is only of one file system; a pipe can have that of the socket.
	pipe := c.do("open", int(KindPipe))
	s = SocketFD{FD: pipe, Inode: uint64(c.do("inode", pipe))}
	wantOther("a pipe with the inode")
}

// A process that is gone is no reason to think that its socket was closed.
func TestKernelAskGone(t *testing.T) {
	c := start(t, "serve", nil)
	f, p := liveFS(t), live(t, c.pid)
	s := c.socketFD(c.do("socket", unix.AF_INET, unix.SOCK_STREAM, 0))
	asker := c.asker()
	c.end()
	if _, err := asker.Socket(s); !errors.Is(err, unix.ESRCH) || errors.Is(err, ErrOtherSocket) {
		t.Errorf("asked after the end: %v", err)
	}
	if a, err := f.Ask(p); err == nil {
		a.Close()
		t.Error("opened after the end")
	}
	if _, err := f.Process(c.pid); !errors.Is(err, ErrGone) {
		t.Errorf("read after the end: %v", err)
	}
}

// The number is that of a process, and it is not the one that was read.
func TestKernelAskAnotherProcess(t *testing.T) {
	c := start(t, "serve", nil)
	p := live(t, c.pid)
	p.Start--
	before := openHere()
	if a, err := liveFS(t).Ask(p); !errors.Is(err, ErrGone) {
		t.Errorf("%+v, %v; want %v", a, err, ErrGone)
	}
	if now := openHere(); !slices.Equal(now, before) {
		t.Errorf("open after the refusal: %q, before: %q", now, before)
	}
}

// A namespace in which no process is can be had from a socket alone.
func TestKernelAskNetns(t *testing.T) {
	if !capable(t, unix.CAP_NET_ADMIN) || !capable(t, unix.CAP_SYS_ADMIN) {
		t.Skip("needs CAP_SYS_ADMIN, to make a network namespace, and CAP_NET_ADMIN, to open it")
	}
	c := start(t, "serve", nil)
	r := c.ask("socket of no netns")
	if r.Errno != 0 {
		t.Fatal(r.Errno)
	}
	s := c.socketFD(r.Values[0])
	asker := c.asker()
	ns, err := asker.Netns(s)
	must(t, err)
	defer ns.Close()
	inode, err := inodeOf(int(ns.Fd()))
	if own := liveFS(t).Netns(); err != nil || inode != uint64(r.Values[1]) || inode == own {
		t.Errorf("namespace %d, %v; want %d, the test's is %d", inode, err, r.Values[1], own)
	}
	again, err := nsInode("/proc/self/fd/"+strconv.Itoa(int(ns.Fd())), "net")
	if err != nil || again != inode {
		t.Errorf("by its path %d, %v", again, err)
	}
	s.Inode++
	if ns, err := asker.Netns(s); !errors.Is(err, ErrOtherSocket) {
		t.Errorf("of another socket: %v, %v", ns, err)
	}
}
