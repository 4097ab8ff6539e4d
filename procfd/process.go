package procfd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// userHZ is the unit of start times in /proc/PID/stat, the same on every architecture.
const userHZ = 100

// Process is a process and what it holds open. Its identity is PID and Start together: numbers are
// used again.
type Process struct {
	PID   int
	PPID  int    // the parent; 0: none that can be seen from here
	TGID  int    // another number than PID when that is a thread's; 0 when it could not be read
	Start uint64 // ticks of 10 ms since boot

	Name    string   // comm, at most 15 bytes, chosen by the process itself
	Exe     string   // target of /proc/PID/exe, "" when it may not be read
	Args    []string // argv, written by the process itself; "…" is the last where there are more than are kept
	Runtime string   // node, go, java, python, …, "" when it is not recognised
	UID     uint32   // effective
	Uptime  time.Duration
	Cgroup  string
	// Place is what Cgroup says.
	Place Place
	// Inner are the numbers that the process has in the PID namespaces below the one that is read, the innermost last. Nil: it is in
	// no other, or the kernel does not tell (before Linux 4.1).
	Inner   []int
	RSS     uint64        // bytes
	PSS     uint64        // bytes, its share of what several processes map; 0: not read, see [FS.ReadPSS]
	CPU     time.Duration // that it has used, of all its threads, in steps of 10 ms
	Threads int
	State   byte // of the thread group leader, as in /proc/PID/stat
	// Listed: a list of sockets names it, and nothing is known of it but its number, its name and those sockets.
	Listed bool
	// Kernel: a thread of the kernel. It holds nothing, and no more is read of it.
	Kernel bool

	// Netns is the inode of the network namespace, 0 when it may not be read.
	Netns uint64

	Open      int // open descriptors, -1 when they may not be counted
	SoftLimit uint64
	ByKind    [NumKinds]int
	// ByProto are the descriptors on sockets; all 0 where /proc is the source, which tells it of each socket by itself.
	ByProto   [NumProtos]int
	Sockets   []SocketFD // by task, then by descriptor
	Epolls    []int      // descriptors of epoll sets, in their order
	Urings    []int      // descriptors of io_uring rings, in their order
	PipePairs int        // pipes on which two descriptors are open, both ends as a rule
	// FDTask is the thread through which the descriptors were read, NetTask the one whose network
	// namespace counts: PID, but for a leader that has exited.
	FDTask, NetTask int

	// The epoll sets and rings of threads that have a descriptor table of their own. Such a table counts neither
	// in Open nor in ByKind.
	ownEpolls, ownUrings []taskFD

	Gaps []Gap
}

// flagKernelThread is PF_KTHREAD of the flags in /proc/PID/stat.
const flagKernelThread = 0x00200000

// NoLimit is the soft limit of a process that has none.
const NoLimit = ^uint64(0)

// SocketFD is a descriptor that is open on a socket of any kind.
type SocketFD struct {
	FD    int
	Inode uint64
	Task  int // thread whose own table it is in; 0: the process's
}

// taskFD is a descriptor of any kind; task as in [SocketFD].
type taskFD struct{ task, fd int }

// Gap is something of a process that could not be read.
type Gap struct {
	What  string // "descriptors", "network namespace", …
	Count int    // how many of them; 0 when that is not known
	Err   error
	// Remedy is what would let the reader see it, of one that is denied; "" when that is not known.
	Remedy string
}

// Denied reports whether more privilege would have closed the gap.
func (g Gap) Denied() bool { return errors.Is(g.Err, fs.ErrPermission) }

// Process reads one process with its descriptors. The error wraps [ErrGone] when there is none, or when it
// ended meanwhile.
func (f *FS) Process(pid int) (*Process, error) {
	p, err := f.Identify(pid)
	if err != nil {
		return nil, err
	}
	if err := f.ReadDescriptors(p, nil); err != nil {
		return nil, err
	}
	return p, nil
}

// Identify reads all of a process but its descriptors, which are most of the work.
func (f *FS) Identify(pid int) (*Process, error) {
	stat, err := f.stat(pid)
	if err != nil {
		return nil, gone(pid, err)
	}
	p := &Process{
		PID: pid, PPID: stat.ppid, Start: stat.start, Name: stat.comm, Threads: stat.threads, State: stat.state,
		RSS: uint64(max(stat.rss, 0)) * uint64(os.Getpagesize()), FDTask: pid, NetTask: pid, CPU: stat.cpu, Kernel: stat.flags&flagKernelThread != 0,
	}
	p.Uptime = p.At(f.Uptime())
	if p.Kernel {
		return p, nil
	}
	if err := p.identify(f); err != nil {
		return nil, gone(pid, err)
	}
	if p.SoftLimit, err = f.softLimit(pid); err != nil {
		p.gap("limits", 0, err)
	}
	return p, nil
}

// ReadPSS reads the process's share of the memory that is mapped, PSS. The kernel walks over every page of it, which takes some
// milliseconds a GiB. The error is that of the system; [fs.ErrPermission] as for descriptors.
func (f *FS) ReadPSS(p *Process) error {
	err := f.small(p.PID, "smaps_rollup", func(b []byte) (err error) {
		p.PSS, err = parsePSS(b)
		return err
	})
	if err != nil {
		return gone(p.PID, err)
	}
	return nil
}

// parsePSS reads the line "Pss:  4321 kB" of /proc/PID/smaps_rollup, in bytes.
func parsePSS(b []byte) (uint64, error) {
	kib, ok := bytes.CutSuffix(bytes.TrimSpace(lineAfter(b, "Pss:")), []byte(" kB"))
	n, err := strconv.ParseUint(string(kib), 10, 50)
	if !ok || err != nil {
		return 0, fmt.Errorf("smaps_rollup: malformed Pss %.200q", kib)
	}
	return n << 10, nil
}

// At is how long the process had been running when the host had been up for so long; 0 when that is not known. Start times
// are cut to 10 ms, so it may be so much too long.
func (p *Process) At(uptime time.Duration) time.Duration {
	if uptime == 0 {
		return 0
	}
	return max(uptime-time.Duration(p.Start)*(time.Second/userHZ), 0)
}

// Ended reports whether the process is a zombie without other threads: it holds nothing, and waits for its parent to ask how it
// ended.
func (p *Process) Ended() bool { return p.State == 'Z' && p.Threads <= 1 }

// ReadDescriptors reads what the process holds open into p. The error wraps [ErrGone] when it is not the
// process any more that was identified. A caller who works on something else meanwhile closes idle when
// that is done: then a large table is read on two threads. Nil: there is nothing else.
func (f *FS) ReadDescriptors(p *Process, idle <-chan struct{}) error {
	return f.readDescriptors(p, idle, nil)
}

// readDescriptors asks for no link of which known tells the socket.
func (f *FS) readDescriptors(p *Process, idle <-chan struct{}, known func(fd int) uint64) error {
	if err := f.descriptors(p, idle, known); err != nil {
		return gone(p.PID, err)
	}
	if !f.SameProcess(p) {
		return gone(p.PID, ErrGone)
	}
	return nil
}

// CountDescriptors is how many descriptors a process has open, 0 before Linux 6.2, where the kernel does not
// tell it in one call.
func (f *FS) CountDescriptors(pid int) int {
	return dirSize(f.Path(pid, "fd"))
}

// dirSize is 0 when it cannot be read.
func dirSize(dir string) int {
	info, err := os.Stat(dir)
	if err != nil {
		return 0
	}
	return int(info.Size())
}

// SameProcess reports whether pid is still the process that p was read from.
func (f *FS) SameProcess(p *Process) bool {
	stat, err := f.stat(p.PID)
	return err == nil && stat.start == p.Start
}

func gone(pid int, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, ErrGone) {
		return fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	return fmt.Errorf("process %d: %w", pid, err)
}

func (p *Process) identify(f *FS) error {
	proc, err := f.proc.Proc(p.PID)
	if err != nil {
		return err
	}
	living := proc
	if p.State == 'Z' && p.Threads > 1 { // its own files are empty
		p.NetTask = f.liveTask(p)
		if t, err := f.proc.Thread(p.PID, p.NetTask); err == nil {
			living = t
			if stat, err := t.Stat(); err == nil {
				p.RSS = uint64(max(stat.RSS, 0)) * uint64(os.Getpagesize())
			}
		}
	}
	p.Args = f.arguments(p)
	if p.Exe, err = living.Executable(); err != nil {
		p.gap("executable", 0, err)
	}
	p.Exe = strings.TrimSuffix(p.Exe, " (deleted)")
	p.Runtime = f.recognise(p)
	if p.UID, p.TGID, p.Inner, err = f.status(p.PID); err != nil {
		p.gap("status", 0, err)
	}
	p.Cgroup, p.Place = cgroupOf(proc)
	// A zombie in full is in no namespace, and holds nothing.
	if p.Netns, err = f.netnsInode(f.NetnsPath(p)); err != nil && (p.State != 'Z' || p.Threads > 1) {
		p.gap("network namespace", 0, err)
	}
	return nil
}

// Bounds of the arguments that are kept: a process may write some megabytes of them, and every one of its children has the same.
const (
	mostArgs     = 4096
	mostArgBytes = 16 << 10
)

// arguments reads them through a thread that lives; nil when they may not be read.
func (f *FS) arguments(p *Process) []string {
	file, err := os.Open(f.livePath(p, "cmdline"))
	if err != nil {
		return nil
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, mostArgBytes+1))
	if err != nil {
		return nil
	}
	return parseArgs(b)
}

// parseArgs reads arguments that each end in a zero byte.
func parseArgs(b []byte) []string {
	if len(b) == 0 {
		return []string{}
	}
	more := len(b) > mostArgBytes
	args := strings.SplitN(string(bytes.TrimRight(b[:min(len(b), mostArgBytes)], "\x00")), "\x00", mostArgs+1)
	if len(args) > mostArgs {
		args, more = args[:mostArgs], true
	}
	if more {
		args = append(args, "…")
	}
	return args
}

// liveTask is a thread that can be read in place of a leader that has exited; the leader when there is none.
func (f *FS) liveTask(p *Process) int {
	for _, tid := range f.threads(p.PID) {
		if _, err := f.netnsInode(f.Path(p.PID, "task", strconv.Itoa(tid), "ns", "net")); err == nil {
			return tid
		}
	}
	return p.PID
}

// NetnsPath is the file of the process's network namespace.
func (f *FS) NetnsPath(p *Process) string { return f.livePath(p, "ns", "net") }

// livePath is a file of the process, of a thread that lives where its leader has exited.
func (f *FS) livePath(p *Process, elem ...string) string {
	if p.NetTask != p.PID {
		elem = append([]string{"task", strconv.Itoa(p.NetTask)}, elem...)
	}
	return f.Path(p.PID, elem...)
}

// netnsInode reads a link of the form net:[N].
func (f *FS) netnsInode(path string) (uint64, error) { return f.nsInode(path, "net") }

// onlySpace is the number of every namespace where the numbers tell nothing.
const onlySpace = 1

// nsInode reads a link that names a namespace of a kind.
func (f *FS) nsInode(path, kind string) (uint64, error) {
	n, err := nsInode(path, kind)
	if err == nil && f.oneSpace {
		n = onlySpace
	}
	return n, err
}

// nsInode reads such a link as it is.
func nsInode(path, kind string) (uint64, error) {
	target, err := os.Readlink(path)
	if err != nil {
		return 0, err
	}
	return parseNs(target, kind)
}

// parseNs reads KIND:[N].
func parseNs(s, kind string) (uint64, error) {
	digits, ok := strings.CutPrefix(s, kind+":[")
	digits, ok2 := strings.CutSuffix(digits, "]")
	n, err := strconv.ParseUint(digits, 10, 64)
	if !ok || !ok2 || err != nil {
		return 0, fmt.Errorf("%s namespace link %q", kind, s)
	}
	return n, nil
}

// NetnsOf is the inode of the network namespace in which a process, or a thread, lives.
func (f *FS) NetnsOf(pid int) (uint64, error) {
	n, err := f.netnsInode(f.Path(pid, "ns", "net"))
	if err != nil {
		return 0, gone(pid, err)
	}
	return n, nil
}

// Netns is the inode of the reader's own network namespace, 0 when it may not be read.
func (f *FS) Netns() uint64 {
	n, err := f.netnsInode(f.root + "/self/ns/net")
	if err != nil {
		return 0
	}
	return n
}

func (p *Process) gap(what string, count int, err error) {
	p.Gaps = append(p.Gaps, Gap{What: what, Count: count, Err: err})
}
