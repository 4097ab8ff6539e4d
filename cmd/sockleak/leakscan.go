package main

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
	"github.com/sockleak/sockleak/report"
)

func (p *program) leakscanCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringSliceFlag{Name: "name", Usage: "processes whose command or executable is `NAME` (repeatable)"},
		&cli.IntFlag{Name: "port", Usage: "processes that hold a socket on local `PORT`"},
		&cli.BoolFlag{Name: "all", Usage: "every process: the ranking, then the worst in full"},
		&cli.BoolFlag{Name: "deep", Usage: "ask every connection for its options, and every process of the host for the sockets of those scanned"},
	}
	flags = append(flags, thresholdFlags()...)
	// For tests: the report is the same, whatever it is.
	flags = append(flags, &cli.IntFlag{Name: "sift-from", Usage: "from `NUMBER` descriptors on keep only sockets of which there may be something to say", Hidden: true})
	return &cli.Command{
		Name:         "leakscan",
		Usage:        "the diagnosis of processes: what leaks, to whom, since when, why, and what to do",
		UsageText:    "sockleak leakscan [flags] PID…",
		Description:  "Exit status: 0 nothing leaks, 1 something leaks, 2 could not run, 3 nothing was found but not everything could be seen.",
		Flags:        append(append(flags, append(seriesFlags(), sourceFlags()...)...), outputFlags(join(report.SampleSorts())+"; with --all "+join(report.ProcessSorts()), 10)...),
		OnUsageError: usageError,
		Action:       p.leakscan,
	}
}

func thresholdFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "idle", Usage: "how long a connection without keepalive may be silent, `DURATION`", DefaultText: "tcp_keepalive_time of the process's network namespace"},
		&cli.DurationFlag{Name: "grace", Value: diag.DefaultGrace, Usage: "how long a connection may stay open that the peer has closed, `DURATION`"},
		&cli.DurationFlag{Name: "settle", Value: diag.DefaultSettle, Usage: "wait for `DURATION` before a second look, when one look cannot prove all; 0 for none"},
		&cli.StringSliceFlag{Name: "only", Usage: "only this `RULE` (repeatable)"},
		&cli.StringSliceFlag{Name: "skip", Usage: "not this `RULE` (repeatable)"},
	}
}

func (p *program) leakscan(c *cli.Context) error {
	sorts, view := report.SampleSorts(), report.Leakscan
	if c.Bool("all") {
		sorts, view = report.ProcessSorts(), report.LeakscanAll
	}
	out, err := p.output(c, sorts)
	if err != nil {
		return err
	}
	s, err := p.newScan(c)
	if err != nil {
		return err
	}
	series, err := p.readSeries(c, out)
	if err != nil {
		return err
	}
	if err := selectPIDs(s, c); err != nil {
		return err
	}
	return p.repeat(c.Context, series, out, p.looks(s, c, series, out, view))
}

// looks is a scan, or a series of them.
func (p *program) looks(s *scan.Scan, c *cli.Context, series *series, out *output, view func(*diag.Result) report.Value) sampler {
	var last *diag.Result
	from := sampler{over: func(err error) bool { return errors.Is(err, procfd.ErrGone) }}
	look := s.Run
	if series.interval > 0 {
		look = p.watch(s, c).Look
		from.whole = func() report.Value { return view(last) }
	}
	from.take = func(ctx context.Context) (report.Value, error) {
		result, err := look(ctx)
		if err != nil {
			return nil, err
		}
		if out.format == "wide" {
			s.FirstLooks(result)
		}
		last, p.status = result, statusOf(result)
		return view(result), nil
	}
	return from
}

// watch is the scan over and over. Processes that were not named are chosen anew each time.
func (p *program) watch(s *scan.Scan, c *cli.Context) *scan.Watch {
	w := &scan.Watch{Scan: s}
	if s.Selected {
		w.Choose = func() error { return selectPIDs(s, c) }
	}
	return w
}

func statusOf(r *diag.Result) int {
	worst, _ := r.Worst()
	switch {
	case worst == diag.Leak:
		return statusLeak
	case r.Partial():
		return statusPartial
	}
	return statusOK
}

func (p *program) newScan(c *cli.Context) (*scan.Scan, error) {
	src, err := p.source(c)
	if err != nil {
		return nil, err
	}
	if src.From != "" && !c.IsSet("proc-root") {
		return nil, hint(usage("leakscan --from needs --proc-root"),
			"inode numbers join a dump to the processes of the same host and moment alone: --proc-root names a copy of that host's /proc")
	}
	t, err := thresholds(c)
	if err != nil {
		return nil, err
	}
	rules, err := chooseRules(c.StringSlice("only"), c.StringSlice("skip"))
	if err != nil {
		return nil, err
	}
	src.SiftFrom = c.Int("sift-from")
	return &scan.Scan{Source: src, Thresholds: t, Rules: rules, Deep: c.Bool("deep")}, nil
}

func thresholds(c *cli.Context) (diag.Thresholds, error) {
	t := diag.Thresholds{Idle: c.Duration("idle"), Grace: c.Duration("grace"), Settle: c.Duration("settle")}
	switch {
	case c.IsSet("idle") && t.Idle <= 0:
		return t, hint(usage("--idle %s", t.Idle), "give a positive duration such as 5m")
	case t.Grace <= 0:
		return t, hint(usage("--grace %s", t.Grace), "give a positive duration such as 60s")
	case t.Settle < 0:
		return t, hint(usage("--settle %s", t.Settle), "give a duration such as 3s, or 0 for no second look")
	}
	return t, nil
}

func chooseRules(only, skip []string) ([]*diag.Rule, error) {
	for _, name := range slices.Concat(only, skip) {
		if diag.RuleNamed(name) == nil {
			return nil, hint(usage("unknown rule %q", name), "the rules are %s", join(ruleNames()))
		}
	}
	var rules []*diag.Rule
	for _, r := range diag.Rules() {
		if (len(only) == 0 || contains(only, r.Name)) && !contains(skip, r.Name) {
			rules = append(rules, r)
		}
	}
	if len(rules) == 0 {
		return nil, hint(usage("no rule is left"), "--only and --skip exclude each other's rules")
	}
	return rules, nil
}

// selectPIDs takes the processes from the arguments, --name and --port together.
func selectPIDs(s *scan.Scan, c *cli.Context) error {
	for _, arg := range c.Args().Slice() {
		pid, err := strconv.Atoi(arg)
		if err != nil || pid < 1 || arg[0] == '+' {
			return hint(usage("%q is no process id", arg), "leakscan takes numbers; --name %s finds processes by name", arg)
		}
		s.PIDs = append(s.PIDs, pid)
	}
	explicit := len(s.PIDs)
	port, err := parsePort(c)
	if err != nil {
		return err
	}
	names := c.StringSlice("name")
	if c.Bool("all") {
		if explicit+len(names) > 0 || port != 0 {
			return hint(usage("--all and a choice of processes contradict each other"), "give one of them")
		}
		return s.Everybody()
	}
	if explicit == 0 && len(names) == 0 && port == 0 {
		return hint(usage("leakscan needs a process"), "give a PID, --name NAME, --port PORT or --all; `sockleak tcpstat` counts the whole host")
	}
	if len(names) > 0 {
		if err := s.ByName(names); err != nil {
			return err
		}
	}
	if port != 0 {
		if err := s.ByPort(c.Context, port); err != nil {
			return err
		}
	}
	s.Selected = explicit == 0
	slices.Sort(s.PIDs)
	s.PIDs = slices.Compact(s.PIDs)
	return nil
}
