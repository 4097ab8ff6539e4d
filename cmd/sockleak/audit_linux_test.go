package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/cmd/internal/inject"
)

// quiet are the calls of a runtime, which are about nothing but the process itself, and not shown.
var quiet = []string{
	"futex", "nanosleep", "clock_nanosleep", "clock_gettime", "restart_syscall", "mmap", "munmap", "mprotect", "madvise", "mincore", "brk", "mremap", "getrandom",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "timer_create", "timer_settime", "timer_delete", "setitimer",
	"clone", "clone3", "exit", "exit_group", "sched_yield", "sched_getaffinity", "set_tid_address", "set_robust_list", "rseq", "membarrier",
	"getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getrusage", "uname", "capget", "prctl", "getcwd",
	"epoll_create1", "epoll_pwait", "eventfd2", "ppoll", "pipe2",
}

// silent are those that tell something, and leave everything as it is, whatever they are about.
var silent = []string{
	"fstat", "newfstatat", "statx", "statfs", "fstatfs", "readlinkat", "getxattr", "lgetxattr", "faccessat", "access", "kcmp", "close",
	"pidfd_open", "pidfd_getfd", "getsockname", "arch_prctl",
}

// told are the options of a socket that can be read without changing it. SO_ERROR is not: reading it takes it.
var told = map[uint64][]uint64{
	unix.SOL_SOCKET: {
		unix.SO_KEEPALIVE, unix.SO_LINGER, unix.SO_RCVTIMEO, unix.SO_SNDTIMEO, unix.SO_PEERNAME, unix.SO_PROTOCOL, unix.SO_DOMAIN, unix.SO_COOKIE,
		unix.SO_NETNS_COOKIE, unix.SO_TYPE,
	},
	unix.IPPROTO_TCP: {unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT, unix.TCP_USER_TIMEOUT, unix.TCP_INFO},
}

// messages are the types of netlink that ask: TCPDIAG_GETSOCK and SOCK_DIAG_BY_FAMILY. SOCK_DESTROY, which is 21, is none of them.
var messages = []uint16{18, 20}

// audit knows what is there before a scan.
type audit struct {
	foreign map[string]bool // socket:[INODE] of every process
	seen    map[string]int
	pid     int // the first that is seen
}

// newAudit lists the sockets of all processes that can be seen, this one's among them.
func newAudit(t *testing.T) *audit {
	t.Helper()
	a := &audit{foreign: map[string]bool{}, seen: map[string]int{}}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	must(t, err)
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:") {
			a.foreign[to] = true
		}
	}
	return a
}

// wrong says what a call might change; nothing: it is one that a scan makes.
func (a *audit) wrong(c *inject.Call) string {
	a.seen[c.Name]++
	if a.pid == 0 {
		a.pid = c.PID
	}
	file := strings.HasPrefix(c.Path, "/") && !strings.HasPrefix(c.Path, "/dev/")
	own := strings.HasPrefix(c.Path, "socket:") && !a.foreign[c.Path]
	request := uint32(c.Args[1])
	switch c.Name {
	case "openat", "openat2":
		return a.opened(c)
	case "execve", "write": // its own start, and what it prints
		if c.Name == "write" && (c.Args[0] < 1 || c.Args[0] > 2) {
			return "it writes"
		}
	case "read", "pread64", "lseek", "getdents64", "epoll_ctl":
		name, _, _ := strings.Cut(c.Path, ":") // the runtime has an eventfd, which it reads, and tries to wait for what is open
		if !file && name != "anon_inode" && (name != "pipe" || c.Name != "epoll_ctl") {
			return "of what is not a file"
		}
	case "socket":
		if c.Args[0] != unix.AF_NETLINK || c.Args[2] != unix.NETLINK_INET_DIAG {
			return "a socket of another kind"
		}
	case "bind", "recvfrom", "setsockopt":
		if !own {
			return "of a socket that is not its own"
		}
	case "sendto":
		b := c.Bytes(c.Args[1], 6) // struct nlmsghdr: length, type
		if !own || b == nil || !slices.Contains(messages, binary.NativeEndian.Uint16(b[4:])) {
			return fmt.Sprintf("message % x", b)
		}
	case "getsockopt":
		if !slices.Contains(told[c.Args[1]], c.Args[2]) {
			return "an option that may not be read"
		}
	case "fcntl":
		if request == unix.F_SETFL && a.foreign[c.Path] || !slices.Contains([]uint32{unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_DUPFD_CLOEXEC}, request) {
			return "of what others have open"
		}
	case "ioctl":
		if request != unix.TCGETS && request != unix.TIOCGWINSZ && request != unix.SIOCGSKNS {
			return "a request that is not for reading"
		}
	case "setns":
		if c.Args[1] != unix.CLONE_NEWNET {
			return "another namespace than that of a network"
		}
	case "unshare":
		if c.Args[0]&^(unix.CLONE_FS|unix.CLONE_FILES) != 0 {
			return "a namespace"
		}
	case "bpf":
		return a.bpf(c)
	case "prlimit64":
		if c.Args[0] != 0 {
			return "of another process"
		}
	case "tgkill": // as the runtime does to have a thread look up
		if int(c.Args[0]) != a.pid || syscall.Signal(c.Args[2]) != unix.SIGURG {
			return "to another process"
		}
	default:
		if !slices.Contains(silent, c.Name) {
			return "a new kind"
		}
	}
	return ""
}

// bpf: programs are loaded and run as iterators, which show what there is, and on a socket to try whether they load.
func (a *audit) bpf(c *inject.Call) string {
	const (
		mapCreate, mapUpdate, load, info, btfLoad, mapFreeze, link, iterate, token = 0, 2, 5, 15, 18, 22, 28, 33, 36

		socketFilter, kprobe, tracing = 1, 2, 26 // types of programs
		traceIter                     = 28       // what a program is attached as
	)
	attr := c.Bytes(c.Args[1], 12)
	if attr == nil {
		return "what cannot be seen"
	}
	switch c.Args[0] {
	case mapCreate, mapUpdate, info, btfLoad, mapFreeze, iterate, token:
		return ""
	case load:
		if kind := binary.NativeEndian.Uint32(attr); kind == socketFilter || kind == kprobe || kind == tracing { // the first two have no effect unless attached
			return ""
		}
	case link:
		if binary.NativeEndian.Uint32(attr[8:]) == traceIter {
			return ""
		}
	}
	return fmt.Sprintf("command %d, % x", c.Args[0], attr)
}

// opened: files are read, and descriptors of others are not opened anew, which has effects where they are devices, pipes and the like.
func (a *audit) opened(c *inject.Call) string {
	flags, path := c.Args[2], c.Path
	if c.Name == "openat2" { // struct open_how: flags, mode, resolve
		b := c.Bytes(c.Args[2], 8)
		if b == nil {
			return "flags that cannot be seen"
		}
		flags = binary.NativeEndian.Uint64(b)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.At, path)
	}
	const creates = unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND | unix.O_WRONLY | unix.O_RDWR
	if flags&creates != 0 {
		return fmt.Sprintf("flags %#x: for writing", flags)
	}
	if fd, err := filepath.Match("/proc/[0-9]*/fd/*", path); flags&unix.O_PATH == 0 && (fd || err != nil) {
		return "a descriptor of another process"
	}
	return ""
}

// TestSystemCalls sees every system call of the commands that look, and fails at one that could change what is looked at, or is new.
func TestSystemCalls(t *testing.T) {
	target := strconv.Itoa(faultTarget(t, "leaky"))
	all := map[string]int{}
	for _, args := range [][]string{
		{"leakscan", target, "--deep"}, {"leakscan", target, "--source", "proc"}, {"leakscan", "--all", "--netns", "all"}, {"leakscan", target, "--interval", "10ms", "--count", "3"},
		{"tcpstat"}, {"tcpstat", "--netns", "all"}, {"tcpstat", "--by", "process"}, {"tcpstat", "--by", "container"}, {"record", "-", target},
		{"leakscan", target, "--source", "bpf"}, {"tcpstat", "--by", "process", "--source", "bpf"},
	} {
		if os.Geteuid() != 0 && slices.Contains(args, "bpf") {
			continue
		}
		a := newAudit(t)
		var out bytes.Buffer
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Stdout, cmd.Stderr, cmd.Stdin, cmd.Env = &out, &out, strings.NewReader(""), os.Environ()
		faults := 0
		err := inject.RunAllBut(cmd, "sockleak", quiet, func(c *inject.Call) inject.Answer {
			if wrong := a.wrong(c); wrong != "" {
				if faults++; faults < 10 {
					t.Errorf("%q: %s of %q (in %q), %#x: %s", args, c.Name, c.Path, c.At, c.Args, wrong)
				}
			}
			return inject.Answer{}
		})
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == statusFailed || a.seen["openat"] == 0 {
			t.Fatalf("%q: %v, %d files\n%s", args, err, a.seen["openat"], &out)
		}
		for name, n := range a.seen {
			all[name] += n
		}
	}
	t.Logf("calls: %v", all)
	for _, name := range []string{"socket", "sendto", "recvfrom", "readlinkat", "getdents64"} {
		if all[name] == 0 {
			t.Errorf("no %s: not every call is seen", name)
		}
	}
}
