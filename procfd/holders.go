package procfd

import (
	"cmp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// Holder is one descriptor on a socket.
type Holder struct {
	PID   int
	FD    int
	Task  int // as in [SocketFD]
	Inode uint64
}

// Search walks the descriptors of processes and finds those on sockets that are wanted, in the order of their
// processes. denied are the processes that could not be read, or not in full, for want of permission; one that has
// ended holds nothing. want is called by several goroutines at the same time.
func (f *FS) Search(pids []int, want func(inode uint64) bool) (found []Holder, denied []int) {
	pids = f.largestFirst(pids)
	var next atomic.Int64
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pids)) {
		workers.Go(func() {
			s := search{fs: f, want: want}
			for i := next.Add(1) - 1; i < int64(len(pids)); i = next.Add(1) - 1 {
				s.process(pids[i])
			}
			mu.Lock()
			defer mu.Unlock()
			found, denied = append(found, s.found...), append(denied, s.denied...)
		})
	}
	workers.Wait()
	slices.SortFunc(found, func(a, b Holder) int {
		return cmp.Or(a.PID-b.PID, a.Task-b.Task, a.FD-b.FD)
	})
	slices.Sort(denied)
	return found, denied
}

// largestFirst orders processes by their descriptors, so that no worker begins with the longest walk when the
// others are done.
func (f *FS) largestFirst(pids []int) []int {
	type process struct{ pid, fds int }
	list := make([]process, len(pids))
	for i, pid := range pids {
		list[i] = process{pid, f.CountDescriptors(pid)}
	}
	slices.SortStableFunc(list, func(a, b process) int { return b.fds - a.fds })
	sorted := make([]int, len(list))
	for i := range list {
		sorted[i] = list[i].pid
	}
	return sorted
}

// search is what one worker does and finds.
type search struct {
	fs     *FS
	want   func(inode uint64) bool
	found  []Holder
	denied []int
}

func (s *search) process(pid int) {
	main := pid
	n, denied := s.table(pid, 0, s.fs.Path(pid, "fd"))
	if n == 0 {
		// The main thread may have exited, see descriptors.
		for _, tid := range s.fs.threads(pid) {
			more, refused := s.table(pid, 0, s.task(pid, tid))
			if more > 0 {
				main, n, denied = tid, more, refused
			}
			if more > 0 || refused {
				break
			}
		}
	}
	if n > 0 {
		own, _ := s.fs.tables(pid, main)
		for _, tid := range own {
			_, refused := s.table(pid, tid, s.task(pid, tid))
			denied = denied || refused
		}
	}
	if denied {
		s.denied = append(s.denied, pid)
	}
}

func (s *search) task(pid, tid int) string {
	return s.fs.Path(pid, "task", strconv.Itoa(tid), "fd")
}

// table walks over one descriptor table, and reports how many descriptors are in it and whether any may not be read.
func (s *search) table(pid, task int, dir string) (n int, denied bool) {
	err := walkFDs(dir, func(fd int, target []byte, err error) {
		n++
		if isDenied(err) {
			denied = true
			return
		}
		if inode, ok := socketInode(target); err == nil && ok && s.want(inode) {
			s.found = append(s.found, Holder{PID: pid, FD: fd, Task: task, Inode: inode})
		}
	})
	return n, denied || isDenied(err)
}

// Holders finds the processes that have a descriptor on one of the sockets with these inodes. missing is how
// many of them nobody was seen to hold, denied how many processes could not be read.
func (f *FS) Holders(inodes map[uint64]bool) (pids []int, missing, denied int, err error) {
	all, err := f.PIDs()
	if err != nil {
		return nil, 0, 0, err
	}
	found, refused := f.Search(all, func(inode uint64) bool { return inodes[inode] })
	held := map[uint64]bool{}
	for _, h := range found {
		held[h.Inode] = true
		if len(pids) == 0 || pids[len(pids)-1] != h.PID {
			pids = append(pids, h.PID)
		}
	}
	return pids, len(inodes) - len(held), len(refused), nil
}
