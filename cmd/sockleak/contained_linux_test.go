package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// contained runs a command in a container: contained [pid] [net] HOST COMMAND ARG…, with its own /proc, and the host's below the
// directory HOST, read-only. Namespaces of its own are those that are named, and those of mounts and cgroups.
func contained() {
	namespaces := map[string]uintptr{"pid": syscall.CLONE_NEWPID, "net": syscall.CLONE_NEWNET}
	flags, args := uintptr(syscall.CLONE_NEWNS|syscall.CLONE_NEWCGROUP), os.Args[1:]
	for len(args) > 0 && namespaces[args[0]] != 0 {
		flags |= namespaces[args[0]]
		args = args[1:]
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{"contained-init"}, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	var exit *exec.ExitError
	switch err := cmd.Run(); {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "contained:", err)
		os.Exit(125)
	}
}

// containedInit is the first process in there.
func containedInit() {
	host, args := os.Args[1], os.Args[2:]
	self, err := os.Readlink("/proc/self/exe")
	if err := errors.Join(err, mountHost(host)); err != nil {
		fmt.Fprintln(os.Stderr, "contained:", err)
		os.Exit(125)
	}
	err = unix.Exec(self, args, os.Environ())
	fmt.Fprintln(os.Stderr, "contained: exec:", err)
	os.Exit(125)
}

func mountHost(host string) error {
	proc, cgroup := filepath.Join(host, "proc"), filepath.Join(host, "sys/fs/cgroup")
	return errors.Join(
		os.MkdirAll(proc, 0o755),
		os.MkdirAll(cgroup, 0o755),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("/proc", proc, "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Mount("", proc, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""),
		unix.Mount("/sys/fs/cgroup", cgroup, "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
	)
}

// canContain reports whether this user may make namespaces.
var canContain = sync.OnceValue(func() bool {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"contained-not"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWCGROUP}
	return cmd.Run() == nil
})
