//go:build amd64 || arm64 || riscv64 || loong64

package procfd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// mostPolled bounds how many descriptors of one call are read.
const mostPolled = 1 << 16

const sizeofPollFD = 8 // int fd; short events, revents

var errPolled = errors.New("a thread waits in poll or select, and for what may not be read")

// polled reads from the thread's memory for which descriptors it waits in poll(2) or select(2). line is that of
// /proc/PID/task/TID/syscall; when it is another one afterwards the call has ended, and what was read says nothing.
func (f *FS) polled(p *Process, tid int, number uint64, line []byte) ([]int, error) {
	if !f.Native() {
		return nil, errPolled // the memory is reached by the reader's own numbers alone
	}
	before := bytes.Clone(line)
	var args [4]uint64
	for i := range args {
		var ok bool
		if args[i], ok = word(bytes.Fields(before), i); !ok {
			return nil, errPolled
		}
	}
	var fds []int
	var err error
	if isPoll(number) {
		fds, err = pollFDs(tid, args[0], args[1])
	} else {
		fds, err = selectFDs(tid, args[0], args[1:])
	}
	if err != nil {
		return nil, err
	}
	after, err := readInto(f.Path(p.PID, "task", strconv.Itoa(tid), "syscall"), make([]byte, 512))
	if err != nil || !bytes.Equal(before, after) {
		return nil, errPolled
	}
	return fds, nil
}

// word reads an argument of a call.
func word(fields [][]byte, i int) (uint64, bool) {
	if i+1 >= len(fields) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(bytes.TrimPrefix(fields[i+1], []byte("0x"))), 16, 64)
	return v, err == nil
}

func pollFDs(tid int, addr, n uint64) (fds []int, err error) {
	n &= 1<<32 - 1 // an int
	if n > mostPolled {
		return nil, errPolled
	}
	b, err := memory(tid, addr, int(n)*sizeofPollFD)
	for ; len(b) >= sizeofPollFD; b = b[sizeofPollFD:] {
		if fd := int32(binary.NativeEndian.Uint32(b)); fd >= 0 {
			fds = append(fds, int(fd))
		}
	}
	return fds, err
}

func selectFDs(tid int, n uint64, sets []uint64) (fds []int, err error) {
	n &= 1<<32 - 1
	if n > mostPolled {
		return nil, errPolled
	}
	for _, addr := range sets {
		if addr == 0 {
			continue
		}
		b, err := memory(tid, addr, int(n+63)/64*8)
		if err != nil {
			return nil, err
		}
		for i := range int(n) {
			if b[i/8]&(1<<(i%8)) != 0 {
				fds = append(fds, i)
			}
		}
	}
	return fds, nil
}

// memory reads n bytes of a thread's memory. Needs the right to ptrace it.
func memory(tid int, addr uint64, n int) ([]byte, error) {
	b := make([]byte, n)
	if n == 0 {
		return b, nil
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(n)
	got, err := unix.ProcessVMReadv(tid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: n}}, 0)
	if err != nil {
		return nil, fmt.Errorf("process_vm_readv: %w", err)
	}
	if got != n {
		return nil, errPolled
	}
	return b, nil
}
