package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// queues are the programs in whose queues something waits: for ever, or only for a moment.
var queues = map[string]func(*zoo) truth{
	"unread-bodies":    unreadBodies,
	"unread-pushed":    unreadPushed,
	"slow-reader":      slowReader,
	"busy-reader":      hearsMuch,
	"backpressure":     func(z *zoo) truth { return backpressure(z, false) },
	"backpressure-ka":  func(z *zoo) truth { return backpressure(z, true) },
	"stalled-shut":     stalledShut,
	"stalled-ended":    stalledEnded,
	"stalled-both":     stalledBoth,
	"sipped":           sipped,
	"accept-queue":     acceptQueue,
	"never-accepted":   func(z *zoo) truth { return neverAccepted(z, map[string]int{queued: z.n, listening: 1}) },
	"never-accepted-2": neverAcceptedByTwo,
	"unaccepted-ended": func(z *zoo) truth { return neverAccepted(z, map[string]int{queuedEnded: z.n, listening: 1}) },
	"queue-full":       queueFull,
	"slow-to-accept":   slowToAccept,
	"connecting":       connecting,
	"connects":         connects,
}

// unreadBodies reads the header of each answer and none of its body, on connections that stay.
func unreadBodies(z *zoo) truth {
	for range z.n {
		resp, err := http.Get("http://" + z.peer)
		check(err)
		if resp.StatusCode != http.StatusOK {
			fail(fmt.Errorf("status %s", resp.Status))
		}
		keep(resp)
	}
	return truth{Leaks: map[string]int{unreadRule: z.n}, Held: map[string]int{estabUnread: z.n}}
}

// unreadPushed reads a line of each connection, and then its reader waits for something else, for ever.
func unreadPushed(z *zoo) truth {
	never := make(chan struct{})
	for range z.n {
		c := dial(z.peer)
		keep(c)
		go func() {
			var line [6]byte
			_, err := io.ReadFull(c, line[:])
			check(err)
			<-never
		}()
	}
	return truth{Leaks: map[string]int{unreadRule: z.n}, Held: map[string]int{estabUnread: z.n}}
}

// slowReader takes a little of a full buffer, ten times a second: the buffer is never empty, the kernel seldom asks for
// more, and all of it is in order.
func slowReader(z *zoo) truth {
	small := net.Dialer{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		control := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10) })
		check(err)
		return control
	}}
	for range z.n {
		c, err := small.Dial("tcp", z.peer)
		check(err)
		keep(c)
		b := make([]byte, 100)
		go every(beat, func() error { _, err := c.Read(b); return err })
	}
	return truth{Leaks: none, Held: map[string]int{estabUnread: z.n}}
}

func hearsMuch(z *zoo) truth {
	for range z.n {
		c := dial(z.peer)
		keep(c)
		go toTheEnd(c)
	}
	return truth{Leaks: none}
}

// fill writes to who does not read until no more goes.
func fill(c net.Conn) { _, _ = c.Write(make([]byte, 16<<20)) }

// backpressure writes to who does not read: the kernel asks the peer for room for ever, and the timer of that hides
// whether keepalive is on.
func backpressure(z *zoo, keepalive bool) truth {
	for range z.n {
		c := dial(z.peer)
		keep(c)
		check(c.(*net.TCPConn).SetKeepAlive(keepalive))
		go fill(c)
	}
	return truth{Leaks: map[string]int{stalledRule: z.n}, Held: map[string]int{estabPersist: z.n}}
}

// stalledShut has said goodbye behind what does not go out, and keeps the descriptor.
func stalledShut(z *zoo) truth {
	for range z.n {
		fd := socket(z.peer, 0)
		check(unix.Connect(fd, sockaddr(z.peer)))
		stuff(fd)
		check(unix.Shutdown(fd, unix.SHUT_WR))
	}
	return truth{Leaks: map[string]int{stalledRule: z.n}, Held: map[string]int{finWait1: z.n}}
}

// stalledEnded has an answer for peers that have said goodbye and do not read it: they have ended, which comes first.
func stalledEnded(z *zoo) truth {
	for range z.n {
		fd := socket(z.peer, 0)
		check(unix.Connect(fd, sockaddr(z.peer)))
		if n, err := unix.Read(fd, make([]byte, 1)); n != 0 || err != nil {
			fail(fmt.Errorf("read: %d, %w", n, err))
		}
		stuff(fd)
	}
	return truth{Leaks: map[string]int{closeWaitRule: z.n}, Held: map[string]int{closeWait: z.n}}
}

// stalledBoth has said goodbye, too, behind what they do not read, and keeps the descriptor.
func stalledBoth(z *zoo) truth {
	for range z.n {
		fd := socket(z.peer, 0)
		check(unix.Connect(fd, sockaddr(z.peer)))
		if n, err := unix.Read(fd, make([]byte, 1)); n != 0 || err != nil {
			fail(fmt.Errorf("read: %d, %w", n, err))
		}
		stuff(fd)
		check(unix.Shutdown(fd, unix.SHUT_WR))
	}
	return truth{Leaks: map[string]int{stalledRule: z.n}, Held: map[string]int{lastAck: z.n}}
}

// stuff writes until the kernel takes no more.
func stuff(fd int) {
	check(unix.SetNonblock(fd, true))
	for b := make([]byte, 64<<10); ; {
		if _, err := unix.Write(fd, b); err != nil {
			if err != unix.EAGAIN {
				fail(err)
			}
			// What is sent makes room for more: it is full when it is still so after a while.
			ready, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 300)
			if ready == 0 {
				return
			}
		}
	}
}

// sipped writes to who reads slowly, and steadily.
func sipped(z *zoo) truth {
	for range z.n {
		c := dial(z.peer)
		keep(c)
		go func() {
			for {
				fill(c)
			}
		}()
	}
	return truth{Leaks: none}
}

// visit connects to a listener of this process n times; every other guest leaves at once.
func visit(addr string, n int) {
	for i := range n {
		c, err := silentDialer.Dial("tcp", addr)
		check(err)
		check(c.(*net.TCPConn).SetKeepAlive(true))
		if i%2 == 0 {
			check(c.Close())
			continue
		}
		keep(c)
	}
}

// acceptQueue does not accept: what waits, open or ended, belongs to no descriptor.
func acceptQueue(z *zoo) truth {
	ln := silentListen(z.host)
	visit(address(ln), z.n)
	return truth{
		Leaks: map[string]int{queueRule: z.n},
		Held:  map[string]int{listening: 1, estabKA: z.n / 2, queued: z.n / 2, queuedEnded: z.n - z.n/2},
	}
}

func neverAccepted(z *zoo, held map[string]int) truth {
	ln := silentListen(z.host)
	return truth{Listen: address(ln), Leaks: map[string]int{queueRule: z.n}, Held: held}
}

// neverAcceptedByTwo has two listeners on one port, among which the kernel shares out who comes.
func neverAcceptedByTwo(z *zoo) truth {
	cfg := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { check(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)) })
	}}
	cfg.SetMultipathTCP(false)
	addr := net.JoinHostPort(z.host, "0")
	for range 2 {
		ln, err := cfg.Listen(context.Background(), "tcp", addr)
		check(err)
		keep(ln)
		addr = address(ln)
	}
	return truth{Listen: addr, Leaks: map[string]int{queueRule: z.n}, Held: map[string]int{queued: z.n, listening: 2}}
}

// queueFull has room for no more in its queue: that is a risk at once.
func queueFull(z *zoo) truth {
	ln := bound(z.host)
	check(unix.Listen(ln, z.n-1)) // a queue of n holds n+1
	addr := net.JoinHostPort(z.host, fmt.Sprint(port(ln)))
	for range z.n {
		c := dial(addr)
		check(c.(*net.TCPConn).SetKeepAlive(true))
		keep(c)
	}
	return truth{
		Leaks: map[string]int{queueRule: z.n}, Early: map[string]int{queueRule: z.n},
		Held: map[string]int{listening: 1, estabKA: z.n, queued: z.n},
	}
}

// slowToAccept takes one guest at a time, and time for it: there is always somebody in its queue, and nobody for long.
func slowToAccept(z *zoo) truth {
	ln := silentListen(z.host)
	go func() {
		for {
			c, err := ln.Accept()
			check(err)
			go func() { _, _ = io.Copy(c, c); c.Close() }()
			<-time.After(beat / 2)
		}
	}()
	return truth{Listen: address(ln), Leaks: none}
}

// connecting waits for who does not answer.
func connecting(z *zoo) truth {
	for range z.n {
		fd := socket(z.peer, unix.SOCK_NONBLOCK)
		if err := unix.Connect(fd, sockaddr(z.peer)); err != unix.EINPROGRESS {
			fail(fmt.Errorf("connect: %w", err))
		}
	}
	return truth{Leaks: none, Risks: map[string]int{connectRule: z.n}, Held: map[string]int{synSent: z.n}}
}

// connects connects, quickly, and again and again.
func connects(z *zoo) truth {
	for range z.n {
		go every(beat/10, func() error {
			dial(z.peer).Close()
			return nil
		})
	}
	return truth{Leaks: none}
}
