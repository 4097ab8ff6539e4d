//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// cpuProfiled is how long the work is repeated for a CPU profile: the profiler looks a hundred times a second.
const cpuProfiled = "3s"

// profiles writes CPU and heap profiles of sockleak's work at this farm into a directory, and prints the peak of its memory and the
// top of the heap.
func profiles(ctx context.Context, p programs, pid int, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, task := range []struct {
		name string
		args []string
	}{
		{"tcpstat", []string{"tcpstat"}},
		{"leakscan", []string{"leakscan", strconv.Itoa(pid)}},
		{"leakscan-all", []string{"leakscan", "--all"}},
	} {
		if err := profileOne(ctx, p, filepath.Join(dir, task.name), task.args); err != nil {
			return fmt.Errorf("profile %s: %w", strings.Join(task.args, " "), err)
		}
	}
	return nil
}

// profileOne writes FILE.cpu.prof and FILE.heap.prof. The memory is measured in a run without a profiler.
func profileOne(ctx context.Context, p programs, file string, args []string) error {
	cpu, heap := file+".cpu.prof", file+".heap.prof"
	var plain run
	for _, flags := range [][]string{{"-cpu", cpu, "-for", cpuProfiled}, {"-heap", heap}, nil} {
		command := append(append([]string{p.profiled}, flags...), args...)
		got, err := timed(ctx, p.timed, command)
		switch {
		case ctx.Err() != nil:
			return errInterrupted
		case err != nil:
			return err
		case got.status != 0:
			return fmt.Errorf("status %d: %s", got.status, got.said)
		}
		plain = got
	}
	fmt.Printf("%s: %s, peak RSS %s; profiles in %s and %s\n", strings.Join(args, " "), milliseconds(plain.Wall), mebibytes(plain.RSS), cpu, heap)
	for _, index := range []string{"alloc_space", "inuse_space"} {
		if err := top(ctx, index, p.profiled, heap); err != nil {
			return err
		}
	}
	return top(ctx, "cpu", p.profiled, cpu)
}

// top prints the ten functions with the most of one of a profile's values.
func top(ctx context.Context, index, program, file string) error {
	fmt.Printf("\n%s:\n", index)
	cmd := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount=10", "-sample_index="+index, program, file)
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	_, table, _ := strings.Cut(string(out), "Showing nodes")
	fmt.Println("Showing nodes" + table)
	return nil
}
