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

// sweep walks the descriptors of many processes on all cores: those with the most first, so that no worker begins
// with the longest walk when the others are done, and who has nothing left to begin helps with what is walked.
type sweep struct {
	fs   *FS
	list []candidate
	next atomic.Int64

	// over reports whether nothing more is wanted of a process, given by its place in the list, and of all behind it.
	over func(i int) bool
	// walked is called for each process that was begun, behind the walk, with its directory, which stays that of the process
	// when its number is used again. Several goroutines call it.
	walked func(i, dir int, u unread)

	mu     sync.Mutex
	change *sync.Cond
	begun  int       // processes that are being walked
	big    []*shared // of their tables those where help is welcome
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
	seen    atomic.Int64
	mu      sync.Mutex
	unread  unread
}

// run walks with as many workers as there are cores. Each has a taker of its own.
func (s *sweep) run(newTaker func() taker) {
	s.change = sync.NewCond(&s.mu)
	workers := min(runtime.GOMAXPROCS(0), len(s.list))
	if len(s.list) > 0 && s.list[0].open >= parallelFrom {
		workers = runtime.GOMAXPROCS(0)
	}
	var all sync.WaitGroup
	for range workers {
		take := newTaker()
		all.Go(func() {
			for i, ok := s.begin(); ok; i, ok = s.begin() {
				s.process(i, take)
				s.end()
			}
			for t := s.help(); t != nil; t = s.help() {
				t.run(t.visit(take))
				t.helpers.Done()
			}
		})
	}
	all.Wait()
}

// begin gives out the next process.
func (s *sweep) begin() (i int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i = int(s.next.Load())
	if i >= len(s.list) || s.over(i) {
		return 0, false
	}
	s.next.Add(1)
	s.begun++
	return i, true
}

func (s *sweep) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun--
	s.change.Broadcast()
}

// help waits for a table with work left, and takes that with the most; nil when all processes are done.
func (s *sweep) help() *shared {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.begun > 0 {
		var most *shared
		for _, t := range s.big {
			if left := t.left(); left >= denseBlock && (most == nil || left > most.left()) {
				most = t
			}
		}
		if most != nil {
			most.helpers.Add(1)
			return most
		}
		s.change.Wait()
	}
	return nil
}

// process walks all tables of a process.
func (s *sweep) process(i int, take taker) {
	pid := s.list[i].pid
	dir, err := openDir(s.fs.Path(pid))
	w := processWalk{sweep: s, i: i, dir: dir, take: take}
	w.unread.add(0, err)
	if err == nil {
		defer unix.Close(dir)
		w.tables(pid)
	}
	s.walked(i, dir, w.unread)
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
	if w.table(0, "fd") == 0 {
		main = w.living(pid, tids)
	}
	if len(tids) == 0 || w.over(w.i) {
		return
	}
	own, rest := w.fs.tables(tids, main)
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
		if w.table(0, taskFDs(tid)) > 0 {
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

// table walks over one descriptor table, and returns how many descriptors were seen in it.
func (w *processWalk) table(task int, name string) int {
	v := &visited{i: w.i, task: task}
	err := w.walk(name, v)
	w.unread.add(v.unread.descriptors, v.unread.err)
	w.unread.add(0, err)
	return int(v.seen.Load())
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
	s.mu.Lock()
	s.big = append(s.big, t)
	s.mu.Unlock()
	s.change.Broadcast()
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
		v.seen.Add(1)
		if inode, ok := socketInode(target); ok {
			take(v.i, v.task, fd, inode)
		}
	}
}

// failed: what was closed since it was listed is none any more.
func (v *visited) failed(err error) {
	if isEnded(err) {
		return
	}
	v.seen.Add(1)
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
