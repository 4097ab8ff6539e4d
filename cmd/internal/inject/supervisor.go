//go:build linux

package inject

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// supervisor answers for the calls of a child.
type supervisor struct {
	decide   func(*Call) Answer
	pid      int
	listener int
}

// notification is struct seccomp_notif.
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

// goOn is SECCOMP_USER_NOTIF_FLAG_CONTINUE.
const goOn = 1

// serve answers until the child and all that came from it have ended.
func (s *supervisor) serve() error {
	for {
		fds := []unix.PollFd{{Fd: int32(s.listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return fmt.Errorf("listen to system calls: %w", err)
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			return nil // POLLHUP: nobody is left
		}
		if err := s.one(); err != nil {
			return err
		}
	}
}

func (s *supervisor) one() error {
	var n notification
	if err := ioctl(s.listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) { // its thread was killed
			return nil
		}
		return fmt.Errorf("take a system call: %w", err)
	}
	c := describe(&n)
	r := response{id: n.id, flags: goOn}
	switch a := s.decide(c); {
	case a.Errno != 0:
		r.flags, r.errno = 0, -int32(a.Errno)
	case a.Most > 0:
		if got, err := readFor(c, a.Most); err == nil {
			r.flags, r.val = 0, int64(got)
		}
	}
	err := ioctl(s.listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
	if err != nil && !errors.Is(err, unix.ENOENT) { // as above
		return fmt.Errorf("answer a system call: %w", err)
	}
	return nil
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// describe says what a call is about.
func describe(n *notification) *Call {
	c := &Call{Name: nameOf(int(n.nr)), PID: int(n.pid), Args: n.args}
	switch c.Name {
	case "openat", "openat2", "readlinkat", "newfstatat", "statx", "faccessat", "unlinkat", "mkdirat":
		c.Path = stringAt(c.PID, n.args[1])
		if !filepath.IsAbs(c.Path) && int32(n.args[0]) != unix.AT_FDCWD {
			c.At = openOn(c.PID, int32(n.args[0]))
		}
	case "lgetxattr", "getxattr", "statfs":
		c.Path = stringAt(c.PID, n.args[0])
	case "socket", "pidfd_open", "process_vm_readv", "unshare", "kcmp":
	default:
		c.Path = openOn(c.PID, int32(n.args[0]))
	}
	return c
}

// nameOf is the number where it has no name here.
func nameOf(nr int) string {
	if name, ok := names()[nr]; ok {
		return name
	}
	return fmt.Sprintf("system call %d", nr)
}

// Bytes are the first n bytes in the memory of the caller at an address, or nil.
func (c *Call) Bytes(at uint64, n int) []byte {
	b := make([]byte, n)
	got, err := unix.ProcessVMReadv(c.PID, []unix.Iovec{{Base: &b[0], Len: uint64(n)}}, []unix.RemoteIovec{{Base: uintptr(at), Len: n}}, 0)
	if err != nil || got != n {
		return nil
	}
	return b
}

// openOn is what a descriptor is open on.
func openOn(pid int, fd int32) string {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	if err != nil {
		return ""
	}
	return target
}

// stringAt reads a string from a process.
func stringAt(pid int, at uint64) string {
	const most = 256
	b := make([]byte, most)
	// What lies behind the end of a page may not be there: as much as there is.
	for n := most; n > 0; n /= 2 {
		got, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &b[0], Len: uint64(n)}}, []unix.RemoteIovec{{Base: uintptr(at), Len: n}}, 0)
		if err == nil && got > 0 {
			s, _, _ := strings.Cut(string(b[:got]), "\x00")
			return s
		}
	}
	return ""
}

// readFor reads in place of the child, and fewer bytes than it asked for.
func readFor(c *Call, most int) (int, error) {
	pidfd, err := unix.PidfdOpen(tgid(c.PID), 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, int(c.Args[0]), 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	b := make([]byte, min(most, int(c.Args[2])))
	var n int
	if c.Name == "pread64" {
		n, err = unix.Pread(fd, b, int64(c.Args[3]))
	} else {
		n, err = unix.Read(fd, b)
	}
	if err != nil || n == 0 {
		return n, err
	}
	return unix.ProcessVMWritev(c.PID, []unix.Iovec{{Base: &b[0], Len: uint64(n)}}, []unix.RemoteIovec{{Base: uintptr(c.Args[1]), Len: n}}, 0)
}

// tgid is the process of a thread.
func tgid(tid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return tid
	}
	var n int
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "Tgid:\t%d", &n); err == nil {
			return n
		}
	}
	return tid
}

// Ended is the status with which a program has ended: negative for a signal.
func Ended(err error) int {
	exit := interface{ Sys() any }(nil)
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return -int(ws.Signal())
		} else if ok {
			return ws.ExitStatus()
		}
	}
	if err != nil {
		return 126
	}
	return 0
}
