package procfd

import (
	"errors"
	"os"
	"strconv"
	"time"
)

// Holder is one descriptor on a socket.
type Holder struct {
	PID   int
	FD    int
	Task  int // as in [SocketFD]
	Inode uint64
}

// Closed reports whether the descriptor is seen not to be on the socket any more. It is false where that cannot be told.
func (f *FS) Closed(h Holder) bool {
	dir := f.Path(h.PID, "fd")
	if h.Task != 0 {
		dir = f.Path(h.PID, "task", strconv.Itoa(h.Task), "fd")
	}
	target, err := os.Readlink(dir + "/" + strconv.Itoa(h.FD))
	if err == nil {
		inode, ok := socketInode([]byte(target))
		return !ok || inode != h.Inode
	}
	if !errors.Is(err, os.ErrNotExist) {
		return false
	}
	if _, err := os.Lstat(f.Path(h.PID)); errors.Is(err, os.ErrNotExist) {
		return true
	}
	// Behind a thread that has ended its process's table is not seen, and nothing is in the directory.
	open, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer open.Close()
	_, err = open.Readdirnames(1)
	return err == nil
}

// StartedWithin reports whether the process was started no longer than d ago. It is false where that cannot be told.
func (f *FS) StartedWithin(pid int, d time.Duration) bool {
	uptime := f.Uptime()
	stat, err := f.stat(pid)
	if err != nil || uptime == 0 {
		return false
	}
	return (&Process{Start: stat.start}).At(uptime) <= d
}

// Holders finds the processes that have a descriptor on one of the sockets with these inodes. missing is how
// many of them nobody was seen to hold, denied how many processes could not be read.
func (f *FS) Holders(inodes map[uint64]bool) (pids []int, missing, denied int, err error) {
	all, err := f.PIDs()
	if err != nil {
		return nil, 0, 0, err
	}
	found, refused := f.Search(all, func(inode uint64) bool { return inodes[inode] })
	held := map[uint64]bool{}
	for _, h := range found {
		held[h.Inode] = true
		if len(pids) == 0 || pids[len(pids)-1] != h.PID {
			pids = append(pids, h.PID)
		}
	}
	return pids, len(inodes) - len(held), len(refused), nil
}
