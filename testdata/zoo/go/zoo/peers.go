package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// others are the other sides: peers, which are there before the program that is looked at, and guests, which come to it.
var others = map[string]func(*zoo) truth{
	"peer-echo": func(z *zoo) truth {
		return peer(z, func(c *net.TCPConn) { _, _ = io.Copy(c, c); c.Close() })
	},
	// Its FIN is all that it ever sends.
	"peer-hangup": func(z *zoo) truth { return peer(z, func(c *net.TCPConn) { c.Close() }) },
	// It has said goodbye and listens on.
	"peer-half": func(z *zoo) truth { return peer(z, func(c *net.TCPConn) { check(c.CloseWrite()); toTheEnd(c) }) },
	"peer-reset": func(z *zoo) truth {
		return peer(z, func(c *net.TCPConn) {
			_, _ = bufio.NewReader(c).ReadString('\n') // an earlier RST would be connect's error
			check(c.SetLinger(0))
			c.Close()
		})
	},
	"peer-deaf": func(z *zoo) truth { return peer(z, func(*net.TCPConn) { select {} }) },
	"peer-drip": func(z *zoo) truth { return peer(z, drip) },
	// One answer of 8 KB, more than a client reads ahead, and then the end.
	"peer-http-closing": func(z *zoo) truth { return peer(z, closingAnswer) },
	"peer-http":         peerHTTP,
	"peer-mptcp": func(*zoo) truth {
		var cfg net.ListenConfig
		cfg.SetMultipathTCP(true)
		ln, err := cfg.Listen(context.Background(), "tcp", "127.0.0.1:0")
		check(err)
		serve(ln, func(c *net.TCPConn) {
			go func() { _, _ = bufio.NewReader(c).ReadString('\n'); c.Close() }()
		})
		return truth{Listen: address(ln)}
	},

	// Each says a line, hears it back, and then nothing any more.
	"guest-caller": func(z *zoo) truth { return guests(z, silentDialer, func(c net.Conn, r *bufio.Reader) { talk(c, r) }) },
	// Nothing at all.
	"guest-mute": func(z *zoo) truth { return guests(z, silentDialer, func(net.Conn, *bufio.Reader) {}) },
	"guest-mptcp": func(z *zoo) truth {
		d := silentDialer
		d.SetMultipathTCP(true)
		return guests(z, d, func(c net.Conn, r *bufio.Reader) { talk(c, r) })
	},
	"guest-leaver": func(z *zoo) truth {
		return guests(z, silentDialer, func(c net.Conn, _ *bufio.Reader) { say(c); c.Close() })
	},
	"guest-reset": func(z *zoo) truth {
		return guests(z, silentDialer, func(c net.Conn, _ *bufio.Reader) { check(c.(*net.TCPConn).SetLinger(0)); c.Close() })
	},
	// A request and its end; the answer may take long.
	"guest-half": func(z *zoo) truth {
		return guests(z, silentDialer, func(c net.Conn, r *bufio.Reader) {
			say(c)
			check(c.(*net.TCPConn).CloseWrite())
			go toTheEnd(r)
		})
	},
	"guest-ping": func(z *zoo) truth {
		return guests(z, silentDialer, func(c net.Conn, r *bufio.Reader) {
			talk(c, r)
			go every(beat, func() error { return try(c, r) })
		})
	},
	"guest-churn": guestChurn,
	"guest-http":  guestHTTP,
}

func peer(z *zoo, f func(*net.TCPConn)) truth {
	ln := silentListen(z.host)
	serve(ln, func(c *net.TCPConn) { go f(c) })
	return truth{Listen: address(ln)}
}

func drip(c *net.TCPConn) {
	go toTheEnd(c)
	every(beat, func() error { _, err := c.Write([]byte("drip\n")); return err })
	c.Close()
}

func closingAnswer(c *net.TCPConn) {
	r := bufio.NewReader(c)
	for line := "-"; strings.TrimSpace(line) != ""; {
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			return
		}
	}
	body := strings.Repeat("x", 8<<10)
	_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	c.Close()
}

func peerHTTP(z *zoo) truth {
	ln := silentListen(z.host)
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })}
	go func() { fail(s.Serve(ln)) }()
	return truth{Listen: address(ln)}
}

// guests come one after the other, and stay unless f has them leave.
func guests(z *zoo, d net.Dialer, f func(net.Conn, *bufio.Reader)) truth {
	for range z.n {
		c, err := d.Dial("tcp", z.peer)
		check(err)
		keep(c)
		f(c, bufio.NewReader(c))
	}
	return truth{}
}

func say(c net.Conn) {
	_, err := io.WriteString(c, "hello\n")
	check(err)
}

func talk(c net.Conn, r *bufio.Reader) { check(try(c, r)) }

func try(c net.Conn, r *bufio.Reader) error {
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return err
	}
	_, err := r.ReadString('\n')
	return err
}

// guestChurn comes, talks and goes, over and over.
func guestChurn(z *zoo) truth {
	for range z.n {
		go every(beat/10, func() error {
			c := dial(z.peer)
			defer c.Close()
			return try(c, bufio.NewReader(c))
		})
	}
	return truth{}
}

// guestHTTP asks once on each of n connections and leaves them idle in its pool.
func guestHTTP(z *zoo) truth {
	for range z.n {
		c := dial(z.peer)
		keep(c)
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: zoo\r\n\r\n")
		check(err)
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		check(err)
		toTheEnd(answer.Body)
		check(answer.Body.Close())
	}
	return truth{}
}
