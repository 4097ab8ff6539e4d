//go:build zoo

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bundle is a container of a real runtime: a filesystem with one static program, and the configuration to start it.
type bundle struct {
	t   *testing.T
	dir string
	id  string
}

func newBundle(t *testing.T, program, id string) *bundle {
	t.Helper()
	b := &bundle{t, t.TempDir(), id}
	for _, dir := range []string{"proc", "tmp", "host/proc", "host/sys/fs/cgroup"} {
		if err := os.MkdirAll(filepath.Join(b.dir, "rootfs", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(program, filepath.Join(b.dir, "rootfs/sockleak")); err != nil {
		t.Fatal(err)
	}
	return b
}

// runc is its command, in the bundle.
func (b *bundle) runc(args ...string) *exec.Cmd {
	cmd := exec.Command("runc", args...)
	cmd.Dir = b.dir
	return cmd
}

// configure writes what docker would: the host's namespaces that are named, and capabilities beside those that need none.
func (b *bundle) configure(host []string, capabilities []string, args ...string) {
	b.t.Helper()
	if out, err := b.runc("spec").CombinedOutput(); err != nil {
		b.t.Fatalf("runc spec: %v\n%s", err, out)
	}
	var config map[string]any
	file := filepath.Join(b.dir, "config.json")
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	process, linux := config["process"].(map[string]any), config["linux"].(map[string]any)
	process["terminal"], process["args"], process["rlimits"] = false, args, []any{}
	process["capabilities"] = map[string]any{"bounding": capabilities, "effective": capabilities, "permitted": capabilities}
	var namespaces []any
	for _, n := range linux["namespaces"].([]any) {
		if !contains(host, n.(map[string]any)["type"].(string)) {
			namespaces = append(namespaces, n)
		}
	}
	linux["namespaces"], linux["cgroupsPath"], linux["resources"] = namespaces, "/docker/"+b.id, map[string]any{}
	mount := func(at, kind, from string, options ...string) any {
		return map[string]any{"destination": at, "type": kind, "source": from, "options": options}
	}
	config["mounts"] = []any{
		mount("/proc", "proc", "proc"), mount("/host/proc", "bind", "/proc", "rbind", "ro"),
		mount("/host/sys/fs/cgroup", "bind", "/sys/fs/cgroup", "rbind", "ro"),
	}
	if text, err = json.Marshal(config); err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// TestZooContainer: a program in a container of runc is named from the host and from another container, by the lines of the README.
func TestZooContainer(t *testing.T) {
	if _, err := exec.LookPath("runc"); err != nil {
		t.Fatal("runc is missing: apt-get install runc")
	}
	if os.Getuid() != 0 {
		t.Skip("containers of the system are root's")
	}
	program := filepath.Join(t.TempDir(), "sockleak")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	suffix := fmt.Sprintf("%08x", os.Getpid())
	watched := newBundle(t, program, strings.Repeat("3f2a9c1b", 7)+suffix)
	watched.configure(nil, nil, "/sockleak", "proxy", "--listen", "127.0.0.1:0", "--target", "127.0.0.1:1")
	pid := watched.start()
	args := []string{"leakscan", strconv.Itoa(pid), "--settle", "0", "--json"}
	out, err := exec.Command(program, args...).Output()
	checkContained(t, watched.id, out, err)

	reader := newBundle(t, program, strings.Repeat("0d4e5f60", 7)+suffix)
	reader.configure([]string{"pid", "network"}, []string{"CAP_SYS_PTRACE", "CAP_SYS_ADMIN"},
		append(append([]string{"/sockleak"}, args...), "--proc-root", "/host/proc")...)
	out, err = reader.runc("run", reader.id).Output()
	checkContained(t, watched.id, out, err)
}

// start starts the container, and returns its first process.
func (b *bundle) start() int {
	b.t.Helper()
	cmd := b.runc("run", b.id)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = b.runc("kill", b.id, "KILL").Run()
		_ = cmd.Wait()
		_ = b.runc("delete", "-f", b.id).Run()
	})
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var state struct {
			PID    int
			Status string
		}
		out, err := b.runc("state", b.id).Output()
		if err == nil && json.Unmarshal(out, &state) == nil && state.Status == "running" {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", state.PID)); err == nil && filepath.Base(exe) == "sockleak" {
				return state.PID
			}
		}
	}
	b.t.Fatalf("it does not run: %s", &said)
	return 0
}

// checkContained reads a report of the process: it is the first of its container, and all of it was seen.
func checkContained(t *testing.T, id string, out []byte, err error) {
	t.Helper()
	var doc struct {
		Processes []struct {
			Container struct{ Runtime, ID string }
			NSPIDs    []int `json:"ns_pids"`
		}
		Gaps []any
	}
	if err == nil {
		err = json.Unmarshal(out, &doc)
	}
	if err != nil || len(doc.Processes) != 1 || len(doc.Gaps) != 0 {
		t.Fatalf("%v: %s", err, out)
	}
	p := doc.Processes[0]
	if p.Container.Runtime != "docker" || p.Container.ID != id || len(p.NSPIDs) != 1 || p.NSPIDs[0] != 1 {
		t.Errorf("%+v", p)
	}
}
