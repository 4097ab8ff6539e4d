//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/scan"
)

// parts are running processes of the demo.
type parts struct {
	list []*part
}

type part struct {
	cmd   *exec.Cmd
	lines chan string // what it says, closed at its end
}

// start runs this program with other arguments.
func (ps *parts) start(args ...string) (*part, error) {
	path, err := self()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	// An interrupt from the terminal is for the demo, which ends its parts.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a part of the demo: %w", err)
	}
	pt := &part{cmd: cmd, lines: make(chan string, 16)}
	ps.list = append(ps.list, pt)
	go func() {
		defer close(pt.lines)
		for sc := bufio.NewScanner(stderr); sc.Scan(); {
			pt.lines <- sc.Text()
		}
	}()
	return pt, nil
}

func (pt *part) pid() int { return pt.cmd.Process.Pid }

// expect waits for a line that contains word, and returns the first field behind it. Other lines go to other, if that is not nil.
func (pt *part) expect(ctx context.Context, word string, other func(line string)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, demoStepLimit)
	defer cancel()
	last := ""
	for {
		select {
		case line, ok := <-pt.lines:
			if !ok {
				return "", fmt.Errorf("a part of the demo (pid %d) ended early: %s", pt.pid(), last)
			}
			last = line
			if _, rest, found := strings.Cut(line, word); found {
				field, _, _ := strings.Cut(rest, " ")
				return strings.TrimSuffix(field, ","), nil
			}
			if other != nil {
				other(line)
			}
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return "", scan.ErrInterrupted
			}
			return "", fmt.Errorf("a part of the demo (pid %d) did not say %q in %s: %s", pt.pid(), word, demoStepLimit, last)
		}
	}
}

// stop ends all parts, the last started first, and waits for them.
func (ps *parts) stop() {
	for _, pt := range slices.Backward(ps.list) {
		_ = pt.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		kill := time.AfterFunc(5*time.Second, func() { _ = pt.cmd.Process.Kill() })
		for range pt.lines {
			// To the end, so that it can say its last and go.
		}
		_ = pt.cmd.Wait() // killed by us: its status says nothing
		kill.Stop()
	}
}
