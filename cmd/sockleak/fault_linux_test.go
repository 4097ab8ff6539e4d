package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/cmd/internal/inject"
	"github.com/sockleak/sockleak/internal/raced"
)

func init() { inject.Become() }

// faults are the calls that a scan makes on files, sockets and processes, and how each can fail. 0 is a read of fewer bytes.
var faults = map[string][]syscall.Errno{
	"openat":           {unix.ENOENT, unix.EACCES, unix.EMFILE, unix.ENOMEM, unix.EINTR, unix.ESRCH, unix.EPERM},
	"read":             {0, unix.EINTR, unix.ESRCH, unix.EIO, unix.ENOMEM},
	"pread64":          {0, unix.EINTR, unix.ESRCH, unix.EIO, unix.ENOMEM},
	"getdents64":       {unix.ENOENT, unix.EINTR, unix.ENOMEM, unix.EACCES},
	"readlinkat":       {unix.ENOENT, unix.EACCES, unix.ENOMEM, unix.ESRCH},
	"newfstatat":       {unix.ENOENT, unix.EACCES, unix.ENOMEM, unix.ESRCH},
	"statx":            {unix.ENOENT, unix.EACCES, unix.ENOMEM, unix.ENOSYS},
	"fstat":            {unix.ENOMEM, unix.EBADF},
	"fstatfs":          {unix.EINTR, unix.ENOSYS},
	"socket":           {unix.EPERM, unix.EAFNOSUPPORT, unix.EMFILE, unix.ENOBUFS, unix.ENOMEM},
	"bind":             {unix.EPERM, unix.ENOMEM},
	"sendto":           {unix.EPERM, unix.ENOBUFS, unix.EINTR, unix.ECONNREFUSED},
	"recvfrom":         {unix.ENOBUFS, unix.EINTR, unix.ENOMEM, unix.EPERM},
	"getsockopt":       {unix.ENOMEM, unix.EPERM, unix.ENOPROTOOPT},
	"getsockname":      {unix.ENOBUFS, unix.ENOTCONN},
	"getpeername":      {unix.ENOBUFS, unix.ENOTCONN},
	"setns":            {unix.EPERM, unix.ENOMEM, unix.EINVAL},
	"pidfd_open":       {unix.ENOSYS, unix.EMFILE, unix.ESRCH, unix.EPERM, unix.ENOMEM},
	"pidfd_getfd":      {unix.ENOSYS, unix.EPERM, unix.EBADF, unix.EMFILE, unix.ESRCH},
	"ioctl":            {unix.ENOTTY, unix.EPERM},
	"lgetxattr":        {unix.ENODATA, unix.ENOENT, unix.EACCES, unix.EOPNOTSUPP},
	"getxattr":         {unix.ENODATA, unix.ENOENT, unix.EACCES, unix.EOPNOTSUPP},
	"process_vm_readv": {unix.EPERM, unix.ESRCH, unix.EFAULT},
	"kcmp":             {unix.EPERM, unix.ESRCH, unix.ENOSYS},
	"lseek":            {unix.EINVAL, unix.EINTR},
	"bpf":              {unix.EPERM, unix.ENOMEM, unix.EINVAL, unix.EMFILE, unix.ENOSYS, unix.E2BIG, unix.EBUSY},
}

// ours: the call is of the program and about what it looks at. The runtime's own, and those of a loader, are left alone.
func ours(c *inject.Call) bool {
	for _, at := range []string{c.Path, c.At} {
		if strings.HasPrefix(at, "/proc") || strings.HasPrefix(at, "socket:") || strings.HasPrefix(at, "anon_inode:[pidfd]") || strings.HasPrefix(at, "anon_inode:bpf") || strings.HasPrefix(at, "net:") {
			return true
		}
	}
	return slices.Contains([]string{"socket", "pidfd_open", "process_vm_readv", "kcmp", "setns", "bpf"}, c.Name)
}

// outcome is how a run of the program ended.
type outcome struct {
	status         int
	stdout, stderr string
	calls          map[string]int // that were made, by name
	hung           bool
}

// faulty runs the program, and has the n-th call of a name answered so; n 0: none.
func faulty(t *testing.T, args []string, name string, n int, answer inject.Answer) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Stdout, cmd.Stderr, cmd.Stdin = &out, &errs, strings.NewReader("")
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	o := outcome{calls: map[string]int{}}
	err := inject.Run(cmd, "sockleak", slices.Sorted(maps.Keys(faults)), func(c *inject.Call) inject.Answer {
		if !ours(c) {
			return inject.Answer{}
		}
		if o.calls[c.Name]++; c.Name == name && o.calls[name] == n {
			return answer
		}
		return inject.Answer{}
	})
	if cmd.ProcessState == nil {
		t.Fatalf("the program was not started: %v", err)
	}
	o.status, o.stdout, o.stderr, o.hung = cmd.ProcessState.ExitCode(), out.String(), errs.String(), ctx.Err() != nil
	return o
}

// faultReport is what a verdict consists of.
type faultReport struct {
	Processes []struct {
		PID int
		FDs struct{ Open *int }
	}
	Findings []struct {
		Rule, Severity string
		PID, Sockets   int
	}
	Gaps []struct{ What string }
}

// verdict sums a report up: leaked sockets by process, and risks.
func (r *faultReport) verdict() (leaks map[int]int, others int) {
	leaks = map[int]int{}
	for _, f := range r.Findings {
		switch f.Severity {
		case "leak":
			leaks[f.PID] += f.Sockets
		case "risk":
			others++
		}
	}
	return leaks, others
}

// faultTargets are two processes, one of which leaks.
type faultTargets struct {
	leaky, healthy int
	leaked         int // sockets
}

// sane says what is wrong with how a run ended, whatever it is of.
func (o *outcome) sane() error {
	switch {
	case o.hung:
		return errors.New("it hangs")
	case strings.Contains(o.stderr, "panic") || strings.Contains(o.stderr, "goroutine ") || strings.Contains(o.stderr, "fatal error"):
		return errors.New("it panics")
	case o.status < 0 || o.status > statusPartial:
		return fmt.Errorf("status %d", o.status)
	case o.status == statusFailed && !strings.HasPrefix(o.stderr, "sockleak: error: "):
		return errors.New("status 2 without an error")
	}
	return nil
}

// check says what is wrong with a scan in which one call has failed; nil: nothing. A scan of the two alone has both.
func (ft *faultTargets) check(o *outcome, alone bool) error {
	var r faultReport
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	leaks, others := r.verdict()
	whole := leaks[ft.leaky] == ft.leaked && others == 0 && (!alone || len(r.Processes) == 2)
	switch {
	case leaks[ft.healthy] > 0:
		return errors.New("the healthy process leaks")
	case len(leaks) > 1:
		return fmt.Errorf("others leak: %v", leaks)
	case leaks[ft.leaky] > ft.leaked:
		return fmt.Errorf("%d leaked sockets of %d", leaks[ft.leaky], ft.leaked)
	case !whole && len(r.Gaps) == 0:
		return fmt.Errorf("%d of %d leaked sockets, %d processes, %d other findings, and no gap", leaks[ft.leaky], ft.leaked, len(r.Processes), others)
	case leaks[ft.leaky] > 0 && o.status != statusLeak, leaks[ft.leaky] == 0 && o.status != statusPartial:
		return fmt.Errorf("status %d with %d leaked sockets and the gaps %v", o.status, leaks[ft.leaky], r.Gaps)
	}
	return nil
}

// checkCount does it for tcpstat: of each process both ends of its connections, and a listener.
func (ft *faultTargets) checkCount(o *outcome) error {
	var r struct {
		States []struct {
			State   string
			Sockets int
		}
		Groups []struct {
			PID, Sockets int
		}
		Gaps []struct{ What string }
	}
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	got, want := map[string]int{}, map[string]int{"ESTAB": 2 * ft.leaked, "LISTEN": 2}
	for _, s := range r.States {
		got[s.State] = s.Sockets
	}
	for _, g := range r.Groups {
		if g.PID == ft.leaky || g.PID == ft.healthy {
			got[strconv.Itoa(g.PID)], want[strconv.Itoa(g.PID)] = g.Sockets, ft.leaked+1
		}
	}
	for what, n := range got {
		if n > want[what] {
			return fmt.Errorf("%d of %s, and there are %d", n, what, want[what])
		}
	}
	if o.status != statusOK {
		return fmt.Errorf("status %d", o.status)
	}
	if !maps.Equal(got, want) && len(r.Gaps) == 0 {
		return fmt.Errorf("%v instead of %v, and no gap", got, want)
	}
	return nil
}

// checkRecorded reads a recording, which may lack what it says it lacks.
func (ft *faultTargets) checkRecorded(o *outcome, dir string) error {
	if o.status != statusOK {
		return fmt.Errorf("status %d", o.status)
	}
	f, err := os.CreateTemp(dir, "*.jsonl")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(o.stdout); err != nil {
		return err
	}
	status, stdout, stderr := command("leakscan", "--from", f.Name(), "--idle", "1ms", "--json")
	from := &outcome{status: status, stdout: stdout, stderr: stderr}
	if err := from.sane(); err != nil || status == statusFailed {
		return errors.Join(fmt.Errorf("what was recorded: %s", stderr), err)
	}
	return ft.check(from, true)
}

// faultCommand is a command line, and what says what is wrong with what came of it.
type faultCommand struct {
	args  []string
	check func(*outcome) error
	most  int  // calls of a kind that fail
	alone bool // no other command runs beside it
}

// wrong says what is wrong with how a run of the command ended.
func (fc *faultCommand) wrong(o *outcome) error {
	if err := o.sane(); err != nil || o.status == statusFailed {
		return err
	}
	return fc.check(o)
}

// commands are those that are tried. What sees all processes or all sockets is so only where there are no others.
func (ft *faultTargets) commands(dir string, alone bool) []*faultCommand {
	leaky, healthy := strconv.Itoa(ft.leaky), strconv.Itoa(ft.healthy)
	brief := []string{"--idle", "1ms", "--settle", "0", "--json"}
	two := func(o *outcome) error { return ft.check(o, true) }
	list := []*faultCommand{
		{args: slices.Concat([]string{"leakscan", leaky, healthy}, brief), check: two, most: 60},
		{args: slices.Concat([]string{"leakscan", leaky, healthy, "--deep"}, brief), check: two, most: 12, alone: true}, // it holds copies of sockets
		{args: []string{"record", "-", leaky, healthy, "--settle", "0", "--idle", "1ms"}, check: func(o *outcome) error { return ft.checkRecorded(o, dir) }, most: 12},
	}
	if alone {
		list = append(list,
			&faultCommand{args: slices.Concat([]string{"leakscan", "--all"}, brief), check: func(o *outcome) error { return ft.check(o, false) }, most: 12},
			&faultCommand{args: slices.Concat([]string{"leakscan", leaky, healthy, "--source", "proc"}, brief), check: two, most: 12},
			&faultCommand{args: slices.Concat([]string{"leakscan", leaky, healthy, "--source", "bpf"}, brief), check: two, most: 12},
			&faultCommand{args: []string{"tcpstat", "--by", "process", "--source", "bpf", "--json"}, check: ft.checkCount, most: 12},
			&faultCommand{args: []string{"tcpstat", "--json"}, check: ft.checkCount, most: 12},
			&faultCommand{args: []string{"tcpstat", "--by", "process", "--json"}, check: ft.checkCount, most: 12},
		)
	}
	return list
}

const faultRoleEnv = "SOCKLEAK_TEST_FAULT_ROLE"

// TestFaultTarget is one of the processes that are looked at: it holds connections until its stdin ends.
func TestFaultTarget(t *testing.T) {
	keepalive := -time.Second // none
	switch os.Getenv(faultRoleEnv) {
	case "leaky":
	case "healthy":
		keepalive = time.Hour
	default:
		return
	}
	ln, err := (&net.ListenConfig{KeepAlive: keepalive}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range faultConnections {
		c, err := (&net.Dialer{KeepAlive: keepalive}).Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		a, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

const faultConnections = 8

// faultTarget starts one of them.
func faultTarget(t *testing.T, role string) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestFaultTarget$")
	cmd.Env = append(os.Environ(), faultRoleEnv+"="+role)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	if line := make([]byte, len("ready\n")); true {
		if _, err := io.ReadFull(out, line); err != nil || string(line) != "ready\n" {
			t.Fatalf("target: %q, %v", line, err)
		}
	}
	return cmd.Process.Pid
}

// TestFaults makes every system call of a scan fail once, in one way of several: the answer is right, or says what it lacks, or is an
// error, and never a panic, a hang or a wrong verdict. SOCKLEAK_FAULTS=all tries every way for each call, which takes some minutes.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("some hundred runs of the program")
	}
	if runAlone(t) {
		return
	}
	ft := &faultTargets{leaky: faultTarget(t, "leaky"), healthy: faultTarget(t, "healthy"), leaked: 2 * faultConnections}
	var runs []func()
	var turn sync.RWMutex
	var failed atomic.Int64
	for _, fc := range ft.commands(t.TempDir(), os.Getenv(aloneEnv) != "") {
		clean := faulty(t, fc.args, "", 0, inject.Answer{})
		if err := fc.wrong(&clean); err != nil || clean.status == statusFailed {
			t.Fatalf("%q, without a fault: status %d, %v\n%s%s", fc.args, clean.status, err, clean.stdout, clean.stderr)
		}
		t.Logf("%q: calls: %v", fc.args, clean.calls)
		if raced.On {
			fc.most /= 4
		}
		for name, errnos := range faults {
			for i, n := range positions(clean.calls[name], fc.most) {
				for k, errno := range errnos {
					if os.Getenv("SOCKLEAK_FAULTS") != "all" && k != i%len(errnos) {
						continue
					}
					answer := inject.Answer{Errno: errno}
					if errno == 0 {
						answer.Most = 7
					}
					runs = append(runs, func() {
						if fc.alone {
							turn.Lock()
							defer turn.Unlock()
						} else {
							turn.RLock()
							defer turn.RUnlock()
						}
						o := faulty(t, fc.args, name, n, answer)
						if err := fc.wrong(&o); err != nil && failed.Add(1) < 20 {
							t.Errorf("%q, %s number %d of %d: %v: %v\n%.2000s%.30000s", fc.args, name, n, clean.calls[name], errno, err, o.stderr, o.stdout)
						}
					})
				}
			}
		}
	}
	t.Logf("%d runs", len(runs))
	inTurns(runs)
}

const aloneEnv = "SOCKLEAK_TEST_ALONE"

// runAlone runs the test as root in a process that sees no other one, so that the calls of a scan are few and the same each time, and
// reports whether that is done. An ordinary user's runs beside all others.
func runAlone(t *testing.T) (done bool) {
	t.Helper()
	if os.Getenv(aloneEnv) != "" {
		if err := inject.Alone(); err != nil {
			t.Fatal(err)
		}
		return false
	}
	if os.Getuid() != 0 {
		return false
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v="+strconv.FormatBool(testing.Verbose()))
	cmd.Env = append(os.Environ(), aloneEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: inject.AloneFlags}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	return true
}

// positions are which of n calls fail: all, or so many, the first ones and evenly over the rest.
func positions(n, most int) (list []int) {
	for i := range min(n, most) {
		at := i + 1
		if n > most && i >= most/2 {
			at = most/2 + 1 + (i-most/2)*(n-most/2-1)/(most-most/2)
		}
		list = append(list, at)
	}
	return list
}

// inTurns runs them on all processors.
func inTurns(runs []func()) {
	var next atomic.Int64
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(runs); i = int(next.Add(1)) - 1 {
				runs[i]()
			}
		})
	}
	wait.Wait()
}
