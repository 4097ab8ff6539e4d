package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/record"
	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/procfd"
)

func (p *program) recordCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.DurationFlag{Name: "interval", Usage: "one sample every `INTERVAL`", DefaultText: "one sample"},
		&cli.IntFlag{Name: "count", Usage: "stop after `N` samples", DefaultText: "no end"},
		&cli.DurationFlag{Name: "duration", Usage: "stop after `DURATION`", DefaultText: "no end"},
		&cli.StringFlag{Name: "max-size", Usage: "stop before FILE has more than `SIZE`, such as 500K, 100M or 2GiB", DefaultText: "no limit"},
		&cli.BoolFlag{Name: "raw", Usage: "keep what the kernel sent of each socket, byte by byte, too"},
		&cli.BoolFlag{Name: "force", Usage: "write over a FILE that exists"},
	}
	return &cli.Command{
		Name:      "record",
		Usage:     "keep what is seen now, or over time, in a file for leakscan, tcpstat and diff",
		UsageText: "sockleak record [flags] FILE [PID…]",
		Description: "Writes lines of JSON, compressed when FILE ends in .zst; - is stdout. Without a choice of processes it takes every process and every socket\n" +
			"of this host. It may be interrupted at any time: what was written is whole.",
		Flags:        append(append(append(append(flags, chooseFlags()...), thresholdFlags()...), sourceFlags()...), messageFlags()...),
		OnUsageError: usageError,
		Action:       p.record,
	}
}

func (p *program) record(c *cli.Context) error {
	p.ui.quiet, p.ui.verbose = c.Bool("quiet"), c.Bool("verbose")
	if c.NArg() == 0 {
		return hint(usage("record needs a file"), "sockleak record before.jsonl.zst 1234")
	}
	series, err := readRecordSeries(c)
	if err != nil {
		return err
	}
	size, err := parseSize(c.String("max-size"))
	if err != nil {
		return err
	}
	s, err := p.newScan(c)
	if err != nil {
		return err
	}
	if s.Source.From != "" {
		return hint(usage("record takes no --from"), "a recording is of this host, and of now")
	}
	choice, err := parseChoice(c, c.Args().Tail())
	if err != nil {
		return err
	}
	whole := choice.empty()
	choice.all = choice.all || whole
	w := &scan.Recorder{Watch: &scan.Watch{Scan: s}, Whole: whole}
	if err := choice.apply(c.Context, w.Watch); err != nil {
		return err
	}
	f, err := p.newRecording(c.Args().First(), c.Bool("force"))
	if err != nil {
		return err
	}
	return f.end(p.recordTo(c, w, f, series, size))
}

// recordSeries is how many samples are taken, and until when.
type recordSeries struct {
	interval, duration time.Duration // 0: one sample; no end
	count              int           // 0: no end
}

func readRecordSeries(c *cli.Context) (*recordSeries, error) {
	s := &recordSeries{interval: c.Duration("interval"), duration: c.Duration("duration"), count: c.Int("count")}
	switch {
	case c.IsSet("interval") && s.interval < time.Millisecond:
		return nil, hint(usage("an interval of %s", s.interval), "give one such as 10s or 500ms")
	case c.IsSet("count") && s.count < 1:
		return nil, hint(usage("--count %d", s.count), "give a number of samples")
	case c.IsSet("duration") && s.duration <= 0:
		return nil, hint(usage("--duration %s", s.duration), "give one such as 10m or 24h")
	case (c.IsSet("count") || c.IsSet("duration")) && !c.IsSet("interval"):
		return nil, hint(usage("--count and --duration need --interval"), "--interval 10s takes a sample every 10 seconds")
	}
	return s, nil
}

// parseSize reads a number of bytes; 0 for none.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, hint(usage("--max-size %q", s), "give one such as 500K, 100M or 2GiB")
	}
	return int64(n), nil
}

// recordTo takes the samples. Being interrupted ends them, and is no error once there is one.
func (p *program) recordTo(c *cli.Context, r *scan.Recorder, f *recording, s *recordSeries, size int64) error {
	host := r.Source.FS.Host()
	header := record.Header{
		Program: "sockleak " + version, Host: host.Name, Kernel: host.Kernel, Began: time.Now(), Interval: s.interval,
		Arguments: c.Args().Tail(), PIDs: r.PIDs, Whole: r.Whole,
	}
	w, err := record.NewWriter(f, header, record.Options{Zstd: strings.HasSuffix(f.name, ".zst"), MaxSize: size})
	if err != nil {
		return err
	}
	if c.Bool("raw") {
		r.Raw = w.Raw
	}
	samples, why, err := p.samples(c.Context, r, w, s, f.settle)
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	p.ui.progress("recorded %s in %s, %s%s", samplesText(samples), f.name, humanize.IBytes(uint64(f.size)), why)
	return nil
}

// samples writes one after the other, and says why they ended if not as they were asked to. begun is called behind the first.
func (p *program) samples(ctx context.Context, r *scan.Recorder, w *record.Writer, s *recordSeries, begun func()) (n int, why string, err error) {
	for began := time.Now(); ; {
		next := time.Now().Add(s.interval)
		sample, result, err := r.Sample(ctx)
		if err == nil {
			err = w.Write(sample)
		}
		switch {
		case n > 0 && ctx.Err() != nil:
			return n, "; interrupted", nil
		case ctx.Err() != nil:
			return n, "", scan.ErrInterrupted
		case n > 0 && errors.Is(err, record.ErrFull):
			return n, "; the next would have made it larger than --max-size", nil
		case n > 0 && errors.Is(err, procfd.ErrGone):
			return n, "; the process has ended", nil
		case err != nil && n > 0:
			return n, "", hint(err, "what was written before can be read")
		case err != nil:
			return n, "", err
		}
		if n == 0 && result.Partial() {
			p.ui.progress("not everything can be seen: leakscan --from tells what")
		}
		if err := r.Err(); err != nil {
			p.ui.progress("sample %d: %v", n+1, err)
		}
		if n++; n == 1 {
			begun()
		}
		wait := time.Until(next)
		switch {
		case s.interval > 0 && (n == s.count || s.duration > 0 && time.Since(began)+wait > s.duration):
			return n, "", nil
		case s.interval == 0 && (n == 2 || !r.Unsettled()):
			return n, "", nil
		case s.interval == 0: // as leakscan does
			wait = r.Thresholds.Wait()
		}
		if scan.Sleep(ctx, wait) != nil {
			return n, "; interrupted", nil
		}
	}
}

// recording is a file in the making.
type recording struct {
	io.Writer
	name string
	file *os.File // nil: stdout
	size int64
	full bool // there is a sample in it

	aside string // where the file is whose place it takes, until there is one
}

func samplesText(n int) string {
	if n == 1 {
		return "one sample"
	}
	return fmt.Sprintf("%d samples", n)
}

// newRecording makes the file, for its user alone.
func (p *program) newRecording(name string, force bool) (*recording, error) {
	if name == "-" {
		if width, _ := terminalSize(p.stdout); width > 0 {
			return nil, hint(usage("a recording is nothing for a terminal"), "sockleak record - >FILE")
		}
		return &recording{Writer: p.stdout, name: "stdout"}, nil
	}
	var f *os.File
	var aside string
	var err error
	if force {
		f, aside, err = replaceFile(name)
	} else {
		f, err = createFile(name)
	}
	if err != nil {
		return nil, err
	}
	return &recording{Writer: f, name: name, file: f, aside: aside}, nil
}

func (r *recording) Write(b []byte) (int, error) {
	n, err := r.Writer.Write(b)
	r.size += int64(n)
	return n, err
}

// settle notes that there is a sample in it: what it replaces is gone.
func (r *recording) settle() {
	r.full = true
	if r.aside != "" {
		_ = unlink(r.aside)
	}
}

// end closes the file, and takes it away again when there is no sample in it; what it was to replace is there again then.
func (r *recording) end(err error) error {
	if r.file == nil {
		return err
	}
	made, _ := r.file.Stat()
	closed := r.file.Close()
	if err != nil && !r.full {
		removeMade(r.name, made)
		putBack(r.name, r.aside)
	}
	return errors.Join(err, closed)
}
