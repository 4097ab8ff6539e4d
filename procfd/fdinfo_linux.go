package procfd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// FDInfo reads /proc/PID/fdinfo of a descriptor of any kind. With an inode in s, the error is [ErrOtherSocket] when the
// descriptor is open on something else by now (Linux 5.14).
func (f *FS) FDInfo(p *Process, s SocketFD) (FDInfo, error) {
	file, err := os.Open(f.tablePath(p, s.Task, "fdinfo", s.FD))
	if err != nil {
		return FDInfo{}, fmt.Errorf("descriptor %d: %w", s.FD, err)
	}
	defer file.Close()
	info, inode, err := parseFDInfo(file)
	if err != nil {
		return FDInfo{}, fmt.Errorf("descriptor %d: %w", s.FD, err)
	}
	if s.Inode != 0 && inode != 0 && inode != s.Inode {
		return FDInfo{}, ErrOtherSocket
	}
	return info, nil
}

// parseFDInfo reads the lines that matter, each of a name, a colon, and the value. Below UserFiles a ring lists the
// files that are registered with it, indented, by their number.
func parseFDInfo(r io.Reader) (info FDInfo, inode uint64, err error) {
	info.SCMFDs, info.UringFiles = -1, -1
	told, files := false, false
	err = eachLine(r, func(line []byte) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		if files && len(name) > 0 && name[0] == ' ' {
			if n, ok := socketInode(value); ok && len(info.UringSockets) < mostRingFiles {
				info.UringSockets = append(info.UringSockets, n)
			}
			return
		}
		files = false
		switch string(name) {
		case "flags":
			flags, err := strconv.ParseUint(string(value), 8, 64)
			told = err == nil
			info.CloseOnExec = flags&unix.O_CLOEXEC != 0
			info.NonBlock = flags&unix.O_NONBLOCK != 0
		case "ino":
			inode, _ = strconv.ParseUint(string(value), 10, 64)
		case "scm_fds":
			info.SCMFDs = count(value)
		case "UserFiles":
			info.UringFiles = count(value)
			files = true
		}
	})
	if err == nil && !told {
		err = errors.New("no flags in fdinfo")
	}
	if err != nil {
		return FDInfo{}, 0, err
	}
	return info, inode, nil
}

// mostRingFiles is IORING_MAX_FIXED_FILES.
const mostRingFiles = 1 << 20

// count is -1 for what is no number.
func count(digits []byte) int {
	n, err := strconv.ParseUint(string(digits), 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}
