package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/cmd/internal/record"
	"github.com/sockleak/sockleak/diag"
)

// shared is a directory that everybody writes to, and where each keeps his own.
func shared(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shared")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return dir
}

// oneCommand: urfave/cli keeps its help flag in a variable of its own.
var oneCommand sync.Mutex

// command is what sockleak does with the arguments.
func command(args ...string) (status int, stdout, stderr string) {
	oneCommand.Lock()
	defer oneCommand.Unlock()
	var out, told bytes.Buffer
	status = run(context.Background(), append([]string{"sockleak"}, args...), strings.NewReader(""), &out, &told)
	return status, out.String(), told.String()
}

// writers are the commands that write a file, by its name.
func writers() map[string]func(name string, flags ...string) []string {
	self := strconv.Itoa(os.Getpid())
	return map[string]func(string, ...string) []string{
		"record": func(name string, flags ...string) []string {
			return append([]string{"record", name, self, "-q", "--settle", "0"}, flags...)
		},
		"html": func(name string, flags ...string) []string {
			return append([]string{"leakscan", self, "-q", "--settle", "0", "--html", name}, flags...)
		},
	}
}

// Each writes a file for its user alone, over none unasked, and over its own when told to; then who has the old one open keeps it.
func TestFilesOfOnesOwn(t *testing.T) {
	for kind, args := range writers() {
		t.Run(kind, func(t *testing.T) {
			defer unix.Umask(unix.Umask(0))
			name := filepath.Join(shared(t), "file")
			if status, _, told := command(args(name)...); status == statusFailed {
				t.Fatal(told)
			}
			old := ownFile(t, name)
			if status, _, told := command(args(name)...); status != statusFailed || !strings.Contains(told, "exists") {
				t.Errorf("written over: %d, %s", status, told)
			}
			if now := ownFile(t, name); !os.SameFile(old, now) || now.Size() != old.Size() {
				t.Error("the older file has changed")
			}
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if status, _, told := command(args(name, "--force")...); status == statusFailed {
				t.Fatal(told)
			}
			if kept, err := f.Stat(); err != nil || os.SameFile(kept, ownFile(t, name)) || kept.Size() != old.Size() {
				t.Errorf("the older file was written to: %v, %v", kept, err)
			}
			alone(t, name)
		})
	}
}

// ownFile is a file that nobody else may read.
func ownFile(t *testing.T, name string) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("%s has mode %v", name, info.Mode())
	}
	return info
}

// alone: nothing was left beside a file.
func alone(t *testing.T, name string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(name) {
			t.Errorf("left: %s", e.Name())
		}
	}
}

// Through a link nothing is written, whether it leads to a file or nowhere, with force or without; nor to what is no file.
func TestNoFileThroughLinks(t *testing.T) {
	plant := map[string]func(name, victim string) error{
		"a file":  func(name, victim string) error { return os.Symlink(victim, name) },
		"nowhere": func(name, victim string) error { return os.Symlink(victim+"-to-be", name) },
		"FIFO":    func(name, _ string) error { return syscall.Mkfifo(name, 0o666) },
	}
	for kind, args := range writers() {
		for what, put := range plant {
			for _, force := range [][]string{nil, {"--force"}} {
				name, victim := filepath.Join(shared(t), "file"), filepath.Join(t.TempDir(), "victim")
				if err := errors.Join(os.WriteFile(victim, []byte("mine"), 0o644), put(name, victim)); err != nil {
					t.Fatal(err)
				}
				before, err := os.Lstat(name)
				if err != nil {
					t.Fatal(err)
				}
				if status, _, told := command(args(name, force...)...); status != statusFailed || !strings.Contains(told, "is no file") {
					t.Errorf("%s, link to %s %q: %d, %s", kind, what, force, status, told)
				}
				if b, err := os.ReadFile(victim); err != nil || string(b) != "mine" {
					t.Errorf("%s, link to %s %q: the file has %q, %v", kind, what, force, b, err)
				}
				if now, err := os.Lstat(name); err != nil || !os.SameFile(before, now) {
					t.Errorf("%s, link to %s %q: replaced, %v", kind, what, force, err)
				}
				alone(t, name)
				alone(t, victim)
			}
		}
	}
}

// Another user's file in a shared directory is not replaced, not even by root; the directory's owner's may be.
func TestNoFileOfOthersInSharedDirectories(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to make another user's file needs root")
	}
	const nobody, somebody = 65534, 65533
	for kind, args := range writers() {
		for _, c := range []struct {
			name       string
			dir, owner int
			mode       fs.FileMode
			refused    bool
		}{
			{"in root's", 0, nobody, 0o777 | fs.ModeSticky, true},
			{"in a third one's", somebody, nobody, 0o777 | fs.ModeSticky, true},
			{"in a group's", 0, nobody, 0o775 | fs.ModeSticky, true},
			{"in his own", nobody, nobody, 0o777 | fs.ModeSticky, false},
			{"where nobody else writes", 0, nobody, 0o755 | fs.ModeSticky, false},
			{"in no sticky one", 0, nobody, 0o755, false},
		} {
			dir := shared(t)
			name := filepath.Join(dir, "file")
			if err := errors.Join(os.WriteFile(name, []byte("theirs"), 0o666), os.Chown(name, c.owner, c.owner), os.Chown(dir, c.dir, c.dir), os.Chmod(dir, c.mode)); err != nil {
				t.Fatal(err)
			}
			status, _, told := command(args(name, "--force")...)
			b, err := os.ReadFile(name)
			if err != nil {
				t.Error(err)
			}
			if refused := status == statusFailed; refused != c.refused || refused != (string(b) == "theirs") {
				t.Errorf("%s, %s: %d, %s; the file has %.20q", kind, c.name, status, told, b)
			}
			if !c.refused {
				ownFile(t, name)
			}
		}
	}
}

// The way to a file leads through no link that another user has put into a shared directory, wherever on the way it is; through one's own,
// its directory's owner's, and one that lies where nobody else writes, it does.
func TestNoWayThroughLinksOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to make another user's link needs root")
	}
	const nobody, somebody = 65534, 65533
	for kind, args := range writers() {
		for _, c := range []struct {
			name       string
			dir, owner int
			mode       fs.FileMode
			refused    bool
		}{
			{"another's", 0, nobody, 0o777 | fs.ModeSticky, true},
			{"another's in a third one's", somebody, nobody, 0o777 | fs.ModeSticky, true},
			{"one's own", nobody, 0, 0o777 | fs.ModeSticky, false},
			{"its owner's", nobody, nobody, 0o777 | fs.ModeSticky, false},
			{"where nobody else writes", 0, nobody, 0o755 | fs.ModeSticky, false},
		} {
			dir, victim := shared(t), t.TempDir()
			link, further := filepath.Join(dir, "link"), filepath.Join(t.TempDir(), "further")
			if err := errors.Join(os.Symlink(victim, link), os.Symlink(link, further), os.Lchown(link, c.owner, c.owner), os.Chown(dir, c.dir, c.dir), os.Chmod(dir, c.mode),
				os.Mkdir(filepath.Join(victim, "below"), 0o755)); err != nil {
				t.Fatal(err)
			}
			for i, way := range []string{link, filepath.Join(link, "below"), further, further + "/below/.."} {
				name := fmt.Sprintf("%s/file%d", way, i)
				status, _, told := command(args(name)...)
				_, err := os.Stat(name)
				if refused := status == statusFailed && strings.Contains(told, "leads through the link"); refused != c.refused || refused == (err == nil) {
					t.Errorf("%s, %s, %s: %d, %s; the file: %v", kind, c.name, way, status, told, err)
				}
			}
		}
	}
}

// What could not be begun leaves no file, and takes away nothing that has its name by now.
func TestRecordingWithoutSamples(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	begin := func() *recording {
		r, err := (&program{}).newRecording(name, false)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := begin().end(errors.ErrUnsupported); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
	r := begin()
	if err := errors.Join(os.Rename(name, name+"-moved"), os.WriteFile(name, []byte("another"), 0o600)); err != nil {
		t.Fatal(err)
	}
	_ = r.end(errors.ErrUnsupported)
	if b, err := os.ReadFile(name); err != nil || string(b) != "another" {
		t.Errorf("%q, %v", b, err)
	}
}

// With --force a file is there until another takes its place: a number that no process has costs no recording.
func TestForceKeepsUntilThereIsMore(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file.zst")
	if err := os.WriteFile(name, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	own := strconv.Itoa(os.Getpid())
	for _, pids := range [][]string{{"999999999"}, {own, "999999999"}} {
		if status, _, told := command(append([]string{"record", "--force", name}, pids...)...); status != statusFailed {
			t.Errorf("%s: %d, %s", pids, status, told)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != "before" {
			t.Errorf("%s: it has %q, %v", pids, b, err)
		}
		alone(t, name)
	}
	if status, _, told := command("record", "--force", name, own); status != statusOK {
		t.Errorf("%d, %s", status, told)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) == "before" {
		t.Errorf("it has %.20q, %v", b, err)
	}
	alone(t, name)
}

// The screen keeps looks in the working directory, as any other file.
func TestSavedFrames(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	t.Chdir(shared(t))
	path, err := saveFrame("../a\x1b b", recordHeader(), recordSample())
	if err != nil {
		t.Fatal(err)
	}
	ownFile(t, path)
	if filepath.Base(path) != path || strings.ContainsAny(path, "\x1b ") {
		t.Errorf("path %q", path)
	}
}

func recordHeader() record.Header { return record.Header{Host: "h", Kernel: "k"} }

func recordSample() *record.Sample { return &record.Sample{Snapshot: &diag.Snapshot{}} }
