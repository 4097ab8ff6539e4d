//go:build linux

package main

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// used is the processor time of this process and of the children that it has waited for.
func used(t *testing.T) (sum time.Duration) {
	t.Helper()
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if err := unix.Getrusage(who, &r); err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return sum
}

// The processor time is what the kernel tells the process itself, with children that have ended. Theirs is in ticks.
func TestProcessorTime(t *testing.T) {
	if err := exec.Command("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").Run(); err != nil {
		t.Fatal(err)
	}
	const ticks = 2 * time.Second / ticksPerSecond
	before := used(t)
	got, err := processorTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after := used(t); got < before-ticks || got > after+time.Millisecond {
		t.Errorf("%v, and the kernel says %v to %v", got, before, after)
	}
}

// A child is counted with its parent: its descriptors, its memory and its time.
func TestTree(t *testing.T) {
	before, err := footprintOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "sleep 60 & wait")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pids, _ := tree(cmd.Process.Pid)
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		_ = cmd.Wait()
	})
	var pids []int
	for end := time.Now().Add(10 * time.Second); len(pids) != 2 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if pids, err = tree(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	if len(pids) != 2 || pids[0] != cmd.Process.Pid {
		t.Fatalf("%v come from %d", pids, cmd.Process.Pid)
	}
	after, err := footprintOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after.descriptors < before.descriptors+6 || after.rss <= before.rss || after.pss <= 0 || after.pss > after.rss {
		t.Errorf("%+v, and with two children %+v", before, after)
	}
	if _, err := processorTime(os.Getpid()); err != nil {
		t.Error(err)
	}
}

// Own work is not others'.
func TestOthers(t *testing.T) {
	at := time.Now()
	from := load{at, 10 * time.Second, 5 * time.Second}
	n := time.Duration(runtime.NumCPU())
	for _, c := range []struct {
		busy, own time.Duration
		want      float64
	}{{4 * n, 4 * n, 0}, {8 * n, 4 * n, 0.4}, {10 * n, 0, 1}, {1, 2, 0}} {
		to := load{at.Add(10 * time.Second), from.busy + c.busy*time.Second, from.own + c.own*time.Second}
		if got := others(from, to); got != c.want {
			t.Errorf("busy %d s, own %d s: %v, want %v", c.busy, c.own, got, c.want)
		}
	}
	l, ok := loadNow()
	if !ok || l.busy <= 0 || l.own <= 0 {
		t.Errorf("%+v, %v", l, ok)
	}
}
