package main

// What a host can have many of, and how much of it is read: the numbers that may grow are bounded, and what is beyond a bound is told. Times
// and memory are printed with -v.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowdEnv makes the test binary a process with much of something. It leaks crowdLeaked sockets, and ends with its standard input.
const (
	crowdEnv    = "SOCKLEAK_TEST_CROWD"
	crowdLeaked = 7
	crowdGrace  = 50 * time.Millisecond
)

var crowds = map[string]func(n int) error{
	"threads":        crowdOfThreads,
	"without leader": crowdOfThreads,
	"descriptors":    crowdOfDescriptors,
	"epoll":          crowdOfWaits,
	"arguments":      func(int) error { return nil },
	"forks":          func(n int) error { go forkStorm(n); return nil },
}

// During init, and on the main thread, which one of them ends.
func init() {
	role, number, ok := strings.Cut(os.Getenv(crowdEnv), ":")
	if !ok {
		return
	}
	runtime.LockOSThread()
	inPlace := make(chan bool)
	go func() {
		n, err := strconv.Atoi(number)
		if err == nil {
			err = leakInCloseWait(crowdLeaked)
		}
		if err == nil {
			err = crowds[role](n)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		time.Sleep(2 * crowdGrace) // until then nothing leaks
		inPlace <- true
		if role == "without leader" {
			awaitZombie()
		}
		fmt.Println("ready")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	<-inPlace
	if role == "without leader" {
		unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // the runtime takes it for a long call
	}
	select {}
}

// awaitZombie waits until the main thread has exited.
func awaitZombie() {
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", os.Getpid()))
		if err != nil || bytes.Contains(b, []byte(") Z ")) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

var crowdKeeps []any // what no garbage collector may close

// leakInCloseWait keeps connections that their peers have closed.
func leakInCloseWait(n int) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	for range n {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		crowdKeeps = append(crowdKeeps, c)
		peer, err := ln.Accept()
		if err != nil {
			return err
		}
		peer.Close()
	}
	return nil
}

func crowdOfThreads(n int) error {
	debug.SetMaxThreads(2 * n)
	started := make(chan bool)
	for range n {
		go func() {
			runtime.LockOSThread()
			started <- true
			select {}
		}()
	}
	for range n {
		<-started
	}
	return nil
}

func crowdOfDescriptors(n int) error {
	for range n {
		if _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
	}
	return nil
}

// crowdOfWaits has one epoll set with n entries. One is of a file and a number, and stays while the file is open, though the number is not.
func crowdOfWaits(n int) error {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	const first, numbers = 100, 4000
	for n > 0 {
		s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		for fd := first; err == nil && fd < first+numbers && n > 0; fd++ {
			n--
			if err = unix.Dup3(s, fd, unix.O_CLOEXEC); err == nil {
				err = unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
			}
			unix.Close(fd)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forkStorm starts processes that end at once, n at a time, and asks none how it ended before all are there: some are zombies for a moment.
func forkStorm(n int) {
	runtime.LockOSThread()
	for {
		for range n {
			pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
			if pid == 0 && errno == 0 {
				unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
			}
		}
		for {
			if _, err := unix.Wait4(-1, nil, 0, nil); err != nil {
				break
			}
		}
	}
}

// startCrowd starts such a process, which ends with the test.
func startCrowd(t *testing.T, role string, n int, args ...string) (pid int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s:%d", crowdEnv, role, n))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	must(t, out.(*os.File).SetReadDeadline(time.Now().Add(zooPatience)))
	answer := make([]byte, 200)
	if k, err := out.Read(answer); string(answer[:k]) != "ready\n" {
		t.Fatalf("%d %s: %q, %v", n, role, answer[:k], err)
	}
	return cmd.Process.Pid
}

// crowdReport is what of a report matters here.
type crowdReport struct {
	status    int
	Processes []struct {
		PID  int      `json:"pid"`
		Args []string `json:"args"`
		FDs  struct {
			Open int `json:"open"`
		} `json:"fds"`
	} `json:"processes"`
	Findings []struct {
		Rule     string `json:"rule"`
		Severity string `json:"severity"`
		PID      int    `json:"pid"`
		Sockets  int    `json:"sockets"`
	} `json:"findings"`
	Gaps []struct {
		What  string `json:"what"`
		Count int    `json:"count"`
		Why   string `json:"why"`
	} `json:"gaps"`
}

// crowdScan runs leakscan as a process of its own, and tells what it took.
func crowdScan(t *testing.T, args ...string) *crowdReport {
	t.Helper()
	cmd := exec.Command("sockleak", append([]string{"leakscan", "--json", "--grace", crowdGrace.String(), "--settle", "100ms"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	_ = cmd.Run() // its status tells
	r := &crowdReport{status: cmd.ProcessState.ExitCode()}
	if err := json.Unmarshal(stdout.Bytes(), r); err != nil {
		t.Fatalf("%v: status %d, %v\n%s", args, r.status, err, &stderr)
	}
	used, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	t.Logf("%v: %v, of which %v of a processor, and %d MiB", args, time.Since(began).Round(time.Millisecond),
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(time.Millisecond), used.Maxrss>>10)
	return r
}

// wantLeaked: the process leaks what it says, and nothing else does of those given.
func (r *crowdReport) wantLeaked(t *testing.T, pid int) {
	t.Helper()
	found := 0
	for _, f := range r.Findings {
		if f.PID == pid && f.Rule == "close-wait" {
			found += f.Sockets
		}
	}
	if found != crowdLeaked || r.status != statusLeak {
		t.Errorf("%d sockets in CLOSE-WAIT, want %d; status %d; findings %+v, gaps %+v", found, crowdLeaked, r.status, r.Findings, r.Gaps)
	}
}

func (r *crowdReport) wantNoGap(t *testing.T, part string) {
	t.Helper()
	for _, g := range r.Gaps {
		if strings.Contains(g.What, part) {
			t.Errorf("gap %+v", g)
		}
	}
}

// mayHave skips where so many threads or processes may not be had.
func mayHave(t *testing.T, n int) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); os.Getuid() != 0 && (err != nil || limit.Cur < 3*uint64(n)) {
		t.Skipf("%d processes and threads are allowed, %d are wanted", limit.Cur, n)
	}
	b, _ := os.ReadFile("/proc/sys/kernel/threads-max")
	if most, err := strconv.Atoi(strings.TrimSpace(string(b))); err != nil || most < 4*n {
		t.Skipf("the host may have %d threads, %d are wanted", most, n)
	}
	for dir := range cgroupDirs() {
		b, err := os.ReadFile(filepath.Join(dir, "pids.max"))
		if most, bad := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && bad == nil && most < 2*n {
			t.Skipf("%s may have %d threads, %d are wanted", dir, most, n)
		}
	}
}

// cgroupDirs are the directories of the groups that this process is in, of the unified hierarchy or of that of process numbers.
func cgroupDirs() func(yield func(string) bool) {
	return func(yield func(string) bool) {
		b, _ := os.ReadFile("/proc/self/cgroup")
		for line := range strings.Lines(string(b)) {
			parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(parts) < 3 {
				continue
			}
			for path := parts[2]; path != "/" && path != "." && path != ""; path = filepath.Dir(path) {
				if !yield(filepath.Join("/sys/fs/cgroup", parts[1], path)) {
					return
				}
			}
		}
	}
}

// crowdOf is how many there are to be, unless the environment says so.
func crowdOf(t *testing.T, env string, n int) int {
	t.Helper()
	s := os.Getenv(env)
	if s == "" {
		return n
	}
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}

// What a test of each day has less of: a process may have 10,000 threads, but the race detector ends at 8,128; and a host 30,000 processes.
const (
	threadsEnv   = "SOCKLEAK_TEST_THREADS"
	processesEnv = "SOCKLEAK_TEST_PROCESSES"
)

// Each thread can have descriptors of its own, and can wait for a socket: all are looked at, also where the first has exited.
func TestBoundsThreads(t *testing.T) {
	n := crowdOf(t, threadsEnv, 7000)
	for _, role := range []string{"threads", "without leader"} {
		t.Run(role, func(t *testing.T) {
			mayHave(t, n)
			pid := startCrowd(t, role, n)
			r := crowdScan(t, strconv.Itoa(pid))
			r.wantLeaked(t, pid)
			r.wantNoGap(t, "threads")
		})
	}
}

func TestBoundsDescriptors(t *testing.T) {
	const n = 19_000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max < n+1000 {
		t.Skipf("a process may have %d descriptors", limit.Max)
	}
	pid := startCrowd(t, "descriptors", n)
	r := crowdScan(t, strconv.Itoa(pid))
	r.wantLeaked(t, pid)
	if len(r.Processes) != 1 || r.Processes[0].FDs.Open < n+crowdLeaked {
		t.Errorf("%+v, want %d descriptors and more", r.Processes, n)
	}
}

// The file of such a set has some megabytes.
func TestBoundsEpoll(t *testing.T) {
	pid := startCrowd(t, "epoll", 100_000)
	r := crowdScan(t, strconv.Itoa(pid))
	r.wantLeaked(t, pid)
}

func TestBoundsArguments(t *testing.T) {
	pid := startCrowd(t, "arguments", 0, slices.Repeat([]string{strings.Repeat("a", 127<<10)}, 8)...)
	r := crowdScan(t, strconv.Itoa(pid))
	r.wantLeaked(t, pid)
	if len(r.Processes) != 1 || len(strings.Join(r.Processes[0].Args, "")) > 8<<10 || r.Processes[0].Args[len(r.Processes[0].Args)-1] != "…" {
		t.Errorf("%+v", r.Processes)
	}
}

// Processes that start and end by the thousand while all are looked at take nothing from those that stay, and nothing is said of them.
func TestBoundsForkStorm(t *testing.T) {
	const atOnce = 50
	mayHave(t, 10*atOnce)
	storm := startCrowd(t, "forks", atOnce)
	leaker := startCrowd(t, "arguments", 0)
	first := startedSoFar(t)
	for range 3 {
		r := crowdScan(t, "--all")
		r.wantLeaked(t, leaker)
		r.wantLeaked(t, storm)
		for _, f := range r.Findings {
			if f.Severity == "leak" && f.PID > leaker && descends(f.PID, storm) {
				t.Errorf("a child that holds what its parent does for a moment: %+v", f)
			}
		}
	}
	t.Logf("%d processes were started meanwhile", startedSoFar(t)-first)
}

// descends reports whether a process was started by another; one that has ended is taken for such.
func descends(pid, parent int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	return len(fields) > 1 && fields[1] == strconv.Itoa(parent)
}

// startedSoFar is how many processes and threads the host has started since it was booted.
func startedSoFar(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "processes "); ok {
			started, err := strconv.Atoi(strings.TrimSpace(n))
			must(t, err)
			return started
		}
	}
	t.Fatal("/proc/stat does not tell it")
	return 0
}

// fakeHost is a proc filesystem with so many processes of one host, each with a class path, a deep group and three descriptors.
func fakeHost(t *testing.T, n int) string {
	t.Helper()
	root := t.TempDir()
	var st unix.Stat_t
	must(t, unix.Stat("/proc/self/ns/net", &st))
	netns := fmt.Sprintf("net:[%d]", st.Ino)
	write := func(path, content string) {
		path = filepath.Join(root, path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			must(t, os.Symlink(target, path))
			return
		}
		must(t, os.WriteFile(path, []byte(content), 0o644))
	}
	write("uptime", "3000.50 5000.00\n")
	write("self/ns/net", "-> "+netns)
	cgroup := "0::" + strings.Repeat("/"+strings.Repeat("g", 200), 20) + "\n"
	args := "java\x00-cp\x00" + strings.Repeat("/srv/lib/some.jar:", 500) + "\x00Main\x00"
	for pid := 1000; pid < 1000+n; pid++ {
		for name, content := range map[string]string{
			"stat":    fmt.Sprintf("%[1]d (java) S 1 %[1]d %[1]d 0 -1 4194560 1000 0 0 0 10 5 0 0 20 0 1 0 250000 123456789 2048 0\n", pid),
			"status":  fmt.Sprintf("Name:\tjava\nTgid:\t%d\nUid:\t1000\t1000\t1000\t1000\n", pid),
			"limits":  "Max open files            1024                 1048576              files     \n",
			"cmdline": args, "cgroup": cgroup, "exe": "-> /usr/bin/java", "ns/net": "-> " + netns,
			"fd/0": "-> /dev/null", "fd/1": "-> pipe:[1]", "fd/7": fmt.Sprintf("-> socket:[%d]", 1<<40+pid),
		} {
			write(fmt.Sprintf("%d/%s", pid, name), content)
		}
	}
	return root
}

// Of a host with many processes each is looked at, and what is kept of one is bounded.
func TestBoundsProcesses(t *testing.T) {
	n := crowdOf(t, processesEnv, 1000)
	r := crowdScan(t, "--all", "--proc-root", fakeHost(t, n), "--top", "0")
	if len(r.Processes) != n || r.status != statusOK && r.status != statusPartial {
		t.Errorf("%d processes, want %d; status %d", len(r.Processes), n, r.status)
	}
	for _, p := range r.Processes {
		if len(strings.Join(p.Args, "")) > 8<<10 || p.FDs.Open != 3 {
			t.Fatalf("%+v", p)
		}
	}
}
