package procfd

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// descriptors lists what the process holds open. Of a thread group leader that has exited nothing is
// listed, successfully, and to an ordinary user nothing may be, while its other threads live and hold
// everything: then theirs is read.
func (f *FS) descriptors(p *Process, idle <-chan struct{}) error {
	err := f.listFDs(p, f.Path(p.PID, "fd"), idle)
	if (isDenied(err) || err == nil && p.Open == 0) && f.leaderExited(p) {
		err = f.threadFDs(p, err)
	}
	if err == nil {
		f.privateTables(p)
	}
	if err == nil || !isDenied(err) {
		return err
	}
	p.gap("descriptors", f.countFDs(p), err)
	return nil
}

// leaderExited reads the state anew: it may have changed since the process was identified.
func (f *FS) leaderExited(p *Process) bool {
	proc, err := f.proc.Proc(p.PID)
	if err != nil {
		return false
	}
	stat, err := proc.Stat()
	if err != nil || stat.Starttime != p.Start {
		return false
	}
	p.State, p.Threads = stat.State[0], stat.NumThreads
	return p.State == 'Z'
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

// threadFDs reads the descriptors of a thread that lives. err is what kept the leader's from being read,
// and stays when no thread's can be read either.
func (f *FS) threadFDs(p *Process, err error) error {
	for _, tid := range f.threads(p) {
		if err := f.listFDs(p, f.Path(p.PID, "task", strconv.Itoa(tid), "fd"), nil); err == nil && p.Open > 0 {
			p.FDTask = tid
			return nil
		}
	}
	// A leader without other threads is a zombie in full: it holds nothing any more.
	if p.Threads <= 1 {
		return nil
	}
	if err == nil {
		p.gap("descriptors", 0, errors.New("the main thread has exited and no other could be read"))
	}
	return err
}

// threads lists the threads of the process but its leader.
func (f *FS) threads(p *Process) []int {
	tasks, _ := os.ReadDir(f.Path(p.PID, "task"))
	var tids []int
	for _, task := range tasks {
		if tid, err := strconv.Atoi(task.Name()); err == nil && tid != p.PID {
			tids = append(tids, tid)
		}
	}
	return tids
}

// privateTables names threads that have descriptors of their own (unshare(2) with CLONE_FILES), which are not read.
func (f *FS) privateTables(p *Process) {
	if p.Threads < 2 || f.root != liveRoot {
		return // kcmp(2) knows the reader's own numbers alone
	}
	n := 0
	for _, tid := range f.threads(p) {
		if tid != p.FDTask && !sharesFDs(p.FDTask, tid) {
			n++
		}
	}
	if n > 0 {
		p.gap("descriptors of threads", n, errors.New("these threads have a descriptor table of their own, which was not read"))
	}
}

// listFDs counts the descriptors in dir by kind and keeps the sockets.
func (f *FS) listFDs(p *Process, dir string, idle <-chan struct{}) error {
	var counts []*fdCount
	err := walkMany(dir, idle, func() visit {
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
