package main

import (
	"context"
	"errors"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/record"
	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/cmd/internal/screen"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
	"github.com/sockleak/sockleak/report"
)

func (p *program) leakscanCommand() *cli.Command {
	flags := append(append(chooseFlags(), thresholdFlags()...), ruleFlags()...)
	// For tests: the report is the same, whatever it is.
	flags = append(flags, &cli.IntFlag{Name: "sift-from", Usage: "from `NUMBER` descriptors on keep only sockets of which there may be something to say", Hidden: true})
	return &cli.Command{
		Name:         "leakscan",
		Usage:        "the diagnosis of processes: what leaks, to whom, since when, why, and what to do",
		UsageText:    "sockleak leakscan [flags] PID…",
		Description:  "Exit status: 0 nothing leaks, 1 something leaks, 2 could not run, 3 nothing was found but not everything could be seen.",
		Flags:        append(append(flags, append(seriesFlags("one report of looks"), sourceFlags()...)...), outputFlags(join(report.SampleSorts())+"; with --all "+join(report.ProcessSorts()), 10)...),
		OnUsageError: usageError,
		Action:       p.leakscan,
	}
}

func thresholdFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "idle", Usage: "how long a connection without keepalive may be silent, `DURATION`", DefaultText: "tcp_keepalive_time of the process's network namespace"},
		&cli.DurationFlag{Name: "grace", Value: diag.DefaultGrace, Usage: "how long a connection may stay open that the peer has closed, `DURATION`"},
		&cli.DurationFlag{Name: "settle", Value: diag.DefaultSettle, Usage: "wait for `DURATION` before a second look, when one look cannot prove all; 0 for none"},
	}
}

func ruleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "only", Usage: "only this `RULE` (repeatable)"},
		&cli.StringSliceFlag{Name: "skip", Usage: "not this `RULE` (repeatable)"},
	}
}

func (p *program) leakscan(c *cli.Context) error {
	sorts, view := report.SampleSorts(), report.Leakscan
	if c.Bool("all") || c.IsSet("netns") && c.NArg()+len(c.StringSlice("name"))+len(c.StringSlice("cgroup"))+c.Int("port") == 0 {
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
	choice, err := parseChoice(c, c.Args().Slice())
	if err != nil {
		return err
	}
	if series.interval == 0 && s.Source.From == "" && !slices.ContainsFunc(s.Rules, func(r *diag.Rule) bool { return !r.Series }) {
		return hint(usage("growth cannot be told from one look"), "--interval 2s --count 30 looks for a minute")
	}
	if s.Source.From != "" && !c.IsSet("proc-root") {
		return p.judgeFile(c.Context, s, choice, out, view)
	}
	if choice.empty() {
		return hint(usage("leakscan needs a process"), "give a PID, --name NAME, --port PORT, --cgroup PATTERN or --all; `sockleak tcpstat` counts the whole host")
	}
	w := &scan.Watch{Scan: s}
	if err := choice.apply(c.Context, w); err != nil {
		return err
	}
	from := p.looks(w, series, out, view)
	from.options = screen.Options{Title: choice.String(), Save: saveLook}
	return p.repeat(c.Context, series, out, from)
}

// judgeFile judges what is in a file: a recording, or a list that names the holders of its sockets.
func (p *program) judgeFile(ctx context.Context, s *scan.Scan, ch *choice, out *output, view func(*diag.Result) report.Value) error {
	result, err := (&scan.Replay{Path: s.Source.From, Thresholds: s.Thresholds, Rules: s.Rules, Keep: ch.keep()}).Run(ctx)
	if errors.Is(err, record.ErrNotRecording) {
		result, err = (&scan.Listed{Path: s.Source.From, Thresholds: s.Thresholds, Rules: s.Rules, Keep: ch.keep()}).Run(ctx)
	}
	if err != nil {
		return err
	}
	p.status = statusOf(result)
	if result.Series != nil {
		view = report.SeriesOf
	}
	return p.writeAll(out, view(result))
}

// looks is a scan, or a series of them.
func (p *program) looks(w *scan.Watch, series *series, out *output, view func(*diag.Result) report.Value) sampler {
	var last *diag.Result
	from := sampler{over: func(err error) bool { return errors.Is(err, procfd.ErrGone) }}
	look := w.Run
	if series.interval > 0 {
		look = w.Look
		from.whole = func() report.Value { return report.SeriesOf(last) }
	}
	take := func(ctx context.Context) (*diag.Result, error) {
		result, err := look(ctx)
		if err == nil {
			last, p.status = result, statusOf(result)
		}
		return result, err
	}
	from.take = func(ctx context.Context) (report.Value, error) {
		result, err := take(ctx)
		if err != nil {
			return nil, err
		}
		if out.format == "wide" {
			w.FirstLooks(result)
		}
		return view(result), nil
	}
	from.frame = func(ctx context.Context) (*screen.Frame, error) {
		result, err := take(ctx)
		if err != nil {
			return nil, err
		}
		return &screen.Frame{Result: result, Series: result.Series, Took: result.Took}, nil
	}
	return from
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
