package diag

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// listen is a listening socket with so many connections in its queue.
func listen(inode uint32, local string, queue uint32) *netlinkss.Socket {
	s := estab(inode, local, "0.0.0.0:0")
	s.State, s.RecvQ = netlinkss.Listen, queue
	return s
}

// waits is a connection that nobody has accepted.
func waits(cookie uint64, local string) *netlinkss.Socket {
	s := sock(netlinkss.Estab, local, "10.0.0.7:40000")
	if s.Local.Addr().Is6() {
		s = sock(netlinkss.Estab, local, "[::ffff:10.0.0.7]:40000")
	}
	s.Cookie = cookie
	return s
}

// queuesIn are the accept queues of a process: the listener's inode, the cookies that wait, how many may be elsewhere.
func queuesIn(p *Proc) (list []string) {
	for _, q := range p.Queues {
		var cookies []uint64
		for _, s := range q.Waiting {
			cookies = append(cookies, s.Cookie)
		}
		slices.Sort(cookies)
		list = append(list, fmt.Sprintf("%d %v %d", q.Listener.Inode, cookies, q.Others))
	}
	return list
}

func wantQueues(t *testing.T, p *Proc, want ...string) {
	t.Helper()
	if got := queuesIn(p); !slices.Equal(got, want) {
		t.Errorf("%s has queues %q, want %q", Subject(p.Process), got, want)
	}
}

func TestJoinQueues(t *testing.T) {
	server, client := process(1, 100, 101, 102), process(2, 200)
	j := NewJoin(&Space{}, []*procfd.Process{server, client})
	for _, s := range []*netlinkss.Socket{
		waits(1, "10.0.0.1:8080"), // it may come before its listener
		listen(100, "10.0.0.1:8080", 2),
		listen(101, "0.0.0.0:9090", 1),
		listen(102, "0.0.0.0:7070", 5), // the sockets of its queue are not in the dump
		waits(2, "10.0.0.1:8080"),
		waits(2, "10.0.0.1:8080"), // a dump can repeat one
		waits(3, "10.0.0.2:9090"),
		waits(4, "10.0.0.2:8080"), // nobody listens there
		waits(5, "10.0.0.1:6060"),
		listen(100, "10.0.0.1:8080", 2),
		estab(200, "10.0.0.1:8080", "10.0.0.7:41000"), // accepted
	} {
		j.Add(s)
	}
	space := j.Space()
	wantQueues(t, space.Procs[0], "100 [1 2] 0", "101 [3] 0")
	wantQueues(t, space.Procs[1])
}

// Without cookies (/proc/net/tcp) two that wait are two.
func TestJoinQueuesWithoutCookies(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100)})
	listener := listen(100, "10.0.0.1:8080", 2)
	listener.Cookie = 0
	for _, s := range []*netlinkss.Socket{listener, listener, waits(0, "10.0.0.1:8080"), waits(0, "10.0.0.1:8080")} {
		j.Add(s)
	}
	wantQueues(t, j.Space().Procs[0], "100 [0 0] 0")
}

// Of several listeners on one address, each may have what waits there: as much as waits behind the others is not its own, and so
// is what came before a listener on the very address was there.
func TestJoinQueuesOfSeveralListeners(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101), process(2, 200), process(3, 300)})
	for _, s := range []*netlinkss.Socket{
		listen(100, "10.0.0.1:8080", 1), listen(101, "10.0.0.1:8080", 0), listen(200, "10.0.0.1:8080", 3),
		listen(999, "10.0.0.1:8080", 4), // of somebody who is not looked at
		listen(300, "0.0.0.0:8080", 7), listen(998, "[::]:8080", 50), listen(997, "0.0.0.0:8081", 90),
		waits(1, "10.0.0.1:8080"), waits(2, "10.0.0.2:8080"),
	} {
		j.Add(s)
	}
	space := j.Space()
	wantQueues(t, space.Procs[0], "100 [1] 14", "101 [1] 15")
	wantQueues(t, space.Procs[1], "200 [1] 12")
	wantQueues(t, space.Procs[2], "300 [2] 0")
}

// A connection has the family of its listener, and one over IPv4 to a listener of both a mapped address.
func TestJoinQueuesFamilies(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101, 102, 103, 104)})
	for _, s := range []*netlinkss.Socket{
		listen(100, "[::]:8080", 2), listen(101, "0.0.0.0:8080", 1), listen(102, "[::ffff:10.0.0.3]:8080", 1),
		listen(103, "[::ffff:0.0.0.0]:9090", 1), listen(104, "[::]:9090", 1),
		waits(1, "[fd00::1]:8080"), waits(2, "[::ffff:10.0.0.1]:8080"), waits(3, "10.0.0.1:8080"), waits(4, "[::ffff:10.0.0.3]:8080"),
		waits(5, "[::ffff:10.0.0.1]:9090"), waits(6, "[fd00::1]:9090"),
	} {
		j.Add(s)
	}
	wantQueues(t, j.Space().Procs[0], "100 [1 2] 0", "101 [3] 0", "102 [4] 2", "103 [5] 1", "104 [6] 0")
}

// Of a listener that was asked and not listed the queue is not known: all that waits there may be its own.
func TestJoinQueueNotKnown(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100), process(2, 200)})
	j.Add(listen(100, "10.0.0.1:8080", 2))
	j.Add(waits(1, "10.0.0.1:8080"))
	j.Add(waits(2, "10.0.0.1:8080"))
	for range j.Unlisted() {
		j.FoundAsked(listen(200, "10.0.0.1:8080", 0), false)
	}
	for _, p := range j.Space().Procs {
		if q := p.Queues; len(q) != 1 || q[0].Others < 1<<30 {
			t.Errorf("%s has queues %q", Subject(p.Process), queuesIn(p))
		}
	}
}

// othersIn are the other holders of each socket of a process.
func othersIn(p *Proc) (list []string) {
	for i := range p.Held {
		list = append(list, fmt.Sprintf("%v %v", p.Held[i].FDs, p.Held[i].Others))
	}
	return list
}

func wantOthers(t *testing.T, p *Proc, want ...string) {
	t.Helper()
	if got := othersIn(p); !slices.Equal(got, want) {
		t.Errorf("%s shares %q, want %q", Subject(p.Process), got, want)
	}
}

func TestJoinOthers(t *testing.T) {
	child := process(2, 300, 101)
	child.Sockets = append(child.Sockets, procfd.SocketFD{FD: 5, Inode: 100}) // not in their order
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101, 100, 102), child})
	for _, inode := range []uint32{102, 101, 300, 100, 101} {
		j.Add(estab(inode, "10.0.0.1:80", "10.0.0.7:1"))
	}
	space := j.Space()
	wantHeld(t, space.Procs[1], "[5] 100", "[10] 300", "[11] 101")
	wantOthers(t, space.Procs[0], "[10 12] [app[2] fd 5]", "[11] [app[2] fd 11]", "[13] []")
	wantOthers(t, space.Procs[1], "[5] [app[1] fd 10 app[1] fd 12]", "[10] []", "[11] [app[1] fd 11]")
}

// Kin are joined, share, and are not judged; one that is in the join already is not joined again.
func TestJoinKin(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101), process(2, 102)})
	parent, other := j.procs[0], j.procs[1]
	kin := process(3, 101, 103, 104)
	j.Kin(parent, kin)
	j.Kin(other, kin)
	j.Kin(parent, process(2, 102))
	again := process(3, 101)
	again.Start = 2 // another process
	j.Kin(other, again)
	for _, inode := range []uint32{100, 101, 102, 103} {
		j.Add(estab(inode, "10.0.0.1:80", "10.0.0.7:1"))
	}
	if left := j.Unlisted(); len(left) != 0 {
		t.Errorf("unlisted %v: those of kin are not asked", left)
	}
	space := j.Space()
	if len(space.Procs) != 2 || len(parent.Kin) != 2 || parent.Kin[1] != other || len(other.Kin) != 2 || other.Kin[0] != parent.Kin[0] {
		t.Fatalf("%d processes, kin %v and %v", len(space.Procs), parent.Kin, other.Kin)
	}
	wantHeld(t, parent.Kin[0], "[10] 101", "[11] 103")
	wantOthers(t, parent, "[10] []", "[11] [app[3] fd 10 app[3] fd 10]")
	wantOthers(t, parent.Kin[0], "[10] [app[1] fd 11 app[3] fd 10]", "[11] []")
	wantOthers(t, other, "[10] []")
}

// A thread may have a table of its own: what is in both tables is one socket with a copy, what is in its alone is the process's.
func TestJoinThreads(t *testing.T) {
	p := process(1, 100, 101)
	p.Sockets = append(p.Sockets,
		procfd.SocketFD{Task: 8, FD: 10, Inode: 100}, procfd.SocketFD{Task: 8, FD: 3, Inode: 102}, procfd.SocketFD{Task: 8, FD: 4, Inode: 102},
		procfd.SocketFD{Task: 9, FD: 3, Inode: 102}, procfd.SocketFD{Task: 9, FD: 30, Inode: 104})
	j := NewJoin(&Space{}, []*procfd.Process{p, process(2, 102, 101)})
	for _, inode := range []uint32{100, 101, 102} {
		j.Add(estab(inode, "10.0.0.1:80", "10.0.0.7:1"))
	}
	if left := j.Unlisted(); len(left) != 1 || left[0].Task != 9 || left[0].FD != 30 {
		t.Errorf("unlisted %v", left)
	}
	space := j.Space()
	wantHeld(t, space.Procs[0], "[10] 100", "[11] 101", "[3 4] 102")
	if task := space.Procs[0].Held[2].Task; task != 8 {
		t.Errorf("held by thread %d, want 8", task)
	}
	wantOthers(t, space.Procs[0], "[10] [app[1] thread 8 fd 10]", "[11] [app[2] fd 11]", "[3 4] [app[1] thread 9 fd 3 app[2] fd 10]")
	wantOthers(t, space.Procs[1], "[10] [app[1] thread 8 fd 3 app[1] thread 8 fd 4 app[1] thread 9 fd 3]", "[11] [app[1] fd 11]")
}

// What nobody holds counts once, however often it is listed: by one dump, or by two parts of it.
func TestNobodysOnce(t *testing.T) {
	server := process(1, 100)
	j := NewJoin(&Space{}, []*procfd.Process{server})
	j.Add(listen(100, "10.0.0.1:8080", 0))
	gone := func(state netlinkss.State, cookie uint64) *netlinkss.Socket {
		s := sock(state, "10.0.0.1:8080", "10.0.0.7:40000")
		s.Cookie = cookie
		return s
	}
	one, other := j.Part(), j.Part()
	for range 3 {
		for _, p := range []*Part{one, other} {
			for cookie := uint64(1); cookie <= 4; cookie++ {
				p.Add(gone(netlinkss.TimeWait, cookie))
				p.Add(gone(netlinkss.FinWait1, 10+cookie))
			}
		}
	}
	space := j.Space()
	if p := space.Procs[0]; p.TimeWait != 4 || p.Orphans != 4 || space.TimeWait != 4 {
		t.Errorf("%d in TIME-WAIT, %d in the namespace, and %d orphans, want 4 of each", p.TimeWait, space.TimeWait, p.Orphans)
	}
}
