package procfd

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// readInto reads the beginning of a file, as much as one read gives. The runtime's poller, which package os offers every file
// to, would be half of the work, and it takes none from /proc.
func readInto(path string, buf []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	if n == 0 {
		return nil, io.EOF
	}
	return buf[:n], nil
}

// sinceBoot is the reader's CLOCK_BOOTTIME, which /proc/uptime shows, too; 0 when there is none.
func sinceBoot() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	return time.Duration(now.Nano())
}
