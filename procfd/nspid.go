package procfd

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
)

// Numbers of processes belong to a PID namespace. A proc filesystem shows those of the namespace that it was mounted for, and system
// calls take those of the caller's. Where these are two, as in a container that has the host's /proc, a call would reach whoever has
// the number here.

// ErrOtherPIDs: a system call is needed, and the process has no number that the reader's calls take.
var ErrOtherPIDs = errors.New("system calls cannot reach it from this PID namespace: run in the host's (--pid=host, hostPID: true)")

// Native reports whether the numbers are those that the reader's system calls take.
func (f *FS) Native() bool {
	f.nativeOnce.Do(func() {
		own := f.selfPIDs()
		f.native = len(own) == 1 && own[0] == os.Getpid()
		f.depth = len(own)
	})
	return f.native
}

// selfPIDs are the reader's own numbers, from the namespace of the filesystem down to its own; nil when it has none there.
func (f *FS) selfPIDs() []int {
	link, err := os.Readlink(f.SelfPath())
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(link)
	if err != nil || pid < 1 {
		return nil
	}
	inner := f.innerPIDs(pid)
	return append([]int{pid}, inner...)
}

// mostStatus bounds what is read of /proc/PID/status: 65,536 groups of eleven bytes come before the line.
const mostStatus = 1 << 20

// innerPIDs reads the whole file for it.
func (f *FS) innerPIDs(pid int) []int {
	file, err := os.Open(f.Path(pid, "status"))
	if err != nil {
		return nil
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, mostStatus))
	if err != nil {
		return nil
	}
	inner, _ := parseNSpid(b)
	return inner
}

// parseNSpid reads the line "NSpid:\t4242\t7" of /proc/PID/status, without the first number, which is the one that was asked for. It is
// not ok when there is no such line, or when not all of it is there.
func parseNSpid(b []byte) (inner []int, ok bool) {
	_, rest, found := bytes.Cut(b, []byte("\nNSpid:"))
	line, _, whole := bytes.Cut(rest, []byte("\n"))
	if !found || !whole {
		return nil, false
	}
	for i, field := range slices.Collect(bytes.FieldsSeq(line)) {
		n, err := strconv.Atoi(string(field))
		if err != nil || n < 0 {
			return nil, false
		}
		if i > 0 {
			inner = append(inner, n)
		}
	}
	return inner, true
}

// ownNumber is what the reader's system calls call a process; 0: nothing, as far as is known. It is for [FS.isProcess] to prove it.
func (f *FS) ownNumber(p *Process) int {
	if f.Native() {
		return p.FDTask
	}
	// The namespaces of a process end in its own: as deep as the reader's there is its number in the reader's, or in one beside it.
	if i := f.depth - 2; i >= 0 && i < len(p.Inner) && p.FDTask == p.PID {
		return p.Inner[i]
	}
	return 0
}
