//go:build linux

package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/report"
)

// The demo's minutes are seconds: what takes an hour in production shows in a few of them.
const (
	demoIdle      = 2 * time.Second        // --idle and --grace of the scans, and the time-outs of the fixed pipe
	demoTalk      = 200 * time.Millisecond // between two requests of a client that is not silent
	demoStepLimit = 30 * time.Second
	demoLeast     = 5    // connections: fewer idle ones are no leak
	demoMost      = 9000 // connections: a pipe has two descriptors for each
)

// allScenarios is each of them in turn.
const allScenarios = "all"

func (p *program) demoCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.IntFlag{Name: "connections", Aliases: []string{"n"}, Value: 500, Usage: "how many clients leave something behind, `N`"},
		&cli.BoolFlag{Name: "pause", Usage: "wait for Enter before each scan, to look for oneself in another terminal"},
	}
	about := []string{}
	for _, s := range scenarios {
		about = append(about, fmt.Sprintf("   %-14s %s", s.leak, s.about))
	}
	return &cli.Command{
		Name:  "demo",
		Usage: "a leak from beginning to end: a leaky pipe and its scan, the fixed pipe and its scan, side by side",
		Description: "Starts a backend, clients, and a pipe between them, as processes of their own on free ports of 127.0.0.1, with time-outs of\n" +
			"seconds instead of minutes. Needs no privilege and leaves nothing behind. The exit status is 0 only if the leak was found in\n" +
			"the leaky pipe, all of it, and nothing in the fixed one. The scenarios are\n" + strings.Join(about, "\n") +
			"\n   " + fmt.Sprintf("%-14s", allScenarios) + " each of them in turn",
		UsageText:    "sockleak demo [SCENARIO] [--connections N] [--pause] [--html FILE]",
		Flags:        append(flags, outputFlags(join(report.SampleSorts()), 3)...),
		OnUsageError: usageError,
		Action:       p.demo,
	}
}

func (p *program) demo(c *cli.Context) error {
	out, err := p.output(c, report.SampleSorts())
	if err != nil {
		return err
	}
	chosen, err := chooseScenarios(c.Args().Slice())
	if err != nil {
		return err
	}
	d, err := p.newDemo(c)
	if err != nil {
		return err
	}
	defer d.tell.stop()
	// The parts die with the thread that started them (PR_SET_PDEATHSIG), so that nothing stays behind
	// even if this process is killed.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var trials []*report.Trial
	for _, s := range chosen {
		trial, err := d.run(c.Context, s)
		if err != nil {
			return err
		}
		trials = append(trials, trial)
	}
	if err := out.keep(report.Trials(trials...)); err != nil {
		return err
	}
	if err := p.writeTrials(out, trials); err != nil {
		return err
	}
	return doubts(trials)
}

// newDemo reads the flags that say how a demo runs.
func (p *program) newDemo(c *cli.Context) (*demo, error) {
	d := &demo{ui: p.ui, connections: c.Int("connections"), pause: c.Bool("pause"), stdin: p.stdin}
	if err := checkConnections(d.connections); err != nil {
		return nil, err
	}
	if d.pause && !isTerminal(p.stdin) {
		return nil, hint(usage("--pause needs a terminal on stdin"), "without --pause the demo goes on by itself")
	}
	var err error
	d.tell, err = newTeller(p.ui, c.String("color"))
	return d, err
}

// writeTrials leaves out the steps, which have been told.
func (p *program) writeTrials(out *output, trials []*report.Trial) error {
	for _, t := range trials {
		t.Story = nil
	}
	if !p.ui.quiet && out.opts.Width > 0 {
		fmt.Fprintln(p.stdout)
	}
	return p.write(out, report.Trials(trials...))
}

func chooseScenarios(args []string) ([]*scenario, error) {
	names := []string{}
	for _, s := range scenarios {
		names = append(names, s.leak.String())
	}
	known := hintScenarios(names)
	switch {
	case len(args) == 0:
		return scenarios[:1], nil
	case len(args) > 1:
		return nil, hint(usage("demo takes one scenario, got %d", len(args)), "%s", known)
	case args[0] == allScenarios:
		return scenarios, nil
	}
	for _, s := range scenarios {
		if s.leak.String() == args[0] {
			return []*scenario{s}, nil
		}
	}
	return nil, hint(usage("unknown scenario %q", args[0]), "%s", known)
}

func hintScenarios(names []string) string {
	return "the scenarios are " + join(names) + " and " + allScenarios + "; --connections N says how many clients there are"
}

// checkConnections refuses what the descriptors of one process cannot hold.
func checkConnections(n int) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	most := min((int(min(lim.Max, 1<<20))-100)*10/22, demoMost) // a tenth more are talking
	if n < demoLeast || n > most {
		return hint(usage("--connections %d", n), "the pipe needs two descriptors for each: give %d to %d", demoLeast, most)
	}
	return nil
}

// doubts is an error where anything was not proved.
func doubts(trials []*report.Trial) error {
	var list []string
	for _, t := range trials {
		if t.Doubt != "" {
			list = append(list, t.Name+": "+t.Doubt)
		}
	}
	if len(list) > 0 {
		return errors.New(strings.Join(list, "; "))
	}
	return nil
}
