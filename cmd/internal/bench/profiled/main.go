//go:build linux

// Command profiled does what a command of sockleak does, in the same packages and without the command line, under a profiler:
//
//	profiled -cpu cpu.prof -for 3s leakscan 1234
//	profiled -heap heap.prof tcpstat
//
// A CPU profile is of as many runs as fit into that time, a heap profile of one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
	"github.com/sockleak/sockleak/report"
)

func main() {
	cpu := flag.String("cpu", "", "write a CPU profile to this file")
	heap := flag.String("heap", "", "write a profile of every allocation to this file")
	atLeast := flag.Duration("for", 0, "repeat the work for this long")
	flag.Parse()
	if *heap != "" {
		runtime.MemProfileRate = 1
	}
	if err := profile(flag.Args(), *cpu, *heap, *atLeast); err != nil {
		fmt.Fprintln(os.Stderr, "profiled: error:", err)
		os.Exit(2)
	}
}

// groups is how many groups a report has.
const groups = 20

// work returns a value that can be reported.
type work func(context.Context) (report.Value, error)

func profile(args []string, cpu, heap string, atLeast time.Duration) error {
	do, err := workOf(args)
	if err != nil {
		return err
	}
	if cpu != "" {
		f, err := os.Create(cpu)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var v report.Value
	for start := time.Now(); v == nil || time.Since(start) < atLeast; {
		if v, err = do(context.Background()); err != nil {
			return err
		}
		if err := report.Write(io.Discard, "table", v, report.Options{Top: groups}); err != nil {
			return err
		}
	}
	if heap == "" {
		return nil
	}
	err = writeHeap(heap)
	runtime.KeepAlive(v) // what the report is made from is in use
	return err
}

func writeHeap(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}

func workOf(args []string) (work, error) {
	fs, err := procfd.New("/proc")
	if err != nil {
		return nil, err
	}
	source := &scan.Source{Kind: "auto", FS: fs, Detail: func(string, ...any) {}}
	switch {
	case len(args) == 1 && args[0] == "tcpstat":
		return func(ctx context.Context) (report.Value, error) { return tcpstat(ctx, source) }, nil
	case len(args) == 2 && args[0] == "leakscan":
		return func(ctx context.Context) (report.Value, error) { return leakscan(ctx, source, args[1]) }, nil
	}
	return nil, fmt.Errorf("%q: want tcpstat, leakscan PID or leakscan --all", args)
}

func tcpstat(ctx context.Context, source *scan.Source) (report.Value, error) {
	count := scan.Count{Source: source, Top: groups}
	defer count.Close()
	stat, err := count.Sample(ctx)
	if err != nil {
		return nil, err
	}
	return report.Tcpstat(stat), nil
}

// leakscan takes one look: a second would wait.
func leakscan(ctx context.Context, source *scan.Source, who string) (report.Value, error) {
	s := &scan.Scan{Source: source, Thresholds: diag.Thresholds{Grace: diag.DefaultGrace}, Rules: diag.Rules()}
	view := report.Leakscan
	if who == "--all" {
		view = report.LeakscanAll
		if err := s.Everybody(); err != nil {
			return nil, err
		}
	} else {
		pid, err := strconv.Atoi(who)
		if err != nil {
			return nil, err
		}
		s.PIDs = []int{pid}
	}
	result, err := s.Run(ctx)
	if err != nil {
		return nil, err
	}
	return view(result), nil
}
