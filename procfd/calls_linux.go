//go:build amd64 || arm64 || riscv64 || loong64

package procfd

import (
	"slices"

	"golang.org/x/sys/unix"
)

const knowsCalls = true

// callFDs are the calls that can sleep on a socket, with the positions of the descriptors among their arguments.
var callFDs = map[uint64][]int{
	unix.SYS_READ: {0}, unix.SYS_READV: {0}, unix.SYS_PREAD64: {0}, unix.SYS_PREADV2: {0},
	unix.SYS_WRITE: {0}, unix.SYS_WRITEV: {0}, unix.SYS_PWRITEV2: {0},
	unix.SYS_RECVFROM: {0}, unix.SYS_RECVMSG: {0}, unix.SYS_RECVMMSG: {0},
	unix.SYS_SENDTO: {0}, unix.SYS_SENDMSG: {0}, unix.SYS_SENDMMSG: {0},
	unix.SYS_ACCEPT: {0}, unix.SYS_ACCEPT4: {0}, unix.SYS_CONNECT: {0},
	unix.SYS_SPLICE: {0, 2}, unix.SYS_SENDFILE: {0, 1},
}

// blindCall reports whether a call waits for descriptors that its arguments do not show. A call that a stop and
// continue have interrupted goes on as restart_syscall.
func blindCall(number uint64) bool {
	switch number {
	case unix.SYS_IO_URING_ENTER, unix.SYS_IO_GETEVENTS, unix.SYS_IO_PGETEVENTS, unix.SYS_RESTART_SYSCALL:
		return true
	}
	return number >= 1<<30 // x32's
}

// isPoll: the first argument is an array of struct pollfd, the second its length.
func isPoll(number uint64) bool {
	return number == unix.SYS_PPOLL || slices.Contains(oldPolls[:], number)
}

// isSelect: the first argument is how many descriptors the sets have, which are the three behind it.
func isSelect(number uint64) bool {
	return number == unix.SYS_PSELECT6 || slices.Contains(oldSelects[:], number)
}
