package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/doctor"
	"github.com/sockleak/sockleak/procfd"
	"github.com/sockleak/sockleak/report"
)

// doctorMost is how long the host is looked at.
const doctorMost = 10 * time.Second

func (p *program) doctorCommand() *cli.Command {
	flags := []cli.Flag{&cli.StringFlag{Name: "proc-root", Value: "/proc", Usage: "the proc filesystem at `DIR`"}}
	return &cli.Command{
		Name:         "doctor",
		Usage:        "what works on this host and for who runs it: kernel, capabilities, /proc, limits; and how to get the rest",
		UsageText:    "sockleak doctor [flags]",
		Description:  "Exit status: 0 everything works, 1 something does not or not in full, 2 could not run. Nothing is changed.",
		Flags:        append(flags, outputFlags("command", 0)...),
		OnUsageError: usageError,
		Action:       p.doctor,
	}
}

func (p *program) doctor(c *cli.Context) error {
	out, err := p.output(c, []string{"command"})
	if err != nil {
		return err
	}
	if c.NArg() > 0 {
		return hint(usage("doctor takes no argument, got %q", c.Args().First()), "leakscan %s scans a process", c.Args().First())
	}
	if runtime.GOOS != "linux" {
		return errors.New("doctor looks at a live Linux kernel only")
	}
	fs, err := procfd.New(c.String("proc-root"))
	if err != nil {
		return hint(err, "--proc-root names a mounted proc filesystem, /proc as a rule")
	}
	ctx, cancel := context.WithTimeout(c.Context, doctorMost)
	defer cancel()
	exam := doctor.Judge(doctor.Read(ctx, fs))
	if err := c.Err(); err != nil {
		return errors.New("interrupted")
	}
	if !exam.Works() {
		p.status = statusLeak
	}
	return p.writeAll(out, report.Doctor(exam))
}
