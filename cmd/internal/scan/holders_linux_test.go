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
	l := &look{Scan: &Scan{Source: s}, space: &diag.Space{Procs: []*diag.Proc{{Process: &procfd.Process{PID: self}, Held: []diag.HeldSocket{held}}}}}
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
