//go:build linux

package pipe

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// sisters runs f as a subtest for each leak but the first.
func sisters(t *testing.T, f func(t *testing.T, leak Leak)) {
	for _, leak := range Leaks()[1:] {
		t.Run(leak.String(), func(t *testing.T) { f(t, leak) })
	}
}

// States of /proc/net/tcp.
const (
	estab     = "01"
	closeWait = "08"
)

// wantLeg waits until the proxy's end of the connection of c is in a state, with the keepalive timer.
func wantLeg(t *testing.T, c *net.TCPConn, state string) {
	t.Helper()
	eventually(t, "leg in state "+state+" with keepalive", func() bool {
		row := tcpRow(t, c.RemoteAddr(), c.LocalAddr())
		return row != nil && row[3] == state && strings.HasPrefix(row[5], "02:")
	})
}

// wantSilence holds that c is sent nothing, and no end.
func wantSilence(t *testing.T, c *net.TCPConn) {
	t.Helper()
	check(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %d bytes, error %v; want silence", n, err)
	}
	check(t, c.SetReadDeadline(time.Now().Add(patience)))
}

// wantCut ends the proxy, and holds that nothing ended before.
func wantCut(t *testing.T, r *running) {
	t.Helper()
	if s := r.Stats(); s.Active != 1 {
		t.Errorf("stats %+v, want one active", s)
	}
	check(t, r.stop(t))
	if s := r.Stats(); s.Active != 0 || s.Closed[Cut] != 1 {
		t.Errorf("stats %+v, want one cut", s)
	}
}

func TestSistersHaveKeepAlive(t *testing.T) {
	sisters(t, func(t *testing.T, leak Leak) {
		client, server, r := joined(t, Config{Mode: Leaky, Leak: leak})
		wantLeg(t, client, estab)
		wantLeg(t, server, estab)
		ping(t, client, server)
		wantCut(t, r)
	})
}

func TestSistersPassBytes(t *testing.T) {
	for _, leak := range []Leak{HalfClose, ErrorIgnored} {
		t.Run(leak.String(), func(t *testing.T) {
			client, server, r := joined(t, Config{Mode: Leaky, Leak: leak})
			up, down := random(1<<20, 21), random(1<<20, 22)
			var wg sync.WaitGroup
			for _, way := range []struct {
				from, to *net.TCPConn
				sent     []byte
			}{{client, server, up}, {server, client, down}} {
				wg.Go(func() {
					if _, err := way.from.Write(way.sent); err != nil {
						t.Error(err)
					}
				})
				wg.Go(func() {
					got := make([]byte, len(way.sent))
					if _, err := io.ReadFull(way.to, got); err != nil {
						t.Error(err)
					}
					sameBytes(t, "received", got, way.sent)
				})
			}
			wg.Wait()
			eventually(t, "a megabyte counted each way", func() bool { // after it was written
				s := r.Stats()
				return s.BytesUp == 1<<20 && s.BytesDown == 1<<20
			})
		})
	}
}

func TestSistersWithoutTarget(t *testing.T) {
	sisters(t, func(t *testing.T, leak Leak) {
		r := start(t, Config{Targets: []string{deadAddr(t)}, Mode: Leaky, Leak: leak})
		wantEOF(t, r.dial(t))
		r.gone(t)
		if s := r.Stats(); s.Closed[ConnectFailed] != 1 {
			t.Errorf("stats %+v, want one failed connect", s)
		}
	})
}

func TestSistersEndWhileConnecting(t *testing.T) {
	sisters(t, func(t *testing.T, leak Leak) {
		r := start(t, Config{Targets: []string{silentAddr(t)}, Mode: Leaky, Leak: leak})
		client := r.dial(t)
		eventually(t, "accepted", func() bool { return r.Stats().Active == 1 })
		wantCut(t, r)
		wantEOF(t, client)
	})
}

// TestHalfCloseWaits is the leak: a client that has ended stays in CLOSE-WAIT, and its server is told nothing.
func TestHalfCloseWaits(t *testing.T) {
	client, server, r := joined(t, Config{Mode: Leaky, Leak: HalfClose})
	ping(t, client, server)
	check(t, client.CloseWrite())
	wantLeg(t, client, closeWait)
	wantSilence(t, server)
	wantLeg(t, server, estab)
	ping(t, server, client) // the other copy goes on
	wantCut(t, r)
}

func TestHalfCloseEndsWithBoth(t *testing.T) {
	for name, byServer := range map[string]bool{"client first": false, "server first": true} {
		t.Run(name, func(t *testing.T) {
			client, server, r := joined(t, Config{Mode: Leaky, Leak: HalfClose})
			first, second := client, server
			if byServer {
				first, second = server, client
			}
			check(t, first.CloseWrite())
			wantLeg(t, first, closeWait)
			check(t, second.CloseWrite())
			wantEOF(t, first)
			wantEOF(t, second)
			r.gone(t)
			if s := r.Stats(); s.Closed[Finished] != 1 {
				t.Errorf("stats %+v, want one finished", s)
			}
		})
	}
}

// TestErrorIgnoredKeepsBoth is the leak: what was reset is in no table, and nothing was closed.
func TestErrorIgnoredKeepsBoth(t *testing.T) {
	for name, byServer := range map[string]bool{"reset of client": false, "reset of server": true} {
		t.Run(name, func(t *testing.T) {
			client, server, r := joined(t, Config{Mode: Leaky, Leak: ErrorIgnored})
			ping(t, client, server)
			open := len(sockets())
			from, to, side := client, server, "client"
			if byServer {
				from, to, side = server, client, "server"
			}
			abort(t, from)
			eventually(t, "log", func() bool { return r.log.String() != "" })
			r.wantLog(t, "read from "+side+": connection reset by peer")
			if row := tcpRow(t, from.RemoteAddr(), from.LocalAddr()); row != nil {
				t.Errorf("the reset connection is listed: %q", row)
			}
			if now := len(sockets()); now != open-1 { // the end that the test closed
				t.Errorf("%d sockets, want %d", now, open-1)
			}
			wantSilence(t, to)
			wantLeg(t, to, estab)
			wantCut(t, r)
			eventually(t, "both closed", func() bool { return len(sockets()) <= open-4 }) // and the listener
		})
	}
}

func TestErrorIgnoredTwice(t *testing.T) {
	client, server, r := joined(t, Config{Mode: Leaky, Leak: ErrorIgnored})
	ping(t, client, server) // else the second reset may end the connect
	abort(t, client)
	abort(t, server)
	eventually(t, "both errors", func() bool { return strings.Count(r.log.String(), "connection reset by peer") == 2 })
	wantCut(t, r)
}

// TestErrorIgnoredHeedsTheEnd holds that a FIN closes both, even after a reset of the other side.
func TestErrorIgnoredHeedsTheEnd(t *testing.T) {
	for name, reset := range map[string]bool{"alone": false, "after a reset": true} {
		t.Run(name, func(t *testing.T) {
			client, server, r := joined(t, Config{Mode: Leaky, Leak: ErrorIgnored})
			if reset {
				abort(t, client)
				eventually(t, "log", func() bool { return r.log.String() != "" })
			}
			check(t, server.CloseWrite())
			wantEOF(t, server)
			if !reset {
				wantEOF(t, client)
			}
			r.gone(t)
		})
	}
}

// TestNoReadLeavesTheRest is the leak: the client is served and gone, and the rest of its answer waits for nobody.
func TestNoReadLeavesTheRest(t *testing.T) {
	for name, stays := range map[string]bool{"client closes": false, "client stays": true} {
		t.Run(name, func(t *testing.T) {
			client, server, r := joined(t, Config{Mode: Leaky, Leak: NoRead})
			ping(t, client, server)
			open := len(sockets())
			answer := random(64<<10, 23)
			must[int](t)(server.Write(answer))
			head := must[[]byte](t)(io.ReadAll(client))
			if len(head) == 0 || len(head) > headSize || !bytes.HasPrefix(answer, head) {
				t.Errorf("client got %d bytes, want a beginning of at most %d", len(head), headSize)
			}
			if !stays {
				check(t, client.Close())
				open--
			}
			eventually(t, "client's leg closed", func() bool { return len(sockets()) == open-1 })
			wantLeg(t, server, estab)
			row := tcpRow(t, server.RemoteAddr(), server.LocalAddr())
			if _, unread, _ := strings.Cut(row[4], ":"); unread == "00000000" {
				t.Errorf("nothing is unread: %q", row)
			}
			wantCut(t, r)
		})
	}
}

func TestNoReadWithoutAnswer(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, client, server *net.TCPConn){
		"client closes": func(t *testing.T, client, _ *net.TCPConn) { check(t, client.Close()) },
		"client resets": func(t *testing.T, client, _ *net.TCPConn) { abort(t, client) },
		"server closes": func(t *testing.T, _, server *net.TCPConn) { check(t, server.Close()) },
		"server resets": func(t *testing.T, _, server *net.TCPConn) { abort(t, server) },
	} {
		t.Run(name, func(t *testing.T) {
			client, server, r := joined(t, Config{Mode: Leaky, Leak: NoRead})
			ping(t, client, server)
			end(t, client, server)
			for _, c := range []*net.TCPConn{client, server} { // one of which is closed
				if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("read: %d bytes, error %v; want an end", n, err)
				}
			}
			r.gone(t)
		})
	}
}
