package procfd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// ProcMount is how the proc filesystem is mounted, which may hide processes and files of it.
type ProcMount struct {
	// HidePID: 0 shows every process, 1 no more than the numbers of those that the reader may not trace, 2 not even these, but to
	// the group GID; 4 shows nobody, of that group or not, what he may not trace.
	HidePID int
	GID     int // the group that hidepid 1 and 2 do not regard; 0: none
	// PIDOnly (subset=pid): the files beside the processes are not there, such as uptime and sys.
	PIDOnly bool
	// Masked are files and directories of it over which something else is mounted, as container runtimes do, at most
	// [MaxMounts]; relative to it.
	Masked []string
}

// Mount reads how the filesystem is mounted where the reader sees it. The error is that of the system, or [ErrNoMount].
func (f *FS) Mount() (ProcMount, error) {
	root, err := filepath.EvalSymlinks(f.root)
	if err != nil {
		return ProcMount{}, err
	}
	file, err := os.Open(f.SelfPath() + "/mountinfo")
	if err != nil {
		return ProcMount{}, err
	}
	defer file.Close()
	return parseProcMount(file, root)
}

// ErrNoMount: what is read is no mounted proc filesystem, but a copy of one, say.
var ErrNoMount = errors.New("no proc filesystem is mounted there")

// parseProcMount looks for the mount at root in the lines of /proc/self/mountinfo, the last of which counts:
//
//	22 1 0:20 / /proc rw,relatime shared:5 - proc proc rw,gid=4,hidepid=2
func parseProcMount(r io.Reader, root string) (m ProcMount, err error) {
	found := false
	b := bufio.NewReaderSize(r, mostMountLine)
	for range mostMounts {
		line, err := b.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) { // no line of ours is so long
			line = nil
			_, err = b.ReadSlice('\n')
		}
		if at, kind, options, ok := mountLine(line); ok {
			switch rest, below := strings.CutPrefix(at, root+"/"); {
			case at == root && kind == "proc":
				m, found = procOptions(options), true
			case at == root:
				m, found = ProcMount{}, false
			case below && kind != "binfmt_misc" && kind != "autofs" && len(m.Masked) < MaxMounts:
				m.Masked = append(m.Masked, rest)
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return m, fmt.Errorf("mountinfo: %w", err)
		}
		if err != nil {
			break
		}
	}
	if !found {
		return ProcMount{}, ErrNoMount
	}
	return m, nil
}

// mountLine reads the place, the type and the options of the filesystem itself.
func mountLine(line []byte) (at, kind, options string, ok bool) {
	const point = 4
	mount, super, ok := bytes.Cut(line, []byte(" - "))
	before, behind := bytes.Fields(mount), bytes.Fields(super)
	if !ok || len(before) <= point || len(behind) == 0 {
		return "", "", "", false
	}
	return path.Clean(unescapeMount(string(before[point]))), string(behind[0]), string(behind[len(behind)-1]), true
}

// hidePIDNames are what Linux 5.8 and later write in place of numbers, too.
var hidePIDNames = map[string]int{"off": 0, "noaccess": 1, "invisible": 2, "ptraceable": 4}

func procOptions(options string) (m ProcMount) {
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		n, err := strconv.Atoi(value)
		switch {
		case key == "hidepid" && err == nil && n >= 0:
			m.HidePID = n
		case key == "hidepid":
			m.HidePID = hidePIDNames[value]
		case key == "gid" && err == nil && n >= 0:
			m.GID = n
		case key == "subset" && value == "pid":
			m.PIDOnly = true
		}
	}
	return m
}
