package procfd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// Credentials are what decides on what a process may see of others, and who may see it, from /proc/PID/status.
type Credentials struct {
	UIDs, GIDs                     [4]uint32 // real, effective, saved, of the file system
	Groups                         []uint32
	Permitted, Effective, Bounding Capabilities
	NoNewPrivs                     bool
	Seccomp                        int // 0: no filter, 1: strict, 2: filter; -1: not told
	// PIDs are its numbers in the PID namespaces from that of the proc filesystem down to its own; nil before Linux 4.1.
	PIDs []int
}

// Credentials reads those of a process, or of the reader when pid is 0. The error is that of the system, [ErrGone] where there is
// no such process, or of a file that is malformed.
func (f *FS) Credentials(pid int) (c Credentials, err error) {
	take := func(b []byte) error {
		c, err = parseCredentials(b)
		return err
	}
	if pid == 0 {
		return c, f.ownFile("status", take)
	}
	if err := f.small(pid, "status", take); err != nil {
		return c, gone(pid, err)
	}
	return c, nil
}

// ownFile reads a small file of the reader's own directory.
func (f *FS) ownFile(name string, take func(b []byte) error) error {
	var buf smallFile
	b, err := readInto(f.SelfPath()+"/"+name, buf[:])
	if err != nil {
		return err
	}
	return take(b)
}

var errNoUsers = errors.New("status: no users or groups")

// parseCredentials reads /proc/PID/status. In the name, on the first line, line ends are escaped. Old kernels lack some lines.
func parseCredentials(b []byte) (c Credentials, err error) {
	c.Seccomp = -1
	uids, err1 := numbers[uint32](lineAfter(b, "Uid:"), 10, 32)
	gids, err2 := numbers[uint32](lineAfter(b, "Gid:"), 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return c, err
	}
	if copy(c.UIDs[:], uids) != 4 || copy(c.GIDs[:], gids) != 4 {
		return c, errNoUsers
	}
	if c.Groups, err = numbers[uint32](lineAfter(b, "Groups:"), 10, 32); err != nil {
		return c, err
	}
	for _, set := range []struct {
		line string
		to   *Capabilities
	}{{"CapPrm:", &c.Permitted}, {"CapEff:", &c.Effective}, {"CapBnd:", &c.Bounding}} {
		v, err := numbers[Capabilities](lineAfter(b, set.line), 16, 64)
		if err != nil || len(v) != 1 {
			return c, fmt.Errorf("status: malformed line %s", set.line)
		}
		*set.to = v[0]
	}
	c.NoNewPrivs = string(bytes.TrimSpace(lineAfter(b, "NoNewPrivs:"))) == "1"
	if v, err := numbers[int](lineAfter(b, "Seccomp:"), 10, 8); err == nil && len(v) == 1 {
		c.Seccomp = v[0]
	}
	c.PIDs, err = numbers[int](lineAfter(b, "NSpid:"), 10, 31)
	return c, err
}

// mostNumbers bounds a list of them; a process is in 65,536 groups at the most, and of them are those kept that fit.
const mostNumbers = 4096

// numbers reads a line of them.
func numbers[N uint32 | int | Capabilities](line []byte, base, bits int) (list []N, err error) {
	for field := range bytes.FieldsSeq(line) {
		n, err := strconv.ParseUint(string(field), base, bits)
		if err != nil {
			return nil, fmt.Errorf("status: %w", err)
		}
		if list = append(list, N(n)); len(list) == mostNumbers {
			return list, nil
		}
	}
	return list, nil
}

// Uniform reports whether a process has one user and one group in all of their parts: only then one of the same user and group may
// read it.
func (c *Credentials) Uniform() bool {
	for i := range c.UIDs {
		if c.UIDs[i] != c.UIDs[0] || c.GIDs[i] != c.GIDs[0] {
			return false
		}
	}
	return true
}

// FDOwner is the user who may list a process's descriptors without a capability: its own, or root where it has made itself private
// (PR_SET_DUMPABLE) or the kernel did, since it has run what is privileged. -1: not known.
func (f *FS) FDOwner(pid int) int {
	info, err := os.Stat(f.Path(pid, "fd"))
	if err != nil {
		return -1
	}
	return ownerOf(info)
}
