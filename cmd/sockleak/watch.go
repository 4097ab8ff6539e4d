package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/record"
	"github.com/sockleak/sockleak/cmd/internal/screen"
)

// watch shows a series on the terminal until the user has seen enough. That what is watched has ended is told behind it.
func (p *program) watch(ctx context.Context, s *series, o *output, from sampler) error {
	in, _ := p.stdin.(*os.File) // nil: no keys
	out := p.stdout.(*os.File)  // a terminal, or there would be no screen
	options := from.options
	options.Interval, options.Color, options.ASCII = s.interval, o.opts.Color, screen.IsASCII(os.Getenv)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	frames := 0
	err := screen.Run(ctx, in, out, options, func(ctx context.Context) (*screen.Frame, error) {
		if s.count > 0 && frames == s.count {
			stop()
			return nil, context.Canceled
		}
		frame, err := from.frame(ctx)
		if err == nil {
			frames++
		}
		return frame, err
	})
	switch {
	case err != nil && frames > 0 && from.over != nil && from.over(err):
		p.ui.progress("%v", err)
	case err != nil && !errors.Is(err, context.Canceled):
		return err
	}
	if frames == 0 {
		return nil
	}
	return o.keep(from.whole())
}

// saveFrame keeps a look in a new file in the working directory.
func saveFrame(name string, header record.Header, sample *record.Sample) (path string, err error) {
	path = fmt.Sprintf("sockleak-%s-%s.jsonl.zst", fileName(name), time.Now().UTC().Format("20060102T150405.000Z"))
	f, err := createFile(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	header.Program, header.Began = "sockleak "+version, time.Now()
	w, err := record.NewWriter(f, header, record.Options{Zstd: true})
	if err != nil {
		return "", err
	}
	if err := w.Write(sample); err != nil {
		return "", err
	}
	return path, w.Close()
}

// fileName has letters, digits and points of a name alone: a process has chosen it.
func fileName(name string) string {
	b := []byte(name)
	for i, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			b[i] = '-'
		}
	}
	return string(b[:min(len(b), 40)])
}

// saveLook keeps the processes of a look.
func saveLook(f *screen.Frame) (string, error) {
	name, pids := "processes", []int{}
	for _, proc := range f.Result.Procs() {
		pids = append(pids, proc.PID)
		name = fmt.Sprintf("%s-%d", proc.Name, proc.PID)
	}
	if len(pids) != 1 {
		name = "processes"
	}
	host := f.Result.Snapshot.Host
	return saveFrame(name, record.Header{Host: host.Name, Kernel: host.Kernel, PIDs: pids}, &record.Sample{Snapshot: f.Result.Snapshot})
}
