package main

// The command as it is typed: every file of testdata/script is one behaviour. The program runs as a process of its own,
// with its real exit status; the commands that the scripts have besides testscript's are in script_commands_test.go, and
// the dumps and proc filesystems that they read are made by script_fixture_test.go from text.

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the commands print now into the scripts")

const scriptDir = "../../testdata/script"

// scriptsAtOnce is how many scripts run at a time, unless -parallel says so: they wait for processes and clocks most of
// the time, not for a processor.
const scriptsAtOnce = 8

// recordedDir has dumps of kernels, all of little-endian machines.
const recordedDir = "../../testdata/dump"

func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){
		"sockleak": main, "contained": contained, "contained-init": containedInit, "contained-not": func() {},
	})
}

func TestScript(t *testing.T) {
	fixtures, err := filepath.Abs(filepath.Join(scriptDir, "fixture"))
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := filepath.Abs(recordedDir)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                scriptDir,
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Cmds:               scriptCommands,
		Condition:          scriptCondition,
		Setup: func(e *testscript.Env) error {
			e.Setenv("FIXTURE", fixtures)
			e.Setenv("RECORDED", recorded)
			e.Setenv("TESTPID", strconv.Itoa(os.Getpid()))
			e.Setenv("HOSTILE", "ev\x1b[2J\nil")
			if e.Getenv("GORACE") == "" {
				e.Setenv("GORACE", "atexit_sleep_ms=0") // else each process takes a second to end
			}
			e.Values[jobsKey{}] = newJobs(e)
			return nil
		},
	})
}

// scriptCondition knows [littleendian].
func scriptCondition(cond string) (bool, error) {
	if cond == "littleendian" {
		return binary.NativeEndian.Uint16([]byte{1, 0}) == 1, nil
	}
	if cond == "namespaces" {
		return canContain(), nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// leakFree fails the run when a test left a descriptor open: a program that finds leaks must not leak.
type leakFree struct{ m *testing.M }

func (l leakFree) Run() int {
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		_ = p.Value.Set(strconv.Itoa(max(scriptsAtOnce, runtime.GOMAXPROCS(0)))) // a number always can be
	}
	before := openDescriptors()
	code := l.m.Run()
	if left := leftOpen(before); len(left) > 0 && code == 0 {
		fmt.Fprintln(os.Stderr, "left open:", strings.Join(left, ", "))
		return 1
	}
	return code
}

// leftOpen gives descriptors that close in the background a moment.
func leftOpen(before []string) (left []string) {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) {
		left = slices.DeleteFunc(openDescriptors(), func(s string) bool { return slices.Contains(before, s) })
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// openDescriptors leaves out what package runtime opens when it likes: epoll, eventfd, pidfd.
func openDescriptors() (found []string) {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && !strings.HasPrefix(to, "anon_inode:") {
			found = append(found, filepath.Base(fd)+" -> "+to)
		}
	}
	return found
}
