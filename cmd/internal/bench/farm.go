//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

// layout says what a farm is to be.
type layout struct {
	Sockets   int     `json:"sockets"`
	Processes int     `json:"processes"` // at the least, if the sockets are enough for so many
	Peers     int     `json:"peers"`
	Families  string  `json:"families"`
	Keepalive float64 `json:"keepalive"`
}

// maxPeers is how many addresses loopback is asked for: connections to more do not fit into memory anyway.
const maxPeers = 1_000_000

func (l layout) check() error {
	switch {
	case l.Sockets < 2:
		return errors.New("-sockets must be 2 or more")
	case l.Peers < 1 || l.Peers > maxPeers:
		return fmt.Errorf("-peers must be 1 to %d", maxPeers)
	case l.Families != "4" && l.Families != "6" && l.Families != "mixed":
		return fmt.Errorf("-families %q: want 4, 6 or mixed", l.Families)
	case l.Keepalive < 0 || l.Keepalive > 1:
		return fmt.Errorf("-keepalive %v: want a share from 0 to 1", l.Keepalive)
	}
	return nil
}

// addresses is to how many addresses so many connections go. IPv6 loopback has one.
func (l layout) addresses(connections int) int {
	switch l.Families {
	case "6":
		return 1
	case "mixed":
		return min(l.Peers, (connections+2)/3) + 1
	}
	return min(l.Peers, connections)
}

const (
	// holderSockets is the most that one holder has, if it may: both ends of 9,500 connections.
	holderSockets = 19_000
	// smallSockets is what each of the processes has that are there for their number.
	smallSockets = 20
	// otherDescriptors is how many descriptors a holder has beside.
	otherDescriptors = 64
	// socketMemory is about what the kernel needs for a socket with its file, in bytes.
	socketMemory = 6 << 10
)

// connections returns how many connections each holder has: as few holders as may be, the first with as many as it may, and small
// ones until there are so many processes.
func (l layout) connections(most int) []int {
	sockets := l.Sockets / 2 * 2
	small := 0
	large := func() int { return (sockets - small*smallSockets + most - 1) / most }
	for small+large() < l.Processes && small < (sockets-most)/smallSockets { // the first stays as large as it may be
		small++
	}
	var list []int
	for left := sockets - small*smallSockets; left > 0; left -= 2 * list[len(list)-1] {
		list = append(list, min(left, most)/2)
	}
	for range small {
		list = append(list, smallSockets/2)
	}
	return list
}

// farm is a set of processes that hold connections.
type farm struct {
	holders []*holder
	sockets int
}

type holder struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout io.Reader
	n      int
}

// plant starts the holders and waits until all are ready. The farm is to be closed after an error, too.
func plant(p programs, l layout) (*farm, error) {
	f := &farm{}
	lim := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return f, err
	}
	most := min(holderSockets, (int(min(lim.Max, holderSockets<<1))-otherDescriptors)/2*2)
	if most < 2*smallSockets {
		return f, fmt.Errorf("a process may have %d descriptors: too few", lim.Max)
	}
	if free := memAvailable(); free >= 0 && free < int64(l.Sockets)*socketMemory {
		return f, fmt.Errorf("%d sockets need about %d MiB, and %d MiB are available", l.Sockets, l.Sockets*socketMemory>>20, free>>20)
	}
	first := 0
	for _, n := range l.connections(most) {
		if err := f.add(p.holder, l, first, n); err != nil {
			return f, err
		}
		first += n
	}
	for _, h := range f.holders {
		if line, err := bufio.NewReader(h.stdout).ReadString('\n'); err != nil || line != "ready\n" {
			return f, fmt.Errorf("a holder of %d connections did not get ready: %q", h.n, line)
		}
		f.sockets += 2 * h.n
	}
	return f, nil
}

// add starts a holder. A process group of its own: an interrupt from the terminal is not for it.
func (f *farm) add(program string, l layout, first, n int) error {
	cmd := exec.Command(program, "-connections", strconv.Itoa(n), "-first", strconv.Itoa(first), "-peers", strconv.Itoa(l.Peers),
		"-families", l.Families, "-keepalive", fmt.Sprint(l.Keepalive))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe() // its end is the holder's
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	f.holders = append(f.holders, &holder{cmd, stdin, stdout, n})
	return nil
}

func (f *farm) pid() int { return f.holders[0].cmd.Process.Pid }

func (f *farm) descriptors() int {
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.pid()))
	if err != nil {
		return -1
	}
	return len(names)
}

func (f *farm) close() {
	for _, h := range f.holders {
		h.stdin.Close()
	}
	for _, h := range f.holders {
		_ = h.cmd.Wait() // its status says nothing
	}
}

// memAvailable is how much memory can be had, in bytes; -1 when that is not told.
func memAvailable() int64 {
	kib := lab.ProcField("/proc/meminfo", "MemAvailable:", 1)
	if kib < 0 {
		return -1
	}
	return kib << 10
}
