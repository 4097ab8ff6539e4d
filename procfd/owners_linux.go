package procfd

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// mostSweeps bounds how often processes are asked anew because others have ended.
const mostSweeps = 3

// Owners finds the processes that hold the wanted sockets, and gives each socket to one of them: that with the most
// descriptors, as the kernel counted them before (Linux 6.2), and among those with as many that with the lowest number.
// Which one that is does not depend on what was read first. No process is begun when all sockets have been found, and none
// that was is read on when it can get no more.
//
// A process was seen to have a descriptor on its sockets at some moment of the call, and was there behind that. Who else holds
// the sockets of one that has ended meanwhile is looked for again. What [Wanted.Each] tells afterwards are indices of
// Owned.Processes. The error is that of listing the processes, or the context's.
//
// inodes, if it is not nil, tells what sockets a process has quicker than its directory. Several goroutines call it. A process for which it
// fails is read by its directory.
func (f *FS) Owners(ctx context.Context, w *Wanted, inodes Inodes) (*Owned, error) {
	return f.ownersAmong(ctx, w, f.PIDs, inodes)
}

// ownersAmong asks the processes that list gives.
func (f *FS) ownersAmong(ctx context.Context, w *Wanted, list func() ([]int, error), inodes Inodes) (*Owned, error) {
	o := &ownership{fs: f, wanted: w, inodes: inodes}
	w.reset()
	for range mostSweeps {
		pids, err := list()
		if err != nil {
			return nil, err
		}
		again := o.sweep(ctx, f.candidates(pids))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !again {
			break
		}
	}
	return o.result(), nil
}

// ownership is a search for owners. A process is known by its place in the lists of all sweeps, one behind the other.
type ownership struct {
	fs     *FS
	wanted *Wanted
	inodes Inodes
	owners []Owner  // with number 0 when a process got nothing or has ended
	unread []Unread // of the last sweep
}

// sweep asks all processes once, and reports whether sockets are left over that ended processes had.
func (o *ownership) sweep(ctx context.Context, list []candidate) (again bool) {
	base := uint32(len(o.owners))
	owners := make([]Owner, len(list))
	claims := make([]atomic.Bool, len(list)) // it got a socket, which an earlier one may have taken since
	o.owners = append(o.owners, owners...)
	owners = o.owners[base:]
	o.unread = nil
	var mu sync.Mutex
	s := &sweep{fs: o.fs, list: list, inodes: o.inodes, over: func(i int) bool { return o.wanted.over(base+uint32(i)) || ctx.Err() != nil }}
	s.walked = func(i, dir int, u unread) {
		if claims[i].Load() {
			owners[i] = ownerAt(dir, list[i].pid)
		}
		if u.err != nil {
			mu.Lock()
			defer mu.Unlock()
			o.unread = append(o.unread, Unread{list[i].pid, list[i].open, u.descriptors, u.err})
		}
	}
	s.run(func() taker {
		return func(i, _, _ int, inode uint64) {
			if o.wanted.claim(inode, base+uint32(i)) && !claims[i].Load() {
				claims[i].Store(true)
			}
		}
	})
	return o.release()
}

// release takes the sockets from processes that have ended, and reports whether there were any.
func (o *ownership) release() bool {
	before := o.wanted.missing.Load()
	to := make([]uint32, len(o.owners))
	for i := range to {
		to[i] = uint32(i)
		if o.owners[i].PID == 0 {
			to[i] = unowned
		}
	}
	return int64(o.wanted.replace(to)) > before
}

// result numbers the processes that own something.
func (o *ownership) result() *Owned {
	owns := make([]bool, len(o.owners))
	for _, e := range o.wanted.table {
		if e.inode != 0 && e.owner != unowned {
			owns[e.owner] = true
		}
	}
	r := &Owned{}
	to := make([]uint32, len(o.owners))
	type identity struct {
		pid   int
		start uint64
	}
	places := map[identity]int{}
	for i, owner := range o.owners {
		if !owns[i] {
			continue
		}
		who := identity{owner.PID, owner.Start}
		at, again := places[who] // of an earlier sweep
		if !again {
			at = len(r.Processes)
			places[who] = at
			r.Processes = append(r.Processes, owner)
		}
		to[i] = uint32(at)
	}
	if r.Missing = o.wanted.replace(to); r.Missing > 0 {
		slices.SortFunc(o.unread, func(a, b Unread) int { return a.PID - b.PID })
		r.Unread = o.unread
	}
	return r
}

// ownerAt reads who a process is out of its directory, which is that of no other, even when its number is used again. Number 0:
// it has ended.
func ownerAt(dir, pid int) Owner {
	var buf smallFile
	s, ok := parseStat(readAt(dir, "stat", buf[:]))
	if !ok || s.state == 'Z' && s.threads <= 1 {
		return Owner{}
	}
	uid, _, err := parseStatus(readAt(dir, "status", buf[:]))
	if err != nil {
		return Owner{}
	}
	return Owner{PID: pid, Start: s.start, Name: s.comm, UID: uid}
}

// readAt reads the beginning of a file; nothing when it cannot.
func readAt(dir int, name string, buf []byte) []byte {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	n, _ := unix.Read(fd, buf)
	return buf[:max(n, 0)]
}

// Owner is who a process is; false when it has ended.
func (f *FS) Owner(pid int) (Owner, bool) {
	dir, err := openDir(f.Path(pid))
	if err != nil {
		return Owner{}, false
	}
	defer unix.Close(dir)
	o := ownerAt(dir, pid)
	return o, o.PID != 0
}
