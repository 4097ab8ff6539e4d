//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Where says where a benchmark runs.
type Where struct {
	// Netns is whether it has a network namespace of its own: yes, no, or auto, which is yes for root.
	Netns string
	// SharedPIDs leaves it among the machine's processes, for who wants their PIDs.
	SharedPIDs bool
}

// Check reports a word that is none.
func (w Where) Check() error {
	if w.Netns != "auto" && w.Netns != "yes" && w.Netns != "no" {
		return fmt.Errorf("-netns %q: want auto, yes or no", w.Netns)
	}
	return nil
}

// Run calls build with a new directory for programs, and then run with the same directory, where w says. The directory is gone
// afterwards. What run returns is lost when it runs in a namespace of its own, where it has been told already.
func Run(ctx context.Context, w Where, build func(ctx context.Context, dir string) error, run func(ctx context.Context, dir string, private bool) error) error {
	if dir := os.Getenv(insideEnv); dir != "" {
		if err := errors.Join(os.Unsetenv(insideEnv), settle()); err != nil {
			return fmt.Errorf("%w: %w", errUnsettled, err)
		}
		return run(ctx, dir, true)
	}
	dir, err := os.MkdirTemp("", "sockleak-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := build(ctx, dir); err != nil {
		return err
	}
	if w.Netns == "yes" || w.Netns == "auto" && os.Geteuid() == 0 {
		err := enter(ctx, dir, !w.SharedPIDs)
		if w.Netns == "yes" || !errors.Is(err, errNotPermitted) {
			return err
		}
		fmt.Fprintln(os.Stderr, "bench: warning:", err)
	}
	return run(ctx, dir, false)
}

// Exit tells an error, unless that was done, and ends this program with the status for it. It returns when there is none.
func Exit(err error) {
	if err == nil {
		return
	}
	if !errors.Is(err, ErrReported) {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
	}
	if errors.Is(err, errUnsettled) {
		os.Exit(statusUnsettled)
	}
	os.Exit(2)
}

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
	return ErrReported
}

// statusUnsettled ends a process that could not settle in its namespaces, and has said why.
const statusUnsettled = 3

var (
	errNotPermitted = errors.New("no network namespace of its own")
	// ErrReported ends a program that has said already why.
	ErrReported  = errors.New("told already")
	errUnsettled = errors.New("its own namespaces are not to be used")
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
