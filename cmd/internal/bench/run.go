//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

// row is one command that is measured.
type row struct {
	Name string   `json:"name"`
	Args []string `json:"command"`
	// slow: a fifth of the rounds will do, and no warm-up.
	slow bool
	// fails reports whether a command that ended with this status did not do its work.
	fails func(status int) bool
	Runs  []run `json:"runs"`
	// LeftOut is why the row has no figures, or no more of them.
	LeftOut string `json:"left_out,omitempty"`
}

// run is what one run took.
type run struct {
	Round  int           `json:"round"` // from 0; -1 is the warm-up, which is not kept
	Wall   time.Duration `json:"wall_ns"`
	CPU    time.Duration `json:"cpu_ns"`         // user and system
	RSS    int64         `json:"peak_rss_bytes"` // of the largest process
	status int
	said   string // the first line on stderr
}

// section is rows that are measured in turns, with the floor as the first.
type section struct {
	Title string `json:"title"`
	Rows  []*row `json:"rows"`
}

// run runs the rows in turns: A B C … A B C …, after a warm-up round.
func (s *section) run(ctx context.Context, p programs, rounds int) error {
	for round := -1; round < rounds; round++ {
		for _, r := range s.Rows {
			if r.LeftOut != "" || r.slow && (round < 0 || round >= max(rounds/5, 1)) {
				continue
			}
			got, err := timed(ctx, p.timed, r.Args)
			if ctx.Err() != nil {
				return errInterrupted
			}
			if err == nil && r.fails(got.status) {
				err = fmt.Errorf("status %d: %s", got.status, got.said)
			}
			if err != nil {
				r.LeftOut = err.Error()
				continue
			}
			if got.Round = round; round >= 0 {
				r.Runs = append(r.Runs, got)
			}
		}
	}
	return nil
}

var errInterrupted = errors.New("interrupted")

// timed runs a command and returns what it took.
func timed(ctx context.Context, program string, args []string) (run, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return run{}, err
	}
	defer r.Close()
	defer w.Close()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = &stderr
	// The command is in the group, too, and what it starts.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		return run{}, fmt.Errorf("%w: %s", err, lab.FirstLine(stderr.String()))
	}
	got := run{said: lab.FirstLine(stderr.String())}
	var wall, cpu int64
	var status syscall.WaitStatus
	if _, err := fmt.Fscan(r, &wall, &cpu, &got.RSS, &status); err != nil {
		return run{}, err
	}
	if status.Signaled() {
		return run{}, fmt.Errorf("signal: %s", status.Signal())
	}
	got.Wall, got.CPU, got.status = time.Duration(wall), time.Duration(cpu), status.ExitStatus()
	return got, nil
}
