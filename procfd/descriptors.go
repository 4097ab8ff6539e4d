package procfd

import (
	"errors"
	"io/fs"
	"os"
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
// may not list it (Linux 6.2; before, it is 0).
func (f *FS) countFDs(p *Process) int {
	p.Open = -1
	info, err := os.Stat(f.Path(p.PID, "fd"))
	if err != nil || info.Size() == 0 {
		return 0
	}
	p.Open = int(info.Size())
	return p.Open
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
	p.Open, p.ByKind, p.Sockets = 0, [NumKinds]int{}, p.Sockets[:0]
	unread := 0
	var why error
	err := walkFDs(dir, func(fd int, target []byte, err error) {
		switch {
		case errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH):
			return // closed since it was listed
		case err != nil:
			unread++
			why = err
		default:
			kind, inode := parseLink(target)
			p.ByKind[kind]++
			if kind == KindSocket {
				p.Sockets = append(p.Sockets, SocketFD{FD: fd, Inode: inode})
			}
		}
		p.Open++
	})
	if unread > 0 {
		p.gap("descriptors", unread, why)
	}
	return err
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
