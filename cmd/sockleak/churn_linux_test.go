package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
	"golang.org/x/sys/unix"
)

// How many scans there are, unless SOCKLEAK_CHURN_SCANS says so.
const (
	churnScans    = 12
	churnScansEnv = "SOCKLEAK_CHURN_SCANS"
)

// churnThresholds: what churns is over within the settling time, on a busy host as well.
var churnThresholds = diag.Thresholds{Idle: time.Hour, Grace: 2 * time.Second, Settle: 400 * time.Millisecond}

// churnReport is what the scans of a stage found.
type churnReport struct {
	Scans, Processes int            // scans, and processes that were looked at in all of them
	Iterated         int            // scans by the kernel's iterators
	Ended            int            // of which had ended meanwhile
	Forks            int            // numbers of processes that were given out meanwhile
	PIDMax           string         // of its PID namespace
	Wrong            []string       // whom a scan blamed wrongly, or did not blame
	Risks            map[string]int // findings that claim nothing
	Gaps             map[string]int
}

// 1,000 scans of programs that churn blame nobody of them, and have what leaks beside them exactly.
func TestChurn(t *testing.T) {
	scans := churnScans
	if n, err := strconv.Atoi(os.Getenv(churnScansEnv)); err == nil {
		scans = n
	} else if testing.Short() {
		t.Skip("takes ten seconds")
	}
	tables := []string{"0"}
	if os.Getuid() == 0 {
		tables = []string{"0", "16"} // the host's table, and one so small that the kernel repeats sockets and passes others over
	}
	for _, table := range tables {
		t.Run("buckets="+table, func(t *testing.T) {
			r := playStage(t, scans/len(tables), table)
			if os.Getuid() == 0 && r.Iterated != r.Scans/2 {
				t.Errorf("%d of %d scans were by the kernel's iterators, want half of them", r.Iterated, r.Scans)
			}
			t.Logf("%d scans of %d processes, %d of which had ended; %d processes began meanwhile, with numbers up to %s; risks %v; gaps %v",
				r.Scans, r.Processes, r.Ended, r.Forks, r.PIDMax, r.Risks, r.Gaps)
			for _, w := range r.Wrong {
				t.Error(w)
			}
		})
	}
}

// playStage runs the scans in a process of its own: for root, in network, PID and mount namespaces of its own.
func playStage(t *testing.T, scans int, table string) *churnReport {
	t.Helper()
	stage := playing("stage", strconv.Itoa(scans), table)
	if os.Getuid() == 0 {
		stage.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	}
	stdin, err := stage.StdinPipe()
	must(t, err)
	defer stdin.Close()
	out, err := stage.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var r churnReport
	must(t, json.Unmarshal(out, &r))
	if r.Scans == 0 || r.Scans != scans {
		t.Fatalf("%d scans, want %d", r.Scans, scans)
	}
	return &r
}

// stage is the process that starts the others and scans them.
type stage struct {
	report   churnReport
	programs []*exec.Cmd
	pids     []int // of the programs
	leaker   int
	stdins   []io.Closer
	// iterators are the source of every second scan; nil: an ordinary user's, who may not use them.
	iterators *scan.Source
}

func churnStage() error {
	scans, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	s := &stage{report: churnReport{Risks: map[string]int{}, Gaps: map[string]int{}}}
	if os.Getuid() == 0 {
		if err := s.isolate(os.Args[2]); err != nil {
			return err
		}
	}
	defer s.end()
	if err := s.start(); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		fs, err := procfd.New("/proc")
		if err != nil {
			return err
		}
		s.iterators = &scan.Source{Kind: scan.SourceBPF, FS: fs, Detail: func(string, ...any) {}}
	}
	time.Sleep(churnThresholds.Grace + 500*time.Millisecond) // by then, what is leaked is
	before := lastPID()
	for range scans {
		if err := s.scan(); err != nil {
			return err
		}
	}
	s.report.Forks = lastPID() - before
	return json.NewEncoder(os.Stdout).Encode(s.report)
}

// isolate makes the new namespaces usable: a proc of its own, few numbers for processes, a loopback device, and a hash table.
func (s *stage) isolate(table string) error {
	runtime.LockOSThread()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if table != "0" {
		// It is for namespaces that are made from this one. Where there is no such setting, the host's table it is.
		_ = os.WriteFile("/proc/sys/net/ipv4/tcp_child_ehash_entries", []byte(table), 0)
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
	}
	if err := loopbackOn(); err != nil {
		return err
	}
	// The numbers go round within a second. Before Linux 6.14 this is the host's: leave that alone.
	if release := strings.SplitN(kernelRelease(), ".", 3); len(release) == 3 && atLeast(release, 6, 14) {
		_ = os.WriteFile("/proc/sys/kernel/pid_max", []byte("600"), 0)
	}
	b, _ := os.ReadFile("/proc/sys/kernel/pid_max")
	s.report.PIDMax = strings.TrimSpace(string(b))
	return nil
}

func kernelRelease() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return string(b)
}

func atLeast(release []string, major, minor int) bool {
	a, _ := strconv.Atoi(release[0])
	b, _ := strconv.Atoi(release[1])
	return a > major || a == major && b >= minor
}

func loopbackOn() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var req struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(req.name[:], "lo")
	req.flags = unix.IFF_UP
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}

// lastPID is how many processes there have been, as far as the kernel counts them.
func lastPID() int {
	b, _ := os.ReadFile("/proc/stat")
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "processes "); ok {
			v, _ := strconv.Atoi(strings.TrimSpace(n))
			return v
		}
	}
	return 0
}

// start plays all parts.
func (s *stage) start() error {
	port, err := s.play("server")
	if err != nil {
		return err
	}
	given, err := s.play("giver")
	if err != nil {
		return err
	}
	for _, p := range [][]string{{"client", port}, {"client", given}, {"storm", port}, {"leaker", port}} {
		if _, err := s.play(p[0], p[1:]...); err != nil {
			return err
		}
	}
	s.leaker = s.pids[len(s.pids)-1]
	return nil
}

// play starts one and waits until it is ready.
func (s *stage) play(part string, args ...string) (said string, err error) {
	cmd := playing(part, args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	s.programs, s.pids, s.stdins = append(s.programs, cmd), append(s.pids, cmd.Process.Pid), append(s.stdins, stdin)
	said, err = bufio.NewReader(stdout).ReadString('\n')
	return strings.TrimSpace(said), err
}

func (s *stage) end() {
	for i, cmd := range s.programs {
		s.stdins[i].Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// scan looks at everybody who plays: for root at all processes of the PID namespace.
func (s *stage) scan() error {
	fs, err := procfd.New("/proc")
	if err != nil {
		return err
	}
	source := &scan.Source{Kind: "auto", FS: fs, Detail: func(string, ...any) {}}
	if s.report.Scans%2 == 1 && s.iterators != nil {
		source = s.iterators
	}
	one := &scan.Scan{Source: source, PIDs: slices.Clone(s.pids), Selected: true, Thresholds: churnThresholds, Rules: diag.Rules()}
	if os.Getpid() == 1 {
		if err := one.Everybody(); err != nil {
			return err
		}
	}
	result, err := one.Run(context.Background())
	if err != nil {
		return err
	}
	for _, p := range result.Procs() {
		if p.Space.Source == diag.SourceIterators {
			s.report.Iterated++
			break
		}
	}
	s.report.Scans++
	s.report.Processes += len(result.Procs())
	s.judge(result)
	return nil
}

// judge compares a result with what there is to find.
func (s *stage) judge(r *diag.Result) {
	leaks := map[string]int{}
	for _, f := range r.Findings {
		switch {
		case f.Severity != diag.Leak:
			s.report.Risks[f.Rule]++
		case f.Proc.PID != s.leaker:
			s.wrong("blames %s", f.Message)
		default:
			leaks[f.Rule] += f.Sockets
		}
	}
	if want := map[string]int{"close-wait": churnCloseWait, "closed-fd": churnDead}; !maps.Equal(leaks, want) {
		s.wrong("the leaker leaks %v, found are %v", want, leaks)
	}
	for _, g := range r.Gaps {
		what, _, _ := strings.Cut(g.What, " of ")
		s.report.Gaps[what] += max(g.Count, 1)
		if strings.HasPrefix(g.Why, "they have ended") {
			s.report.Ended += g.Count
		}
	}
}

func (s *stage) wrong(format string, args ...any) {
	const some = 20
	if len(s.report.Wrong) < some {
		s.report.Wrong = append(s.report.Wrong, fmt.Sprintf("scan %d: ", s.report.Scans)+fmt.Sprintf(format, args...))
	}
}
