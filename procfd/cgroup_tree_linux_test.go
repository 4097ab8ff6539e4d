package procfd

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestKernelWalkCgroups: every id is the number of the directory, and a new cgroup is found.
func TestKernelWalkCgroups(t *testing.T) {
	top, _, err := openCgroups("/")
	if errors.Is(err, ErrNoCgroups) {
		t.Skip(err)
	}
	at, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(top.Fd())))
	top.Close()
	if err != nil {
		t.Fatal(err)
	}
	name := "sockleak-test-" + strconv.Itoa(os.Getpid())
	if err := os.MkdirAll(filepath.Join(at, name, "a"), 0o755); err != nil {
		t.Skip(err)
	}
	defer func() {
		_ = os.Remove(filepath.Join(at, name, "a"))
		_ = os.Remove(filepath.Join(at, name))
	}()
	found := map[string]bool{}
	if _, err := WalkCgroups("/", func(id uint64, path string) {
		st, err := os.Lstat(filepath.Join(at, path))
		if err == nil && st.Sys().(*syscall.Stat_t).Ino != id {
			t.Errorf("%s: %d", path, id)
		}
		if strings.HasPrefix(path, "/"+name) || path == "/" {
			found[path] = true
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !found["/"] || !found["/"+name] || !found["/"+name+"/a"] || len(found) != 3 {
		t.Errorf("%v", found)
	}
}

// TestWalkCgroupsElsewhere: a directory that is no such filesystem is not walked.
func TestWalkCgroupsElsewhere(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "sys/fs/cgroup/a"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := WalkCgroups(root, func(uint64, string) { t.Error("walked") })
	if !errors.Is(err, ErrNoCgroups) {
		t.Error(err)
	}
}
