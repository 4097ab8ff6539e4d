package procfd

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// States as in the first byte of struct tcp_info.
const (
	established = 1
	dead        = 7
	listening   = 10
)

// wantState checks the addresses and the state of a TCP socket.
func wantState(t *testing.T, s *sock, l loopback, state byte, peer netip.AddrPort) *Answer {
	t.Helper()
	a := s.ask()
	if a.Domain != l.domain || a.Protocol != unix.IPPROTO_TCP || !a.IsTCP() {
		t.Errorf("domain %d, protocol %d", a.Domain, a.Protocol)
	}
	if a.Local != s.addr() || a.Peer != peer {
		t.Errorf("from %v to %v, want from %v to %v", a.Local, a.Peer, s.addr(), peer)
	}
	if len(a.Info) < 100 || a.Info[0] != state {
		t.Errorf("%d bytes of information, state %d, want state %d", len(a.Info), a.Info[:min(1, len(a.Info))], state)
	}
	return a
}

// wantNoPeer: the ordinary call has forgotten the peer of a dead socket.
func wantNoPeer(t *testing.T, s *sock) {
	t.Helper()
	if sa, err := unix.Getpeername(s.fd); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("getpeername: %v, %v", sa, err)
	}
}

func TestKernelAsk(t *testing.T) {
	eachLoopback(t, func(t *testing.T, l loopback) {
		listener := l.listen(t)
		client := l.socket(t)
		l.connect(client, listener.port())
		server := listener.accept()
		wantState(t, listener, l, listening, netip.AddrPort{})
		wantState(t, server, l, established, client.addr())
		a := wantState(t, client, l, established, server.addr())

		inode, err := inodeOf(client.fd)
		must(t, err)
		cookie, err := unix.GetsockoptUint64(client.fd, unix.SOL_SOCKET, unix.SO_COOKIE)
		must(t, err)
		netns, _ := unix.GetsockoptUint64(client.fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		if a.Inode != inode || a.Cookie != cookie || a.NetnsCookie != netns {
			t.Errorf("inode %d, cookies %d and %d; want %d, %d and %d", a.Inode, a.Cookie, a.NetnsCookie, inode, cookie, netns)
		}
	})
}

func TestKernelAskOptions(t *testing.T) {
	eachLoopback(t, func(t *testing.T, l loopback) {
		client, _ := l.pair(t)
		a := client.ask()
		if want := liveFS(t).NetSysctls().KeepaliveTime; a.KeepAlive || a.KeepAliveIdle != want || a.UserTimeout != 0 {
			t.Errorf("untouched: keepalive %v after %v, user timeout %v; want false, %v, 0", a.KeepAlive, a.KeepAliveIdle, a.UserTimeout, want)
		}
		client.set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		client.set(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 11)
		client.set(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 7)
		client.set(unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 5)
		client.set(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 12345)
		a = client.ask()
		if !a.KeepAlive || a.KeepAliveIdle != 11*time.Second || a.KeepAliveInterval != 7*time.Second || a.KeepAliveCount != 5 {
			t.Errorf("keepalive %v: %v, %v, %d", a.KeepAlive, a.KeepAliveIdle, a.KeepAliveInterval, a.KeepAliveCount)
		}
		if a.UserTimeout != 12345*time.Millisecond {
			t.Errorf("user timeout %v", a.UserTimeout)
		}
	})
}

func TestKernelAskWaits(t *testing.T) {
	for _, domain := range []int{unix.AF_INET, unix.AF_UNIX} {
		s := open(t, domain, unix.SOCK_STREAM, 0)
		if a := s.ask(); a.ReceiveTimeout != 0 || a.SendTimeout != 0 || a.Linger != -1 {
			t.Errorf("untouched: time-outs %v and %v, linger %v; want 0, 0 and -1ns", a.ReceiveTimeout, a.SendTimeout, a.Linger)
		}
		for option, ms := range map[int]int64{unix.SO_RCVTIMEO: 1500, unix.SO_SNDTIMEO: 60_000} {
			tv := unix.NsecToTimeval(ms * 1e6)
			must(t, unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, option, &tv))
		}
		must(t, unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 7}))
		if a := s.ask(); a.ReceiveTimeout != 1500*time.Millisecond || a.SendTimeout != time.Minute || a.Linger != 7*time.Second {
			t.Errorf("time-outs %v and %v, linger %v", a.ReceiveTimeout, a.SendTimeout, a.Linger)
		}
		must(t, unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		if a := s.ask(); a.Linger != 0 {
			t.Errorf("linger %v, want 0: close resets", a.Linger)
		}
	}
}

func TestKernelAskNeverConnected(t *testing.T) {
	eachLoopback(t, func(t *testing.T, l loopback) {
		s := l.socket(t)
		if s.addr() != l.unspecified() {
			t.Errorf("address %v", s.addr())
		}
		wantState(t, s, l, dead, netip.AddrPort{})
		wantState(t, l.bound(t, s), l, dead, netip.AddrPort{})
	})
}

// A connection that was refused has a peer: the one that refused.
func TestKernelAskRefused(t *testing.T) {
	eachLoopback(t, func(t *testing.T, l loopback) {
		deaf := l.bound(t, l.socket(t))
		s := l.socket(t)
		err := unix.Connect(s.fd, l.sockaddr(deaf.port()))
		if !errors.Is(err, unix.EINPROGRESS) {
			t.Fatalf("connect: %v", err)
		}
		s.wait(unix.POLLOUT)
		wantState(t, s, l, dead, deaf.addr())
		wantNoPeer(t, s)
	})
}

// A reset takes a socket out of every list; it still tells who its peer was.
func TestKernelAskReset(t *testing.T) {
	eachLoopback(t, func(t *testing.T, l loopback) {
		for _, accepted := range []bool{false, true} {
			dying, peer := l.pair(t)
			if accepted {
				dying, peer = peer, dying
			}
			was := peer.addr()
			peer.reset()
			dying.wait(unix.POLLIN)
			wantState(t, dying, l, dead, was)
			wantNoPeer(t, dying)
		}
	})
}

// The peer has closed, and then the socket sent its end: it is in no list either.
func TestKernelAskShutDown(t *testing.T) {
	eachLoopback(t, func(t *testing.T, l loopback) {
		s, peer := l.pair(t)
		was := peer.addr()
		peer.close()
		s.wait(unix.POLLRDHUP)
		must(t, unix.Shutdown(s.fd, unix.SHUT_WR))
		s.wait(0) // hang-up: both directions are shut, and the end is acknowledged
		eventually(t, func() error {
			if a := s.ask(); a.Info[0] != dead {
				return errors.New("not closed")
			}
			return nil
		})
		wantState(t, s, l, dead, was)
	})
}

func mptcp(t *testing.T, l loopback) *sock {
	t.Helper()
	fd, err := unix.Socket(l.domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_MPTCP)
	if err != nil {
		t.Skipf("no MPTCP: %v", err)
	}
	return own(t, fd)
}

// An MPTCP socket answers as TCP does; struct tcp_info is that of its first subflow.
func TestKernelAskMPTCP(t *testing.T) {
	eachLoopback(t, func(t *testing.T, l loopback) {
		unused := mptcp(t, l).ask()
		if !unused.IsTCP() || unused.Protocol != unix.IPPROTO_MPTCP || unused.Peer.IsValid() {
			t.Errorf("never connected: %+v", unused)
		}
		listener := listen(l.bound(t, mptcp(t, l)))
		client := mptcp(t, l)
		client.set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		l.connect(client, listener.port())
		server := listener.accept()
		for _, s := range []*sock{client, server} {
			a := s.ask()
			peer := client.addr()
			if s == client {
				peer = server.addr()
			}
			if a.Protocol != unix.IPPROTO_MPTCP || !a.IsTCP() || a.Local != s.addr() || a.Peer != peer {
				t.Errorf("%+v, want protocol %d from %v to %v", a, unix.IPPROTO_MPTCP, s.addr(), peer)
			}
			if len(a.Info) < 100 || a.Info[0] != established {
				t.Errorf("%d bytes of information: % x", len(a.Info), a.Info[:min(8, len(a.Info))])
			}
			if a.KeepAlive != (s == client) {
				t.Errorf("keepalive %v", a.KeepAlive)
			}
		}
	})
}

// A listener that knows MPTCP takes connections that do not, and these are TCP by every word but the
// name in /proc.
func TestKernelAskMPTCPFallback(t *testing.T) {
	listener := listen(ipv4.bound(t, mptcp(t, ipv4)))
	client := ipv4.socket(t)
	ipv4.connect(client, listener.port())
	server := listener.accept()
	wantState(t, server, ipv4, established, client.addr())
	name, err := liveFS(t).Protocol(live(t, os.Getpid()), SocketFD{FD: server.fd})
	if err != nil || name != "MPTCP" {
		t.Errorf("named %q, %v", name, err)
	}
}

func TestKernelAskOtherProtocols(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		domain, typ, protocol int
	}{
		{"UDP", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP},
		{"unix stream", unix.AF_UNIX, unix.SOCK_STREAM, 0},
		{"unix datagram", unix.AF_UNIX, unix.SOCK_DGRAM, 0},
		{"netlink with the number of TCP", unix.AF_NETLINK, unix.SOCK_RAW, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fd, err := unix.Socket(tt.domain, tt.typ|unix.SOCK_CLOEXEC, tt.protocol)
			if err != nil {
				t.Skipf("socket: %v", err)
			}
			a := own(t, fd).ask()
			if a.Domain != tt.domain || a.Protocol != tt.protocol || a.Cookie == 0 {
				t.Errorf("%+v", a)
			}
			if a.IsTCP() || a.Info != nil || a.Local.IsValid() || a.Peer.IsValid() || a.KeepAliveIdle != 0 {
				t.Errorf("as if it was TCP: %+v", a)
			}
		})
	}
}

func TestIsTCP(t *testing.T) {
	for protocol, want := range map[int]bool{0: false, 1: false, 6: true, 17: false, 132: false, 262: true} {
		for _, domain := range []int{unix.AF_INET, unix.AF_INET6} {
			if got := (&Answer{Domain: domain, Protocol: protocol}).IsTCP(); got != want {
				t.Errorf("domain %d, protocol %d: %v", domain, protocol, got)
			}
		}
		for _, domain := range []int{unix.AF_UNIX, unix.AF_NETLINK, unix.AF_VSOCK} {
			if (&Answer{Domain: domain, Protocol: protocol}).IsTCP() {
				t.Errorf("domain %d, protocol %d: TCP", domain, protocol)
			}
		}
	}
}
