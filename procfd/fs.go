package procfd

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
)

// ErrGone: no such process, or it ended while it was read.
var ErrGone = errors.New("no such process")

// FS is a mounted proc filesystem.
type FS struct {
	root string
	proc procfs.FS
	// counts: the directories of descriptors tell how many there are (Linux 6.2).
	counts bool
	// oneSpace: the links in /proc/PID/ns lead to no namespaces, and their numbers change from one reading to the next.
	oneSpace bool

	mu          sync.Mutex
	executables []executable // that were read

	buffers sync.Pool // of *smallFile

	nativeOnce sync.Once
	native     bool // see [FS.Native]
	depth      int  // how many PID namespaces there are from the filesystem's to the reader's, both included; 0: it is not below
}

// liveRoot is where the reader's own processes are: system calls take the numbers that it shows.
const liveRoot = "/proc"

// New opens the proc filesystem at root, /proc as a rule.
func New(root string) (*FS, error) {
	proc, err := procfs.NewFS(root)
	if err != nil {
		return nil, fmt.Errorf("open proc filesystem: %w", err)
	}
	root = filepath.Clean(root)
	return &FS{root: root, proc: proc, counts: countsDescriptors(root), oneSpace: hasNoSpaces(root)}, nil
}

// None is a proc filesystem in which there is nothing, for systems that have none.
func None() *FS { return &FS{root: os.DevNull} }

// Path is the path of a file of a process.
func (f *FS) Path(pid int, elem ...string) string {
	return filepath.Join(append([]string{f.root, strconv.Itoa(pid)}, elem...)...)
}

// SelfPath is the link that names the reader's own process.
func (f *FS) SelfPath() string { return filepath.Join(f.root, "self") }

// NetPath is the path of a file of the network namespace of pid, or of the reader's when pid is 0.
func (f *FS) NetPath(pid int, name string) string {
	if pid == 0 {
		return filepath.Join(f.root, "net", name)
	}
	return f.Path(pid, "net", name)
}

// PIDs lists the processes that can be seen, in the order of their numbers.
func (f *FS) PIDs() ([]int, error) {
	entries, err := os.ReadDir(f.root)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids) // the names came in the order of their digits
	return pids, nil
}

// Parents tells the parent of every process that can be seen; 0: none that can be seen from here. It costs one small
// read for each.
func (f *FS) Parents() (map[int]int, error) {
	pids, err := f.PIDs()
	if err != nil {
		return nil, err
	}
	parents := make(map[int]int, len(pids))
	for _, pid := range pids {
		if stat, err := f.stat(pid); err == nil {
			parents[pid] = stat.ppid
		}
	}
	return parents, nil
}

// Host is the machine, as far as a report needs it.
type Host struct {
	Name   string
	Kernel string
	Uptime time.Duration // 0 when it could not be read; includes time asleep
}

// Host reads the machine's name, kernel release and uptime. What cannot be read stays zero.
func (f *FS) Host() Host {
	return Host{
		Name:   f.line("sys", "kernel", "hostname"),
		Kernel: f.line("sys", "kernel", "osrelease"),
		Uptime: f.Uptime(),
	}
}

func (f *FS) line(elem ...string) string {
	b, err := os.ReadFile(filepath.Join(append([]string{f.root}, elem...)...))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

// Uptime reads the first number of /proc/uptime: how long ago the host was booted, time asleep included, to a hundredth of a
// second. 0 when it cannot be read. Of the live one the clock that the kernel writes there tells it without a file.
func (f *FS) Uptime() time.Duration {
	if f.root == liveRoot {
		if up := sinceBoot(); up > 0 {
			return up.Truncate(time.Second / userHZ)
		}
	}
	return parseUptime(f.line("uptime"))
}

// parseUptime is 0 for what is no time.
func parseUptime(line string) time.Duration {
	first, _, _ := strings.Cut(line, " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil || !(seconds >= 0 && seconds < 1e9) { // so written, NaN is out of range, too
		return 0
	}
	// 12.34 is a little less as a float, and a time before the one that the kernel wrote.
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// NetSysctls are the settings of a network namespace that bear on leaks. Zero: could not be read.
type NetSysctls struct {
	KeepaliveTime      time.Duration // net.ipv4.tcp_keepalive_time
	PortLow, PortHigh  int           // net.ipv4.ip_local_port_range
	MaxOrphans         int           // net.ipv4.tcp_max_orphans
	MaxTimeWaitBuckets int           // net.ipv4.tcp_max_tw_buckets
}

// NetSysctls reads the settings of the network namespace of the calling thread: /proc/sys/net shows
// the reader's own, whoever's /proc/PID it stands beside.
func (f *FS) NetSysctls() NetSysctls {
	var s NetSysctls
	s.KeepaliveTime = time.Duration(f.sysctl("net.ipv4.tcp_keepalive_time", 0)) * time.Second
	s.PortLow = f.sysctl("net.ipv4.ip_local_port_range", 0)
	s.PortHigh = f.sysctl("net.ipv4.ip_local_port_range", 1)
	s.MaxOrphans = f.sysctl("net.ipv4.tcp_max_orphans", 0)
	s.MaxTimeWaitBuckets = f.sysctl("net.ipv4.tcp_max_tw_buckets", 0)
	return s
}

func (f *FS) sysctl(name string, i int) int {
	v, err := f.proc.SysctlInts(name)
	if err != nil || i >= len(v) || v[i] < 0 || v[i] > math.MaxInt32 { // the kernel's are of 32 bits
		return 0
	}
	return v[i]
}

// Sockstat is the TCP line of /proc/net/sockstat and sockstat6. -1: not told.
type Sockstat struct {
	InUse  int // this namespace, IPv4
	InUse6 int // this namespace, IPv6
	Orphan int // this namespace
	TW     int // this namespace
	Alloc  int // every namespace of the host, dark sockets included
}

// SockstatHere reads the counters of the network namespace of the calling thread, which may not be that of its process.
func (f *FS) SockstatHere() (Sockstat, error) {
	return f.sockstat(filepath.Join(f.root, "thread-self"))
}

// Sockstat reads the counters of the network namespace of pid, or of the reader's when pid is 0.
func (f *FS) Sockstat(pid int) (Sockstat, error) {
	if pid == 0 {
		return f.sockstat(f.root)
	}
	return f.sockstat(f.Path(pid))
}

// sockstat reads them below a directory, DIR/net/…, as the library does.
func (f *FS) sockstat(dir string) (Sockstat, error) {
	s := Sockstat{InUse: -1, InUse6: -1, Orphan: -1, TW: -1, Alloc: -1}
	proc, err := procfs.NewFS(dir)
	if err != nil {
		return s, fmt.Errorf("read sockstat: %w", err)
	}
	v4, err := proc.NetSockstat()
	if err != nil {
		return s, fmt.Errorf("read sockstat: %w", err)
	}
	for _, p := range v4.Protocols {
		if p.Protocol == "TCP" {
			s.InUse, s.Orphan, s.TW, s.Alloc = orUnknown(&p.InUse), orUnknown(p.Orphan), orUnknown(p.TW), orUnknown(p.Alloc)
		}
	}
	if v6, err := proc.NetSockstat6(); err == nil {
		for _, p := range v6.Protocols {
			if p.Protocol == "TCP6" {
				s.InUse6 = orUnknown(&p.InUse)
			}
		}
	}
	return s, nil
}

func orUnknown(n *int) int {
	if n == nil || *n < 0 {
		return -1
	}
	return *n
}

// Names are what a process calls itself and its executable, "" for what may not be read; the error is of the executable, which threads of
// the kernel do not have.
func (f *FS) Names(pid int) (comm, exe string, err error) {
	proc, err := f.proc.Proc(pid)
	if err != nil {
		return "", "", err
	}
	comm, _ = proc.Comm()
	exe, err = proc.Executable()
	if err != nil && f.isKernel(pid) {
		err = nil // it has none
	}
	return comm, strings.TrimSuffix(exe, " (deleted)"), err
}
