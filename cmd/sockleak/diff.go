package main

import (
	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/report"
)

func (p *program) diffCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringSliceFlag{Name: "name", Usage: "only processes whose command or executable is `NAME` (repeatable)"},
		&cli.IntFlag{Name: "port", Usage: "only processes that hold a socket on local `PORT`"},
	}
	return &cli.Command{
		Name:      "diff",
		Usage:     "two recordings side by side: what has changed, what is left of the leak, and whether it got worse",
		UsageText: "sockleak diff [flags] BEFORE AFTER",
		Description: "BEFORE and AFTER are what sockleak record wrote, dumps of ss -D, or the text of ss or netstat.\n" +
			"Exit status: 0 not worse, 1 worse, 2 could not run, 3 not worse as far as could be seen.",
		Flags:        append(append(append(flags, thresholdFlags()...), ruleFlags()...), outputFlags("change", 10)...),
		OnUsageError: usageError,
		Action:       p.diff,
	}
}

func (p *program) diff(c *cli.Context) error {
	out, err := p.output(c, []string{"change"})
	if err != nil {
		return err
	}
	if c.NArg() != 2 {
		return hint(usage("diff takes two files, got %d", c.NArg()), "sockleak record FILE PID writes one")
	}
	ch, err := parseChoice(c, nil)
	if err != nil {
		return err
	}
	t, err := thresholds(c)
	if err != nil {
		return err
	}
	rules, err := chooseRules(c.StringSlice("only"), c.StringSlice("skip"))
	if err != nil {
		return err
	}
	var sides [2]*diag.Side
	for i, path := range c.Args().Slice() {
		file, err := p.readable(path)
		if err != nil {
			return err
		}
		replay := &scan.Replay{Path: file, Thresholds: t, Rules: rules, Keep: ch.keep()}
		if sides[i], err = replay.Side(c.Context); err != nil {
			return err
		}
		sides[i].Name = path
	}
	d, err := diag.Compare(sides[0], sides[1])
	if err != nil {
		return err
	}
	switch d.Verdict {
	case diag.Worse:
		p.status = statusLeak
	case diag.Unclear:
		p.status = statusPartial
	}
	return p.writeAll(out, report.Diff(d))
}
