package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/report"
)

// defaultWatch is how often --watch looks when it is not told.
const defaultWatch = 2 * time.Second

// series is a report that is taken again and again.
type series struct {
	interval time.Duration // 0: once
	count    int           // 0: until it is interrupted
	screen   bool          // each report takes the place of the last
}

func seriesFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: watchFlag, Usage: "show it anew every `INTERVAL` (2s if none is given) until interrupted; where stdout is no terminal, one line of JSON each time", DefaultText: "once"},
		&cli.DurationFlag{Name: "interval", Usage: "one report every `INTERVAL`", DefaultText: "once"},
		&cli.IntFlag{Name: "count", Usage: "stop after `N` reports", DefaultText: "no end"},
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

// The control sequences of a screen that is written anew: what was there before comes back at the end.
const (
	screenOn   = "\x1b[?1049h\x1b[?25l"
	screenOff  = "\x1b[?25h\x1b[?1049l"
	screenHome = "\x1b[H"
	lineEnd    = "\x1b[K"
	screenRest = "\x1b[J"
)

// sampler is what a series is made of.
type sampler struct {
	take func(context.Context) (report.Value, error)
	// whole is all that was taken, as one value; nil: the last sample stands for it.
	whole func() report.Value
	// over reports whether an error of take ends the series, and the samples before it stand; nil: none does.
	over func(error) bool
}

// repeat takes the samples. Being interrupted ends a series, in the middle of a look, too, and is no error.
func (p *program) repeat(ctx context.Context, s *series, o *output, from sampler) error {
	if s.screen {
		defer func() { _, _ = io.WriteString(p.stdout, screenOff) }() // of a terminal that is gone there is nothing to restore
		if _, err := io.WriteString(p.stdout, screenOn); err != nil {
			return unwritten(err)
		}
	}
	last, err := p.sample(ctx, s, o, from)
	if err != nil || last == nil {
		return err
	}
	if from.whole != nil && s.interval > 0 {
		last = from.whole()
	}
	if !s.screen && !s.streams(o, from) {
		if err := p.write(o, last); err != nil {
			return err
		}
	}
	return o.keep(last)
}

// streams: each sample is written as it is taken, and not all of them at the end.
func (s *series) streams(o *output, from sampler) bool {
	return s.interval > 0 && o.format != "html" && (from.whole == nil || o.format == "jsonl")
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
		if s.screen || s.streams(o, from) {
			if err := p.show(s, o, v); err != nil {
				return nil, err
			}
		}
		if i == s.count || scan.Sleep(ctx, time.Until(next)) != nil {
			return last, nil
		}
	}
}

// show writes one report of a series.
func (p *program) show(s *series, o *output, v report.Value) error {
	if !s.screen {
		return p.write(o, v)
	}
	var text bytes.Buffer
	width, height := terminalSize(p.stdout) // it may have been resized
	o.opts.Width = width
	if err := report.Write(&text, o.format, v, o.opts); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	lines = fitting(lines, height-1)
	_, err := fmt.Fprint(p.stdout, screenHome+strings.Join(lines, lineEnd+"\n")+lineEnd+"\n"+screenRest)
	return unwritten(err)
}

// fitting leaves out lines in the middle, so that what could not be seen, which stands at the end, is told on a low screen, too; and
// says how many.
func fitting(lines []string, height int) []string {
	if len(lines) <= height {
		return lines
	}
	gaps := lines[len(lines):]
	for i, line := range lines { // what others named stands behind two blanks
		if strings.Contains(line, report.GapMark) && !strings.HasPrefix(line, " ") {
			gaps = lines[i:]
		}
	}
	end := min(len(gaps), max(height/2, 1))
	start := max(height-end-1, 0)
	left := len(lines) - start - end
	short := append(slices.Clone(lines[:start]), fmt.Sprintf("  … %d more lines: the terminal is too low", left))
	return append(short, gaps[:end]...)[:max(height, 0)]
}
