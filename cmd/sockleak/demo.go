package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/report"
)

// The demo's minutes are seconds: what takes an hour in production shows in a few of them.
const (
	demoIdle        = 2 * time.Second        // --idle of both scans
	demoIdleTimeout = 2 * time.Second        // of the fixed pipe
	demoTalk        = 200 * time.Millisecond // between two requests of a client that is not silent
	demoStepLimit   = 30 * time.Second
	demoLeast       = 5    // connections: fewer idle ones are no leak
	demoMost        = 9000 // connections: a pipe has two descriptors for each
)

func (p *program) demoCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.IntFlag{Name: "connections", Aliases: []string{"n"}, Value: 500, Usage: "how many silent clients connect, `N`"},
	}
	return &cli.Command{
		Name:  "demo",
		Usage: "a leak from beginning to end: a leaky pipe and its scan, the fixed pipe and its scan, side by side",
		Description: "Starts a backend, clients that fall silent, and a pipe between them, as processes of their own on free ports of 127.0.0.1,\n" +
			"with time-outs of seconds instead of minutes. Needs no privilege and leaves nothing behind. The exit status is 0 only if the\n" +
			"leak was found in the leaky pipe and nothing in the fixed one.",
		UsageText:    "sockleak demo [--connections N]",
		Flags:        append(flags, outputFlags(join(report.SampleSorts()), 3)...),
		OnUsageError: usageError,
		Action:       p.demo,
	}
}

func (p *program) demo(c *cli.Context) error {
	out, err := p.output(c, report.SampleSorts())
	if err != nil {
		return err
	}
	if c.NArg() > 0 {
		return hint(usage("demo takes no argument, got %q", c.Args().First()), "--connections N says how many clients there are")
	}
	n := c.Int("connections")
	if err := checkConnections(n); err != nil {
		return err
	}
	// The parts die with the thread that started them (PR_SET_PDEATHSIG), so that nothing stays behind
	// even if this process is killed.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d := &demo{ui: p.ui, connections: n}
	before, err := d.phase(c.Context, "leaky")
	if err != nil {
		return err
	}
	after, err := d.phase(c.Context, "fixed")
	if err != nil {
		return err
	}
	if out.format == "table" || out.format == "wide" {
		if err := p.write(out, report.Leakscan(before)); err != nil {
			return err
		}
		fmt.Fprintln(p.stdout)
	}
	if err := p.write(out, report.Compare("leaky", before, "fixed", after)); err != nil {
		return err
	}
	return d.verdict(before, after)
}

// checkConnections refuses what the descriptors of one process cannot hold.
func checkConnections(n int) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	most := min((int(min(lim.Max, 1<<20))-100)*10/22, demoMost) // a tenth more are talking
	if n < demoLeast || n > most {
		return hint(usage("--connections %d", n), "the pipe needs two descriptors for each: give %d to %d", demoLeast, most)
	}
	return nil
}

// verdict is the demo's own test: the leak found, all of it, and no false alarm.
func (d *demo) verdict(before, after *diag.Result) error {
	leaked := 0
	for _, f := range before.Findings {
		if f.Rule == "idle-no-keepalive" {
			leaked += f.Sockets
		}
	}
	if want := 2 * d.connections; leaked != want {
		return fmt.Errorf("the scan of the leaky pipe named %d idle sockets without keepalive, and there are %d", leaked, want)
	}
	if worst, _ := after.Worst(); worst == diag.Leak {
		return fmt.Errorf("the scan of the fixed pipe found a leak")
	}
	if before.Partial() || after.Partial() {
		return fmt.Errorf("the scans could not see everything, so they prove nothing")
	}
	d.ui.progress("the leak was found in the leaky pipe (%d sockets of %d connections), and none in the fixed one", leaked, d.connections)
	return nil
}

// demo runs the two phases.
type demo struct {
	ui          *ui
	connections int
}

// talking is how many healthy clients there are beside the silent ones: no scan may name them, and the
// fixed pipe may not hang up on them.
func (d *demo) talking() int { return d.connections/10 + 1 }

// phase runs backend, pipe and clients, waits until what is idle has been so for long enough, and scans
// the pipe.
func (d *demo) phase(ctx context.Context, mode string) (*diag.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, demoStepLimit)
	defer cancel()
	parts := &parts{}
	defer parts.stop()
	backend, err := parts.start("demo-part", "--role", roleBackend)
	if err != nil {
		return nil, err
	}
	target, err := backend.expect(ctx, "listening on ")
	if err != nil {
		return nil, err
	}
	args := []string{"proxy", "--listen", "127.0.0.1:0", "--target", target, "--mode", mode}
	if mode != "leaky" { // which has no limits
		args = append(args, "--idle-timeout", demoIdleTimeout.String(), "--keepalive", "1s", "--keepalive-interval", "1s",
			"--user-timeout", "5s", "--half-close-timeout", demoIdleTimeout.String(), "--drain", "0s")
	}
	pipe, err := parts.start(args...)
	if err != nil {
		return nil, err
	}
	address, err := pipe.expect(ctx, "listening on ")
	if err != nil {
		return nil, err
	}
	clients, err := parts.start("demo-part", "--role", roleClients, "--target", address,
		"--silent", strconv.Itoa(d.connections), "--talking", strconv.Itoa(d.talking()))
	if err != nil {
		return nil, err
	}
	if _, err := clients.expect(ctx, "connected "); err != nil {
		return nil, err
	}
	d.ui.progress("%s pipe (pid %d): %d clients have had an answer and fall silent, %d go on talking",
		mode, pipe.cmd.Process.Pid, d.connections, d.talking())
	if err := d.wait(ctx, mode, clients); err != nil {
		return nil, err
	}
	return d.scan(ctx, pipe.cmd.Process.Pid)
}

// wait lets the silence last: past the threshold in the leaky pipe, until the pipe has hung up on
// everybody in the fixed one.
func (d *demo) wait(ctx context.Context, mode string, clients *part) error {
	if mode == "leaky" {
		d.ui.progress("leaky pipe: waiting %s, the time a connection may be silent here", demoIdle)
		return scan.Sleep(ctx, demoIdle+demoIdle/4)
	}
	d.ui.progress("fixed pipe: waiting for its idle time-out of %s to close them", demoIdleTimeout)
	_, err := clients.expect(ctx, "closed ")
	return err
}

// scan is `sockleak leakscan PID --idle 2s`.
func (d *demo) scan(ctx context.Context, pid int) (*diag.Result, error) {
	src, err := liveSource(d.ui)
	if err != nil {
		return nil, err
	}
	s := &scan.Scan{
		Source: src, PIDs: []int{pid}, Rules: diag.Rules(),
		Thresholds: diag.Thresholds{Idle: demoIdle, Grace: demoIdle, Settle: demoIdle},
	}
	d.ui.progress("sockleak leakscan %d --idle %s", pid, demoIdle)
	return s.Run(ctx)
}

// self is the path of this program's executable.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's executable: %w", err)
	}
	return path, nil
}
