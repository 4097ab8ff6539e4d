package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// insideEnv tells this program that it was started in a network namespace of its own, and where its programs are.
const insideEnv = "SOCKLEAK_BENCH_INSIDE"

// enter runs this program again in a network namespace of its own, so that the machine's other sockets are not in the lists. With
// own processes, too: those of others are not in /proc either, and the farm ends with its parent. It returns errNotPermitted
// when the kernel does not let it.
func enter(ctx context.Context, dir string, ownProcesses bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it has to close its farm
	cmd.Env = append(os.Environ(), insideEnv+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if ownProcesses {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWNS
	}
	runtime.LockOSThread() // Pdeathsig is about the thread that starts it
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("%w: %w", errNotPermitted, err)
		}
		return err
	}
	_ = cmd.Wait() // its status says it all
	switch cmd.ProcessState.ExitCode() {
	case 0:
		return nil
	case statusUnsettled:
		return errNotPermitted
	}
	return errReported
}

// statusUnsettled ends a process that could not settle in its namespaces, and has said why.
const statusUnsettled = 3

var (
	errNotPermitted = errors.New("no network namespace of its own")
	errReported     = errors.New("told already")
	errUnsettled    = errors.New("its own namespaces are not to be used")
)

// settle makes the namespace that this program was started in usable: loopback is up, and /proc shows the processes that are in it.
func settle() error {
	if os.Getpid() == 1 {
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("keep mounts private: %w", err)
		}
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mount /proc: %w", err)
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	up, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	up.SetUint16(unix.IFF_UP | unix.IFF_LOOPBACK | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, up); err != nil {
		return fmt.Errorf("loopback up: %w", err)
	}
	return nil
}
