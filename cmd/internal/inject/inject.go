//go:build linux

// Package inject has a test see the system calls of a program, and make one of them fail.
//
// The program is a child that hands the calls in question to the test before they are made (seccomp user notification, Linux 5.5), as an
// ordinary user, too.
package inject

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is a system call that a child is about to make.
type Call struct {
	Name string
	PID  int // the thread
	Args [6]uint64
	// Path is what it is about, as far as that is told: the path that is given, or what the first descriptor is open on.
	Path string
	// At is that descriptor's path where Path is relative to it.
	At string
}

// Answer is what becomes of a call. The zero value lets it be made.
type Answer struct {
	Errno syscall.Errno // it fails with that
	// Most is how many bytes a read may give, 0 for as many as it likes.
	Most int
}

const (
	callsEnv   = "SOCKLEAK_INJECT_CALLS" // numbers, with commas between them
	programEnv = "SOCKLEAK_INJECT_ARG0"
)

// Become makes a child that [Start] has started the program. It does nothing in any other process, and is to be called before all else.
func Become() {
	list := os.Getenv(callsEnv)
	if list == "" {
		return
	}
	if err := become(list); err != nil {
		fmt.Fprintln(os.Stderr, "inject:", err)
		os.Exit(125)
	}
}

// handover is the descriptor of the child over which it tells the number of its listener, and waits for the test to have it.
const handover = 3

func become(list string) error {
	runtime.LockOSThread()
	list, others := strings.CutPrefix(list, allBut)
	var calls []uint32
	for f := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return err
		}
		calls = append(calls, uint32(n))
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	// The listener will have the first number that is free. Behind the filter no call may be made that it tells of.
	next, err := unix.Dup(handover)
	if err != nil {
		return err
	}
	unix.Close(next)
	if _, err := unix.Write(handover, []byte{byte(next)}); err != nil {
		return err
	}
	listener, err := filter(calls, others)
	if err != nil || listener != next {
		return fmt.Errorf("seccomp: listener %d instead of %d: %w", listener, next, err)
	}
	if _, err := unix.Poll([]unix.PollFd{{Fd: handover, Events: unix.POLLIN}}, -1); err != nil {
		return err
	}
	env := os.Environ()
	for i, v := range env {
		if strings.HasPrefix(v, callsEnv+"=") {
			env[i] = callsEnv + "="
		}
	}
	unix.CloseOnExec(handover)
	args := append([]string{os.Getenv(programEnv)}, os.Args[1:]...)
	return unix.Exec("/proc/self/exe", args, env)
}

// filter has the calls told to whoever has the listener, or all others, by this thread and all that come from it.
func filter(calls []uint32, others bool) (listener int, err error) {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		finish = unix.BPF_RET | unix.BPF_K
	)
	prog := []unix.SockFilter{{Code: load}} // seccomp_data.nr
	for i, nr := range calls {
		prog = append(prog, unix.SockFilter{Code: equal, K: nr, Jt: uint8(len(calls) - i)})
	}
	rest, listed := uint32(unix.SECCOMP_RET_ALLOW), uint32(unix.SECCOMP_RET_USER_NOTIF)
	if others {
		rest, listed = listed, rest
	}
	prog = append(prog, unix.SockFilter{Code: finish, K: rest}, unix.SockFilter{Code: finish, K: listed})
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// allBut stands before a list of calls that are not told of, and all others are.
const allBut = "but "

// Run runs cmd, whose program is this one, which takes the name arg0: it has to call [Become]. Each of the calls that are named is shown
// to decide before it is made, one at a time. The error is that of cmd, or of the way to it.
func Run(cmd *exec.Cmd, arg0 string, calls []string, decide func(*Call) Answer) error {
	return start(cmd, arg0, "", calls, decide)
}

// RunAllBut is [Run], and shows every call but those that are named.
func RunAllBut(cmd *exec.Cmd, arg0 string, calls []string, decide func(*Call) Answer) error {
	return start(cmd, arg0, allBut, calls, decide)
}

func start(cmd *exec.Cmd, arg0, which string, calls []string, decide func(*Call) Answer) error {
	numbers := make([]string, len(calls))
	for i, name := range calls {
		n, ok := Numbers[name]
		if !ok {
			return fmt.Errorf("no system call is named %q", name)
		}
		numbers[i] = strconv.Itoa(n)
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	here, there := os.NewFile(uintptr(ends[0]), "handover"), os.NewFile(uintptr(ends[1]), "handover")
	defer here.Close()
	cmd.ExtraFiles = []*os.File{there} // descriptor 3
	cmd.Env = append(cmd.Environ(), callsEnv+"="+which+strings.Join(numbers, ","), programEnv+"="+arg0)
	err = cmd.Start()
	there.Close()
	if err != nil {
		return err
	}
	s := &supervisor{decide: decide, pid: cmd.Process.Pid, listener: -1}
	if err := s.take(here); err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(err, cmd.Wait())
	}
	served := make(chan error, 1)
	go func() { served <- s.serve() }()
	err = cmd.Wait()
	failed := <-served
	unix.Close(s.listener)
	return errors.Join(err, failed)
}

// take gets the listener from the child.
func (s *supervisor) take(from *os.File) error {
	var b [1]byte
	if _, err := from.Read(b[:]); err != nil {
		return fmt.Errorf("the child has no listener: %w", err)
	}
	pidfd, err := unix.PidfdOpen(s.pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	for openOn(s.pid, int32(b[0])) != "anon_inode:seccomp notify" {
		time.Sleep(100 * time.Microsecond)
		if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil {
			return fmt.Errorf("the child has ended: %w", err)
		}
	}
	if s.listener, err = unix.PidfdGetfd(pidfd, int(b[0]), 0); err != nil {
		return fmt.Errorf("take the listener: %w", err)
	}
	_, err = from.Write(b[:])
	return err
}
