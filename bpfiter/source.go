//go:build linux

package bpfiter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Source is the programs in the kernel. Any number of goroutines may use it at the same time.
type Source struct {
	programs  map[string]*ebpf.Program
	variables map[string]*ebpf.Variable
	hz        uint64
	buffers   sync.Pool

	mu     sync.Mutex
	uppers [64]upper
}

// upper is one of iter.c.
type upper struct{ TID, From uint32 }

// The programs, by their names.
const (
	descriptors = "descriptors"
	owners      = "owners"
	reader      = "reader"
)

// Open loads what [Source.Descriptors] needs. The error says in one line why the kernel does not take it; it wraps [os.ErrPermission] where
// that is for want of a capability.
func Open() (*Source, error) { return load(reader, descriptors) }

// OpenOwners loads what [Source.Inodes] needs.
func OpenOwners() (*Source, error) { return load(reader, owners) }

// ErrOld: before that release, an iterator was over all processes at once.
var ErrOld = errors.New("BPF: an iterator over the descriptors of one process needs Linux 6.1")

var errNoBTF = errors.New("BPF: the kernel does not tell its types: no BTF (CONFIG_DEBUG_INFO_BTF)")

func hasBTF() bool {
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	return err == nil
}

// older reports whether the kernel is older than a release.
func older(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var is, point int
	n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &is, &point)
	return n == 2 && (is < major || is == major && point < minor)
}

func oneLine(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES) && !errors.As(err, &verifier):
		return fmt.Errorf("BPF: %w (CAP_BPF and CAP_PERFMON, or root; kernel lockdown may forbid it)", os.ErrPermission)
	case errors.Is(err, ebpf.ErrNotSupported) && !hasBTF():
		return errNoBTF
	case older(6, 1):
		return ErrOld
	case errors.As(err, &verifier) && strings.Contains(complaint(verifier.Log), "helper bpf_probe_read"):
		return fmt.Errorf("BPF: %w: kernel lockdown (confidentiality) forbids programs to read its memory", os.ErrPermission)
	case errors.As(err, &verifier):
		return fmt.Errorf("BPF: the kernel refuses the programs: %s: %s", verifier.Cause.Error(), complaint(verifier.Log)) // EACCES is no lack of rights here
	}
	return fmt.Errorf("BPF: %w", err)
}

// complaint is what the verifier objects to: the last line of its log but for its statistics.
func complaint(log []string) string {
	for _, line := range slices.Backward(log) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "processed ") && !strings.HasPrefix(line, "verification time ") && !strings.HasPrefix(line, "stack depth ") {
			return line
		}
	}
	return "no reason given"
}

// Close unloads the programs.
func (s *Source) Close() {
	for _, p := range s.programs {
		p.Close()
	}
}

// try has the kernel iterate over this process, and learns the length of a jiffy.
func (s *Source) try() error {
	row, err := s.reader()
	if err != nil {
		return err
	}
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &at); err != nil {
		return fmt.Errorf("BPF: %w", err)
	}
	if s.programs[descriptors] != nil {
		s.hz, err = tickRate(row.Jiffies, time.Duration(at.Nano()))
	}
	return err
}

// reader tells the time, and the number of this thread in the first PID namespace.
func (s *Source) reader() (row iterReaderRow, err error) {
	var b []byte
	err = s.read(context.Background(), reader, os.Getpid(), func(more []byte) bool {
		b = append(b, more...)
		return true
	})
	if err == nil && len(b) < int(unsafe.Sizeof(row)) {
		err = ErrNone
	}
	if err != nil {
		return row, err
	}
	return *(*iterReaderRow)(unsafe.Pointer(&b[0])), nil
}

// tickRates are values of CONFIG_HZ.
var tickRates = []uint64{100, 250, 300, 1000, 24, 48, 64, 128, 200, 256, 500, 1024, 1200}

// tickRate is the rate of a counter of jiffies so long after the start: they began at -300 s as a 32-bit number.
func tickRate(jiffies uint64, up time.Duration) (uint64, error) {
	best, off, next := uint64(0), 0.0, 0.0
	for _, hz := range tickRates {
		wrong := abs(float64(int64(jiffies)-1<<32)-float64(hz)*(up.Seconds()-300)) / float64(hz) // seconds
		switch {
		case best == 0 || wrong < off:
			best, off, next = hz, wrong, off
		case next == 0 || wrong < next:
			next = wrong
		}
	}
	if off > 2 || next < 4*off {
		return 0, fmt.Errorf("BPF: the length of a jiffy is not certain %v after the start", up.Round(time.Second))
	}
	return best, nil
}

func abs(f float64) float64 {
	if f < 0 {
		return -f
	}
	return f
}

// buffer is where the kernel writes: it keeps eight pages of rows for one call.
type buffer [32 << 10]byte

// mostEmpty bounds how often in a row the kernel says that it went over a million objects without a row.
const mostEmpty = 1000

// read runs a program over the descriptors of a process, threads with tables of their own included, and gives take what it writes, piece by
// piece, until it has enough; a piece is valid during its call, and may end in the midst of a row. A process that there is not has none, which is no error.
func (s *Source) read(ctx context.Context, program string, pid int, take func([]byte) bool) error {
	link, err := linkIter(s.programs[program].FD(), pid)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil
	case errors.Is(err, unix.E2BIG), errors.Is(err, unix.EINVAL):
		return ErrOld
	case err != nil:
		return oneLine(err)
	}
	defer unix.Close(link)
	iter, err := bpf(bpfIterCreate, unsafe.Pointer(&struct{ link, flags uint32 }{uint32(link), 0}), 8)
	runtime.KeepAlive(s)
	if err != nil {
		return oneLine(err)
	}
	defer unix.Close(iter)
	buf := s.buffers.Get().(*buffer)
	defer s.buffers.Put(buf)
	for empty := 0; empty < mostEmpty; {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch n, err := unix.Read(iter, buf[:]); {
		case n > 0:
			empty = 0
			if !take(buf[:n]) {
				return nil
			}
		case err == nil:
			return nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			empty++
		default:
			return fmt.Errorf("BPF: read the iterator: %w", err)
		}
	}
	return errors.New("BPF: the iterator does not come to an end")
}

// allDescriptors is above the number of each.
const allDescriptors = 1<<32 - 1

// Table is the descriptors of a process.
type Table struct {
	PID int
	// Most is about how many there are, 0: not known.
	Most int
	// Halves has two goroutines read it side by side, which takes both a third longer: the kernel locks the process for each descriptor.
	Halves bool
}

// halves has two goroutines read a process, or f alone all of it. Each gets those from one number on and below another; what it reads beyond
// these is not to be taken.
func (s *Source) halves(t Table, f func(part int, from, to uint32) error) error {
	if !t.Halves || t.Most < 2 {
		return f(0, 0, allDescriptors)
	}
	middle := uint32(t.Most / 2)
	second := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		this, err := s.reader()
		passes := err == nil && s.passOver(this.Tid, middle)
		err = f(1, middle, allDescriptors)
		if passes {
			s.passOver(this.Tid, 0)
		}
		second <- err
	}()
	err := f(0, 0, middle)
	if err2 := <-second; err == nil {
		err = err2
	}
	return err
}

// passOver has the programs pass over the descriptors below a number that they show a thread, 0: over none. Where another thread
// has its place, they show it all.
func (s *Source) passOver(tid, from uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &s.uppers[tid%uint32(len(s.uppers))]
	if u.TID != 0 && u.TID != tid {
		return false
	}
	*u = upper{tid, from}
	if from == 0 {
		*u = upper{}
	}
	return s.variables["uppers"].Set(&s.uppers) == nil
}

// Commands of bpf(2).
const (
	bpfProgLoad   = 5
	bpfLinkCreate = 28
	bpfIterCreate = 33
)

// bpfTracing is BPF_PROG_TYPE_TRACING.
const bpfTracing = 26

// linkIter is BPF_LINK_CREATE of an iterator over the threads of a process, which the library does not offer.
func linkIter(program, pid int) (fd int, err error) {
	info := &struct{ tid, pid, pidfd uint32 }{pid: uint32(pid)} // union bpf_iter_link_info
	var pinned runtime.Pinner                                   // what the kernel is told the address of as a number may not move, as a stack does
	pinned.Pin(info)
	defer pinned.Unpin()
	attr := struct {
		program, target, attach, flags uint32
		info                           uint64
		size                           uint32
		_                              [36]byte
	}{program: uint32(program), attach: uint32(ebpf.AttachTraceIter), info: uint64(uintptr(unsafe.Pointer(info))), size: uint32(unsafe.Sizeof(*info))}
	return bpf(bpfLinkCreate, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

func bpf(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		fd, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR, unix.EAGAIN:
			continue
		}
		return -1, errno
	}
}
