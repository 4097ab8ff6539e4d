package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/scan"
)

// The roles of a demo's processes, besides the pipe, which is `sockleak proxy`.
const (
	roleBackend = "backend"
	roleClients = "clients"
)

// demoPartCommand is one process of the demo. It is for the demo alone.
func (p *program) demoPartCommand() *cli.Command {
	return &cli.Command{
		Name:   "demo-part",
		Hidden: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "role"}, &cli.StringFlag{Name: "target"}, &cli.IntFlag{Name: "silent"}, &cli.IntFlag{Name: "talking"},
		},
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			switch c.String("role") {
			case roleBackend:
				return p.backend(c.Context)
			case roleClients:
				return p.clients(c.Context, c.String("target"), c.Int("silent"), c.Int("talking"))
			}
			return usage("unknown role %q", c.String("role"))
		},
	}
}

// backend answers each line with itself, and closes when its peer does.
func (p *program) backend(ctx context.Context) error {
	cfg := net.ListenConfig{KeepAlive: -1}
	cfg.SetMultipathTCP(false)
	ln, err := cfg.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	p.ui.progress("listening on %s", ln.Addr())
	for {
		conn, err := ln.Accept()
		if err != nil {
			return nil
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn) // an error ends it as an end does
		}()
	}
}

// clients connect one after the other, send a line and read the answer. The silent ones say nothing
// more; the talking ones go on. They are not rude: who hangs up on them is hung up on.
func (p *program) clients(ctx context.Context, target string, silent, talking int) error {
	dialer := net.Dialer{KeepAlive: -1, Timeout: demoStepLimit}
	var open sync.WaitGroup
	for i := range silent + talking {
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		if err := talk(conn, r); err != nil {
			return err
		}
		if i < talking {
			go keepTalking(ctx, conn, r)
			continue
		}
		open.Go(func() {
			defer conn.Close()
			_, _ = io.Copy(io.Discard, r)
		})
	}
	p.ui.progress("connected %d", silent+talking)
	done := make(chan struct{})
	go func() { open.Wait(); close(done) }()
	select {
	case <-done:
		p.ui.progress("closed %d", silent)
		<-ctx.Done() // the scan comes while everybody is still there
	case <-ctx.Done():
	}
	return nil
}

// talk sends a line and reads its answer.
func talk(conn net.Conn, r *bufio.Reader) error {
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return err
	}
	_, err := r.ReadString('\n')
	return err
}

func keepTalking(ctx context.Context, conn net.Conn, r *bufio.Reader) {
	for scan.Sleep(ctx, demoTalk) == nil {
		if talk(conn, r) != nil {
			return
		}
	}
}

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
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
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

// expect waits for a line that contains word, and returns the first field behind it.
func (pt *part) expect(ctx context.Context, word string) (string, error) {
	last := ""
	for {
		select {
		case line, ok := <-pt.lines:
			if !ok {
				return "", fmt.Errorf("a part of the demo (pid %d) ended early: %s", pt.cmd.Process.Pid, last)
			}
			last = line
			if _, rest, found := strings.Cut(line, word); found {
				field, _, _ := strings.Cut(rest, " ")
				return strings.TrimSuffix(field, ","), nil
			}
		case <-ctx.Done():
			if ctx.Err() == context.Canceled {
				return "", scan.ErrInterrupted
			}
			return "", fmt.Errorf("a part of the demo (pid %d) did not say %q in %s: %s", pt.cmd.Process.Pid, word, demoStepLimit, last)
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
