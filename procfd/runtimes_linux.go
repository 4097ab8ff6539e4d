package procfd

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openBelow opens a path below root, which is the path's root in every link on the way, for looking at it alone: nothing is done to a
// device, and nobody is waited for at a pipe.
func openBelow(root, name string, flags int) (int, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	flags |= unix.O_PATH | unix.O_CLOEXEC
	name = strings.TrimPrefix(name, "/")
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // before Linux 5.6, or forbidden by a seccomp profile that does not know it
		return openEach(dir, name, flags)
	}
	return fd, err
}

// openEach goes down one element after the other, and follows no link.
func openEach(dir int, name string, flags int) (int, error) {
	dir, err := unix.Dup(dir)
	if err != nil {
		return -1, err
	}
	for {
		element, rest, more := strings.Cut(name, "/")
		if element == ".." {
			unix.Close(dir)
			return -1, unix.ELOOP
		}
		how := flags
		if more {
			how = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
		}
		fd, err := unix.Openat(dir, element, how|unix.O_NOFOLLOW, 0)
		unix.Close(dir)
		if err != nil || !more {
			return fd, err
		}
		dir, name = fd, rest
	}
}

// reopen opens for reading what was opened to be looked at; nil when it is not of that kind, or not the owner's.
func reopen(at int, kind uint32, owner int) *os.File {
	var st unix.Stat_t
	if unix.Fstat(at, &st) != nil || st.Mode&unix.S_IFMT != kind || owner != anyOwner && int64(st.Uid) != int64(owner) {
		return nil
	}
	// Only the kernel's own link leads to the very file that was looked at.
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(at), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "")
}

// readBelow reads a regular file whole; nil when it is none, is not the owner's, has more bytes than most, or may not be read.
func readBelow(root, name string, owner int, most int64) []byte {
	at, err := openBelow(root, name, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(at)
	f := reopen(at, unix.S_IFREG, owner)
	if f == nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil || int64(len(b)) > most {
		return nil
	}
	return b
}

// mostListed bounds a directory.
const mostListed = 1 << 16

// listBelow lists a directory; nil when it is none or may not be read.
func listBelow(root, name string) []string {
	at, err := openBelow(root, name, unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	defer unix.Close(at)
	f := reopen(at, unix.S_IFDIR, anyOwner)
	if f == nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(mostListed)
	return names
}
