//go:build linux

package pipe

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestResetAtOnce has a target that says something and resets, often before the proxy knows that it is connected.
func TestResetAtOnce(t *testing.T) {
	target := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0")).(*net.TCPListener)
	defer func() { _ = target.Close() }()
	go func() {
		for {
			conn, err := target.AcceptTCP()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("go away"))
			_ = conn.SetLinger(0)
			_ = conn.Close()
		}
	}()
	r := start(t, Config{Targets: []string{target.Addr().String()}})
	const rounds = 300
	for range rounds {
		if got, err := hear(t, r.addr); got != "go away" || err == nil {
			t.Errorf("got %q, %v; want all and a reset", got, err)
		}
	}
	eventually(t, "all closed", func() bool { return r.closed() == rounds })
	if s := r.Stats(); s.Closed[ServerReset] != rounds || s.Targets[0].Failures != 0 || s.Targets[0].Connected != rounds {
		t.Errorf("stats %+v, want all reset by the server", s)
	}
}

// hear connects to addr and returns what comes until an error, or nil at a FIN. Package net would lose all of it if the
// reset came before it has seen the connection.
func hear(t *testing.T, addr string) (string, error) {
	t.Helper()
	fd := must[int](t)(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	defer func() { check(t, unix.Close(fd)) }()
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	check(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	to := netip.MustParseAddrPort(addr)
	err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	if !errors.Is(err, unix.ECONNRESET) { // which the connect may find when it wakes
		check(t, err)
	}
	var got []byte
	for {
		b := make([]byte, 100)
		switch n, readErr := unix.Read(fd, b); {
		case n > 0:
			got = append(got, b[:n]...)
		case readErr != nil && !errors.Is(readErr, unix.EINTR):
			return string(got), readErr
		case n == 0:
			return string(got), err
		}
	}
}
