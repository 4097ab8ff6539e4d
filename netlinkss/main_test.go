package netlinkss

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain fails the run when a test left a socket open: a package that finds leaks must not leak.
func TestMain(m *testing.M) {
	flag.Parse()
	before := openSockets()
	code := m.Run()
	if left := leftOpen(before); len(left) > 0 && code == 0 {
		fmt.Fprintln(os.Stderr, "left open:", strings.Join(left, ", "))
		code = 1
	}
	os.Exit(code)
}

// leftOpen gives descriptors that close in the background a moment.
func leftOpen(before []string) (left []string) {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) {
		left = slices.DeleteFunc(openSockets(), func(s string) bool { return slices.Contains(before, s) })
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// openSockets lists the sockets and namespace files of this process; none without a /proc.
func openSockets() (found []string) {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err == nil && (strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "net:")) {
			found = append(found, filepath.Base(fd)+" -> "+to)
		}
	}
	return found
}

// eventually repeats f until it is content. What the kernel does on its own time is waited for, and
// never for a set time.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}
