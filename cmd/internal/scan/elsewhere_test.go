package scan

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// A file is read where there is no proc filesystem at all, as on other systems.
func TestFilesWithoutProc(t *testing.T) {
	const list = "State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process\nESTAB 0 0 10.0.0.1:80 10.0.0.7:4000 users:((\"nginx\",pid=7,fd=3)) ino:42 sk:1\n"
	path := filepath.Join(t.TempDir(), "ss.txt")
	if err := os.WriteFile(path, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Source{Kind: "auto", From: path, FS: procfd.None(), Detail: func(string, ...any) {}}
	c := &Count{Source: s, By: diag.ByPeer}
	defer c.Close()
	if n := countTest(t, c).Tally.IPv4.Total(); n != 1 {
		t.Errorf("%d sockets, want 1", n)
	}
	r := &Listed{Path: path, Rules: diag.Rules()}
	result, err := r.Run(context.Background())
	if err != nil || len(result.Snapshot.Spaces) != 1 || result.Snapshot.Spaces[0].Procs[0].PID != 7 {
		t.Errorf("%+v, %v", result, err)
	}
	if pids, err := s.FS.PIDs(); err == nil {
		t.Errorf("processes %v where there are none", pids)
	}
}
