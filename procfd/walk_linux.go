package procfd

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// walkFDs calls f for every descriptor that dir lists, with its link's target or the error of reading
// it. target is valid during the call. It allocates nothing per descriptor: a leaking process has
// tens of thousands.
func walkFDs(dir string, f func(fd int, target []byte, err error)) error {
	d, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(d)
	w := fdWalk{dir: d, f: f}
	var buf [32 << 10]byte
	for {
		n, err := unix.Getdents(d, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "list", Path: dir, Err: err}
		}
		if n <= 0 {
			return nil
		}
		w.entries(buf[:n])
	}
}

type fdWalk struct {
	dir  int
	f    func(int, []byte, error)
	link [512]byte // longer targets are files: the kind shows in the front
}

// direntName is where d_name stands in struct linux_dirent64; d_reclen is two bytes at 16.
const direntName = int(unsafe.Offsetof(unix.Dirent{}.Name))

func (w *fdWalk) entries(b []byte) {
	for len(b) > direntName {
		ent := (*unix.Dirent)(unsafe.Pointer(&b[0]))
		size := int(ent.Reclen)
		if size <= direntName || size > len(b) {
			return
		}
		name := b[direntName:size]
		if fd, ok := number(name); ok {
			target, err := w.readlink(name)
			w.f(fd, target, err)
		}
		b = b[size:]
	}
}

// readlink is readlinkat(2) on a name that already ends in a zero byte.
func (w *fdWalk) readlink(name []byte) ([]byte, error) {
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(w.dir), uintptr(unsafe.Pointer(&name[0])),
		uintptr(unsafe.Pointer(&w.link[0])), uintptr(len(w.link)), 0, 0)
	if errno != 0 {
		return nil, errno
	}
	return w.link[:n], nil
}

// number reads the digits in front of the first zero byte.
func number(name []byte) (n int, ok bool) {
	for i, c := range name {
		if c == 0 {
			return n, i > 0
		}
		if c < '0' || c > '9' || n > 1<<30 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return 0, false
}
