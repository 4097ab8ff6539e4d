//go:build linux

package pipe

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestHalfClose(t *testing.T) {
	client, server, r := joined(t, Config{})
	request, answer := random(300_000, 4), random(1<<20, 5)
	go func() {
		_, _ = client.Write(request)
		_ = client.CloseWrite()
	}()
	got := must[[]byte](t)(io.ReadAll(server))
	sameBytes(t, "request", got, request)
	go func() {
		_, _ = server.Write(answer)
		_ = server.Close()
	}()
	got = must[[]byte](t)(io.ReadAll(client))
	sameBytes(t, "answer", got, answer)
	r.gone(t)
	if got := r.log.String(); got != "" {
		t.Errorf("log: %s", got)
	}
}

func TestServerClosesFirst(t *testing.T) {
	client, server, r := joined(t, Config{})
	want := random(100_000, 6)
	go func() {
		_, _ = server.Write(want)
		_ = server.CloseWrite()
	}()
	got := must[[]byte](t)(io.ReadAll(client))
	sameBytes(t, "before the end", got, want)
	ping(t, client, server) // the other direction is still open
	check(t, client.Close())
	wantEOF(t, server)
	r.gone(t)
}

// TestServerGone has a server that closes while the client goes on sending: its answer and FIN must arrive all the same.
func TestServerGone(t *testing.T) {
	client, server, r := joined(t, Config{})
	must[int](t)(server.Write([]byte("enough")))
	check(t, server.Close())
	got := must[[]byte](t)(io.ReadAll(client))
	sameBytes(t, "answer", got, []byte("enough"))
	eventually(t, "client is told", func() bool {
		_, err := client.Write([]byte("more"))
		return err != nil
	})
	r.gone(t)
	r.wantLog(t, "server")
}

// TestAnswerOutlivesServer holds that an answer still on its way to the client is not thrown away because the server,
// which has closed, takes no more.
func TestAnswerOutlivesServer(t *testing.T) {
	client, server, r := joined(t, Config{})
	check(t, client.SetReadBuffer(128<<10))
	answer := random(1<<20, 15)
	must[int](t)(server.Write(answer))
	_, toServer := ends(t, client, server)
	check(t, server.Close())
	eventually(t, "proxy has it all", func() bool { return r.Stats().BytesDown == uint64(len(answer)) })
	must[int](t)(client.Write([]byte("a")))
	eventually(t, "server has reset", func() bool {
		return must[*unix.TCPInfo](t)(unix.GetsockoptTCPInfo(toServer, unix.IPPROTO_TCP, unix.TCP_INFO)).State == tcpClose
	})
	must[int](t)(client.Write([]byte("b")))
	got := must[[]byte](t)(io.ReadAll(client))
	sameBytes(t, "answer", got, answer)
	r.gone(t)
	r.wantLog(t, "server: broken pipe")
}

func TestReset(t *testing.T) {
	for _, cause := range []Cause{ClientReset, ServerReset} {
		t.Run(cause.String(), func(t *testing.T) {
			client, server, r := joined(t, Config{})
			from, to := client, server
			if cause == ServerReset {
				from, to = server, client
			}
			ping(t, client, server)
			ping(t, server, client)
			abort(t, from)
			wantReset(t, to)
			r.gone(t)
			if s := r.Stats(); s.Closed[cause] != 1 {
				t.Errorf("stats %+v, want one %s", s, cause)
			}
			r.wantLog(t, "connection reset by peer")
		})
	}
}

func TestResetAfterHalfClose(t *testing.T) {
	client, server, r := joined(t, Config{})
	check(t, client.CloseWrite())
	wantEOF(t, server)
	abort(t, server)
	wantReset(t, client)
	r.gone(t)
}

// TestResetWhileSending holds that a reset never turns into a FIN, whichever of the proxy's reads and writes is told of
// it first.
func TestResetWhileSending(t *testing.T) {
	target := listen(t)
	r := start(t, Config{Targets: []string{target.Addr().String()}})
	msg := random(8<<10, 7)
	for range 100 {
		client := r.dial(t)
		server := own(t, must[net.Conn](t)(target.Accept()))
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = server.Read(make([]byte, 1))
			_ = server.SetLinger(0)
			_ = server.Close()
		})
		var err error
		for i := 0; i < 20 && err == nil; i++ {
			_, err = client.Write(msg)
		}
		wg.Wait()
		if err == nil { // else the write was told, and the read is not
			wantReset(t, client)
		}
		check(t, client.Close())
	}
	eventually(t, "all closed", func() bool { return r.closed() == 100 })
}

func TestIdleTimeout(t *testing.T) {
	client, server, r := joined(t, Config{IdleTimeout: 50 * time.Millisecond})
	wantEOF(t, client)
	wantEOF(t, server)
	r.gone(t)
	if s := r.Stats(); s.Closed[Idle] != 1 || s.Closed[Failed] != 0 {
		t.Errorf("stats %+v, want one timed out", s)
	}
	r.wantLog(t, "idle: no byte moved for 50ms")
}

// trickle sends single bytes from one end to the other for a while.
func trickle(t *testing.T, from, to *net.TCPConn, every, total time.Duration) {
	t.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(total); time.Now().Before(end); <-tick.C {
		ping(t, from, to)
	}
}

func TestOneWayIsNotIdle(t *testing.T) {
	t.Parallel()
	const idle = 400 * time.Millisecond
	for name, up := range map[string]bool{"up": true, "down": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server, r := joined(t, Config{IdleTimeout: idle})
			from, to := client, server
			if !up {
				from, to = server, client
			}
			trickle(t, from, to, idle/20, 3*idle)
			ping(t, to, from)
			if s := r.Stats(); s.Active != 1 {
				t.Errorf("stats %+v, want one active", s)
			}
		})
	}
}

func TestNoIdleTimeout(t *testing.T) {
	client, server, _ := joined(t, Config{IdleTimeout: -1, HalfCloseTimeout: -1})
	check(t, client.CloseWrite())
	wantEOF(t, server)
	ping(t, server, client)
}

func TestHalfCloseTimeout(t *testing.T) {
	const limit = 50 * time.Millisecond
	for name, byServer := range map[string]bool{"client finished": false, "server finished": true} {
		t.Run(name, func(t *testing.T) {
			client, server, r := joined(t, Config{IdleTimeout: -1, HalfCloseTimeout: limit})
			from, to := client, server
			if byServer {
				from, to = server, client
			}
			quiet := time.NewTimer(2 * limit)
			<-quiet.C
			ping(t, client, server) // the limit does not hold yet
			check(t, from.CloseWrite())
			wantEOF(t, to)
			wantReset(t, from)
			r.gone(t)
			if s := r.Stats(); s.Closed[HalfClosed] != 1 {
				t.Errorf("stats %+v, want one timed out", s)
			}
			r.wantLog(t, "half-closed: no byte moved for 50ms")
		})
	}
}

func TestHalfCloseTimeoutIsForSilence(t *testing.T) {
	t.Parallel()
	const limit = 400 * time.Millisecond
	client, server, r := joined(t, Config{HalfCloseTimeout: limit})
	check(t, client.CloseWrite())
	wantEOF(t, server)
	trickle(t, server, client, limit/20, 3*limit)
	check(t, server.Close())
	wantEOF(t, client)
	r.gone(t)
	if s := r.Stats(); s.Closed[Finished] != 1 {
		t.Errorf("stats %+v, want none timed out", s)
	}
}

// fill writes to c until nothing has been taken for a while, and returns what was taken.
func fill(t *testing.T, c *net.TCPConn, chunk []byte, limit int) int {
	t.Helper()
	var total int
	for total < limit {
		check(t, c.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
		n, err := c.Write(chunk)
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return total
		}
		check(t, err)
	}
	t.Fatalf("%d bytes taken, and nobody reads them", total)
	return 0
}

// mostBuffered is beyond what four socket buffers hold (net.ipv4.tcp_rmem and tcp_wmem).
const mostBuffered = 256 << 20

func TestBackPressure(t *testing.T) {
	client, server, r := joined(t, Config{})
	msg := random(1<<20, 8)
	total := fill(t, client, msg, mostBuffered)
	check(t, client.SetWriteDeadline(time.Now().Add(patience)))
	rest := msg[total%len(msg):]
	go func() {
		_, _ = client.Write(rest)
		_ = client.CloseWrite()
	}()
	buf := make([]byte, len(msg))
	for i := 0; i < total+len(rest); i += len(msg) {
		must[int](t)(io.ReadFull(server, buf))
		sameBytes(t, "after the jam", buf, msg)
	}
	wantEOF(t, server)
	check(t, server.Close())
	wantEOF(t, client)
	r.gone(t)
}

func TestStuckWriterIsCut(t *testing.T) {
	const idle = 600 * time.Millisecond // more than fill waits
	client, server, r := joined(t, Config{IdleTimeout: idle})
	fill(t, client, random(1<<20, 9), mostBuffered)
	r.gone(t)
	// Bytes were lost in the proxy. The server must not take what it has for the whole.
	wantReset(t, server)
	if s := r.Stats(); s.Closed[Idle] != 1 {
		t.Errorf("stats %+v, want one timed out", s)
	}
}

func TestSlowReaderIsNotIdle(t *testing.T) {
	t.Parallel()
	const idle = 400 * time.Millisecond
	client, server, r := joined(t, Config{IdleTimeout: idle})
	var wg sync.WaitGroup
	wg.Go(func() {
		msg := random(1<<20, 10)
		for {
			if _, err := client.Write(msg); err != nil {
				return
			}
		}
	})
	tick := time.NewTicker(idle / 20)
	defer tick.Stop()
	buf := make([]byte, 128<<10)
	for end := time.Now().Add(3 * idle); time.Now().Before(end); <-tick.C {
		must[int](t)(io.ReadFull(server, buf))
	}
	if s := r.Stats(); s.Active != 1 {
		t.Errorf("stats %+v, want one active", s)
	}
	check(t, r.stop(t))
	wg.Wait()
}

// TestAcknowledgedIsMoved holds that the idle clock sees bytes that leave a send buffer.
func TestAcknowledgedIsMoved(t *testing.T) {
	client, server, _ := joined(t, Config{})
	p := &pair{loop: &loop{now: time.Minute}, moved: time.Second}
	p.client.fd, p.server.fd = descriptor(t, client), -1
	fill(t, client, random(1<<20, 11), mostBuffered)
	p.look()
	if p.pending == 0 {
		t.Fatal("nothing in the send buffer")
	}
	p.moved = time.Second
	p.look()
	if p.moved != time.Second {
		t.Errorf("moved at %s, though nothing moved", p.moved)
	}
	check(t, client.CloseWrite())
	must[int64](t)(io.Copy(io.Discard, server))
	p.look()
	if p.moved != time.Minute {
		t.Error("not seen to move")
	}
}

// descriptor returns the descriptor of c, which stays c's.
func descriptor(t *testing.T, c *net.TCPConn) int {
	t.Helper()
	raw := must[syscall.RawConn](t)(c.SyscallConn())
	var fd int
	check(t, raw.Control(func(n uintptr) { fd = int(n) }))
	return fd
}
