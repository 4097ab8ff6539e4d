package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/report"
)

// A series may be interrupted in its first look. A report that is wanted once is missing then.
func TestInterruptedInTheFirstLook(t *testing.T) {
	for _, tt := range []struct {
		name  string
		count int
		want  error
	}{
		{"a series", 0, nil},
		{"one report", 1, scan.ErrInterrupted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			p := &program{stdout: io.Discard}
			err := p.repeat(ctx, &series{interval: time.Hour, count: tt.count}, &output{}, sampler{take: func(ctx context.Context) (report.Value, error) {
				cancel()
				return nil, ctx.Err()
			}})
			if !errors.Is(err, tt.want) {
				t.Errorf("repeat: %v, want %v", err, tt.want)
			}
		})
	}
}

// On a low screen, groups are left out rather than gaps.
func TestFitting(t *testing.T) {
	lines := []string{"title", "", "by process", "  GAPS[1]", "  b[2]", "  c[3]", "", "GAPS  what could not be seen", "  2  sockets"}
	for _, tt := range []struct {
		height int
		lines  []string
		want   []string
	}{
		{9, lines, lines},
		{8, lines, []string{"title", "", "by process", "  GAPS[1]", "  b[2]", "  … 2 more lines: the terminal is too low", "GAPS  what could not be seen", "  2  sockets"}},
		{4, lines, []string{"title", "  … 6 more lines: the terminal is too low", "GAPS  what could not be seen", "  2  sockets"}},
		{2, lines, []string{"  … 8 more lines: the terminal is too low", "GAPS  what could not be seen"}},
		{1, lines, []string{"  … 8 more lines: the terminal is too low"}},
		{0, lines, nil},
		{4, lines[:6], []string{"title", "", "by process", "  … 3 more lines: the terminal is too low"}},
	} {
		if got := fitting(tt.lines, tt.height); !slices.Equal(got, tt.want) {
			t.Errorf("%d of %d lines: %q, want %q", tt.height, len(tt.lines), got, tt.want)
		}
	}
}
