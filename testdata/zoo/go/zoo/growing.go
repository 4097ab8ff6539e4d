package main

import (
	"net"
	"time"
)

// growing never stand still: what they hold climbs, or only looks as if it did. N is how many sockets come in ten seconds.
var growing = map[string]func(*zoo) truth{
	// It forgets each connection that it has made.
	"grows": func(z *zoo) truth {
		go evenly(z.n, func() { greet(z.peer) })
		return truth{Leaks: none}
	},
	"grows-churn": func(z *zoo) truth {
		go evenly(z.n, func() { greet(z.peer).Close() })
		return truth{Leaks: none}
	},
	// It forgets who has left.
	"grows-forgets": func(z *zoo) truth {
		l, err := net.Listen("tcp", net.JoinHostPort(z.host, "0"))
		check(err)
		go func() {
			for {
				c, err := l.Accept()
				check(err)
				keep(c)
			}
		}()
		return truth{Leaks: none, Listen: l.Addr().String()}
	},
}

// greet connects and hears an answer.
func greet(peer string) net.Conn {
	c := dial(peer)
	keep(c)
	say(c)
	var line [6]byte
	_, err := c.Read(line[:])
	check(err)
	return c
}

// evenly does it n times in ten seconds, however long each takes.
func evenly(n int, do func()) {
	start := time.Now()
	for i := 0; ; i++ {
		time.Sleep(time.Until(start.Add(time.Duration(i) * 10 * time.Second / time.Duration(n))))
		do()
	}
}
