package scan

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// A process that was found and has ended since does not lead into its network namespace: the next one does. Of one that was
// named it is an error.
func TestReadSpaceFirstEnded(t *testing.T) {
	s, _, _ := openTest(t)
	lives := os.Getpid()
	if os.Getuid() == 0 { // and make another one
		lives = elsewhere(t, 0)
	}
	self, err := s.FS.Identify(lives)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^$") // this program, which then has no test
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	gone := &procfd.Process{PID: child.Process.Pid, Start: 1, FDTask: child.Process.Pid, NetTask: child.Process.Pid}
	read := func(selected bool, procs ...*procfd.Process) (*diag.Space, error) {
		scan := &Scan{Source: s, Selected: selected, Rules: diag.Rules(), Thresholds: diag.Thresholds{Grace: diag.DefaultGrace}}
		return scan.readSpace(context.Background(), procs, func() *look {
			return &look{Scan: scan, host: s.FS.Host(), family: scan.family, space: &diag.Space{Netns: self.Netns}}
		})
	}
	if space, err := read(true, gone, self); err != nil || space == nil || len(space.Procs) != 1 || space.Procs[0].PID != self.PID {
		t.Errorf("with one that lives: %v, %v", space, err)
	}
	if space, err := read(true, gone); err != nil || space != nil {
		t.Errorf("all have ended: %v, %v", space, err)
	}
	if _, err := read(false, gone, self); err == nil {
		t.Error("it was named: no error")
	}
}
