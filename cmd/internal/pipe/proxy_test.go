//go:build linux

package pipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestBothDirectionsAtOnce(t *testing.T) {
	bothModes(t, func(t *testing.T, mode Mode) {
		client, server, r := joined(t, Config{Mode: mode})
		up, down := random(1<<20, 1), random(1<<20, 2)
		var wg sync.WaitGroup
		send := func(c *net.TCPConn, b []byte) {
			if _, err := c.Write(b); err != nil {
				t.Error(err)
			}
		}
		receive := func(c *net.TCPConn, want []byte) {
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil {
				t.Error(err)
			}
			sameBytes(t, "received", got, want)
		}
		wg.Go(func() { send(client, up) })
		wg.Go(func() { send(server, down) })
		wg.Go(func() { receive(client, down) })
		receive(server, up)
		wg.Wait()
		check(t, client.Close())
		wantEOF(t, server)
		check(t, server.Close())
		r.gone(t)
		s := r.Stats()
		if s.Accepted != 1 || s.Closed[Finished] != 1 || s.BytesUp != 1<<20 || s.BytesDown != 1<<20 {
			t.Errorf("stats %+v, want one finished connection with a megabyte each way", s)
		}
	})
}

func TestManyConnections(t *testing.T) {
	bothModes(t, func(t *testing.T, mode Mode) {
		target := echo(t)
		r := start(t, Config{Targets: []string{target}, Mode: mode})
		const workers, rounds = 8, 25
		var wg sync.WaitGroup
		for i := range workers {
			wg.Go(func() {
				msg := random(1+i*3000, uint64(i))
				for range rounds {
					if err := roundTrip(r.addr, msg); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		eventually(t, "all closed", func() bool { return r.closed() == workers*rounds })
	})
}

// echo returns the address of a server that sends back what it gets.
func echo(tb testing.TB) string {
	tb.Helper()
	ln := must[net.Listener](tb)(net.Listen("tcp", "127.0.0.1:0"))
	serveEcho(tb, ln)
	return ln.Addr().String()
}

// serveEcho sends back what comes to ln, until the test ends.
func serveEcho(tb testing.TB, ln net.Listener) {
	tb.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
			})
		}
	})
	tb.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
}

// roundTrip connects, sends msg, and reads it back.
func roundTrip(addr string, msg []byte) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(msg); err != nil {
		return err
	}
	got := make([]byte, len(msg))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, msg) {
		return fmt.Errorf("%d bytes came back changed", len(msg))
	}
	return nil
}

func TestDialRefused(t *testing.T) {
	bothModes(t, func(t *testing.T, mode Mode) {
		r := start(t, Config{Targets: []string{deadAddr(t)}, Mode: mode})
		if mode == Fixed {
			wantRefusal(t, r)
		} else {
			wantEOF(t, r.dial(t))
		}
		r.gone(t)
		if s := r.Stats(); s.Closed[ConnectFailed] != 1 {
			t.Errorf("stats %+v, want one dial error", s)
		}
		r.wantLastLog(t, "connection refused")
	})
}

// wantRefusal connects and is reset, which a quick proxy does before the connect has returned.
func wantRefusal(t *testing.T, r *running) {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err == nil {
		wantReset(t, own(t, c))
	} else if !errors.Is(err, unix.ECONNRESET) {
		t.Error(err)
	}
}

// deadAddr returns an address that refuses connections: bound, so that nobody else gets it, but not listening.
func deadAddr(tb testing.TB) string {
	tb.Helper()
	fd := must[int](tb)(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	tb.Cleanup(func() { _ = unix.Close(fd) })
	return bindLoopback(tb, fd)
}

func bindLoopback(tb testing.TB, fd int) string {
	tb.Helper()
	check(tb, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	return addrOf(must[unix.Sockaddr](tb)(unix.Getsockname(fd)))
}

func addrOf(sa unix.Sockaddr) string {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return net.JoinHostPort(net.IP(sa.Addr[:]).String(), strconv.Itoa(sa.Port))
	case *unix.SockaddrInet6:
		return net.JoinHostPort(net.IP(sa.Addr[:]).String(), strconv.Itoa(sa.Port))
	}
	return ""
}

// silentAddr returns an address that does not answer connects: a listener that accepts nothing, and has no room left for
// more. The kernel then drops what comes.
func silentAddr(tb testing.TB) string {
	tb.Helper()
	fd := must[int](tb)(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	tb.Cleanup(func() { _ = unix.Close(fd) })
	addr := bindLoopback(tb, fd)
	check(tb, unix.Listen(fd, 0))
	for range 8 {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			return addr
		}
		if err != nil {
			tb.Skipf("a full listener refuses instead of dropping: %v", err)
		}
		tb.Cleanup(func() { _ = c.Close() })
	}
	tb.Skip("a listener with backlog 0 does not fill up")
	return ""
}

func TestConnectTimeout(t *testing.T) {
	r := start(t, Config{Targets: []string{silentAddr(t)}, ConnectTimeout: 50 * time.Millisecond})
	wantRefusal(t, r)
	r.gone(t)
	if s := r.Stats(); s.Closed[ConnectTimeout] != 1 {
		t.Errorf("stats %+v, want one dial error", s)
	}
	r.wantLastLog(t, "timeout")
}

func TestShutdownWhileConnecting(t *testing.T) {
	bothModes(t, func(t *testing.T, mode Mode) {
		r := start(t, Config{Targets: []string{silentAddr(t)}, Mode: mode})
		r.dial(t)
		eventually(t, "accepted", func() bool { return r.Stats().Active == 1 })
		check(t, r.stop(t))
		if s := r.Stats(); s.Closed[Cut] != 1 || s.Closed[ConnectFailed] != 0 {
			t.Errorf("stats %+v, want one cut", s)
		}
	})
}

func TestDrainLetsTransfersFinish(t *testing.T) {
	client, server, r := joined(t, Config{Drain: patience})
	ping(t, client, server)
	r.cancel()
	eventually(t, "listener closed", func() bool { return !listening(t, r.addr) })
	want := random(1<<20, 3)
	go func() {
		_, _ = server.Write(want)
		_ = server.Close()
	}()
	got := must[[]byte](t)(io.ReadAll(client))
	sameBytes(t, "during the drain", got, want)
	check(t, client.Close())
	check(t, r.wait(t))
	if s := r.Stats(); s.Closed[Cut] != 0 {
		t.Errorf("stats %+v, want none cut", s)
	}
}

func TestDrainCuts(t *testing.T) {
	for name, drain := range map[string]time.Duration{"later": 30 * time.Millisecond, "at once": -1} {
		t.Run(name, func(t *testing.T) {
			client, server, r := joined(t, Config{Drain: drain})
			ping(t, client, server)
			check(t, r.stop(t))
			wantReset(t, client)
			wantReset(t, server)
			if s := r.Stats(); s.Closed[Cut] != 1 || s.Closed[Failed] != 0 {
				t.Errorf("stats %+v, want one cut", s)
			}
			r.wantLog(t, "cut at shutdown")
		})
	}
}

func TestServeAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := Config{Targets: []string{"127.0.0.1:1"}}
	ln := must[*Listener](t)(Listen(t.Context(), "127.0.0.1:0", cfg))
	p := must[*Proxy](t)(New(cfg))
	check(t, p.Serve(ctx, ln))
	if _, err := net.Dial("tcp", ln.Addr()); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("listener: %v, want closed", err)
	}
}
