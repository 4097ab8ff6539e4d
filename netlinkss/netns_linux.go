package netlinkss

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// InNetns runs f on a thread of the network namespace in the file path, or of the caller's when path
// is empty: files under /proc/sys/net and new sockets are then that namespace's. Needs CAP_SYS_ADMIN
// for another one. The error wraps [ErrNotNetns] when path leads to something else.
func InNetns(path string, f func() error) error { return inNetnsOf(path, 0, f) }

// inNetnsOf is [InNetns] for the namespace with an inode, unless that is 0.
func inNetnsOf(path string, inode uint64, f func() error) error {
	if path == "" {
		return f()
	}
	there, err := openNetns(path, inode)
	if err != nil {
		return opError("open network namespace", err)
	}
	defer there.Close()
	result := make(chan error, 1)
	// A goroutine of its own: its thread is thrown away if the way back is barred.
	go func() { result <- inNetns(there, f) }()
	return <-result
}

func inNetns(there netns.NsHandle, f func() error) error {
	runtime.LockOSThread()
	back, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return opError("open network namespace", err)
	}
	defer back.Close()
	if err := netns.Set(there); err != nil {
		runtime.UnlockOSThread()
		return opError("enter network namespace", err)
	}
	err = f()
	if netns.Set(back) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// openNetns opens the file of a namespace. What stands at a path that others can change is not opened before it is known to be one: to
// open a FIFO waits for its other end, and a device may do anything.
func openNetns(path string, inode uint64) (netns.NsHandle, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return netns.None(), err
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return netns.None(), err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return netns.None(), err
	}
	if fs.Type != unix.NSFS_MAGIC {
		return netns.None(), fmt.Errorf("%q: %w", path, ErrNotNetns)
	}
	if inode != 0 && st.Ino != inode {
		return netns.None(), fmt.Errorf("%q: %w: it leads to net:[%d], and not to net:[%d]", path, ErrNotNetns, st.Ino, inode)
	}
	there, err := netns.GetFromPath(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return netns.GetFromPath(path) // no proc filesystem there: the namespace is known to be one
	}
	return there, nil
}
