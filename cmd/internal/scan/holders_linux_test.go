package scan

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Who has a connection for a moment, as a child has between fork and exec, is not told as its holder.
func TestDropPassing(t *testing.T) {
	s, _, _ := openTest(t)
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(ends[0], &st); err != nil {
		t.Fatal(err)
	}
	self := os.Getpid()
	held := diag.HeldSocket{
		Socket: &netlinkss.Socket{Inode: uint32(st.Ino)},
		Others: []diag.Holder{{PID: self, FD: ends[0]}, {PID: self, FD: ends[1]}, {PID: 1 << 30, FD: 3}},
	}
	l := &look{Scan: &Scan{Source: s}, began: time.Now(), space: &diag.Space{Procs: []*diag.Proc{{Process: &procfd.Process{PID: self}, Held: []diag.HeldSocket{held}}}}}
	others := func() []diag.Holder {
		l.dropPassing(context.Background())
		return l.space.Procs[0].Held[0].Others
	}
	if got := others(); len(got) != 1 || got[0].FD != ends[0] {
		t.Errorf("holders %v, want descriptor %d alone", got, ends[0])
	}
	syscall.Close(ends[0])
	syscall.Close(ends[1])
	if got := others(); len(got) != 0 {
		t.Errorf("holders %v of a closed descriptor", got)
	}
}

// A child that was started just now may be about to become another program.
func TestDropYoung(t *testing.T) {
	s, _, _ := openTest(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { w.Close(); _ = cmd.Wait() }()
	if !s.FS.StartedWithin(cmd.Process.Pid, time.Minute) || s.FS.StartedWithin(1, time.Millisecond) || s.FS.StartedWithin(1<<30, time.Hour) {
		t.Error("the age of a child of a moment, of init, or of nobody is wrong")
	}
}

// What a child has from its parent a moment after it was started is not its own; what it has alone, and what an older one has, is.
func TestForked(t *testing.T) {
	s, _, _ := openTest(t)
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(ends[0])
	defer syscall.Close(ends[1])
	inode := func(fd int) uint32 {
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); err != nil {
			t.Fatal(err)
		}
		return uint32(st.Ino)
	}
	host := s.FS.Host()
	child := func(age time.Duration) *diag.Proc {
		p := &procfd.Process{PID: 1 << 30, PPID: os.Getpid(), Start: uint64((host.Uptime - age) / (10 * time.Millisecond))}
		return &diag.Proc{
			Process: p,
			Held:    []diag.HeldSocket{{Socket: &netlinkss.Socket{Inode: inode(ends[0])}}, {Socket: &netlinkss.Socket{Inode: 1}}},
			Dark:    []diag.DarkSocket{{Inode: uint64(inode(ends[1]))}, {Inode: 1}},
		}
	}
	for age, passing := range map[time.Duration]bool{0: true, time.Hour: false} {
		p := child(age)
		l := &look{Scan: &Scan{Source: s}, host: host, began: time.Now(), space: &diag.Space{Procs: []*diag.Proc{p}}}
		l.forked()
		dark := 2
		if passing {
			dark = 1
		}
		if p.Held[0].Passing != passing || p.Held[1].Passing || len(p.Dark) != dark {
			t.Errorf("%v old: %v and %v for a moment, %d dark", age, p.Held[0].Passing, p.Held[1].Passing, len(p.Dark))
		}
	}
}
