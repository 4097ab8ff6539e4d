package procfd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Asker borrows descriptors of one process, for one goroutine at a time. Needs what ptrace(2) calls attach: the same
// user and a dumpable process, or CAP_SYS_PTRACE.
type Asker struct {
	fs    *FS
	p     *Process
	pidfd int // of the process
	// The pidfd of the thread with a table of its own that was asked last: the sockets come in the order of their
	// threads, and a process can have more of these than the reader may have descriptors. Task 0: none.
	task, taskfd int
}

// Ask opens a pidfd of the process (Linux 5.6 to borrow through it).
func (f *FS) Ask(p *Process) (*Asker, error) {
	flags := 0
	if p.FDTask != p.PID {
		flags = unix.PIDFD_THREAD // Linux 6.9
	}
	number := f.ownNumber(p)
	if number == 0 {
		return nil, ErrOtherPIDs
	}
	fd, err := unix.PidfdOpen(number, flags)
	if err != nil && !f.Native() {
		return nil, ErrOtherPIDs // nobody has the number here
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd_open: %w", err)
	}
	if !f.isProcess(fd, p) {
		unix.Close(fd)
		return nil, ErrOtherPIDs
	}
	if !f.SameProcess(p) {
		unix.Close(fd)
		return nil, fmt.Errorf("process %d: %w", p.PID, ErrGone)
	}
	return &Asker{fs: f, p: p, pidfd: fd}, nil
}

// Close gives the pidfds back.
func (a *Asker) Close() error {
	a.closeTask()
	return unix.Close(a.pidfd)
}

func (a *Asker) closeTask() {
	if a.task != 0 {
		unix.Close(a.taskfd)
		a.task = 0
	}
}

// Socket reads the socket behind a descriptor. While the copy is held the owner's close(2) would send
// no FIN, so it is given back before this returns. SO_ERROR is never read: reading it takes the error
// away from its owner.
func (a *Asker) Socket(s SocketFD) (*Answer, error) {
	fd, err := a.borrow(s)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return read(fd, s.Inode)
}

// Netns opens the network namespace that the socket belongs to, which may be that of no process. The file can be
// entered, by its path in /proc/self/fd, too. Needs CAP_NET_ADMIN in that namespace beside the right to borrow.
func (a *Asker) Netns(s SocketFD) (*os.File, error) {
	fd, err := a.borrow(s)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	ns, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGSKNS, 0)
	if errno != 0 {
		return nil, fmt.Errorf("SIOCGSKNS: %w", errno)
	}
	return os.NewFile(ns, "netns"), nil // closed on exec by itself
}

// maxTicket bounds one record of those.
const maxTicket = 1024

// Tickets reports whether all that is unread on a socket are whole records of TLS, few and small, as the session tickets are that a
// server sends behind its handshake. It looks at them where they are (MSG_PEEK), and not where the owner has set SO_PEEK_OFF, which a
// look would move.
func (a *Asker) Tickets(s SocketFD) (bool, error) {
	fd, err := a.borrow(s)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	if off, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF); err == nil && off >= 0 {
		return false, nil
	}
	var buf [MaxTickets + 1]byte
	n, _, err := unix.Recvfrom(fd, buf[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil {
		return false, fmt.Errorf("recvfrom: %w", err)
	}
	return n <= MaxTickets && areTickets(buf[:n]), nil
}

// areTickets reads the headers of TLS records: type, version (two bytes), length (two). Tickets are encrypted, so they say that they
// are application data.
func areTickets(b []byte) bool {
	const header, applicationData, major = 5, 23, 3
	if len(b) == 0 {
		return false
	}
	for len(b) > 0 {
		if len(b) < header || b[0] != applicationData || b[1] != major || b[2] > 3 {
			return false
		}
		n := header + int(b[3])<<8 + int(b[4])
		if n > len(b) || n > maxTicket {
			return false
		}
		b = b[n:]
	}
	return true
}

// borrow copies a descriptor, if it is still open on the socket.
func (a *Asker) borrow(s SocketFD) (int, error) {
	pidfd, err := a.pidfdOf(s.Task)
	if err != nil {
		return -1, err
	}
	fd, err := unix.PidfdGetfd(pidfd, s.FD, 0)
	if errors.Is(err, unix.EBADF) {
		return -1, ErrOtherSocket
	}
	if err != nil {
		return -1, fmt.Errorf("pidfd_getfd: %w", err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err != nil {
		err = fmt.Errorf("fstat: %w", err)
	} else if st.Mode&unix.S_IFMT != unix.S_IFSOCK || st.Ino != s.Inode {
		err = ErrOtherSocket
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// pidfdOf is a pidfd through which the table of a task can be reached; task as in [SocketFD].
func (a *Asker) pidfdOf(task int) (int, error) {
	switch task {
	case 0:
		return a.pidfd, nil
	case a.task:
		return a.taskfd, nil
	}
	if !a.fs.Native() {
		return -1, ErrOtherPIDs
	}
	fd, err := unix.PidfdOpen(task, unix.PIDFD_THREAD) // Linux 6.9
	if err != nil {
		return -1, fmt.Errorf("pidfd_open: %w", err)
	}
	// Numbers of threads are used again, by other processes, too.
	if _, err := os.Lstat(a.fs.Path(a.p.PID, "task", strconv.Itoa(task))); err != nil || !a.fs.SameProcess(a.p) {
		unix.Close(fd)
		return -1, fmt.Errorf("thread %d of process %d: %w", task, a.p.PID, ErrGone)
	}
	a.closeTask()
	a.task, a.taskfd = task, fd
	return fd, nil
}

func read(fd int, inode uint64) (*Answer, error) {
	a := &Answer{Inode: inode}
	var err error
	if a.Domain, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
		return nil, fmt.Errorf("getsockopt: %w", err)
	}
	a.Protocol, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	a.Cookie, _ = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	a.NetnsCookie, _ = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	a.waits(fd)
	if !a.IsTCP() {
		return a, nil
	}
	a.addresses(fd)
	a.options(fd)
	a.Info = tcpInfo(fd)
	return a, nil
}

func (a *Answer) addresses(fd int) {
	if sa, err := unix.Getsockname(fd); err == nil {
		a.Local = addrPort(sa)
	}
	// The length must be exact; golang.org/x/sys has no call for it.
	size := uint32(unix.SizeofSockaddrInet4)
	if a.Domain == unix.AF_INET6 {
		size = unix.SizeofSockaddrInet6
	}
	var raw [unix.SizeofSockaddrInet6]byte
	if getsockopt(fd, unix.SOL_SOCKET, unix.SO_PEERNAME, raw[:], &size) != nil {
		return
	}
	port := uint16(raw[2])<<8 | uint16(raw[3])
	if a.Domain == unix.AF_INET6 {
		a.Peer = netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw[8:24])), port)
	} else {
		a.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), port)
	}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch v := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(v.Addr), uint16(v.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(v.Addr), uint16(v.Port))
	}
	return netip.AddrPort{}
}

func (a *Answer) options(fd int) {
	on, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	a.KeepAlive = on != 0
	idle, _ := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
	a.KeepAliveIdle = time.Duration(idle) * time.Second
	interval, _ := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
	a.KeepAliveInterval = time.Duration(interval) * time.Second
	a.KeepAliveCount, _ = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
	user, _ := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	a.UserTimeout = time.Duration(user) * time.Millisecond
}

// waits reads how long calls on the socket wait.
func (a *Answer) waits(fd int) {
	a.ReceiveTimeout = timeout(fd, unix.SO_RCVTIMEO)
	a.SendTimeout = timeout(fd, unix.SO_SNDTIMEO)
	a.Linger = -1
	var l unix.Linger
	size := uint32(unix.SizeofLinger)
	raw := (*[unix.SizeofLinger]byte)(unsafe.Pointer(&l))
	if getsockopt(fd, unix.SOL_SOCKET, unix.SO_LINGER, raw[:], &size) == nil && l.Onoff != 0 {
		a.Linger = time.Duration(l.Linger) * time.Second
	}
}

func timeout(fd, option int) time.Duration {
	tv, err := unix.GetsockoptTimeval(fd, unix.SOL_SOCKET, option)
	if err != nil {
		return 0
	}
	return time.Duration(tv.Nano())
}

func tcpInfo(fd int) []byte {
	b := make([]byte, 512)
	size := uint32(len(b))
	if getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_INFO, b, &size) != nil {
		return nil
	}
	return b[:size]
}

func getsockopt(fd, level, name int, b []byte, size *uint32) error {
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Protocol is the kernel's name of a socket's protocol, TCP, TCPv6, MPTCP, UDP, UNIX-STREAM, …, from
// the extended attribute of its descriptor. It works on sockets that are listed nowhere.
func (f *FS) Protocol(p *Process, s SocketFD) (string, error) {
	var b [64]byte
	path := f.fdPath(p, s)
	n, err := unix.Getxattr(path, "system.sockprotoname", b[:])
	if err != nil {
		return "", &os.PathError{Op: "getxattr", Path: path, Err: err}
	}
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return string(b[:n]), nil
}

// FirstLookedAt is the date of a descriptor's entry in /proc. It is not the date of the socket: the
// kernel makes the entry when anybody first looks at that number, keeps it when the number is used
// again, and makes a new one when memory is short.
func (f *FS) FirstLookedAt(p *Process, s SocketFD) (time.Time, error) {
	var st unix.Stat_t
	path := f.fdPath(p, s)
	if err := unix.Lstat(path, &st); err != nil {
		return time.Time{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return time.Unix(st.Ctim.Unix()), nil
}
