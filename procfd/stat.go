package procfd

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Of each process some small files are read, and what they cost beside the kernel's own work is the parsing of what
// is not asked for: these take the few fields that are.

// smallFile holds the beginning of such a file, as far as anything is read of it.
type smallFile [4 << 10]byte

// small reads such a file of a process. What take is given is valid during its call.
func (f *FS) small(pid int, name string, take func(b []byte) error) error {
	buf, ok := f.buffers.Get().(*smallFile)
	if !ok {
		buf = new(smallFile)
	}
	defer f.buffers.Put(buf)
	b, err := readInto(f.Path(pid, name), buf[:])
	if err != nil {
		return err
	}
	return take(b)
}

// stat is what is read of /proc/PID/stat.
type stat struct {
	comm    string
	state   byte
	ppid    int
	flags   uint64        // PF_…
	cpu     time.Duration // utime and stime
	threads int
	start   uint64 // ticks of 10 ms since boot
	rss     int    // pages
}

// stat reads who a process is. The error is that of the system when it has ended.
func (f *FS) stat(pid int) (s stat, err error) {
	err = f.small(pid, "stat", func(b []byte) error {
		var ok bool
		if s, ok = parseStat(b); !ok {
			return fmt.Errorf("stat: malformed %.200q", b)
		}
		return nil
	})
	return s, err
}

// isKernel reports whether a process is a thread of the kernel.
func (f *FS) isKernel(pid int) bool {
	s, err := f.stat(pid)
	return err == nil && s.flags&flagKernelThread != 0
}

// Places of fields in /proc/PID/stat, counted from behind the name.
const (
	statState   = 0
	statPPID    = 1
	statFlags   = 6
	statUtime   = 11
	statStime   = 12
	statThreads = 17
	statStart   = 19
	statRSS     = 21
)

// parseStat reads /proc/PID/stat. The second field is the name, in brackets and as the process likes it, with brackets
// and line ends of its own.
func parseStat(b []byte) (s stat, ok bool) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open || end+2 > len(b) || b[end+1] != ' ' {
		return s, false
	}
	s.comm = string(b[open+1 : end])
	i := 0
	for field := range bytes.FieldsSeq(b[end+1:]) {
		if !s.field(i, field) {
			return stat{}, false
		}
		if i++; i > statRSS {
			return s, true
		}
	}
	return stat{}, false
}

// field takes one field; false: it is not what it should be.
func (s *stat) field(i int, field []byte) bool {
	var err error
	switch i {
	case statState:
		s.state = field[0]
		return len(field) == 1 && (s.state|' ' >= 'a' && s.state|' ' <= 'z')
	case statPPID:
		s.ppid, err = strconv.Atoi(string(field))
		return err == nil && s.ppid >= 0
	case statFlags:
		s.flags, err = strconv.ParseUint(string(field), 10, 64)
	case statUtime, statStime:
		var ticks uint64
		ticks, err = strconv.ParseUint(string(field), 10, 64)
		s.cpu += time.Duration(ticks) * (time.Second / userHZ)
		return err == nil && ticks < math.MaxInt64/uint64(time.Second)
	case statThreads:
		s.threads, err = strconv.Atoi(string(field))
		return err == nil && s.threads >= 0
	case statStart:
		s.start, err = strconv.ParseUint(string(field), 10, 64)
	case statRSS:
		s.rss, err = strconv.Atoi(string(field))
		return err == nil && s.rss >= 0
	}
	return err == nil
}

// status reads the effective user of a process, and its number: another one than pid is that of a thread's process. inner is as
// [Process.Inner].
func (f *FS) status(pid int) (uid uint32, tgid int, inner []int, err error) {
	cut := false
	err = f.small(pid, "status", func(b []byte) error {
		cut = len(b) == len(smallFile{})
		inner, _ = parseNSpid(b)
		uid, tgid, err = parseStatus(b)
		return err
	})
	if cut { // before the line are the groups, of which there may be tens of thousands
		inner = f.innerPIDs(pid)
	}
	return uid, tgid, inner, err
}

// parseStatus reads two lines of /proc/PID/status: "Tgid:\t42" and "Uid:\t1000\t1001\t1002\t1003". In the name, on the first
// line, line ends are escaped. Without the first tgid is 0.
func parseStatus(b []byte) (uid uint32, tgid int, err error) {
	if line := bytes.TrimSpace(lineAfter(b, "Tgid:")); len(line) > 0 {
		if tgid, err = strconv.Atoi(string(line)); err != nil || tgid < 0 {
			return 0, 0, fmt.Errorf("status: malformed Tgid %.200q", line)
		}
	}
	uids := bytes.Fields(lineAfter(b, "Uid:"))
	if len(uids) != 4 {
		return 0, 0, fmt.Errorf("status: %d users, want 4", len(uids))
	}
	effective, err := strconv.ParseUint(string(uids[1]), 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("status: %w", err)
	}
	return uint32(effective), tgid, nil
}

// softLimit reads how many descriptors a process may have, [NoLimit] when there is none.
func (f *FS) softLimit(pid int) (soft uint64, err error) {
	err = f.small(pid, "limits", func(b []byte) error {
		soft, _, err = parseLimits(b)
		return err
	})
	return soft, err
}

// lineAfter is what stands behind a name at the beginning of a line; nil when there is no such line.
func lineAfter(b []byte, name string) []byte {
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		if value, ok := bytes.CutPrefix(line, []byte(name)); ok {
			return value
		}
		b = rest
	}
	return nil
}
