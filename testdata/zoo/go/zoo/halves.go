package main

import (
	"io"
	"net"
	"time"
)

// halves are the programs of connections that have ended in one direction.
var halves = map[string]func(*zoo) truth{
	"shut-and-kept":      func(z *zoo) truth { return shutAndKept(z, nil) },
	"shut-and-kept-ka":   func(z *zoo) truth { return shutAndKept(z, &net.KeepAliveConfig{Enable: true, Idle: time.Hour}) },
	"shut-and-probing":   func(z *zoo) truth { return shutAndKept(z, &probing) },
	"shut-and-closed":    shutAndClosed,
	"half-forgetful":     func(z *zoo) truth { return halfForgetful(z, closeWait) },
	"half-forgetful-rst": func(z *zoo) truth { return halfForgetful(z, unlisted) },
}

var probing = net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 100}

// shutAndKept has said all, and waits, without reading, for peers that never say goodbye.
func shutAndKept(z *zoo, keepalive *net.KeepAliveConfig) truth {
	for range z.n {
		c := dial(z.peer).(*net.TCPConn)
		keep(c)
		if keepalive != nil {
			check(c.SetKeepAliveConfig(*keepalive))
		}
		say(c)
		check(c.CloseWrite())
	}
	return truth{Leaks: map[string]int{finWait2Rule: z.n}, Held: map[string]int{finWait2: z.n}}
}

// shutAndClosed closes: what is left of its connections is the kernel's.
func shutAndClosed(z *zoo) truth {
	for range z.n {
		c := dial(z.peer).(*net.TCPConn)
		say(c)
		check(c.CloseWrite())
		c.Close()
	}
	return truth{Leaks: none, Held: none}
}

// halfForgetful is a proxy that, when a guest has left, forgets it and the connection that it had made for it. The peers
// are asked by keepalive whether they live; nothing will ever be said to them any more.
func halfForgetful(z *zoo, left string) truth {
	ln := silentListen(z.host)
	keeping(ln, func(client *net.TCPConn) {
		server := dial(z.peer).(*net.TCPConn)
		keep(server)
		check(server.SetKeepAlive(true))
		go func() { _, _ = io.Copy(server, client) }()
		go func() { _, _ = io.Copy(client, server) }()
	})
	t := truth{
		Listen: address(ln), Leaks: map[string]int{pairRule: z.n},
		Held: map[string]int{listening: 1, estabKA: z.n, left: z.n},
	}
	if left == unlisted {
		t.Leaks[closedRule], t.Fates = z.n, map[string]int{dead: z.n}
	} else {
		t.Leaks[closeWaitRule] = z.n
	}
	return t
}
