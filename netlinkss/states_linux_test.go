package netlinkss

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// specimen is a real socket and what the kernel must say of it.
type specimen struct {
	name   string
	state  State // of the record
	filter State // that asks for it, where it is another one
	timers []Timer
	local  netip.AddrPort
	peer   netip.AddrPort
	cookie uint64 // 0: nothing of ours holds it, so it is known by its addresses
	fd     int    // -1: no descriptor holds it
	inode  uint32 // 0 with that
	mini   bool   // a TIME-WAIT or request record: no uid, no TCP_INFO
	recvQ  uint32
	sendQ  func(q uint32) bool
}

func exactly(n uint32) func(uint32) bool { return func(q uint32) bool { return q == n } }
func some(q uint32) bool                 { return q > 0 }

// held is a specimen with its descriptor open.
func (s *sock) held(state State, peer netip.AddrPort, timers ...Timer) specimen {
	s.t.Helper()
	return specimen{state: state, filter: state, timers: timers, local: s.local(), peer: peer,
		cookie: s.cookie, fd: s.fd, inode: s.inode, sendQ: exactly(0)}
}

// orphan closes the socket's only descriptor.
func (s *sock) orphan(state State, peer netip.AddrPort, timers ...Timer) specimen {
	s.t.Helper()
	x := s.held(state, peer, timers...)
	s.close()
	x.fd, x.inode = -1, 0
	return x
}

func (x specimen) queues(recv uint32, send func(uint32) bool) specimen {
	x.recvQ, x.sendQ = recv, send
	return x
}

// stateCases are all the states that need no privilege to make.
var stateCases = []struct {
	name string
	make func(t testing.TB, l loopback) specimen
}{
	{"LISTEN with one waiting", func(t testing.TB, l loopback) specimen {
		s := l.listen(t, 7)
		l.dial(t, s).wait(unix.POLLOUT)
		return s.held(Listen, l.none(), TimerOff).queues(1, exactly(7))
	}},
	{"LISTEN with keepalive", func(t testing.TB, l loopback) specimen {
		return l.listen(t, 0, keepalive).held(Listen, l.none(), TimerOff)
	}},
	{"ESTAB without keepalive", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t)
		return c.held(Estab, s.local(), TimerOff)
	}},
	{"ESTAB with keepalive", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t, keepalive)
		return c.held(Estab, s.local(), TimerKeepalive)
	}},
	{"ESTAB accepted, keepalive inherited, data unread", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t, keepalive)
		c.write("hello")
		return s.held(Estab, c.local(), TimerKeepalive).queues(5, exactly(0))
	}},
	{"ESTAB not accepted yet", func(t testing.TB, l loopback) specimen {
		ln := l.listen(t, 1)
		c := l.dial(t, ln)
		c.wait(unix.POLLOUT)
		c.write("hi")
		return c.otherEnd(Estab, ln, TimerOff).queues(2, exactly(0))
	}},
	{"ESTAB before a closed window", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t, stuffed, keepalive)
		c.fill()
		return c.held(Estab, s.local(), TimerPersist).queues(0, some)
	}},
	{"SYN-SENT to a full backlog", func(t testing.TB, l loopback) specimen {
		ln := l.listen(t, 0)
		l.dial(t, ln).wait(unix.POLLOUT)
		return l.dial(t, ln, keepalive).held(SynSent, ln.local(), TimerOn).queues(0, exactly(1))
	}},
	{"SYN-RECV while accept is deferred", func(t testing.TB, l loopback) specimen {
		ln := l.listen(t, 8, set(unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 30))
		c := l.dial(t, ln)
		c.wait(unix.POLLOUT)
		x := c.otherEnd(SynRecv, ln, TimerOn)
		x.mini = true
		return x
	}},
	{"FIN-WAIT-1 held", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t, stuffed)
		c.fill()
		c.shutdown()
		return c.held(FinWait1, s.local(), TimerPersist).queues(0, some)
	}},
	{"FIN-WAIT-1 orphan", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t, stuffed)
		c.fill()
		return c.orphan(FinWait1, s.local(), TimerPersist).queues(0, some)
	}},
	{"FIN-WAIT-2 held", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t)
		c.shutdown()
		return c.held(FinWait2, s.local(), TimerOff)
	}},
	{"FIN-WAIT-2 held with keepalive", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t, keepalive)
		c.shutdown()
		return c.held(FinWait2, s.local(), TimerKeepalive)
	}},
	{"FIN-WAIT-2 orphan, already a minisock", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t, set(unix.IPPROTO_TCP, unix.TCP_LINGER2, 30))
		x := c.orphan(FinWait2, s.local(), TimerTimeWait)
		x.mini = true
		return x
	}},
	{"FIN-WAIT-2 orphan, with the timer's code of keepalive", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t, set(unix.IPPROTO_TCP, unix.TCP_LINGER2, 100))
		return c.orphan(FinWait2, s.local(), TimerKeepalive)
	}},
	{"CLOSE-WAIT with data and FIN unread", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t)
		c.write("hello")
		c.shutdown()
		return s.held(CloseWait, c.local(), TimerOff).queues(6, exactly(0))
	}},
	{"CLOSE-WAIT read to the end, with keepalive", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t, keepalive)
		c.shutdown()
		s.wait(unix.POLLIN)
		s.readAll()
		return s.held(CloseWait, c.local(), TimerKeepalive)
	}},
	{"CLOSE-WAIT not accepted yet", func(t testing.TB, l loopback) specimen {
		ln := l.listen(t, 1)
		c := l.dial(t, ln)
		c.wait(unix.POLLOUT)
		c.shutdown()
		return c.otherEnd(CloseWait, ln, TimerOff).queues(1, exactly(0))
	}},
	{"LAST-ACK", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t, stuffed)
		c.shutdown()
		s.wait(unix.POLLIN)
		s.readAll()
		s.fill()
		s.shutdown()
		return s.held(LastAck, c.local(), TimerPersist).queues(0, some)
	}},
	{"CLOSING", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t, stuffed)
		c.fill()
		c.shutdown()
		s.shutdown()
		return c.held(Closing, s.local(), TimerPersist).queues(1, some)
	}},
	{"TIME-WAIT", func(t testing.TB, l loopback) specimen {
		c, s := l.pair(t)
		x := c.held(TimeWait, s.local(), TimerTimeWait)
		c.shutdown()
		s.wait(unix.POLLIN)
		s.close()
		x.fd, x.inode, x.mini = -1, 0, true
		return x
	}},
	{"UNCONN, bound", func(t testing.TB, l loopback) specimen {
		x := l.bound(t).held(Unconn, l.none(), TimerOff)
		x.filter = BoundInactive
		return x
	}},
}

// otherEnd is the specimen at the listener's end of the connection: nothing holds it.
func (s *sock) otherEnd(state State, listener *sock, timers ...Timer) specimen {
	s.t.Helper()
	return specimen{state: state, filter: state, timers: timers, local: listener.local(), peer: s.local(), fd: -1, sendQ: exactly(0)}
}

// fill writes until no more fits. That is more than the peer's window, so a FIN behind it cannot
// leave, and the persist timer will run.
func (s *sock) fill() {
	s.t.Helper()
	junk := make([]byte, 4096)
	for {
		if _, err := unix.Write(s.fd, junk); errors.Is(err, unix.EAGAIN) {
			return
		} else if err != nil {
			s.t.Fatal(err)
		}
	}
}

// is tells whether a record is the specimen's.
func (x specimen) is(s *Socket) bool {
	if x.cookie != 0 {
		return s.Cookie == x.cookie
	}
	return s.Local == x.local && s.Peer == x.peer
}

// check compares what every source tells.
func (x specimen) check(s *Socket) error {
	switch {
	case s.State != x.state:
		return fmt.Errorf("state %v, want %v", s.State, x.state)
	case !slices.Contains(x.timers, s.Timer):
		return fmt.Errorf("timer %v, want %v", s.Timer, x.timers)
	case s.Timer == TimerOff && s.Expires != 0:
		return fmt.Errorf("no timer, but %v left", s.Expires)
	case s.Local != x.local || s.Peer != x.peer:
		return fmt.Errorf("tuple %v %v, want %v %v", s.Local, s.Peer, x.local, x.peer)
	case s.Inode != x.inode:
		return fmt.Errorf("inode %d, want %d", s.Inode, x.inode)
	case s.Interface != 0:
		return fmt.Errorf("interface %d, want none", s.Interface)
	}
	return nil
}

// checkQueues compares Recv-Q and Send-Q.
func (x specimen) checkQueues(s *Socket) error {
	if s.RecvQ != x.recvQ || !x.sendQ(s.SendQ) {
		return fmt.Errorf("Recv-Q %d, Send-Q %d; want Recv-Q %d", s.RecvQ, s.SendQ, x.recvQ)
	}
	return nil
}

// specimens are all of stateCases, alive until the test's end.
func (l loopback) specimens(t testing.TB) (all []specimen) {
	t.Helper()
	for _, c := range stateCases {
		x := c.make(t, l)
		x.name = c.name
		if x.filter == BoundInactive && kernelBefore(t, 6, 8) {
			t.Log("no bound sockets: Linux 6.8 was the first to list them")
			continue
		}
		all = append(all, x)
	}
	return all
}

func kernelBefore(t testing.TB, major, minor int) bool {
	t.Helper()
	var u unix.Utsname
	must(t, unix.Uname(&u))
	var haveMajor, haveMinor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &haveMajor, &haveMinor)
	must(t, err)
	return haveMajor < major || haveMajor == major && haveMinor < minor
}

// survey finds each specimen in a sequence; nil for one that is not there. It leaves once it has all:
// while others open sockets, the end of /proc/net/tcp moves away from who reads it.
func survey(seq iter.Seq2[*Socket, error], xs []specimen) ([]*Socket, error) {
	found := make([]*Socket, len(xs))
	missing := len(xs)
	for s, err := range seq {
		if err != nil {
			return nil, err
		}
		for i, x := range xs {
			if found[i] == nil && x.is(s) {
				found[i] = s.Clone()
				missing--
			}
		}
		if missing == 0 {
			break
		}
	}
	return found, nil
}

var errAbsent = errors.New("not listed")

// untilAll looks again until the check was content with every specimen once: the kernel settles
// timers and queues on its own time, and a dump may miss a socket.
func untilAll(t *testing.T, xs []specimen, look func() (check func(i int) error, err error)) {
	t.Helper()
	pending := make([]int, len(xs))
	for i := range pending {
		pending[i] = i
	}
	eventually(t, func() error {
		check, err := look()
		if err != nil {
			return err
		}
		var left []error
		pending = slices.DeleteFunc(pending, func(i int) bool {
			err := check(i)
			if err != nil {
				left = append(left, fmt.Errorf("%s: %w", xs[i].name, err))
			}
			return err == nil
		})
		return errors.Join(left...)
	})
}
