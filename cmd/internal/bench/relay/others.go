//go:build linux

package main

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

// load is what the processors have done at a moment.
type load struct {
	at        time.Time
	busy, own time.Duration // own: of this process and of what it has waited for
}

// loadNow reads the load; ok is false when the kernel does not tell.
func loadNow() (l load, ok bool) {
	l.at = time.Now()
	// user, nice, system, irq, softirq and steal: see proc_stat(5).
	for _, place := range []int{1, 2, 3, 6, 7, 8} {
		ticks := lab.ProcField("/proc/stat", "cpu", place)
		if ticks < 0 {
			return l, false
		}
		l.busy += time.Duration(ticks) * time.Second / ticksPerSecond
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) != nil {
			return l, false
		}
		l.own += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return l, true
}

// others is about which share of all processors others had from a moment to another, from 0 to 1: what is busy is counted in ticks.
func others(from, to load) float64 {
	all := to.at.Sub(from.at) * time.Duration(runtime.NumCPU())
	theirs := to.busy - from.busy - (to.own - from.own)
	return min(max(float64(theirs)/float64(all), 0), 1)
}
