package procfd

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// descriptors lists what the process holds open. A thread group leader that has exited lists none,
// successfully, while its other threads live and hold everything: then theirs is read.
func (f *FS) descriptors(p *Process) error {
	err := f.listFDs(p, f.Path(p.PID, "fd"))
	if err == nil && p.Open == 0 && p.State == 'Z' {
		f.threadFDs(p)
	}
	if err == nil || !isDenied(err) {
		return err
	}
	p.gap("descriptors", f.countFDs(p), err)
	return nil
}

func isDenied(err error) bool { return errors.Is(err, fs.ErrPermission) }

// countFDs takes the number of descriptors from the directory's size, which even those may read who
// may not list it. -1 is not known.
func (f *FS) countFDs(p *Process) int {
	n := f.CountDescriptors(p.PID)
	p.Open = n
	if n == 0 {
		p.Open = -1
	}
	return n
}

func (f *FS) threadFDs(p *Process) {
	tasks, _ := os.ReadDir(f.Path(p.PID, "task"))
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil || tid == p.PID {
			continue
		}
		if err := f.listFDs(p, f.Path(p.PID, "task", task.Name(), "fd")); err == nil && p.Open > 0 {
			p.FDTask = tid
			return
		}
	}
	// A leader without other threads is a zombie in full: it holds nothing any more.
	if p.Threads > 1 {
		p.gap("descriptors", 0, errors.New("the main thread has exited and no other could be read"))
	}
}

// listFDs counts the descriptors in dir by kind and keeps the sockets.
func (f *FS) listFDs(p *Process, dir string) error {
	var counts []*fdCount
	err := walkMany(dir, func() visit {
		c := &fdCount{}
		counts = append(counts, c)
		return c.add
	})
	p.Open, p.ByKind, p.Sockets = 0, [NumKinds]int{}, nil
	unread := 0
	var why error
	for _, c := range counts {
		p.Open += c.open
		for k, n := range c.byKind {
			p.ByKind[k] += n
		}
		p.Sockets = append(p.Sockets, c.sockets...)
		if c.unread > 0 {
			unread += c.unread
			why = c.why
		}
	}
	slices.SortFunc(p.Sockets, func(a, b SocketFD) int { return a.FD - b.FD })
	if unread > 0 {
		p.gap("descriptors", unread, why)
	}
	return err
}

// fdCount is what one thread of a walk found.
type fdCount struct {
	open    int
	unread  int
	why     error
	byKind  [NumKinds]int
	sockets []SocketFD
}

func (c *fdCount) add(fd int, target []byte, err error) {
	switch {
	case errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH):
		return // closed since it was listed
	case err != nil:
		c.unread++
		c.why = err
	default:
		kind, inode := parseLink(target)
		c.byKind[kind]++
		if kind == KindSocket {
			c.sockets = append(c.sockets, SocketFD{FD: fd, Inode: inode})
		}
	}
	c.open++
}

// SocketInode reads which socket a descriptor of the process is open on now; ok is false when it is closed, or
// open on something else.
func (f *FS) SocketInode(p *Process, fd int) (inode uint64, ok bool) {
	target, err := os.Readlink(f.fdPath(p, fd))
	if err != nil {
		return 0, false
	}
	return socketInode([]byte(target))
}

func (f *FS) fdPath(p *Process, fd int) string {
	if p.FDTask != p.PID {
		return f.Path(p.PID, "task", strconv.Itoa(p.FDTask), "fd", strconv.Itoa(fd))
	}
	return f.Path(p.PID, "fd", strconv.Itoa(fd))
}
