package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// healthy are the programs that look as if they leaked, and do not.
var healthy = map[string]func(*zoo) truth{
	"pool":               pool,
	"pings":              pings,
	"hears-only":         hearsOnly,
	"half-closed-server": halfClosedServer,
	"half-closed-client": halfClosedClient,
	"preforked":          preforked,
	"slow-to-close":      slowToClose,
	"time-wait":          timeWait,
	"between":            between,
	"retries":            retries,
	"retries-same":       retriesSame,
	"bound":              boundOnly,
	"not-tcp":            notTCP,
	"http-server":        httpServer,
	"mptcp-server":       mptcpServer,
	"pipe":               func(z *zoo) truth { return pipe(z, map[string]int{listening: 1, estabKA: 2 * z.n}) },
	"pipe-emptied":       func(z *zoo) truth { return pipe(z, map[string]int{listening: 1}) },
	"pipe-half":          func(z *zoo) truth { return pipe(z, map[string]int{listening: 1, closeWait: z.n, finWait2: z.n}) },
	"echo":               echo,
}

// pool keeps idle connections, as a client of a database does, with keepalive on.
func pool(z *zoo) truth {
	for range z.n {
		c := dial(z.peer).(*net.TCPConn)
		check(c.SetKeepAlive(true))
		keep(c)
		talk(c, bufio.NewReader(c))
	}
	return truth{Leaks: none, Held: map[string]int{estabKA: z.n}}
}

// pings keeps its connections alive itself.
func pings(z *zoo) truth {
	for range z.n {
		c := dial(z.peer)
		keep(c)
		r := bufio.NewReader(c)
		talk(c, r)
		go every(beat, func() error { return try(c, r) })
	}
	return truth{Leaks: none, Held: map[string]int{estab: z.n}}
}

// hearsOnly is subscribed to something, and never says a word.
func hearsOnly(z *zoo) truth {
	for range z.n {
		c := dial(z.peer)
		keep(c)
		go toTheEnd(c)
	}
	return truth{Leaks: none, Held: map[string]int{estab: z.n}}
}

// halfClosedServer answers for long a request whose sender has ended its side.
func halfClosedServer(z *zoo) truth {
	ln := silentListen(z.host)
	keeping(ln, func(c *net.TCPConn) { go drip(c) })
	return truth{Listen: address(ln), Leaks: none, Held: map[string]int{closeWait: z.n, listening: 1}}
}

// halfClosedClient has ended its side and reads the answer.
func halfClosedClient(z *zoo) truth {
	for range z.n {
		c := dial(z.peer)
		keep(c)
		check(c.(*net.TCPConn).CloseWrite())
		go toTheEnd(c)
	}
	return truth{Leaks: none, Held: map[string]int{finWait2: z.n}}
}

// preforked shares its listener with n children.
func preforked(z *zoo) truth {
	t := truth{Leaks: none, Held: map[string]int{listening: 1 + z.n}}
	ln := silentListen(z.host)
	f, err := ln.(*net.TCPListener).File()
	check(err)
	defer f.Close()
	for range z.n {
		t.Children = append(t.Children, cat(f))
	}
	return t
}

// slowToClose takes a moment for each goodbye, so that there is always somebody in CLOSE-WAIT.
func slowToClose(z *zoo) truth {
	ln := silentListen(z.host)
	serve(ln, func(c *net.TCPConn) {
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
			<-time.After(2 * beat)
		}()
	})
	return truth{Listen: address(ln), Leaks: none}
}

// timeWait is the side that closes first, n times.
func timeWait(z *zoo) truth {
	ln := silentListen(z.host)
	for range z.n {
		c := dial(address(ln))
		a, err := ln.Accept()
		check(err)
		a.Close()
		toTheEnd(c)
		c.Close()
	}
	return truth{Leaks: none, Infos: map[string]int{timeWaitRule: z.n}, Held: map[string]int{listening: 1}}
}

// between always has sockets that are about to connect: none is for longer than the tool waits.
func between(z *zoo) truth {
	for range z.n {
		go every(beat/10, func() error {
			fd := socket(z.peer, 0)
			defer unix.Close(fd)
			<-time.After(beat)
			return unix.Connect(fd, sockaddr(z.peer))
		})
	}
	return truth{Leaks: none}
}

// retries is refused again and again, on a new socket each time, and closes them: the descriptor's number is always the
// same.
func retries(z *zoo) truth {
	addr := deadEnd(z.host)
	for range z.n {
		go every(beat/10, func() error {
			fd := socket(addr, unix.SOCK_NONBLOCK)
			defer unix.Close(fd)
			refuse(fd, addr)
			<-time.After(beat)
			return nil
		})
	}
	return truth{Leaks: none}
}

// retriesSame is refused again and again on one socket, which Linux allows: it is in use.
func retriesSame(z *zoo) truth {
	addr := deadEnd(z.host)
	for range z.n {
		fd := socket(addr, unix.SOCK_NONBLOCK)
		go every(beat, func() error {
			// The first answer is that of the time before.
			for unix.Connect(fd, sockaddr(addr)) != unix.EINPROGRESS {
			}
			return nil
		})
	}
	return truth{Leaks: none}
}

// boundOnly reserves ports.
func boundOnly(z *zoo) truth {
	for range z.n {
		bound(z.host)
	}
	return truth{Leaks: none, Held: map[string]int{unlisted: z.n}}
}

// notTCP has sockets of every other kind.
func notTCP(z *zoo) truth {
	held := map[string]int{}
	for range z.n {
		_, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		check(err)
		open(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		check(unix.Bind(open(unix.AF_NETLINK, unix.SOCK_RAW, 0), &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
		check(unix.Bind(open(unix.AF_INET, unix.SOCK_DGRAM, 0), &unix.SockaddrInet4{}))
		open(unix.AF_INET, unix.SOCK_DGRAM, 0)
		open(unix.AF_INET6, unix.SOCK_DGRAM, 0)
		held[unlisted] += 2 // UDP that is bound to nothing
	}
	ln, err := net.Listen("unix", filepath.Join("@zoo", fmt.Sprint(os.Getpid())))
	check(err)
	keep(ln)
	return truth{Leaks: none, Held: held}
}

func open(domain, kind, proto int) int {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, proto)
	check(err)
	return fd
}

// httpServer is what everybody writes.
func httpServer(z *zoo) truth {
	ln, err := net.Listen("tcp", net.JoinHostPort(z.host, "0"))
	check(err)
	go func() {
		//nolint:gosec // No time-outs: this is the default server.
		fail(http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })))
	}()
	return truth{Listen: address(ln), Leaks: none, Held: map[string]int{listening: 1, estabKA: z.n}}
}

// mptcpServer is a listener as net.Listen makes it, which speaks MPTCP with those who ask for it.
func mptcpServer(z *zoo) truth {
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(true)
	ln, err := cfg.Listen(context.Background(), "tcp", net.JoinHostPort(z.host, "0"))
	check(err)
	keeping(ln, func(c *net.TCPConn) { go func() { _, _ = io.Copy(c, c); c.Close() }() })
	return truth{Listen: address(ln), Leaks: none, Held: map[string]int{listening: 1, estabKA: z.n}}
}

// pipe joins connections as a pipe should: keepalive, the end handed on, both closed. What it then holds depends on whether
// its guests stay, leave, or have said all and listen on.
func pipe(z *zoo, held map[string]int) truth {
	ln, err := net.Listen("tcp", net.JoinHostPort(z.host, "0"))
	check(err)
	serve(ln, func(client *net.TCPConn) {
		c, err := net.Dial("tcp", z.peer)
		check(err)
		server := c.(*net.TCPConn)
		go func() {
			defer client.Close()
			defer server.Close()
			var both sync.WaitGroup
			both.Go(func() { _, _ = io.Copy(server, client); _ = server.CloseWrite() })
			both.Go(func() { _, _ = io.Copy(client, server); _ = client.CloseWrite() })
			both.Wait()
		}()
	})
	return truth{Listen: address(ln), Leaks: none, Held: held}
}

// echo answers, without keepalive, who keeps talking.
func echo(z *zoo) truth {
	ln := silentListen(z.host)
	serve(ln, func(c *net.TCPConn) { go func() { _, _ = io.Copy(c, c); c.Close() }() })
	return truth{Listen: address(ln), Leaks: none, Held: map[string]int{listening: 1, estab: z.n}}
}
