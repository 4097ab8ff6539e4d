//go:build linux

package pipe

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// narrow gives the proxy's socket towards client, and client itself, the least buffers.
func narrow(t *testing.T, client, server *net.TCPConn) (toClient, toServer int) {
	t.Helper()
	check(t, client.SetReadBuffer(16<<10))
	toClient, toServer = ends(t, client, server)
	check(t, unix.SetsockoptInt(toClient, unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10))
	return toClient, toServer
}

// jam has server send until some of it has stayed in the proxy, and returns all that was sent.
func jam(t *testing.T, server *net.TCPConn, r *running) []byte {
	t.Helper()
	var sent []byte
	for len(sent) < 4*megabyte {
		chunk := random(4000, uint64(len(sent)))
		must[int](t)(server.Write(chunk))
		sent = append(sent, chunk...)
		if !within(200*time.Millisecond, func() bool { return r.Stats().BytesDown == uint64(len(sent)) }) {
			return sent
		}
	}
	t.Fatal("nothing stays in the proxy")
	return nil
}

// waitReset waits until the peer of fd has reset it.
func waitReset(t *testing.T, fd int) {
	t.Helper()
	eventually(t, "server has reset", func() bool {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		return err != nil || info.State == tcpClose // it may be closed already, which would be too soon
	})
}

// TestAnswerOutlivesServerInTheProxy is TestAnswerOutlivesServer with an answer that does not fit what lies between the
// proxy and the client: when the server's reset comes, its end is held, or not even read.
func TestAnswerOutlivesServerInTheProxy(t *testing.T) {
	for name, more := range map[string]int{"held": 0, "not read": 100_000} {
		t.Run(name, func(t *testing.T) {
			client, server, r := joined(t, Config{})
			_, toServer := narrow(t, client, server)
			answer := jam(t, server, r)
			rest := random(more, 21)
			must[int](t)(server.Write(rest))
			answer = append(answer, rest...)
			check(t, server.Close())
			must[int](t)(client.Write([]byte("a")))
			waitReset(t, toServer)
			must[int](t)(client.Write([]byte("b"))) // so that the proxy finds out, if it has not yet
			got, err := io.ReadAll(client)
			sameBytes(t, "answer", got, answer)
			check(t, err) // and its FIN
			r.gone(t)
			r.wantLog(t, "server: broken pipe")
		})
	}
}

// TestSlowReaderAfterEnd holds that an answer in the send buffer that the client reads without haste is not cut, though
// nothing moves that a read or write could see.
func TestSlowReaderAfterEnd(t *testing.T) {
	t.Parallel()
	const limit = 400 * time.Millisecond
	client, server, r := joined(t, Config{HalfCloseTimeout: limit})
	check(t, client.SetReadBuffer(16<<10))
	answer := random(1<<20, 22)
	must[int](t)(server.Write(answer))
	check(t, server.CloseWrite())
	tick := time.NewTicker(limit / 20)
	defer tick.Stop()
	got := make([]byte, len(answer))
	for i := 0; i < len(got); <-tick.C {
		n, err := client.Read(got[i:min(i+16<<10, len(got))])
		if err != nil {
			t.Fatalf("after %d bytes: %v; log %s", i, err, r.log)
		}
		i += n
	}
	sameBytes(t, "answer", got, answer)
	wantEOF(t, client)
}

// TestDiscardTakesTurns holds that a client that never stops sending does not keep the loop from all others.
func TestDiscardTakesTurns(t *testing.T) {
	fds := must[[2]int](t)(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0))
	defer func() { check(t, errors.Join(unix.Close(fds[0]), unix.Close(fds[1]))) }()
	const turn, more = moveTurn * smallSize, 1000
	check(t, unix.SetsockoptInt(fds[1], unix.SOL_SOCKET, unix.SO_SNDBUF, 2*turn))
	if n := must[int](t)(unix.Write(fds[1], random(turn+more, 23))); n != turn+more {
		t.Fatalf("%d bytes taken", n)
	}
	p := newPair(new(loop), 0)
	p.client.fd, p.client.readable = fds[0], true
	if !p.discard(&p.client) || !p.ready || len(p.loop.ready) != 1 {
		t.Error("no other turn is asked for")
	}
	if n := must[int](t)(unix.Read(fds[0], make([]byte, turn))); n != more {
		t.Errorf("%d bytes left after a turn, want %d", n, more)
	}
}
