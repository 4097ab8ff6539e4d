package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/cmd/internal/screen"
	"github.com/sockleak/sockleak/report"
)

// defaultWatch is how often --watch looks when it is not told.
const defaultWatch = 2 * time.Second

// series is a report that is taken again and again.
type series struct {
	interval time.Duration // 0: once
	count    int           // 0: until it is interrupted
	screen   bool          // on a terminal, live
}

// seriesFlags are those of a series; each is what the reports of one are.
func seriesFlags(each string) []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: watchFlag, Usage: "show it anew every `INTERVAL` (2s if none is given) until interrupted; where stdout is no terminal, one line of JSON each time", DefaultText: "once"},
		&cli.DurationFlag{Name: "interval", Usage: "a series: " + each + " every `INTERVAL`", DefaultText: "once"},
		&cli.IntFlag{Name: "count", Usage: "stop after `N` looks", DefaultText: "no end"},
	}
}

// watchFlag may stand without its value.
const watchFlag = "watch"

// readSeries reads the flags of seriesFlags; a series that is watched by no terminal changes the format of o.
func (p *program) readSeries(c *cli.Context, o *output) (*series, error) {
	s := &series{interval: c.Duration("interval"), count: c.Int("count")}
	if c.IsSet(watchFlag) {
		if c.IsSet("interval") {
			return nil, hint(usage("--watch and --interval contradict each other"), "give one of them")
		}
		s.interval = c.Duration(watchFlag)
		if s.screen = o.opts.Width > 0 && !c.IsSet("output") && !c.Bool("json"); !s.screen && !c.IsSet("output") {
			o.format = "jsonl"
		}
	}
	repeats := c.IsSet(watchFlag) || c.IsSet("interval")
	switch {
	case repeats && s.interval < time.Millisecond:
		return nil, hint(usage("an interval of %s", s.interval), "give one such as 2s or 500ms")
	case c.IsSet("count") && s.count < 1:
		return nil, hint(usage("--count %d", s.count), "give a number of reports")
	case c.IsSet("count") && !repeats:
		return nil, hint(usage("--count without --interval"), "--interval 1s --count %d takes %d reports", s.count, s.count)
	case repeats && c.String("from") != "":
		return nil, hint(usage("--from and a series contradict each other"), "what was recorded stays as it is")
	}
	if !repeats {
		s.count = 1
	}
	return s, nil
}

// sampler is what a series is made of.
type sampler struct {
	take func(context.Context) (report.Value, error)
	// whole is all that was taken, as one value.
	whole func() report.Value
	// streams: each sample is written as it comes, and whole is for pages alone.
	streams bool
	// frame is take for a screen; nil: there is none.
	frame func(context.Context) (*screen.Frame, error)
	// options are those of a screen that differ.
	options screen.Options
	// over reports whether an error of take ends the series, and the samples before it stand; nil: none does.
	over func(error) bool
}

// repeat takes the samples. Being interrupted ends a series, in the middle of a look, too, and is no error.
func (p *program) repeat(ctx context.Context, s *series, o *output, from sampler) error {
	if s.screen {
		return p.watch(ctx, s, o, from)
	}
	last, err := p.sample(ctx, s, o, from)
	if err != nil || last == nil {
		return err
	}
	if from.whole != nil && s.interval > 0 {
		last = from.whole()
	}
	if s.streams(o, from) {
		return o.keep(last)
	}
	return p.writeAll(o, last)
}

// streams: each sample is written as it is taken, and not all of them at the end.
func (s *series) streams(o *output, from sampler) bool {
	return s.interval > 0 && o.format != "html" && (from.streams || o.format == "jsonl")
}

// sample takes one sample after the other, and returns the last; nil when there is none.
func (p *program) sample(ctx context.Context, s *series, o *output, from sampler) (last report.Value, err error) {
	for i := 1; ; i++ {
		next := time.Now().Add(s.interval)
		v, err := from.take(ctx)
		switch {
		case err != nil && last != nil && from.over != nil && from.over(err):
			p.ui.progress("%v", err)
			return last, nil
		case err != nil && ctx.Err() == nil:
			return nil, err
		case err != nil && s.count == 1:
			return nil, scan.ErrInterrupted
		case err != nil:
			return last, nil
		}
		last = v
		if s.streams(o, from) {
			if err := p.write(o, v); err != nil {
				return nil, err
			}
		}
		if i == s.count || scan.Sleep(ctx, time.Until(next)) != nil {
			return last, nil
		}
	}
}
