package main

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/diag"
)

// chooseFlags say which processes are looked at, beside those that are named by their numbers, and how closely.
func chooseFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "name", Usage: "processes whose command or executable is `NAME` (repeatable)"},
		&cli.IntFlag{Name: "port", Usage: "processes that hold a socket on local `PORT`"},
		netnsFlag("processes"),
		&cli.StringSliceFlag{
			Name: "cgroup", Usage: "processes in a systemd unit, container (name, ID), pod (NAME, NAMESPACE/NAME, uid) or, from / on, cgroup path like `PATTERN`, " +
				"with * and ? (repeatable)",
		},
		&cli.BoolFlag{Name: "all", Usage: "every process: the ranking, then the worst in full"},
		&cli.BoolFlag{Name: "deep", Usage: "ask every connection for its options, and every process of the host for the sockets of those scanned"},
	}
}

// choice is a choice of processes.
type choice struct {
	pids  []int // in their order
	names []string
	// cgroups are patterns as [scan.InCgroup] takes them.
	cgroups []string
	port    uint16
	all     bool
	netns   string // of the processes, "" for any
}

// parseChoice reads the choice from arguments and flags.
func parseChoice(c *cli.Context, args []string) (*choice, error) {
	ch := &choice{names: c.StringSlice("name"), cgroups: c.StringSlice("cgroup"), all: c.Bool("all"), netns: c.String("netns")}
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil || pid < 1 || arg[0] == '+' {
			return nil, hint(usage("%q is no process id", arg), "%s takes numbers; --name %s finds processes by name", c.Command.Name, arg)
		}
		ch.pids = append(ch.pids, pid)
	}
	slices.Sort(ch.pids)
	ch.pids = slices.Compact(ch.pids)
	var err error
	if ch.port, err = parsePort(c); err != nil {
		return nil, err
	}
	if ch.all && len(ch.pids)+len(ch.names)+len(ch.cgroups)+int(ch.port) > 0 {
		return nil, hint(usage("--all and a choice of processes contradict each other"), "give one of them")
	}
	if ch.netns != "" && len(ch.pids)+len(ch.names)+len(ch.cgroups) == 0 && ch.port == 0 {
		ch.all = true
	}
	return ch, nil
}

// String is the choice in words.
func (ch *choice) String() string {
	words := slices.Clone(ch.names)
	for _, pid := range ch.pids {
		words = append(words, "process "+strconv.Itoa(pid))
	}
	for _, pattern := range ch.cgroups {
		words = append(words, "cgroup "+pattern)
	}
	if ch.port != 0 {
		words = append(words, "whoever is on port "+strconv.Itoa(int(ch.port)))
	}
	if ch.all {
		words = append(words, "every process")
	}
	if ch.netns != "" {
		words = append(words, "in network namespace "+ch.netns)
	}
	return join(words)
}

// empty: no process was chosen.
func (ch *choice) empty() bool {
	return len(ch.pids)+len(ch.names)+len(ch.cgroups) == 0 && ch.port == 0 && !ch.all
}

// apply has w look at the processes; those that were not named are found anew for each of its looks.
func (ch *choice) apply(ctx context.Context, w *scan.Watch) error {
	if len(ch.pids) == 0 {
		w.Selected = true
		w.Choose = func() error { return ch.find(ctx, w.Scan) }
	}
	return ch.find(ctx, w.Scan)
}

// find finds the processes.
func (ch *choice) find(ctx context.Context, s *scan.Scan) error {
	in, gaps, err := []scan.Netns(nil), []diag.Gap(nil), error(nil)
	if ch.netns != "" {
		if in, gaps, err = s.Source.Netns(ctx, ch.netns); err != nil {
			return err
		}
	}
	if err := ch.findIn(ctx, s, in); err != nil {
		return err
	}
	s.Gaps = append(s.Gaps, gaps...)
	if in == nil || ch.netns == scan.AllNetns {
		return nil
	}
	return s.Within(in, ch.pids)
}

func (ch *choice) findIn(ctx context.Context, s *scan.Scan, in []scan.Netns) error {
	if ch.all {
		return s.Everybody()
	}
	s.PIDs = append(s.PIDs, ch.pids...)
	if len(ch.names) > 0 {
		if err := s.ByName(ch.names); err != nil {
			return err
		}
	}
	if len(ch.cgroups) > 0 {
		if err := s.ByCgroup(ch.cgroups); err != nil {
			return err
		}
	}
	if ch.port != 0 {
		if err := s.ByPort(ctx, ch.port, in); err != nil {
			return err
		}
	}
	slices.Sort(s.PIDs)
	s.PIDs = slices.Compact(s.PIDs)
	return nil
}

// keep chooses among processes that were recorded; nil: all.
func (ch *choice) keep() func(*diag.Proc) bool {
	if ch.all || ch.empty() {
		return nil
	}
	return func(p *diag.Proc) bool {
		inCgroup := func(pattern string) bool { return scan.InCgroup(pattern, p.Cgroup, &p.Place) }
		return slices.Contains(ch.pids, p.PID) || slices.ContainsFunc(ch.cgroups, inCgroup) || slices.Contains(ch.names, p.Name) ||
			p.Exe != "" && slices.Contains(ch.names, filepath.Base(p.Exe)) || ch.port != 0 && holdsPort(p, ch.port)
	}
}

func holdsPort(p *diag.Proc, port uint16) bool {
	return slices.ContainsFunc(p.Held, func(h diag.HeldSocket) bool { return h.Local.Port() == port })
}
