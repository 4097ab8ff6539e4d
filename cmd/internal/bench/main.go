// Command bench measures sockleak beside the tools that it competes with, on the same sockets in the
// same run, and prints what the README quotes:
//
//	go run ./cmd/internal/bench                     # 100,000 sockets, 5 rounds
//	go run ./cmd/internal/bench -sockets 300000
//
// It opens real connections on loopback, held by processes of its own with at most 19,000 descriptors
// each, runs the commands in turns (A B A B …) after a warm-up, and prints the median and the spread of the wall
// time and the ratio pair by pair. What is not installed is left out by name.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

func main() {
	if os.Getenv(holderEnv) != "" {
		exit(hold())
	}
	if pid := os.Getenv(floorEnv); pid != "" {
		exit(floor(pid))
	}
	sockets := flag.Int("sockets", 100_000, "how many sockets stand while the commands run")
	rounds := flag.Int("rounds", 5, "how many times each command runs")
	processes := flag.Int("processes", 300, "how many processes hold them, at the least")
	flag.Parse()
	exit(bench(*sockets, *rounds, *processes))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(2)
	}
	os.Exit(0)
}

func bench(sockets, rounds, processes int) error {
	if rounds < 1 || sockets < 1 {
		return errors.New("-sockets and -rounds must be 1 or more")
	}
	dir, err := os.MkdirTemp("", "sockleak-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tool := filepath.Join(dir, "sockleak")
	build := exec.Command("go", "build", "-o", tool, "github.com/sockleak/sockleak/cmd/sockleak")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build sockleak: %w", err)
	}
	f, err := plant(sockets, processes)
	defer f.close()
	if err != nil {
		return err
	}
	pid := strconv.Itoa(f.pid())
	fmt.Printf("%d sockets in %d processes; PID holds %d descriptors; %d rounds\n\n", f.sockets, len(f.holders), f.descriptors(), rounds)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	pairs := []pair{
		{a: []string{tool, "tcpstat"}, b: []string{"ss", "-tan"}},
		{a: []string{tool, "tcpstat", "--state", "close-wait"}, b: []string{"ss", "-tan", "state", "close-wait"}},
		{a: []string{tool, "leakscan", pid}, b: []string{"lsof", "-nP", "-p", pid}},
		{a: []string{tool, "leakscan", pid}, b: []string{self}, floorOf: pid},
		{a: []string{tool, "leakscan", "--all"}, b: []string{"ss", "-tanp"}, slow: true},
	}
	for _, p := range pairs {
		n := rounds
		if p.slow {
			n = max(rounds/5, 1)
		}
		if err := p.run(n); err != nil {
			return err
		}
	}
	return nil
}
