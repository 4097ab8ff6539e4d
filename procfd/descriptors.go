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
func (f *FS) descriptors(p *Process, idle <-chan struct{}, known func(fd int) uint64) error {
	err := f.listFDs(p, f.Path(p.PID, "fd"), idle, known)
	if (isDenied(err) || err == nil && p.Open == 0) && f.leaderExited(p) {
		err = f.threadFDs(p, err)
	}
	if err == nil {
		f.ownTables(p)
	}
	if err == nil || !isDenied(err) {
		return err
	}
	p.gap("descriptors", f.countFDs(p), err)
	return nil
}

// leaderExited reads the state anew: it may have changed since the process was identified.
func (f *FS) leaderExited(p *Process) bool {
	stat, err := f.stat(p.PID)
	if err != nil || stat.start != p.Start {
		return false
	}
	p.State, p.Threads = stat.state, stat.threads
	return p.State == 'Z'
}

func isDenied(err error) bool { return errors.Is(err, fs.ErrPermission) }

// isEnded: it was there when it was listed.
func isEnded(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

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
	for _, tid := range f.threads(p.PID) {
		if err := f.listFDs(p, f.Path(p.PID, "task", strconv.Itoa(tid), "fd"), nil, nil); err == nil && p.Open > 0 {
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

// threads lists the threads of a process but its leader.
func (f *FS) threads(pid int) []int {
	tids, _ := f.tasks(pid)
	return slices.DeleteFunc(tids, func(tid int) bool { return tid == pid })
}

// tasks lists the threads of a process.
func (f *FS) tasks(pid int) ([]int, error) {
	entries, err := os.ReadDir(f.Path(pid, "task"))
	var tids []int
	for _, task := range entries {
		if tid, err := strconv.Atoi(task.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids, err
}

// Bounds of what is read beside the table of the process: each thread can have one of its own.
const (
	mostThreads = 32768
	mostOwnFDs  = 1 << 20
	mostAlike   = 64 // tables to which another is compared
)

var (
	errManyThreads = errors.New("these are too many threads to find out which have a descriptor table of their own")
	errManyOwn     = errors.New("threads have too many descriptors in tables of their own")
)

// ownTables reads the descriptors of threads that have a table of their own (unshare(2) with CLONE_FILES).
func (f *FS) ownTables(p *Process) {
	if p.Threads < 2 {
		return
	}
	tables, rest, certain := f.tables(f.threads(p.PID), p.FDTask)
	if rest > 0 {
		p.gap("descriptors of threads", rest, errManyThreads)
	}
	read, unread := 0, 0
	var why error
	var seen [][]SocketFD
	for _, tid := range tables {
		dir := f.Path(p.PID, "task", strconv.Itoa(tid), "fd")
		if read+dirSize(dir) > mostOwnFDs {
			unread, why = unread+1, errManyOwn
			continue
		}
		c, err := countTable(dir, nil)
		read += c.open
		if alike := func(s []SocketFD) bool { return slices.Equal(s, c.sockets) }; !certain && slices.ContainsFunc(seen, alike) {
			continue
		}
		if len(seen) < mostAlike && !certain {
			seen = append(seen, slices.Clone(c.sockets))
		}
		p.addOwn(tid, &c)
		if c.unread > 0 && err == nil {
			err = c.why
		}
		if err != nil && !isEnded(err) {
			unread, why = unread+1, err
		}
	}
	if unread > 0 {
		p.gap("descriptors of threads", unread, why)
	}
}

// addOwn takes the table of one thread.
func (p *Process) addOwn(tid int, c *fdCount) {
	for _, s := range c.sockets {
		s.Task = tid
		p.Sockets = append(p.Sockets, s)
	}
	for _, fd := range c.epolls {
		p.ownEpolls = append(p.ownEpolls, taskFD{tid, fd})
	}
	for _, fd := range c.urings {
		p.ownUrings = append(p.ownUrings, taskFD{tid, fd})
	}
}

// tables finds the descriptor tables that threads of a process have beside that of its thread main: one thread of each,
// in the order of their numbers, and how many threads were too many to be compared. certain: no two of them are one.
func (f *FS) tables(tids []int, main int) (own []int, rest int, certain bool) {
	if len(tids) > mostThreads {
		tids, rest = tids[:mostThreads], len(tids)-mostThreads
	}
	if !f.Native() { // kcmp(2) knows the reader's own numbers alone
		own, more := f.tablesBySize(tids, main)
		return own, rest + more, false
	}
	for _, tid := range tids {
		if tid == main {
			continue
		}
		order, told := tellFDs(main, tid)
		if !told {
			own, more := f.tablesBySize(tids, main)
			return own, rest + more, false
		}
		if order == 0 {
			continue
		}
		// In the kernel's order of tables, so that many of them are compared quickly.
		if i, found := slices.BinarySearchFunc(own, tid, compareFDs); !found {
			own = slices.Insert(own, i, tid)
		}
	}
	slices.Sort(own)
	return own, rest, true
}

// tablesBySize is tables where the kernel does not compare them (a filter of system calls, no CONFIG_KCMP, other numbers): a table that has
// another size than that of main twice, while that one's stays the same, is another. One that has as many descriptors is taken for the same.
func (f *FS) tablesBySize(tids []int, main int) (own []int, rest int) {
	left := mostOwnFDs
	size := func(tid int) int {
		if f.counts {
			return dirSize(f.Path(tid, "fd"))
		}
		names, _ := os.ReadDir(f.Path(tid, "fd"))
		left -= len(names)
		return len(names)
	}
	differs := func(tid int) bool {
		for range 2 {
			before, there, after := size(main), size(tid), size(main)
			if before != after || there == before || there == 0 {
				return false
			}
		}
		return true
	}
	for i, tid := range tids {
		if left < 0 {
			return own, len(tids) - i
		}
		if tid != main && differs(tid) {
			own = append(own, tid)
		}
	}
	return own, 0
}

// listFDs counts the descriptors in dir by kind and keeps the sockets.
func (f *FS) listFDs(p *Process, dir string, idle <-chan struct{}, known func(fd int) uint64) error {
	count := countTable
	if known != nil {
		count = func(dir string, _ <-chan struct{}) (fdCount, error) { return countKnown(dir, known, len(p.Sockets)) }
	}
	c, err := count(dir, idle)
	p.Open, p.ByKind, p.Sockets, p.Epolls, p.Urings = c.open, c.byKind, c.sockets, c.epolls, c.urings
	p.PipePairs = pairs(c.pipes)
	p.ownEpolls, p.ownUrings = nil, nil
	if c.unread > 0 {
		p.gap("descriptors", c.unread, c.why)
	}
	return err
}

// countTable walks over one descriptor table, in the order of the descriptors.
func countTable(dir string, idle <-chan struct{}) (sum fdCount, err error) {
	var counts []*fdCount
	var asked []SocketFD // by descriptor
	err = walkMany(dir, idle, func(n, listed int) visit {
		if asked == nil {
			asked = make([]SocketFD, n)
		}
		c := &fdCount{asked: asked}
		if n == 0 && listed > 0 {
			c.sockets = make([]SocketFD, 0, listed)
		}
		counts = append(counts, c)
		return c.add
	})
	sum.sockets = slices.DeleteFunc(asked, func(s SocketFD) bool { return s.Inode == 0 })
	for _, c := range counts {
		sum.join(c)
	}
	slices.SortFunc(sum.sockets, func(a, b SocketFD) int { return a.FD - b.FD }) // in /proc they are in order
	if len(sum.sockets) < cap(sum.sockets)/2 {
		sum.sockets = slices.Clone(sum.sockets)
	}
	slices.Sort(sum.epolls)
	slices.Sort(sum.urings)
	return sum, err
}

// countKnown is countTable where some sockets are known, and about how many there are.
func countKnown(dir string, known func(fd int) uint64, sockets int) (fdCount, error) {
	c := fdCount{sockets: make([]SocketFD, 0, sockets)}
	err := walkKnown(dir, func(fd int) bool {
		inode := known(fd)
		if inode != 0 {
			c.take(SocketFD{FD: fd, Inode: inode})
		}
		return inode != 0
	}, c.add)
	slices.SortFunc(c.sockets, func(a, b SocketFD) int { return a.FD - b.FD })
	slices.Sort(c.epolls)
	slices.Sort(c.urings)
	return c, err
}

// take counts a socket.
func (c *fdCount) take(s SocketFD) {
	c.open++
	c.byKind[KindSocket]++
	c.sockets = append(c.sockets, s)
}

// pairs counts the pipes that are there more than once.
func pairs(pipes []uint64) (n int) {
	slices.Sort(pipes)
	for i := 1; i < len(pipes); i++ {
		if pipes[i] == pipes[i-1] && (i == 1 || pipes[i] != pipes[i-2]) {
			n++
		}
	}
	return n
}

// fdCount is what one thread of a walk found.
type fdCount struct {
	open    int
	unread  int
	why     error
	byKind  [NumKinds]int
	asked   []SocketFD // each in the place of its descriptor, shared with other threads; without an inode none
	sockets []SocketFD // of higher descriptors
	pipes   []uint64   // inodes
	epolls  []int
	urings  []int
}

func (c *fdCount) join(other *fdCount) {
	c.open += other.open
	for k, n := range other.byKind {
		c.byKind[k] += n
	}
	c.sockets = append(c.sockets, other.sockets...)
	c.pipes = append(c.pipes, other.pipes...)
	c.epolls = append(c.epolls, other.epolls...)
	c.urings = append(c.urings, other.urings...)
	if other.unread > 0 {
		c.unread += other.unread
		c.why = other.why
	}
}

func (c *fdCount) add(fd int, target []byte, err error) {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return // closed since it was listed
	case err != nil:
		c.unread++
		c.why = err
	default:
		kind, inode := parseLink(target)
		c.byKind[kind]++
		switch kind {
		case KindSocket:
			s := SocketFD{FD: fd, Inode: inode}
			if fd < len(c.asked) {
				c.asked[fd] = s
			} else {
				c.sockets = append(c.sockets, s)
			}
		case KindPipe:
			c.pipes = append(c.pipes, inode)
		case KindEpoll:
			c.epolls = append(c.epolls, fd)
		case KindIOUring:
			c.urings = append(c.urings, fd)
		}
	}
	c.open++
}

// SocketInode reads which socket a descriptor of the process is open on now; ok is false when it is closed, or
// open on something else. The inode of s does not matter.
func (f *FS) SocketInode(p *Process, s SocketFD) (inode uint64, ok bool) {
	target, err := os.Readlink(f.fdPath(p, s))
	if err != nil {
		return 0, false
	}
	return socketInode([]byte(target))
}

func (f *FS) fdPath(p *Process, s SocketFD) string { return f.tablePath(p, s.Task, "fd", s.FD) }

// tablePath is the path of a descriptor in a directory, fd or fdinfo; task as in [SocketFD].
func (f *FS) tablePath(p *Process, task int, dir string, fd int) string {
	if task == 0 {
		task = p.FDTask
	}
	if task != p.PID {
		return f.Path(p.PID, "task", strconv.Itoa(task), dir, strconv.Itoa(fd))
	}
	return f.Path(p.PID, dir, strconv.Itoa(fd))
}
