package scan

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/sockleak/sockleak/bpfiter"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// Sockets that are counted by process are those of the same processes, whether these are read early by iterators, or behind the list.
func TestCountEarly(t *testing.T) {
	fs, err := procfd.New("/proc")
	if err != nil {
		t.Fatal(err)
	}
	if err := TryIterators(fs); errors.Is(err, os.ErrPermission) || errors.Is(err, bpfiter.ErrOld) {
		t.Skip(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	connect := func() {
		c, err := net.Dial("tcp4", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		a, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); a.Close() })
	}
	for range 20 {
		connect()
	}
	// A child has the listener as well, and fewer descriptors, so it counts for the test.
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "60")
	child.ExtraFiles = []*os.File{f}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	f.Close()
	const want = 41
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	if got := countedOwn(t, port, &Source{Kind: "diag", FS: fs, Detail: t.Logf}, nil); got != want {
		t.Errorf("by /proc: %d, want %d", got, want)
	}
	for name, between := range map[string]func(*early){
		"all is read early":            nil,
		"nothing is":                   func(e *early) { *e = early{table: e.table[:0:0], began: e.began}; e.table = make([]earlySocket, 16) },
		"what was is of others by now": func(e *early) { e.began = time.Nanosecond },
	} {
		if got := countedOwn(t, port, &Source{Kind: SourceBPF, FS: fs, Detail: t.Logf}, between); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

// countedOwn are the sockets of this process on a port. Others come and go.
func countedOwn(t *testing.T, port uint16, src *Source, between func(*early)) (n int) {
	t.Helper()
	c := &Count{Source: src, By: diag.ByProcess, Filter: diag.Filter{Port: port}, Order: "sockets", between: between}
	defer c.Close()
	stat, err := c.Sample(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i := range stat.Groups {
		g := &stat.Groups[i]
		if p, ok := stat.Tally.Owner(g); ok && p.PID == os.Getpid() {
			n += g.Sockets
		}
	}
	return n
}
