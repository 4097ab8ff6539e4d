//go:build linux

// Command bench measures sockleak beside the tools that it competes with, and beside the least that the kernel must do, on the
// same sockets in the same run, and prints what the README quotes:
//
//	go run ./cmd/internal/bench                          # 100,000 sockets, 5 rounds
//	go run ./cmd/internal/bench -sockets 300000 -busy    # with no processor idle
//	go run ./cmd/internal/bench -growth -svg growth.svg  # from 30,000 to 1,000,000 sockets
//	go run ./cmd/internal/bench -profile /tmp/profiles   # where the time and the memory go
//	go run ./cmd/internal/bench -hold                    # a farm of sockets to try things on
//
// It opens real connections on loopback, held by processes of its own with at most 19,000 descriptors each, as root in a network
// namespace of its own. It runs the commands in turns (A B C … A B C …) after a warm-up, and prints the median and the ends of the wall time,
// the medians of processor time and peak memory, and the ratio to the floor of the same round. The floor is a process that makes one dump of
// all sockets and throws it away. What is not installed, not permitted or refused is left out by name.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = lab.Run(ctx, c.where, build, c.bench)
	}
	lab.Exit(err)
}

// config is what the flags say.
type config struct {
	layout
	rounds, slowLimit            int
	rows                         *regexp.Regexp
	where                        lab.Where
	json, svg, profile           string
	busy, hold, growth, markdown bool
	sizes                        []int
}

func parse(args []string) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&c.Sockets, "sockets", 100_000, "how many sockets stand while the commands run")
	f.IntVar(&c.Processes, "processes", 300, "how many processes hold them, at the least")
	f.IntVar(&c.Peers, "peers", 200, "how many peer addresses the IPv4 connections are spread over")
	f.StringVar(&c.Families, "families", "4", "4, 6 or mixed: IPv4, IPv6 and IPv4 in IPv6 sockets, a third each")
	f.Float64Var(&c.Keepalive, "keepalive", 0.25, "the share of the connections with keepalive, at one end")
	f.StringVar(&c.where.Netns, "netns", "auto", "a network namespace of its own: yes, no, or auto, which is yes for root")
	f.IntVar(&c.rounds, "rounds", 5, "how many times each command runs; slow ones a fifth of it")
	f.IntVar(&c.slowLimit, "slow-limit", 100_000, "leave out ss -tanp and lsof -iTCP above so many sockets")
	rows := f.String("rows", "", "only commands that this `REGEXP` matches, and the floor")
	f.BoolVar(&c.busy, "busy", false, "keep all processors but one busy")
	f.BoolVar(&c.markdown, "markdown", false, "print the table as Markdown")
	f.StringVar(&c.json, "json", "", "write every single figure to `FILE`")
	f.BoolVar(&c.growth, "growth", false, "measure sockleak at several sizes, and print a table in Markdown")
	sizes := f.String("sizes", "30000,100000,300000,1000000", "the sizes of -growth, in sockets")
	f.StringVar(&c.svg, "svg", "", "with -growth: write a plot to `FILE`")
	f.StringVar(&c.profile, "profile", "", "write profiles of sockleak's work to `DIR`, instead of measuring")
	f.BoolVar(&c.hold, "hold", false, "build the farm, and keep it until stdin ends or an interrupt comes")
	if err := f.Parse(args); err != nil {
		return nil, errors.Join(lab.ErrReported, err)
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("no argument is wanted, got %q", f.Arg(0))
	}
	var err error
	if c.rows, err = regexp.Compile(*rows); err != nil {
		return nil, fmt.Errorf("-rows: %w", err)
	}
	for word := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 2 {
			return nil, fmt.Errorf("-sizes: %q is no number of sockets", word)
		}
		c.sizes = append(c.sizes, n)
	}
	c.where.SharedPIDs = c.hold // who tries things by hand wants the PIDs of the machine
	return c, c.check()
}

func (c *config) check() error {
	modes := 0
	for _, on := range []bool{c.growth, c.profile != "", c.hold} {
		if on {
			modes++
		}
	}
	switch {
	case c.rounds < 1:
		return errors.New("-rounds must be 1 or more")
	case modes > 1:
		return errors.New("-growth, -profile and -hold: one at a time")
	case c.svg != "" && !c.growth:
		return errors.New("-svg is of -growth")
	}
	return errors.Join(c.where.Check(), c.layout.check())
}
