package procfd

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ops are what a child can be told to do. Arguments and results are numbers.
var ops = map[string]func(r *reply, args []int) error{
	"ready": func(*reply, []int) error { return nil },

	"socket":  func(r *reply, a []int) error { return opened(r)(unix.Socket(a[0], a[1]|unix.SOCK_CLOEXEC, a[2])) },
	"open":    func(r *reply, a []int) error { return opened(r)(openKind(Kind(a[0]))) },
	"sockets": func(r *reply, a []int) error { return socketsOp(r, a[0]) },
	"owners":  ownersOp,
	"pipe":    func(r *reply, _ []int) error { return pipeOp(r) },
	"close":   func(_ *reply, a []int) error { return unix.Close(a[0]) },
	"dup2":    func(_ *reply, a []int) error { return unix.Dup3(a[0], a[1], unix.O_CLOEXEC) },
	"inode":   inodeOp,

	"connect": func(_ *reply, a []int) error { return unix.Connect(a[0], loopbacks[a[1]].sockaddr(a[2])) },
	"wait":    func(_ *reply, a []int) error { return wait(a[0], int16(a[1])) },
	"read": func(r *reply, a []int) error {
		n, err := unix.Read(a[0], make([]byte, 64))
		r.Values = []int{n}
		return err
	},

	"end main thread": func(*reply, []int) error { close(endMainThread); return nil },

	"socket of no netns":   socketOfNoNetns,
	"epoll add":            func(_ *reply, a []int) error { return epollAdd(a[0], a[1], uint32(a[2])) },
	"sleep in read":        sleepIn(func(fd int) { unix.Read(fd, make([]byte, 1)) }),
	"sleep in poll":        sleepIn(func(fd int) { unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1) }),
	"watch in own table":   func(r *reply, a []int) error { return ownTable(r, a, watchOp) },
	"pass":                 pass,
	"waits":                waitsOp,
	"register":             func(_ *reply, a []int) error { return registerFiles(a[0], a[1:]) },
	"connect in own table": func(r *reply, a []int) error { return ownTable(r, a, connectOp) },

	"netns in a thread": netnsInThread,
	"mount netns":       mountNetns,

	"churn":      churn,
	"undumpable": func(*reply, []int) error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) },
	"scan":       scan,
}

// opened answers with a new descriptor.
func opened(r *reply) func(fd int, err error) error {
	return func(fd int, err error) error {
		r.Values = []int{fd}
		return err
	}
}

// socketsOp opens sockets, and answers with their inodes.
func socketsOp(r *reply, n int) error {
	for range n {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		inode, err := inodeOf(fd)
		if err != nil {
			return err
		}
		r.Values = append(r.Values, int(inode))
	}
	return nil
}

func pipeOp(r *reply) error {
	r.Values = make([]int, 2)
	return unix.Pipe2(r.Values, unix.O_CLOEXEC)
}

func epollAdd(epoll, fd int, events uint32) error {
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// sleepIn leaves a thread in a call on a descriptor.
func sleepIn(call func(fd int)) func(*reply, []int) error {
	return func(_ *reply, a []int) error {
		go call(a[0])
		return nil
	}
}

// watchOp opens an epoll set and puts a descriptor there.
func watchOp(a []int) ([]int, error) {
	epoll, err := openKind(KindEpoll)
	if err == nil {
		err = epollAdd(epoll, a[0], unix.EPOLLIN)
	}
	return []int{epoll}, err
}

// pass sends descriptors over a pair of unix sockets, and closes them. It answers with the end at which they wait.
func pass(r *reply, fds []int) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	r.Values = pair[1:]
	err = unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(fds...), nil, 0)
	for _, fd := range fds {
		unix.Close(fd)
	}
	return err
}

func inodeOp(r *reply, args []int) error {
	inode, err := inodeOf(args[0])
	r.Values = []int{int(inode)}
	return err
}

func inodeOf(fd int) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Ino, err
}

// openKind opens a descriptor of a kind. Of a pipe only one end stays.
func openKind(k Kind) (int, error) {
	switch k {
	case KindSocket:
		return unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	case KindPipe:
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return -1, err
		}
		return p[0], unix.Close(p[1])
	case KindEpoll:
		return unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	case KindEventfd:
		return unix.Eventfd(0, unix.EFD_CLOEXEC)
	case KindTimerfd:
		return unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	case KindSignalfd:
		return unix.Signalfd(-1, &unix.Sigset_t{}, unix.SFD_CLOEXEC)
	case KindInotify:
		return unix.InotifyInit1(unix.IN_CLOEXEC)
	case KindIOUring:
		return ioUring()
	case KindPidfd:
		return unix.PidfdOpen(os.Getpid(), 0)
	case KindMemfd:
		return unix.MemfdCreate("x", unix.MFD_CLOEXEC)
	case KindDevice:
		return unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	case KindFile:
		return unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	case KindOther:
		return unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	return -1, unix.EINVAL
}

// socketOfNoNetns opens a socket in a network namespace of its own, in which no thread stays. It answers with the
// descriptor and the inode of the namespace.
func socketOfNoNetns(r *reply, _ []int) error {
	done := make(chan error)
	go onThread(func() { // the thread ends with the function
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			var ns unix.Stat_t
			if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
				return err
			}
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			r.Values = []int{fd, int(ns.Ino)}
			return err
		}()
	})
	return <-done
}

// churn opens and closes sockets from here on, as fast as it can.
func churn(*reply, []int) error {
	go func() {
		for {
			var fds [8]int
			for i := range fds {
				fds[i], _ = openKind(KindSocket)
			}
			for _, fd := range fds {
				unix.Close(fd)
			}
		}
	}()
	return nil
}

// seen is what a child can see of another process.
type seen struct {
	Open, Sockets int
	ByKind        [NumKinds]int
	Exe           string
	Gaps          []seenGap

	AskErrno      syscall.Errno // of borrowing a descriptor
	ProtocolErrno syscall.Errno
	DateErrno     syscall.Errno
	Held          bool // by the process, as far as one can see
	Missing       int
	Denied        int
}

type seenGap struct {
	What   string
	Count  int
	Denied bool
}

// scan reads process args[0], and asks after its descriptor args[1], on the socket args[2].
func scan(r *reply, args []int) error {
	pid, s := args[0], SocketFD{FD: args[1], Inode: uint64(args[2])}
	f, err := New("/proc")
	if err != nil {
		return err
	}
	p, err := f.Process(pid)
	if err != nil {
		return err
	}
	r.Seen = &seen{Open: p.Open, Sockets: len(p.Sockets), ByKind: p.ByKind, Exe: p.Exe}
	for _, g := range p.Gaps {
		r.Seen.Gaps = append(r.Seen.Gaps, seenGap{g.What, g.Count, g.Denied()})
	}
	asker, err := f.Ask(p)
	if err != nil {
		return err
	}
	defer asker.Close()
	_, err = asker.Socket(s)
	errors.As(err, &r.Seen.AskErrno)
	_, err = f.Protocol(p, s)
	errors.As(err, &r.Seen.ProtocolErrno)
	_, err = f.FirstLookedAt(p, s)
	errors.As(err, &r.Seen.DateErrno)
	pids, missing, denied, err := f.Holders(map[uint64]bool{s.Inode: true})
	r.Seen.Missing, r.Seen.Denied = missing, denied
	for _, holder := range pids {
		r.Seen.Held = r.Seen.Held || holder == pid
	}
	return err
}
