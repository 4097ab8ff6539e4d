//go:build linux

package pipe

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestLeakyPassesOnClose(t *testing.T) {
	for name, byServer := range map[string]bool{"of client": false, "of server": true} {
		t.Run(name, func(t *testing.T) {
			client, server, r := joined(t, Config{Mode: Leaky})
			from, to := client, server
			if byServer {
				from, to = server, client
			}
			ping(t, from, to)
			check(t, from.Close())
			wantEOF(t, to)
			r.gone(t)
		})
	}
}

// TestLeakyHasNoHalfClose holds that one FIN ends both sockets, though the server had more to say.
func TestLeakyHasNoHalfClose(t *testing.T) {
	client, server, r := joined(t, Config{Mode: Leaky})
	check(t, client.CloseWrite())
	wantEOF(t, client)
	wantEOF(t, server)
	r.gone(t)
}

func TestLeakyTakesResetForClose(t *testing.T) {
	client, server, r := joined(t, Config{Mode: Leaky})
	ping(t, client, server)
	abort(t, client)
	wantEOF(t, server)
	r.gone(t)
	r.wantLog(t, "read from client: connection reset by peer")
}

// TestLeakySilence is the leak: two sockets without any timer, whatever the limits of the other mode.
func TestLeakySilence(t *testing.T) {
	const limit = 20 * time.Millisecond
	client, server, r := joined(t, Config{
		Mode: Leaky, IdleTimeout: limit, HalfCloseTimeout: limit, UserTimeout: limit, ConnectTimeout: limit,
	})
	ping(t, client, server)
	for _, c := range []*net.TCPConn{client, server} {
		eventually(t, "no timer", func() bool { return timer(t, c.RemoteAddr(), c.LocalAddr()) == "00" })
	}
	quiet := time.NewTimer(10 * limit)
	<-quiet.C
	if s := r.Stats(); s.Active != 1 {
		t.Errorf("stats %+v, want one active", s)
	}
	ping(t, client, server)
	ping(t, server, client)
	check(t, r.stop(t))
	if s := r.Stats(); s.Closed[Cut] != 1 {
		t.Errorf("stats %+v, want one cut", s)
	}
}

// TestFixedHasTimer is the counterpart.
func TestFixedHasTimer(t *testing.T) {
	client, server, _ := joined(t, Config{})
	ping(t, client, server)
	for _, c := range []*net.TCPConn{client, server} {
		eventually(t, "keepalive timer", func() bool { return timer(t, c.RemoteAddr(), c.LocalAddr()) == "02" })
	}
}

// timer returns the "tr" column of a socket in /proc/net/tcp: 00 none, 02 keepalive.
func timer(t *testing.T, local, remote net.Addr) string {
	t.Helper()
	row := tcpRow(t, local, remote)
	if row == nil {
		t.Fatalf("no socket from %s to %s", local, remote)
	}
	tr, _, _ := strings.Cut(row[5], ":")
	return tr
}

// tcpRow returns the columns of a socket in /proc/net/tcp, nil if it is not there.
func tcpRow(t *testing.T, local, remote net.Addr) []string {
	t.Helper()
	f := must[*os.File](t)(os.Open("/proc/self/net/tcp"))
	defer func() { _ = f.Close() }()
	l, r := hexAddr(local), hexAddr(remote)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if c := strings.Fields(lines.Text()); len(c) > 5 && c[1] == l && c[2] == r {
			return c
		}
	}
	check(t, lines.Err())
	return nil
}

func hexAddr(a net.Addr) string {
	tcp := a.(*net.TCPAddr)
	// The kernel prints the address as if it were a number of its own byte order.
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(tcp.IP.To4()), tcp.Port)
}

// TestLeakyClientLeavesWhileConnecting holds that the connect is given up, as server.destroy() does.
func TestLeakyClientLeavesWhileConnecting(t *testing.T) {
	r := start(t, Config{Targets: []string{silentAddr(t)}, Mode: Leaky})
	client := r.dial(t)
	must[int](t)(client.Write([]byte("early")))
	eventually(t, "accepted", func() bool { return r.Stats().Active == 1 })
	check(t, client.Close())
	r.gone(t)
	if got := r.log.String(); got != "" {
		t.Errorf("log: %s", got)
	}
}

// TestLeakyWritesPileUp holds that a client is never held up by a server that does not read, and that its close
// discards what is left.
func TestLeakyWritesPileUp(t *testing.T) {
	const total = 32 << 20
	client, server, r := joined(t, Config{Mode: Leaky})
	check(t, server.SetReadBuffer(64<<10))
	msg := random(1<<20, 12)
	for range total / len(msg) {
		must[int](t)(client.Write(msg))
	}
	check(t, client.Close())
	r.gone(t)
	n, _ := io.Copy(io.Discard, server)
	if n >= total {
		t.Errorf("server got all %d bytes, though they were discarded", n)
	}
}

// TestLeakyWaitsForTheUnread is the second leak: a peer that has sent its FIN and reads no more is waited for.
func TestLeakyWaitsForTheUnread(t *testing.T) {
	ln := listen(t)
	own(t, must[net.Conn](t)(net.Dial("tcp", ln.Addr().String())))
	conn := own(t, must[net.Conn](t)(ln.Accept()))
	check(t, conn.SetDeadline(time.Time{}))

	var l leak
	l.client.init(&l, "client", &l.server, &passed{total: new(atomic.Uint64)})
	check(t, l.client.open(conn))
	l.client.write(random(32<<20, 13))
	ended := make(chan struct{})
	go func() {
		l.client.end()
		close(ended)
	}()
	select {
	case <-ended:
		t.Error("did not wait")
	case <-time.After(100 * time.Millisecond):
	}
	l.client.destroy()
	<-ended
	l.wg.Wait()
}
