package procfd

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// visit takes one descriptor with its link's target, valid during the call, or the error of reading it.
type visit func(fd int, target []byte, err error)

// walkFDs calls f for every descriptor that dir lists. It allocates nothing per descriptor: a leaking
// process has tens of thousands.
func walkFDs(dir string, f visit) error {
	d, err := openDir(dir)
	if err != nil {
		return err
	}
	defer unix.Close(d)
	return list(d, dir, 0, f)
}

// walkKnown is walkFDs without asking for the links of those descriptors that skip takes, in rising order.
func walkKnown(dir string, skip func(fd int) bool, f visit) error {
	d, err := openDir(dir)
	if err != nil {
		return err
	}
	defer unix.Close(d)
	w := fdWalk{dir: d, skip: skip, f: f}
	return w.list(dir)
}

func openDir(dir string) (int, error) { return openDirAt(unix.AT_FDCWD, dir) }

func openDirAt(at int, dir string) (int, error) {
	d, err := unix.Openat(at, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return d, nil
}

// Numbers of descriptors from which a walk goes another way.
const (
	denseFrom    = 256  // ask for 0, 1, 2, … instead of listing
	parallelFrom = 2048 // and do so on two threads
	denseBlock   = 256
)

// walkMany is walkFDs for a table whose size is known (the directory's st_size, Linux 6.2). The numbers of
// descriptors are dense, the kernel gives out the lowest free one, so asking for each in turn spares the
// listing, a fifth of the work; and two threads can share it. Each thread has a visit of its own, from
// visitor. The second begins when idle is closed, at once when that is nil or there are cores enough. What lies
// beyond the dense part is listed.
//
// visitor is called on the caller's thread, with how many descriptors are asked for by their numbers, from 0 on, and
// before a listing with 0 and how many that may show, as far as it is known.
func walkMany(dir string, idle <-chan struct{}, visitor func(asked, listed int) visit) error {
	d, err := openDir(dir)
	if err != nil {
		return err
	}
	defer unix.Close(d)
	w, ok := denseTable(d)
	if !ok {
		return list(d, dir, 0, visitor(0, int(w.want)))
	}
	w.share(idle, visitor)
	return w.listRest(dir, visitor(0, int(max(w.want-w.found.Load(), 0))))
}

// dense asks for the descriptors below end in blocks, until as many were found as are wanted, or until there are so
// many gaps that to list them costs less.
type dense struct {
	dir                 int
	want, end           int64
	next, found, missed atomic.Int64
	stop                func() bool // nil: never
}

// denseTable looks at a table; false: it is to be listed. want is how many descriptors are in it, 0 when the kernel
// does not tell.
func denseTable(d int) (*dense, bool) {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Fstat(d, &st) != nil || unix.Fstatfs(d, &fs) != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return &dense{}, false
	}
	return &dense{dir: d, want: st.Size, end: st.Size + st.Size/8}, st.Size >= denseFrom
}

// listRest lists what lies beyond the dense part. What was found there may have been opened since, in place of that, so it
// is listed in any case. In /proc, the position of a descriptor is its number and the two dots'.
func (w *dense) listRest(dir string, f visit) error {
	from := min(w.next.Load(), w.end)
	if _, err := unix.Seek(w.dir, from+2, unix.SEEK_SET); err != nil {
		return &os.PathError{Op: "seek", Path: dir, Err: err}
	}
	return list(w.dir, dir, int(from), f)
}

// share runs on this thread and, if there is enough to do, on a second one.
func (w *dense) share(idle <-chan struct{}, visitor func(asked, listed int) visit) {
	over := make(chan struct{})
	var second sync.WaitGroup
	if cores := runtime.GOMAXPROCS(0); w.want >= parallelFrom && cores > 1 {
		f := visitor(int(w.end), 0)
		second.Go(func() {
			if idle != nil && cores == 2 {
				select {
				case <-idle:
				case <-over:
				}
			}
			w.run(f)
		})
	}
	w.run(visitor(int(w.end), 0))
	close(over)
	second.Wait()
}

// left is about how many descriptors are still to be asked for.
func (w *dense) left() int64 {
	if !w.goesOn() {
		return 0
	}
	return max(w.end-w.next.Load(), 0)
}

func (w *dense) goesOn() bool {
	found := w.found.Load()
	return found < w.want && w.missed.Load() <= found/2+w.want/4+denseBlock && (w.stop == nil || !w.stop())
}

func (w *dense) run(f visit) {
	r := fdWalk{dir: w.dir}
	name := make([]byte, 0, 24)
	for w.goesOn() {
		from := w.next.Add(denseBlock) - denseBlock
		if from >= w.end {
			return
		}
		to := min(from+denseBlock, w.end)
		found := int64(0)
		for fd := from; fd < to; fd++ {
			name = append(strconv.AppendInt(name[:0], fd, 10), 0)
			target, err := r.readlink(name)
			if err != nil && errors.Is(err, unix.ENOENT) {
				continue
			}
			found++
			f(int(fd), target, err)
		}
		w.found.Add(found)
		w.missed.Add(to - from - found)
	}
}

// list walks the directory d by listing it, from the descriptor with the number from on.
func list(d int, dir string, from int, f visit) error {
	w := fdWalk{dir: d, from: from, f: f}
	return w.list(dir)
}

func (w *fdWalk) list(dir string) error {
	var buf [32 << 10]byte
	for {
		n, err := unix.Getdents(w.dir, buf[:])
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
	from int
	skip func(fd int) bool // nil: none
	f    visit
	link [512]byte // longer targets are files: the kind shows in the front
}

// Where d_reclen, two bytes, and d_name stand in struct linux_dirent64.
const (
	direntReclen = int(unsafe.Offsetof(unix.Dirent{}.Reclen))
	direntName   = int(unsafe.Offsetof(unix.Dirent{}.Name))
)

func (w *fdWalk) entries(b []byte) {
	for len(b) > direntName {
		size := int(binary.NativeEndian.Uint16(b[direntReclen:]))
		if size <= direntName || size > len(b) {
			return
		}
		name := b[direntName:size]
		if fd, ok := number(name); ok && fd >= w.from && (w.skip == nil || !w.skip(fd)) {
			target, err := w.readlink(name)
			if errors.Is(err, unix.ENOENT) { // closed since it was listed: that it is gone is not taken from one answer
				target, err = w.readlink(name)
			}
			w.f(fd, target, err)
		}
		b = b[size:]
	}
}

// readlink is readlinkat(2) on a name that already ends in a zero byte. In /proc it takes some microseconds and never
// waits, so the scheduler need not know.
func (w *fdWalk) readlink(name []byte) ([]byte, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_READLINKAT, uintptr(w.dir), uintptr(unsafe.Pointer(&name[0])),
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
		if c < '0' || c > '9' || n > 1<<27 { // the kernel's limit is 1<<30
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return 0, false
}

// kcmpFiles is KCMP_FILES of kcmp(2).
const kcmpFiles = 2

// compareFDs orders threads by their descriptor tables, in an order of the kernel's own; 0: they have one, or it is not told.
func compareFDs(tid1, tid2 int) int {
	order, _ := tellFDs(tid1, tid2)
	return order
}

// tellFDs is compareFDs, and reports whether the kernel tells (no CONFIG_KCMP, no right, a filter of system calls). A thread that has ended
// has none.
func tellFDs(tid1, tid2 int) (order int, told bool) {
	n, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(tid1), uintptr(tid2), kcmpFiles, 0, 0, 0)
	switch {
	case errno != 0:
		return 0, errno == unix.ESRCH
	case n == 0:
		return 0, true
	case n == 1:
		return -1, true
	}
	return 1, true
}

// SharesTable reports whether two processes are known to have one descriptor table (clone(2) with CLONE_FILES).
func (f *FS) SharesTable(pid1, pid2 int) bool {
	if !f.Native() {
		return false // kcmp(2) knows the reader's own numbers alone
	}
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), kcmpFiles, 0, 0, 0)
	return errno == 0 && order == 0
}
