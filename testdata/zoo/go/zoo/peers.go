package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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
	// It has said goodbye, and hears nothing either.
	"peer-half-deaf": func(z *zoo) truth { return peer(z, func(c *net.TCPConn) { check(c.CloseWrite()); select {} }) },
	"peer-drip":      func(z *zoo) truth { return peer(z, drip) },
	// A line, some more, and then nothing any more.
	"peer-push": func(z *zoo) truth {
		return peer(z, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "hello\n"+strings.Repeat("x", 1000))
			select {}
		})
	},
	// More than anybody reads.
	"peer-flood": func(z *zoo) truth {
		return peer(z, func(c *net.TCPConn) {
			for b := make([]byte, 4<<10); ; {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		})
	},
	"peer-stream": func(z *zoo) truth {
		return peer(z, func(c *net.TCPConn) {
			b := make([]byte, 16<<10)
			every(beat/20, func() error { _, err := c.Write(b); return err })
		})
	},
	// They take what they are sent little by little, and always something.
	"peer-sip":  func(z *zoo) truth { return peer(z, func(c *net.TCPConn) { sip(c, 200) }) },
	"peer-gulp": func(z *zoo) truth { return peer(z, func(c *net.TCPConn) { sip(c, 64<<10) }) },
	// To each line an answer of another length.
	"peer-answer": func(z *zoo) truth {
		return peer(z, func(c *net.TCPConn) {
			for r := bufio.NewReader(c); ; {
				line, err := r.ReadString('\n')
				if err != nil {
					c.Close()
					return
				}
				_, _ = io.WriteString(c, strings.Repeat("y", 3*len(line))+"\n")
			}
		})
	},
	// Its queue is full: whoever connects gets no answer.
	"peer-full": func(z *zoo) truth {
		ln := bound(z.host)
		check(unix.Listen(ln, 0))
		addr := net.JoinHostPort(z.host, strconv.Itoa(port(ln)))
		keep(dial(addr)) // takes the one place
		return truth{Listen: addr}
	},
	// One answer of 8 KB, more than a client reads ahead, and then the end.
	"peer-http-closing": func(z *zoo) truth { return peer(z, closingAnswer) },
	"peer-http":         func(z *zoo) truth { return peerHTTP(z, "well", false) },
	// More than any client reads ahead, and less than the kernel takes.
	"peer-http-large": func(z *zoo) truth { return peerHTTP(z, strings.Repeat("x", 32<<10), false) },
	// More than the kernel takes.
	"peer-http-huge": func(z *zoo) truth { return peerHTTP(z, strings.Repeat("x", 8<<20), false) },
	"peer-https":     func(z *zoo) truth { return peerHTTP(z, "well", true) },
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
	// A request, of another length each, and the answer; then they leave, in peace or not.
	"guest-asker": func(z *zoo) truth { return askers(z, func(c *net.TCPConn) { c.Close() }) },
	"guest-asker-reset": func(z *zoo) truth {
		return askers(z, func(c *net.TCPConn) { check(c.SetLinger(0)); c.Close() })
	},
	"guest-http": guestHTTP,
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

func peerHTTP(z *zoo, answer string, secure bool) truth {
	ln := silentListen(z.host)
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = io.WriteString(w, answer)
	})}
	serve := s.Serve
	if secure {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate()}, MinVersion: tls.VersionTLS12}
		serve = func(ln net.Listener) error { return s.ServeTLS(ln, "", "") }
	}
	go func() { fail(serve(ln)) }()
	return truth{Listen: address(ln)}
}

// certificate is one that nobody should trust.
func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func sip(c *net.TCPConn, size int) {
	b := make([]byte, size)
	every(beat/2, func() error { _, err := c.Read(b); return err })
	c.Close()
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

// askers ask, and all leave when all have been answered.
func askers(z *zoo, leave func(*net.TCPConn)) truth {
	asked := 0
	t := guests(z, silentDialer, func(c net.Conn, r *bufio.Reader) {
		for range 2 {
			asked++
			_, err := io.WriteString(c, strings.Repeat("x", 40+23*asked)+"\n")
			check(err)
			_, err = r.ReadString('\n')
			check(err)
		}
	})
	<-time.After(beat)
	for _, c := range kept {
		leave(c.(*net.TCPConn))
	}
	return t
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
