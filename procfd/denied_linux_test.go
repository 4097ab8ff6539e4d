package procfd

import (
	"os"
	"reflect"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is a user without privilege; nil when the test has none itself.
func nobody() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: 65534, Gid: 65534}
}

// target is a child with 20 sockets, one of which is asked after.
func target(t *testing.T, cred *syscall.Credential) (c *child, s SocketFD) {
	t.Helper()
	c = start(t, "serve", cred)
	for range 20 {
		s = c.socketFD(c.do("socket", unix.AF_INET, unix.SOCK_STREAM, 0))
	}
	return c, s
}

// scanFrom has one child read another.
func (c *child) scanFrom(reader *child, s SocketFD) *seen {
	c.t.Helper()
	r := reader.ask("scan", c.pid, s.FD, int(s.Inode))
	if r.Errno != 0 || r.Seen == nil {
		c.t.Fatalf("scan: %v", r.Errno)
	}
	return r.Seen
}

// wantDenied: the reader may not list the descriptors, and says so, with the number of them where the
// kernel tells it (Linux 6.2).
func wantDenied(t *testing.T, got *seen, c *child) {
	t.Helper()
	info, err := os.Stat(liveFS(t).Path(c.pid, "fd"))
	must(t, err)
	open, count := int(info.Size()), int(info.Size())
	if open == 0 {
		open = -1
	}
	if got.Denied == 0 {
		t.Error("no process was denied, in looking for a holder")
	}
	got.Denied = 0 // others are denied, too
	want := &seen{
		Open: open, Missing: 1,
		Gaps:     []seenGap{{"executable", 0, true}, {"network namespace", 0, true}, {"descriptors", count, true}},
		AskErrno: unix.EPERM, ProtocolErrno: unix.EACCES, DateErrno: unix.EACCES,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("seen\n%+v, want\n%+v", got, want)
	}
}

func TestKernelDeniedOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have processes of two users")
	}
	c, s := target(t, nil)
	wantDenied(t, c.scanFrom(start(t, "serve", nobody()), s), c)
}

// The same user is not enough when the process has made itself private.
func TestKernelDeniedUndumpable(t *testing.T) {
	c, s := target(t, nobody())
	c.do("undumpable")
	wantDenied(t, c.scanFrom(start(t, "serve", nobody()), s), c)
}

// Root without CAP_SYS_PTRACE lists descriptors, and may not read what they are.
func TestKernelDeniedLinks(t *testing.T) {
	if !capable(t, unix.CAP_SYS_PTRACE) || !capable(t, unix.CAP_SETPCAP) || !capable(t, unix.CAP_DAC_READ_SEARCH) {
		t.Skip("needs root with CAP_SYS_PTRACE, to be without it, and CAP_SETPCAP, to drop it")
	}
	c, s := target(t, nobody())
	open := live(t, c.pid).Open
	got := c.scanFrom(start(t, "no ptrace", nil), s)
	if got.Denied == 0 {
		t.Error("no process was denied, in looking for a holder")
	}
	got.Denied = 0
	want := &seen{
		Open: open, Missing: 1,
		Gaps:     []seenGap{{"executable", 0, true}, {"network namespace", 0, true}, {"descriptors", open, true}},
		AskErrno: unix.EPERM, ProtocolErrno: unix.EACCES,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("seen\n%+v, want\n%+v", got, want)
	}
}

// With the right, everything is seen: what the tests above lack is the right.
func TestKernelAllowed(t *testing.T) {
	c, s := target(t, nobody())
	p := live(t, c.pid)
	got := c.scanFrom(start(t, "serve", nobody()), s)
	if capable(t, unix.CAP_SYS_PTRACE) {
		// Borrowing needs more than reading, and Yama gives it to no sibling; root has it everywhere.
		if _, err := c.asker().Socket(s); err != nil {
			t.Error(err)
		}
	}
	got.AskErrno, got.Denied = 0, 0
	want := &seen{Open: p.Open, Sockets: len(p.Sockets), ByKind: p.ByKind, Exe: p.Exe, Held: true}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("seen\n%+v, want\n%+v", got, want)
	}
	if uid := uint32(os.Geteuid()); uid != 0 && p.UID != uid || uid == 0 && p.UID != nobody().Uid {
		t.Errorf("user %d", p.UID)
	}
}
