package procfd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKernelNative: the numbers of /proc are those that calls take.
func TestKernelNative(t *testing.T) {
	fs, err := New(liveRoot)
	try(t, err)
	if !fs.Native() {
		t.Errorf("%v are not the reader's own numbers", fs.selfPIDs())
	}
}

// TestKernelOtherNumbers: a reader in a PID namespace of its own, which has the host's /proc, asks the right process or none.
func TestKernelOtherNumbers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	try(t, err)
	defer l.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"=other numbers", "OUTER="+strconv.Itoa(os.Getpid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) {
		t.Skip(err)
	}
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// lookWithOtherNumbers says what is wrong.
func lookWithOtherNumbers() {
	fs, err := New(liveRoot)
	l, listening := net.Listen("tcp", "127.0.0.1:0")
	if err = errors.Join(err, listening); err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	if fs.Native() {
		fmt.Println("native")
	}
	self := fs.selfPIDs()
	if len(self) != 2 || self[0] == os.Getpid() || self[1] != os.Getpid() {
		fmt.Println("reader:", self)
		return
	}
	p, err := fs.Process(self[0])
	if err != nil || len(p.Inner) != 1 || p.Inner[0] != os.Getpid() {
		fmt.Println("reader:", p, err)
		return
	}
	// Itself, under the number that it has for others.
	asker, err := fs.Ask(p)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer asker.Close()
	heard := 0
	for _, s := range p.Sockets {
		if a, err := asker.Socket(s); err == nil && a.IsTCP() && a.Local.String() == l.Addr().String() {
			heard++
		}
	}
	if heard != 1 {
		fmt.Println("own listener:", heard)
	}
	refuses(fs)
}

// refuses: a process of the namespace above cannot be reached, and one with its number here is not taken for it.
func refuses(fs *FS) {
	outer, _ := strconv.Atoi(os.Getenv("OUTER"))
	p, err := fs.Process(outer)
	if err != nil || len(p.Inner) != 0 {
		fmt.Println("outer:", p, err)
		return
	}
	if _, err := fs.Ask(p); !errors.Is(err, ErrOtherPIDs) {
		fmt.Println("outer asked:", err)
	}
	p.Inner = []int{os.Getpid()} // as one in a namespace beside this may have it
	if _, err := fs.Ask(p); !errors.Is(err, ErrOtherPIDs) {
		fmt.Println("taken for another:", err)
	}
	if own, _, _ := fs.tables([]int{outer, outer}, outer); own != nil {
		fmt.Println("compared:", own)
	}
}
