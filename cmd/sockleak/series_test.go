package main

import (
	"context"
	"errors"
	"io"
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
