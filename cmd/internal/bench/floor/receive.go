//go:build linux

package main

import (
	"encoding/binary"
	"syscall"
	"unsafe"
)

var native = binary.NativeEndian

// receive is recvfrom(2) without a word to the scheduler.
func receive(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
	return int(n), errno
}
