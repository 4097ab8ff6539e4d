package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// leaking are the programs that leak. What they do wrong is wrong in most languages.
var leaking = map[string]func(*zoo) truth{
	"leaky-pipe":         leakyPipe,
	"response-bodies":    responseBodies,
	"never-closed":       neverClosed,
	"forgotten":          func(z *zoo) truth { return forgotten(z, func(int) string { return z.peer }) },
	"forgotten-peers":    forgottenPeers,
	"refused":            func(z *zoo) truth { return refused(z, 0) },
	"refused-nonblock":   func(z *zoo) truth { return refused(z, unix.SOCK_NONBLOCK) },
	"refused-bound":      refusedBound,
	"refused-chosen":     refusedChosen,
	"never-connected":    unconnected,
	"reset-connected":    resetConnected,
	"reset-accepted":     resetAccepted,
	"unread-accepted":    unreadAccepted,
	"shut-not-closed":    shutNotClosed,
	"duplicated":         duplicated,
	"keepalive-probing":  keepaliveProbing,
	"odd-name":           oddName,
	"leader-gone":        leaderGone,
	"fd-limit":           nearLimit,
	"mptcp-never-closed": mptcpNeverClosed,
	"all-at-once":        allAtOnce,
	"own-files":          ownFiles,
	"netns":              inNetns,
	"other-netns":        otherNetns,
}

// leakyPipe joins two connections and never ends either.
func leakyPipe(z *zoo) truth {
	ln := silentListen(z.host)
	keeping(ln, func(client *net.TCPConn) {
		server := dial(z.peer)
		keep(server)
		go func() { _, _ = io.Copy(server, client) }()
		go func() { _, _ = io.Copy(client, server) }()
	})
	t := idle(2*z.n, map[string]int{estab: 2 * z.n, listening: 1})
	t.Listen = address(ln)
	return t
}

// responseBodies forgets resp.Body.Close().
func responseBodies(z *zoo) truth {
	for range z.n {
		resp, err := http.Get("http://" + z.peer)
		check(err)
		if resp.StatusCode != http.StatusOK {
			fail(fmt.Errorf("status %s", resp.Status))
		}
		keep(resp)
	}
	return truth{Leaks: map[string]int{closeWaitRule: z.n}, Held: map[string]int{unread: z.n}}
}

// neverClosed takes note of the end of the stream, and that is all.
func neverClosed(z *zoo) truth {
	for range z.n {
		c := dial(z.peer)
		keep(c)
		toTheEnd(c)
	}
	return truth{Leaks: map[string]int{closeWaitRule: z.n}, Held: map[string]int{closeWait: z.n}}
}

// forgotten dials, says a word, and forgets.
func forgotten(z *zoo, peer func(int) string) truth {
	for i := range z.n {
		c := dial(peer(i))
		keep(c)
		say(c)
		var line [6]byte
		_, err := io.ReadFull(c, line[:])
		check(err)
	}
	return idle(z.n, map[string]int{estab: z.n})
}

// forgottenPeers forgets connections to as many peers: a report names the largest groups only, and must count all.
func forgottenPeers(z *zoo) truth {
	return forgotten(z, func(i int) string {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}), netip.MustParseAddrPort(z.peer).Port()).String()
	})
}

// refused does not close what could not connect.
func refused(z *zoo, flags int) truth {
	addr := deadEnd(z.host)
	for range z.n {
		refuse(socket(addr, flags), addr)
	}
	return closedFD(z.n, neverConnected, 1)
}

// refusedBound is refused, from a port of its own choice: the kernel keeps such a socket in its bind table.
func refusedBound(z *zoo) truth {
	addr := deadEnd(z.host)
	for range z.n {
		fd := bound(z.host)
		check(unix.SetNonblock(fd, true))
		refuse(fd, addr)
	}
	return closedFD(z.n, neverConnected, 1)
}

// refusedChosen is refused, from a port that it has named: the kernel keeps its number in the table of bound ones.
func refusedChosen(z *zoo) truth {
	addr := deadEnd(z.host)
	for range z.n {
		free := bound(z.host)
		from := netip.AddrPortFrom(netip.MustParseAddr(z.host), uint16(port(free))).String()
		check(unix.Close(free))
		fd := socket(from, unix.SOCK_NONBLOCK)
		check(unix.Bind(fd, sockaddr(from)))
		refuse(fd, addr)
	}
	return closedFD(z.n, neverConnected, 1)
}

func unconnected(z *zoo) truth {
	for range z.n {
		socket(net.JoinHostPort(z.host, "1"), 0)
	}
	return closedFD(z.n, neverConnected, 0)
}

// resetConnected gets an error from read, and leaves it at that.
func resetConnected(z *zoo) truth {
	for range z.n {
		c := dial(z.peer)
		keep(c)
		say(c)
		toTheEnd(c)
	}
	return closedFD(z.n, dead, 0)
}

func resetAccepted(z *zoo) truth {
	ln := silentListen(z.host)
	keeping(ln, func(c *net.TCPConn) { go toTheEnd(c) })
	t := closedFD(z.n, dead, 0)
	t.Listen, t.Held[listening] = address(ln), 1
	return t
}

// unreadAccepted takes connections and never looks at them.
func unreadAccepted(z *zoo) truth {
	ln := silentListen(z.host)
	keeping(ln, func(*net.TCPConn) {})
	return truth{
		Listen: address(ln), Leaks: map[string]int{closeWaitRule: z.n},
		Held: map[string]int{unread: z.n, listening: 1},
	}
}

// shutNotClosed takes shutdown for close: the connection ends in good order, and the descriptor stays.
func shutNotClosed(z *zoo) truth {
	for range z.n {
		c := dial(z.peer)
		keep(c)
		toTheEnd(c)
		check(c.(*net.TCPConn).CloseWrite())
	}
	return closedFD(z.n, dead, 0)
}

// duplicated has two descriptors on each socket: a connection counts once, and a descriptor each.
func duplicated(z *zoo) truth {
	for range z.n {
		dup(socket(z.peer, 0))
		c := dial(z.peer)
		keep(c)
		toTheEnd(c)
		raw, err := c.(*net.TCPConn).SyscallConn()
		check(err)
		check(raw.Control(func(fd uintptr) { dup(int(fd)) }))
	}
	return truth{
		Leaks: map[string]int{closedRule: 2 * z.n, closeWaitRule: z.n},
		Risks: map[string]int{duplicateRule: z.n},
		Fates: map[string]int{neverConnected: 2 * z.n},
		Held:  map[string]int{unlisted: 2 * z.n, closeWait: 2 * z.n},
	}
}

func dup(fd int) {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	check(err)
}

// keepaliveProbing keeps ended connections whose peer goes on to answer keepalive probes.
func keepaliveProbing(z *zoo) truth {
	for range z.n {
		c := dial(z.peer)
		keep(c)
		check(c.(*net.TCPConn).SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 9}))
		toTheEnd(c)
	}
	return truth{Leaks: map[string]int{closeWaitRule: z.n}, Held: map[string]int{closeWait: z.n}}
}

// oddName has a name that breaks careless readers of /proc/PID/stat, of lines, and of terminals.
func oddName(z *zoo) truth {
	check(os.WriteFile("/proc/self/comm", []byte("a) Z 1 (\n\x1b[1m\xff"), 0))
	return neverClosed(z)
}

// leaderGone lets its first thread end: /proc/PID/fd is then empty, and the others hold everything.
func leaderGone(z *zoo) truth {
	tell(neverClosed(z))
	go untilEOF()
	_, _, err := unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	return truth{Leaks: map[string]int{err.Error(): 1}} // never reached
}

// ownFiles has a thread with a table of descriptors of its own: what leaks there is not in
// /proc/PID/fd, and is in /proc/PID/task/TID/fd.
func ownFiles(z *zoo) truth {
	made := make(chan struct{})
	go func() {
		runtime.LockOSThread() // for ever: the table is the thread's
		check(unix.Unshare(unix.CLONE_FILES))
		for range z.n {
			// By system calls alone: the poller of Go has the other table.
			fd := socket(z.peer, 0)
			check(unix.Connect(fd, sockaddr(z.peer)))
			if n, err := unix.Read(fd, make([]byte, 1)); n != 0 || err != nil {
				fail(fmt.Errorf("read: %d, %w", n, err))
			}
		}
		close(made)
		select {}
	}()
	<-made
	return truth{Leaks: map[string]int{closeWaitRule: z.n}, Held: map[string]int{closeWait: z.n}}
}

// nearLimit has most of the descriptors open that it may have.
func nearLimit(z *zoo) truth {
	limit := unix.Rlimit{Cur: 100, Max: 100}
	check(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	for range 90 {
		f, err := os.Open("/dev/null")
		check(err)
		keep(f)
	}
	return truth{Leaks: none, Risks: map[string]int{fdRule: 0}, Held: none}
}

// mptcpNeverClosed speaks MPTCP: the table of TCP calls the connection ESTAB for as long as the process does not close,
// and the other table does not say since when it is not.
func mptcpNeverClosed(z *zoo) truth {
	d := net.Dialer{}
	d.SetMultipathTCP(true)
	for range z.n {
		c, err := d.Dial("tcp", z.peer)
		check(err)
		keep(c)
		say(c)
		toTheEnd(c)
		if on, err := c.(*net.TCPConn).MultipathTCP(); err != nil || !on {
			fail(fmt.Errorf("no MPTCP: %v", err))
		}
	}
	return truth{Leaks: none, Gaps: true, Held: map[string]int{estabKA: z.n}}
}

// allAtOnce leaks by several rules at a time, as programs do.
func allAtOnce(z *zoo) truth {
	ln := silentListen(z.host)
	addr := address(ln)
	for range z.n {
		ended := dial(addr)
		keep(ended)
		c, err := ln.Accept()
		check(err)
		c.Close()
		toTheEnd(ended)

		reset := dial(addr)
		keep(reset)
		c, err = ln.Accept()
		check(err)
		check(c.(*net.TCPConn).SetLinger(0))
		c.Close()
		toTheEnd(reset)

		keep(dial(addr))
		c, err = ln.Accept()
		check(err)
		keep(c)
		socket(addr, 0)
	}
	t := idle(2*z.n, map[string]int{estab: 2 * z.n, closeWait: z.n, unlisted: 2 * z.n, listening: 1})
	t.Leaks[closeWaitRule], t.Leaks[closedRule] = z.n, 2*z.n
	t.Fates = map[string]int{neverConnected: z.n, dead: z.n}
	return t
}
