//go:build zoo

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// inGVisor holds one connection whose peer is gone, one with SO_KEEPALIVE and one without, and runs what its arguments say.
const inGVisor = `
import os, socket, subprocess, sys
listener = socket.create_server(('127.0.0.1', 0))
pairs = []
for i in range(3):
    s = socket.create_connection(listener.getsockname())
    pairs.append((s, listener.accept()[0]))
pairs[0][0].close()
pairs[1][0].setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
out = subprocess.run([a if a != 'PID' else str(os.getpid()) for a in sys.argv[1:]], stdin=subprocess.DEVNULL)
sys.exit(out.returncode)
`

// TestZooGVisor: in a sandbox whose kernel is not Linux, what can be counted is, and what cannot is a gap and no number. Old releases have
// no namespaces in /proc, none has sock_diag, and of timers none tells.
func TestZooGVisor(t *testing.T) {
	if _, err := exec.LookPath("runsc"); err != nil {
		t.Fatal("runsc is missing: apt-get install runsc")
	}
	program := filepath.Join(t.TempDir(), "sockleak")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(status int, args ...string) []byte {
		t.Helper()
		var out, said bytes.Buffer
		cmd := exec.Command("runsc", append([]string{"--rootless", "--network=none", "do", "python3", "-c", inGVisor, program}, args...)...)
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &said, time.Minute
		err := cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != status || strings.Contains(said.String(), "panic") {
			t.Fatalf("%s: status %d, want %d: %v\n%s\n%s", args, got, status, err, &said, &out)
		}
		return out.Bytes()
	}
	type gap struct{ What, Why string }
	var scan struct {
		Processes []struct {
			Sockets struct {
				ByState map[string]int `json:"by_state"`
				Timer   *int           `json:"estab_timer"`
				NoTimer *int           `json:"estab_no_timer"`
			}
		}
		Findings []any
		Gaps     []gap
	}
	for _, which := range []string{"PID", "--all"} {
		must(t, json.Unmarshal(run(3, "leakscan", which, "--json", "--settle", "0"), &scan))
		if len(scan.Processes) == 0 || len(scan.Findings) != 0 {
			t.Fatalf("%s: %d processes, findings %v", which, len(scan.Processes), scan.Findings)
		}
		s := scan.Processes[0].Sockets
		if s.ByState["ESTAB"] != 4 || s.ByState["CLOSE-WAIT"] != 1 || s.ByState["LISTEN"] != 1 || s.Timer != nil || s.NoTimer != nil {
			t.Errorf("%s: sockets %+v", which, s)
		}
		for _, what := range []string{"TCP_INFO", "timers"} {
			if !slices.ContainsFunc(scan.Gaps, func(g gap) bool { return g.What == what }) {
				t.Errorf("%s: no gap %q among %v", which, what, scan.Gaps)
			}
		}
	}
	for _, args := range [][]string{{"tcpstat"}, {"tcpstat", "--by", "process"}, {"tcpstat", "--netns", "all"}} {
		if out := string(run(0, args...)); !strings.Contains(out, "python3") && args[len(args)-1] == "process" || !strings.Contains(out, "whether a timer runs is not told") {
			t.Errorf("%s:\n%s", args, out)
		}
	}
	if out := string(run(1, "doctor")); !strings.Contains(out, "from /proc/net/tcp, without idle times") {
		t.Errorf("doctor:\n%s", out)
	}
}
