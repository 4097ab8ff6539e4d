package procfd

import (
	"cmp"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// sweep walks the descriptors of many processes on all cores: those with the most first. A large table is walked by all
// workers, which costs no more than one for each, and leaves none of them behind; then all is known of the first process
// before the second is begun, which may not be needed. Small ones are walked side by side.
type sweep struct {
	fs   *FS
	list []candidate
	next int // to be begun

	// inodes are read instead of the descriptors of a process that may have many, if it is not nil: then take is called with descriptor -1.
	inodes Inodes

	// over reports whether nothing more is wanted of a process, given by its place in the list, and of all behind it.
	over func(i int) bool
	// walked is called for each process that was begun, behind the walk, with its directory, which stays that of the process
	// when its number is used again. Several goroutines call it.
	walked func(i, dir int, u unread)

	mu      sync.Mutex
	change  *sync.Cond
	begun   int       // processes that are being walked
	opening int       // of these one whose large table is about to be among big, -1: none
	big     []*shared // of their tables those where help is welcome
}

// candidate is a process to be walked.
type candidate struct{ pid, open int } // open is how many descriptors it has, -1: not known

// taker takes one descriptor on a socket of the process with a place in the list; task as in [SocketFD].
type taker func(i, task, fd int, inode uint64)

// unread is what of a process could not be read, and the first reason.
type unread struct {
	descriptors int // in tables that could be listed
	err         error
}

// add leaves out what has ended or was closed: that holds nothing.
func (u *unread) add(descriptors int, err error) {
	if err == nil || isEnded(err) {
		return
	}
	u.descriptors += descriptors
	if u.err == nil {
		u.err = err
	}
}

// shared is a table that several workers walk.
type shared struct {
	*dense
	*visited
	helpers sync.WaitGroup
}

// visited is one table of a process and what was seen of it.
type visited struct {
	i, task int
	seen    atomic.Bool // any descriptor
	mu      sync.Mutex
	unread  unread
}

// run walks with as many workers as there are cores. Each has a taker of its own.
func (s *sweep) run(newTaker func() taker) {
	s.change, s.opening = sync.NewCond(&s.mu), -1
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		take := newTaker()
		all.Go(func() {
			for i, t := s.work(); i >= 0 || t != nil; i, t = s.work() {
				if t != nil {
					t.run(t.visit(take))
					t.helpers.Done()
					continue
				}
				s.process(i, take)
				s.end(i)
			}
		})
	}
	all.Wait()
}

// work waits for something to do: a table that needs help, or else a process to begin; -1 and nil when all is done.
func (s *sweep) work() (i int, t *shared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if t := s.most(); t != nil {
			t.helpers.Add(1)
			return -1, t
		}
		if s.opening < 0 && s.next < len(s.list) && !s.over(s.next) {
			i := s.next
			s.next++
			s.begun++
			if s.list[i].open >= parallelFrom {
				s.opening = i
			}
			return i, nil
		}
		if s.begun == 0 {
			return -1, nil
		}
		s.change.Wait()
	}
}

// most is the table with the most left; nil: none is worth help.
func (s *sweep) most() (most *shared) {
	for _, t := range s.big {
		if left := t.left(); left >= denseBlock && (most == nil || left > most.left()) {
			most = t
		}
	}
	return most
}

// opened lets others begin the next process, and help with the table t of this one, if it is not nil.
func (s *sweep) opened(i int, t *shared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening == i {
		s.opening = -1
	}
	if t != nil {
		s.big = append(s.big, t)
	}
	s.change.Broadcast()
}

func (s *sweep) end(i int) {
	s.opened(i, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun--
	s.change.Broadcast()
}

// process walks all tables of a process.
func (s *sweep) process(i int, take taker) {
	pid := s.list[i].pid
	dir, err := openDir(s.fs.Path(pid))
	w := processWalk{sweep: s, i: i, dir: dir, take: take}
	w.unread.add(0, err)
	if err == nil {
		defer unix.Close(dir)
		if !s.tell(i, take) {
			w.tables(pid)
		}
	}
	s.walked(i, dir, w.unread)
}

// inodesFrom is from how many descriptors on another source of inodes is quicker than the directory.
const inodesFrom = 4

// tell takes a process from the other source, and reports whether it could.
func (s *sweep) tell(i int, take taker) bool {
	if s.inodes == nil || s.list[i].open >= 0 && s.list[i].open < inodesFrom {
		return false
	}
	s.opened(i, nil)
	most := max(s.list[i].open, 0)
	last := i+1 == len(s.list) || s.list[i+1].open < parallelFrom
	alone := most >= parallelFrom && last && (i%2 == 0) // of an even number, each worker has as many
	return s.inodes(s.list[i].pid, most, alone, func(inode uint64) { take(i, 0, -1, inode) }) == nil
}

// processWalk is the walk over one process.
type processWalk struct {
	*sweep
	i, dir int
	take   taker
	unread unread
}

func (w *processWalk) tables(pid int) {
	main, tids := pid, w.fs.others(pid)
	if !w.table(0, "fd") {
		main = w.living(pid, tids)
	}
	if len(tids) == 0 || w.over(w.i) {
		return
	}
	own, rest, _ := w.fs.tables(tids, main)
	if rest > 0 {
		w.unread.add(0, errManyThreads)
	}
	read := 0
	for _, tid := range own {
		if read += dirSize(w.fs.Path(pid, taskFDs(tid))); read > mostOwnFDs {
			w.unread.add(0, errManyOwn)
			return
		}
		w.table(tid, taskFDs(tid))
	}
}

// living walks over the process's table through another thread than its main one, which may have exited, see
// descriptors: the table is empty then, or may not be read any more. It returns that thread, or the main one when there is
// none.
func (w *processWalk) living(main int, tids []int) int {
	leader := w.unread
	for _, tid := range tids {
		w.unread = unread{}
		if w.table(0, taskFDs(tid)) {
			return tid
		}
		if w.unread.err != nil {
			return main
		}
	}
	w.unread = leader
	return main
}

func taskFDs(tid int) string { return "task/" + strconv.Itoa(tid) + "/fd" }

// table walks over one descriptor table, and reports whether any descriptor was seen in it.
func (w *processWalk) table(task int, name string) bool {
	v := &visited{i: w.i, task: task}
	err := w.walk(name, v)
	w.unread.add(v.unread.descriptors, v.unread.err)
	w.unread.add(0, err)
	return v.seen.Load()
}

func (w *processWalk) walk(name string, v *visited) error {
	d, err := openDirAt(w.dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(d)
	visit := v.visit(w.take)
	t, ok := denseTable(d)
	if !ok {
		return list(d, name, 0, visit)
	}
	t.stop = func() bool { return w.over(v.i) }
	w.together(&shared{dense: t, visited: v}, visit)
	if t.stop() {
		return nil
	}
	return t.listRest(name, visit)
}

// together walks the dense part of a table, with the help of others when it is large.
func (s *sweep) together(t *shared, f visit) {
	if t.want < parallelFrom {
		t.run(f)
		return
	}
	s.opened(t.i, t)
	t.run(f)
	s.mu.Lock()
	s.big = slices.DeleteFunc(s.big, func(other *shared) bool { return other == t })
	s.mu.Unlock()
	t.helpers.Wait()
}

func (v *visited) visit(take taker) visit {
	return func(fd int, target []byte, err error) {
		if err != nil {
			v.failed(err)
			return
		}
		v.see()
		if inode, ok := socketInode(target); ok {
			take(v.i, v.task, fd, inode)
		}
	}
}

// see writes once, as several threads read it.
func (v *visited) see() {
	if !v.seen.Load() {
		v.seen.Store(true)
	}
}

// failed: what was closed since it was listed is none any more.
func (v *visited) failed(err error) {
	if isEnded(err) {
		return
	}
	v.see()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.unread.add(1, err)
}

// candidates orders processes by their descriptors, those with the most first, then those of which the number is not
// known, and those with as many by their numbers. Where the kernel tells that one has none, nor a thread that could, it is
// left out: threads of the kernel and zombies are many.
func (f *FS) candidates(pids []int) []candidate {
	list := make([]candidate, 0, len(pids))
	for _, pid := range pids {
		if c := f.candidate(pid); c.open != 0 {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return cmp.Or(b.open-a.open, a.pid-b.pid) })
	return list
}

func (f *FS) candidate(pid int) candidate {
	c := candidate{pid, -1}
	if !f.counts {
		return c
	}
	info, err := os.Stat(f.Path(pid, "fd"))
	switch {
	case err == nil:
		c.open = int(info.Size())
	case isEnded(err):
		c.open = 0
	}
	if c.open != 0 {
		return c
	}
	for _, tid := range f.others(pid) {
		if c.open = dirSize(f.Path(pid, "task", strconv.Itoa(tid), "fd")); c.open > 0 {
			break
		}
	}
	return c
}

// others lists the threads of a process but its leader. Most processes have none, which the directory tells by its links:
// two of its own, and one for each thread.
func (f *FS) others(pid int) []int {
	var st unix.Stat_t
	if f.counts && unix.Stat(f.Path(pid, "task"), &st) == nil && st.Nlink <= 3 {
		return nil
	}
	return f.threads(pid)
}

// countsDescriptors reports whether this is a live filesystem whose directories tell how many descriptors there are: that of
// the reader itself is one with some.
func countsDescriptors(root string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(root, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC && dirSize(root+"/self/fd") > 0
}

// Search walks the descriptors of processes and finds those on sockets that are wanted, in the order of their
// processes. denied are the processes that could not be read, or not in full, for want of permission; one that has
// ended holds nothing. want is called by several goroutines at the same time.
func (f *FS) Search(pids []int, want func(inode uint64) bool) (found []Holder, denied []int) {
	s := &sweep{fs: f, list: f.candidates(pids), over: func(int) bool { return false }}
	var mu sync.Mutex
	s.walked = func(i, _ int, u unread) {
		if isDenied(u.err) {
			mu.Lock()
			defer mu.Unlock()
			denied = append(denied, s.list[i].pid)
		}
	}
	var parts []*[]Holder
	s.run(func() taker {
		part := new([]Holder)
		parts = append(parts, part)
		return func(i, task, fd int, inode uint64) {
			if want(inode) {
				*part = append(*part, Holder{PID: s.list[i].pid, FD: fd, Task: task, Inode: inode})
			}
		}
	})
	for _, part := range parts {
		found = append(found, *part...)
	}
	slices.SortFunc(found, func(a, b Holder) int {
		return cmp.Or(a.PID-b.PID, a.Task-b.Task, a.FD-b.FD)
	})
	slices.Sort(denied)
	return found, denied
}
