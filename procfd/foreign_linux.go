package procfd

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Foreign reports whether this is a mounted proc filesystem beside the reader's own, as a container has the host's.
func (f *FS) Foreign() bool {
	var fs unix.Statfs_t
	return f.root != liveRoot && unix.Statfs(f.root, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC
}

// OneNetns reports whether this kernel does not tell which network namespace a process is in, as older releases of gVisor: all processes are
// then taken for those of one namespace.
func (f *FS) OneNetns() bool { return f.oneSpace }

// hasNoSpaces reports whether the files of namespaces are files of the proc filesystem, and none of the kernel's own for them.
func hasNoSpaces(root string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(root+"/self/ns/net", &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC
}

// InNetnsOf reports whether the reader is in the network namespace of a process. It needs no right: each namespace has files of its own
// in /proc/PID/net, which all that are in it share.
func (f *FS) InNetnsOf(pid int) bool {
	own, theirs := fileNumber(liveRoot+"/self/net/tcp"), fileNumber(f.NetPath(pid, "tcp"))
	return own != 0 && own == theirs
}

// fileNumber is an inode number, 0 when there is no such file.
func fileNumber(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
