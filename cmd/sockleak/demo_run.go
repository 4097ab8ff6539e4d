//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/pipe"
	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/report"
)

// demo runs scenarios.
type demo struct {
	ui          *ui
	tell        *teller
	connections int
	pause       bool
	stdin       io.Reader
}

// talking is how many healthy clients there are beside those that leave something behind: no scan may name them, and the
// fixed pipe may not hang up on them.
func (d *demo) talking() int { return max(d.connections/10+1, 2) }

// run does the same with the leaky pipe and with the fixed one, and scans both.
func (d *demo) run(ctx context.Context, s *scenario) (*report.Trial, error) {
	d.tell.begin(s.leak.String() + ": " + s.about)
	trial := &report.Trial{Name: s.leak.String(), About: s.about}
	for i, mode := range []pipe.Mode{pipe.Leaky, pipe.Fixed} {
		ph := &phase{demo: d, scenario: s, place: place{mode: mode, silent: d.connections, talking: d.talking()}}
		result, err := ph.run(ctx)
		if err != nil {
			return nil, err
		}
		trial.Names[i], trial.Results[i] = mode.String(), result
		if mode == pipe.Leaky {
			trial.Looks = s.looks(ph.place)
			trial.LooksWhen = fmt.Sprintf("These commands show the leak while the leaky pipe runs. It was process %d, and has ended: with --pause, sockleak demo waits before each scan.", ph.pid)
		}
	}
	trial.Proof, trial.Doubt = s.judge(d.connections, trial.Results[0], trial.Results[1])
	if trial.Doubt != "" {
		d.tell.step(stepLeak, "Not proved: %s.", trial.Doubt)
	} else {
		d.tell.step(stepGood, "Proved: %s.", trial.Proof)
	}
	trial.Story = d.tell.story
	return trial, nil
}

// judge is the demo's own test: the leak found, all of it, and no false alarm. One of both is "".
func (s *scenario) judge(silent int, before, after *diag.Result) (proof, doubt string) {
	found, all := map[string]int{}, 0
	for _, f := range before.Findings {
		if f.Severity == diag.Leak {
			found[f.Rule] += f.Sockets
			all += f.Sockets
		}
	}
	for _, want := range s.finds {
		if n := found[want.rule]; n != want.each*silent {
			return "", fmt.Sprintf("%s named %d sockets of the leaky pipe, and there are %d", want.rule, n, want.each*silent)
		}
		delete(found, want.rule)
	}
	for rule, n := range found {
		return "", fmt.Sprintf("%s named %d sockets of the leaky pipe, and none are", rule, n)
	}
	if worst, ok := after.Worst(); ok && worst > diag.Info {
		return "", "the scan of the fixed pipe found a " + worst.String()
	}
	if before.Partial() || after.Partial() {
		return "", "the scans could not see everything, so they prove nothing"
	}
	return fmt.Sprintf("the leak was found in the leaky pipe (%d sockets of %d connections), and none in the fixed one", all, silent), ""
}

// phase is a scenario with one of the pipes.
type phase struct {
	*demo
	*scenario
	place
	parts                 parts
	backendPart, pipePart *part
	clientsPart           *part
}

// run tells and does one step after the other.
func (ph *phase) run(ctx context.Context) (*diag.Result, error) {
	defer ph.parts.stop()
	steps := []func(context.Context) error{ph.startBackend, ph.startPipe, ph.startClients, ph.waitLeaky, ph.look}
	if ph.mode == pipe.Fixed {
		steps = []func(context.Context) error{ph.startBackend, ph.startPipe, ph.startClients, ph.waitFixed, ph.look}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return ph.scan(ctx)
}

func (ph *phase) startBackend(ctx context.Context) (err error) {
	ph.backendPart, err = ph.parts.start("demo-part", "--role", roleBackend, "--leak", ph.leak.String(), "--silent", strconv.Itoa(ph.silent))
	if err != nil {
		return err
	}
	ph.backend, err = ph.backendPart.listening(ctx)
	return err
}

// startPipe starts the proxy as anybody can.
func (ph *phase) startPipe(ctx context.Context) (err error) {
	args := []string{"proxy", "--listen", "127.0.0.1:0", "--target", ph.backend.String(), "--mode", ph.mode.String()}
	if ph.mode == pipe.Leaky { // which has no limits
		args = append(args, "--leak", ph.leak.String())
	} else {
		args = append(args, "--idle-timeout", demoIdle.String(), "--half-close-timeout", demoIdle.String(),
			"--keepalive", "1s", "--keepalive-interval", "1s", "--user-timeout", "5s", "--drain", "0s")
	}
	if ph.pipePart, err = ph.parts.start(args...); err != nil {
		return err
	}
	if ph.listen, err = ph.pipePart.listening(ctx); err != nil {
		return err
	}
	ph.pid = ph.pipePart.pid()
	ph.tell.step(stepGoes, "The %s pipe, process %d, listens on %s and passes on to a backend, process %d, on %s: sockleak %s",
		ph.mode, ph.pid, ph.listen, ph.backendPart.pid(), ph.backend, strings.Join(args, " "))
	return nil
}

func (ph *phase) startClients(ctx context.Context) (err error) {
	ph.clientsPart, err = ph.parts.start("demo-part", "--role", roleClients, "--leak", ph.leak.String(), "--target", ph.listen.String(),
		"--silent", strconv.Itoa(ph.silent), "--talking", strconv.Itoa(ph.place.talking))
	if err != nil {
		return err
	}
	_, err = ph.clientsPart.expect(ctx, "connected ", func(line string) {
		if _, n, ok := strings.Cut(line, "clients so far: "); ok {
			ph.tell.going("%s of %d clients", n, ph.silent+ph.place.talking)
		}
	})
	if err != nil {
		return err
	}
	text := ph.clients
	if ph.mode == pipe.Fixed {
		text = "The same clients, process {clients}: " + text
	} else {
		text = "Process {clients} has the clients: " + text
	}
	ph.tell.step(stepGoes, "%s", strings.ReplaceAll(ph.words(text, ph.demo), "{clients}", strconv.Itoa(ph.clientsPart.pid())))
	return nil
}

// waitLeaky lets what is left become old enough to be judged.
func (ph *phase) waitLeaky(ctx context.Context) error {
	ph.tell.step(stepWrong, "%s", ph.words(ph.bug, ph.demo))
	ph.tell.step(stepWrong, "%s", ph.words(ph.kernel, ph.demo))
	return ph.wait(ctx)
}

// waitFixed waits, and until the backend has seen the end of every client that is to end.
func (ph *phase) waitFixed(ctx context.Context) error {
	if err := ph.wait(ctx); err != nil {
		return err
	}
	if _, err := ph.backendPart.expect(ctx, "ended ", nil); err != nil {
		return err
	}
	ph.tell.step(stepGood, "%s All %d have ended, and the backend knows it.", ph.words(ph.cure, ph.demo), ph.silent)
	return nil
}

// wait is for longer than a threshold, by a quarter.
func (ph *phase) wait(ctx context.Context) error {
	const turn = 100 * time.Millisecond
	for left := demoIdle + demoIdle/4; left > 0; left -= turn {
		ph.tell.going("%.1f s until all that stays has done so for %s", left.Seconds(), seconds(demoIdle))
		if err := scan.Sleep(ctx, turn); err != nil {
			return err
		}
	}
	ph.tell.stop()
	return nil
}

// look lets the user try the commands, with --pause.
func (ph *phase) look(ctx context.Context) error {
	if !ph.pause {
		return nil
	}
	ph.tell.commands(ph.looks(ph.place))
	return ph.tell.await(ctx, ph.stdin)
}

// scan is what `sockleak leakscan` does.
func (ph *phase) scan(ctx context.Context) (*diag.Result, error) {
	src, err := liveSource(ph.ui)
	if err != nil {
		return nil, err
	}
	src.SiftFrom = 1 << 30 // all peers are counted
	s := &scan.Scan{
		Source: src, PIDs: []int{ph.pid}, Rules: diag.Rules(),
		Thresholds: diag.Thresholds{Idle: demoIdle, Grace: demoIdle, Settle: diag.DefaultSettle},
	}
	ph.tell.going("sockleak leakscan %d", ph.pid)
	result, err := s.Run(ctx)
	if err != nil {
		return nil, err
	}
	kind, found := stepGood, "it finds nothing"
	if list := foundBy(result); len(list) > 0 {
		kind, found = stepLeak, "it finds "+strings.Join(list, ", ")
	}
	ph.tell.step(kind, "sockleak leakscan %d --idle %s --grace %s: %s.", ph.pid, demoIdle, demoIdle, found)
	return result, nil
}

// foundBy says what is wrong, a rule at a time.
func foundBy(r *diag.Result) (list []string) {
	sockets := map[string]int{}
	for _, f := range r.Findings {
		if f.Severity == diag.Info {
			continue
		}
		if sockets[f.Rule] == 0 {
			list = append(list, f.Rule)
		}
		sockets[f.Rule] += f.Sockets
	}
	for i, rule := range list {
		list[i] = fmt.Sprintf("%s (%d)", rule, sockets[rule])
	}
	return list
}

// listening is the address that a part says it listens on.
func (pt *part) listening(ctx context.Context) (netip.AddrPort, error) {
	s, err := pt.expect(ctx, "listening on ", nil)
	if err != nil {
		return netip.AddrPort{}, err
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		return at, fmt.Errorf("a part of the demo listens on %q: %w", s, err)
	}
	return at, nil
}

// self is the path of this program's executable.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's executable: %w", err)
	}
	return path, nil
}
