//go:build linux

package pipe

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// smallSize is the most that is read from a socket in one go without splice(2), and so the most that a direction
	// holds back in memory for a peer that does not read.
	smallSize = 16 << 10
	// acceptTurn is how many connections a loop accepts before it looks after those it has.
	acceptTurn = 32
	// shortWait is how many milliseconds a busy loop waits before it counts as idle.
	shortWait = 5
)

// Accepting goes on after these delays when the process or the system is out of descriptors or memory.
const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
)

// A loop is one of the threads of a relay, with the connections that it looks after. All its fields but those that say
// otherwise belong to run.
type loop struct {
	r      *relay
	ep     int // epoll(7)
	wakeFD int // eventfd(2), written by post
	tube   tube
	buf    [smallSize]byte
	events [256]unix.EpollEvent
	now    time.Duration // since r.epoch, as of the last wait

	spare bool // there are more processors than loops
	busy  bool // the last wait brought events

	slots  []*pair
	free   []int32 // slots without a connection
	timers timers
	ready  []ref // pairs that had more to do than their turn allowed

	accepting bool          // the listeners are in ep
	stopped   bool          // accepts no more
	over      bool          // no loop accepts any more, so that none will hand over a connection
	backoff   time.Duration // of the last accept that lacked something
	acceptAt  time.Duration // accept again then; 0: no such time

	active atomic.Int64 // connections; also read by other loops

	mu     sync.Mutex
	inbox  []func()    // what others want to be run by the loop
	posted atomic.Bool // there is something in it
	asleep atomic.Bool // the loop waits, or is about to, and needs wakeFD to notice
}

// A ref is a pair of a loop that may be gone meanwhile.
type ref struct {
	slot int32
	gen  uint32
}

// Values of unix.EpollEvent.Fd: the slot of a pair and the side, or one of these. Pad has the generation.
const (
	wakeEvent   = -1
	listenEvent = -2 // and below: the listeners in their order
)

func newLoop(r *relay) (*loop, error) {
	l := &loop{r: r, ep: -1, wakeFD: -1, spare: runtime.GOMAXPROCS(0) > r.cfg.Loops}
	err := l.open()
	if err != nil {
		l.close()
		return nil, err
	}
	l.accepting = true
	return l, nil
}

func (l *loop) open() error {
	var err error
	if l.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if l.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if err := l.watch(l.wakeFD, unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeEvent}); err != nil {
		return err
	}
	l.tube.open() // without a pipe all bytes go through the buffer
	return l.addListeners()
}

func (l *loop) close() {
	l.tube.close()
	for _, fd := range []int{l.wakeFD, l.ep} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (l *loop) watch(fd int, ev unix.EpollEvent) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &ev))
}

// post has f run by the loop. It may be called from anywhere, until the relay has waited for the loop's end.
func (l *loop) post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inbox = append(l.inbox, f)
	l.posted.Store(true)
	if !l.asleep.Swap(false) {
		return // it looks before it waits
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(l.wakeFD, one[:]) // an eventfd fails only when its counter is full, and then it is readable
}

// run is the loop's thread. It ends when it was told to stop and has no connection left.
func (l *loop) run() {
	for !l.over || l.active.Load() > 0 {
		n, err := l.sleep()
		l.now = time.Since(l.r.epoch)
		if err != nil && !errors.Is(err, unix.EINTR) {
			l.r.fail(os.NewSyscallError("epoll_wait", err))
			l.cutAll()
		}
		for i := range max(n, 0) {
			l.dispatch(&l.events[i])
		}
		if l.posted.Load() {
			l.runInbox()
		}
		l.goOn()
		l.expire()
	}
}

// sleep waits until there is something to do.
func (l *loop) sleep() (int, error) {
	timeout := l.timeout()
	if timeout == 0 {
		return l.wait(0)
	}
	l.asleep.Store(true)
	defer l.asleep.Store(false)
	if l.posted.Load() { // by somebody who did not see that
		timeout = 0
	}
	return l.wait(timeout)
}

// wait waits for events, for timeout milliseconds at the most; -1 is for ever.
func (l *loop) wait(timeout int) (int, error) {
	if !l.busy || !l.spare {
		n, err := unix.EpollWait(l.ep, l.events[:], timeout)
		l.busy = n > 0
		return n, err
	}
	// The last wait brought something, so this one will be short. The scheduler is not told of it, which would take away
	// the loop's processor and give it back: a twentieth of the CPU of short connections and requests. There is one to
	// spare for all others, and to stop the world a signal ends the wait.
	if timeout < 0 || timeout > shortWait {
		timeout = shortWait
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.ep), uintptr(unsafe.Pointer(&l.events)), uintptr(len(l.events)),
		uintptr(timeout), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	l.busy = n > 0
	return int(n), nil
}

// timeout returns for how many milliseconds there is nothing to do unless something happens; -1: for ever.
func (l *loop) timeout() int {
	if len(l.ready) > 0 {
		return 0
	}
	next := l.acceptAt
	if p := l.timers.next(); p != nil && (next == 0 || p.when < next) {
		next = p.when
	}
	if next == 0 {
		return -1
	}
	left := next - time.Since(l.r.epoch)
	// Rounded up, for a wait that ends too early is one more.
	return int(max(0, min((left+time.Millisecond-1)/time.Millisecond, time.Hour/time.Millisecond)))
}

func (l *loop) dispatch(ev *unix.EpollEvent) {
	switch {
	case ev.Fd == wakeEvent:
		var b [8]byte
		_, _ = unix.Read(l.wakeFD, b[:]) // what it stands for is in the inbox
	case ev.Fd <= listenEvent:
		l.accept(l.r.lns[listenEvent-ev.Fd])
	default:
		if p := l.pair(ref{slot: ev.Fd >> 1, gen: uint32(ev.Pad)}); p != nil {
			p.event(ev.Fd&1 == 0, ev.Events)
		}
	}
}

// pair returns the pair that x refers to, nil if it is gone.
func (l *loop) pair(x ref) *pair {
	if p := l.slots[x.slot]; p.gen == x.gen && p.state != closed {
		return p
	}
	return nil
}

func (l *loop) runInbox() {
	l.mu.Lock()
	todo := l.inbox
	l.inbox = nil
	l.posted.Store(false)
	l.mu.Unlock()
	for _, f := range todo {
		f()
	}
}

// goOn gives each pair another turn that had more to do, once.
func (l *loop) goOn() {
	n := len(l.ready)
	for _, x := range l.ready[:n] {
		if p := l.pair(x); p != nil {
			p.turn()
		}
	}
	l.ready = l.ready[:copy(l.ready, l.ready[n:])]
}

// expire looks after the pairs whose time has come, and after accepting.
func (l *loop) expire() {
	for p := l.timers.next(); p != nil && p.when <= l.now; p = l.timers.next() {
		heap.Pop(&l.timers)
		p.timeUp()
	}
	if l.acceptAt > 0 && l.acceptAt <= l.now {
		l.startAccepting()
	}
}

// addListeners has the loop told of connections. A connection wakes one of the loops.
func (l *loop) addListeners() error {
	for i, ln := range l.r.lns {
		err := l.watch(ln.fd, unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: int32(listenEvent - i)})
		if err != nil {
			return fmt.Errorf("listen on %s: %w", ln.addr, err)
		}
	}
	return nil
}

func (l *loop) startAccepting() {
	l.acceptAt = 0
	if l.accepting || l.stopped {
		return
	}
	l.accepting = true
	if err := l.addListeners(); err != nil {
		l.r.fail(err)
	}
}

// pauseAccepting leaves connections in the backlog for as long as d, or until there is room if that is 0.
func (l *loop) pauseAccepting(d time.Duration) {
	if d > 0 {
		l.acceptAt = l.now + d
	}
	if !l.accepting {
		return
	}
	l.accepting = false
	for _, ln := range l.r.lns {
		_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, ln.fd, nil) // it was there, so it is gone
	}
}

// stopAccepting takes the connections that are in the backlog already, unless somebody else will, and then no more.
func (l *loop) stopAccepting() {
	for _, ln := range l.r.lns {
		more := !ln.inherited
		for more && l.accepting {
			more = l.accept(ln)
		}
	}
	l.pauseAccepting(0)
	l.stopped, l.acceptAt = true, 0
}

// accept takes some connections from ln. It returns false when there are none left, or none can be taken now.
func (l *loop) accept(ln *Listener) bool {
	for range acceptTurn {
		if !l.accepting {
			return false
		}
		if l.r.starved.Load() > 0 {
			l.lacking(unix.EMFILE)
			return false
		}
		if !l.r.enter() {
			l.full()
			return false
		}
		fd, err := ln.accept()
		if err != nil {
			l.r.leave()
		}
		switch {
		case err == nil:
			l.backoff = 0
			l.place(fd, ln)
		case errors.Is(err, unix.EAGAIN):
			return false
		case exhausted(err):
			l.lacking(err)
			return false
		case errors.Is(err, unix.EBADF), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSOCK), errors.Is(err, unix.EOPNOTSUPP):
			l.pauseAccepting(0)
			l.r.fail(fmt.Errorf("accept on %s: %w", ln.addr, err))
			return false
		}
		// Any other error is that of one connection, which is gone: the client was quicker, or a firewall, or the network
		// (accept(2)).
	}
	return true
}

// full stops accepting until a connection has ended.
func (l *loop) full() {
	l.pauseAccepting(0)
	l.r.waiting.Store(true)
	if l.r.active.Load() < l.r.most { // one ended before it could know that it is waited for
		l.startAccepting()
	}
}

// lacking stops accepting for a while.
func (l *loop) lacking(err error) {
	l.backoff = min(max(2*l.backoff, minBackoff), maxBackoff)
	l.r.count.acceptRetries.Add(1)
	if l.backoff == minBackoff {
		l.r.logf("accept: %v; clients wait until connections end", err)
	}
	l.pauseAccepting(l.backoff)
}

// place gives the accepted connection fd to the loop that is to look after it.
func (l *loop) place(fd int, ln *Listener) {
	id := l.r.count.accepted.Add(1)
	to := l.r.lightest(l)
	to.active.Add(1)
	if to == l {
		l.adopt(id, fd, ln)
		return
	}
	to.post(func() { to.adopt(id, fd, ln) })
}

// adopt makes fd the client of a new pair. It is counted already.
func (l *loop) adopt(id uint64, fd int, ln *Listener) {
	var p *pair
	if n := len(l.free); n > 0 {
		p = l.slots[l.free[n-1]]
		l.free = l.free[:n-1]
	} else {
		p = newPair(l, int32(len(l.slots)))
		l.slots = append(l.slots, p)
	}
	p.begin(id, fd, ln)
}

// release makes the pair's place free for another.
func (l *loop) release(p *pair) {
	l.timers.set(p, 0)
	p.gen++
	l.free = append(l.free, p.slot)
	l.active.Add(-1)
	l.r.leave()
}

// cutAll ends every connection.
func (l *loop) cutAll() {
	for _, p := range l.slots {
		if p.state != closed {
			p.end(Cut, errCut, true)
		}
	}
}

var errCut = errors.New("cut at shutdown")
