//go:build zoo

package screen

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tmux is a terminal that interprets what is written to it.
type tmux struct {
	t      *testing.T
	path   string
	socket string
}

func newTmux(t *testing.T, command string) *tmux {
	t.Helper()
	path, err := exec.LookPath("tmux")
	if err != nil {
		t.Fatalf("tmux is missing: apt-get install tmux (%v)", err)
	}
	m := &tmux{t: t, path: path, socket: filepath.Join(t.TempDir(), "tmux")}
	t.Cleanup(func() { exec.Command(path, "-S", m.socket, "kill-server").Run() })
	m.run("-f", os.DevNull, "new-session", "-d", "-x", "110", "-y", "30", command)
	return m
}

func (m *tmux) run(args ...string) string {
	m.t.Helper()
	cmd := exec.Command(m.path, append([]string{"-u", "-S", m.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func (m *tmux) keys(keys ...string) { m.run(append([]string{"send-keys"}, keys...)...) }

func (m *tmux) screen() string { return m.run("capture-pane", "-p") }

// await waits for a picture with all of the texts.
func (m *tmux) await(texts ...string) string {
	m.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		picture := m.screen()
		missing := false
		for _, text := range texts {
			missing = missing || !strings.Contains(picture, text)
		}
		if !missing {
			return picture
		}
		if time.Now().After(end) {
			m.t.Fatalf("%q is not on the screen:\n%s", texts, picture)
		}
	}
}

// In tmux: the screen comes over what was there, follows keys and a resize, and what was there comes back.
func TestTmux(t *testing.T) {
	program := "echo before; LC_ALL=C.UTF-8 " + programEnv + "=watch " + os.Args[0]
	m := newTmux(t, program+"; echo status $?; exec cat")
	picture := m.await("proxy[4242]", "idle-no-keepalive", "fds of 20000", "GAPS 1", "q quit")
	if strings.Contains(picture, "before") {
		t.Errorf("the screen is not one of its own:\n%s", picture)
	}
	m.keys("Space")
	m.await("FROZEN")
	m.keys("Space", "Enter")
	m.await("leak idle-no-keepalive proxy[4242]", "Peer Address:Port", "esc back")
	m.keys("Escape")
	m.await("enter open")
	m.keys("Tab")
	m.await("Peer Address", "CLOSE-WAIT")
	m.keys("g")
	m.await("by peer-port")
	m.keys("?")
	m.await("look more often")
	m.keys("Escape")
	m.await("by peer-port") // a key close behind Escape is one with Alt
	m.keys("/", "2", "0", "0", "0", "1", "Enter")
	m.await("/20001", "1 of 1")
	m.run("resize-window", "-x", "40", "-y", "10")
	m.await("LEAK  proxy[4242]", "q quit")
	if lines := strings.Split(strings.TrimRight(m.screen(), "\n"), "\n"); len(lines) != 10 || !strings.HasPrefix(lines[9], "q quit") {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	m.run("resize-window", "-x", "110", "-y", "30")
	m.await("findings", "Oldest idle", "q quit")
	m.keys("q")
	m.await("before", "status 0")
}
