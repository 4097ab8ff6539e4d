//go:build linux

package pipe

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	tubeSize = 1 << 20  // of the pipe, asked for
	tubeMin  = 64 << 10 // a smaller one is no gain over copying
)

// A tube is the pipe(2) that a loop splices through. Between any two steps of the loop it is empty, so one is enough
// for all connections. Its size is 0 if there is none.
type tube struct {
	r, w int
	size int
	held int // bytes in it
}

// open makes the pipe, if one of a useful size is to be had. An ordinary user whose pipes hold too much already
// (fs.pipe-user-pages-soft) gets one of a page or two.
func (t *tube) open() {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return
	}
	*t = tube{r: fds[0], w: fds[1]}
	size, err := unix.FcntlInt(uintptr(t.w), unix.F_SETPIPE_SZ, tubeSize)
	if err != nil {
		size, err = unix.FcntlInt(uintptr(t.w), unix.F_GETPIPE_SZ, 0)
	}
	if t.size = size; err != nil || size < tubeMin {
		t.size = 1 // for close
		t.close()
	}
}

func (t *tube) close() {
	if t.size > 0 {
		_ = unix.Close(t.r)
		_ = unix.Close(t.w)
	}
	*t = tube{}
}

const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK

// fill takes at most n bytes from the socket fd. It returns 0 at the end of the stream.
func (t *tube) fill(fd, n int) (int, error) {
	m, err := splice(fd, t.w, min(n, t.size))
	t.held = m
	return m, err
}

// drain gives bytes to the socket fd.
func (t *tube) drain(fd int) (int, error) {
	n, err := splice(t.r, fd, t.held)
	t.held -= n
	return n, err
}

func splice(from, to, n int) (int, error) {
	for {
		m, err := unix.Splice(from, nil, to, nil, n, spliceFlags)
		if err != unix.EINTR {
			return int(max(m, 0)), err
		}
	}
}

// takeOut moves the bytes that are left to memory. If it fails, the pipe is a new one, and the bytes are lost.
func (t *tube) takeOut() ([]byte, error) {
	b := make([]byte, t.held)
	for n := 0; n < len(b); {
		m, err := unix.Read(t.r, b[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.close()
			t.open()
			return nil, os.NewSyscallError("read", err)
		}
		n += m
	}
	t.held = 0
	return b, nil
}

// sendRoom returns how many bytes the socket e takes before it has to be waited for, or some less.
func sendRoom(e *end) int {
	// An array of SK_MEMINFO_VARS numbers, of include/uapi/linux/sock_diag.h.
	const wmemAlloc, sndbuf, wmemQueued = 2, 3, 5
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(e.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return tubeMin // a kernel before 4.12
	}
	used := info[wmemQueued]
	if !e.tcp {
		used = info[wmemAlloc]
	}
	room := int(info[sndbuf]) - int(used)
	return room - room/8 // for what the kernel adds to each segment
}
