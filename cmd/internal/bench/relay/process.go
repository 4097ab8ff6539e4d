//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

// tree lists a process and all that come from it and have not been waited for.
func tree(root int) ([]int, error) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, name := range names {
		if pid, err := strconv.Atoi(name.Name()); err == nil {
			if s, err := statOf(pid); err == nil { // else it has just ended
				children[s.parent] = append(children[s.parent], pid)
			}
		}
	}
	list := []int{root}
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i]]...)
	}
	return list, nil
}

// stat is of /proc/PID/stat.
type stat struct {
	parent int
	reaped time.Duration // the processor time of the children that it has waited for, and of theirs
}

// ticksPerSecond is USER_HZ, in which /proc counts on every machine that Go runs on.
const ticksPerSecond = 100

func statOf(pid int) (s stat, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, err
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // from the third of proc_pid_stat(5) on
	if len(fields) < 15 {
		return s, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields)+2)
	}
	if s.parent, err = strconv.Atoi(string(fields[1])); err != nil {
		return s, err
	}
	for _, f := range fields[13:15] {
		ticks, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return s, err
		}
		s.reaped += time.Duration(ticks) * time.Second / ticksPerSecond
	}
	return s, nil
}

// processorTime is how much a process and all that come from it have used. Of who lives it is in nanoseconds: the tick of /proc
// is too coarse for a second's work. It is exact while no process of the tree ends.
func processorTime(root int) (sum time.Duration, err error) {
	pids, err := tree(root)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		s, err := statOf(pid)
		if err != nil {
			return 0, err
		}
		// CPUCLOCK_SCHED of a process: see clock_getcpuclockid(3).
		var used unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|2), &used); err != nil {
			return 0, fmt.Errorf("processor clock of %d: %w", pid, err)
		}
		sum += s.reaped + time.Duration(used.Nano())
	}
	return sum, nil
}

// footprint is what a process and all that come from it hold.
type footprint struct {
	rss, pss    int64 // bytes; RSS counts a page for each process that has it
	descriptors int
}

func footprintOf(root int) (f footprint, err error) {
	pids, err := tree(root)
	if err != nil {
		return f, err
	}
	for _, pid := range pids {
		one, err := footprintOfOne(pid)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended, and holds nothing
		}
		if err != nil {
			return f, err
		}
		f.rss, f.pss, f.descriptors = f.rss+one.rss, f.pss+one.pss, f.descriptors+one.descriptors
	}
	return f, nil
}

// footprintOfOne reads smaps_rollup, which counts pages; VmRSS is an estimate when there are several processors.
func footprintOfOne(pid int) (f footprint, err error) {
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return f, err
	}
	rollup := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	rss, pss := lab.ProcField(rollup, "Rss:", 1), lab.ProcField(rollup, "Pss:", 1)
	if rss < 0 || pss < 0 {
		if _, err := os.ReadFile(rollup); err != nil {
			return f, err
		}
		return f, fmt.Errorf("%s has no Rss and Pss", rollup)
	}
	return footprint{rss: rss << 10, pss: pss << 10, descriptors: len(names)}, nil
}
