//go:build linux

package pipe

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNewRejects(t *testing.T) {
	for want, c := range map[string]Config{
		"want host:port":     {Targets: []string{"localhost"}},
		"given twice":        {Targets: []string{":1", ":2", ":1"}},
		"no target":          {},
		"want a path":        {Targets: []string{"unix:"}},
		"leaky mode":         {Targets: []string{"unix:x"}, Mode: Leaky},
		"no port":            {Targets: []string{"localhost:0"}},
		"unknown port":       {Targets: []string{"localhost:no-such-service"}},
		"invalid port":       {Targets: []string{"localhost:65536"}},
		"mode unknown(7)":    {Targets: []string{":1"}, Mode: 7},
		"keepalive 10h0m0s":  {Targets: []string{":1"}, KeepAlive: 10 * time.Hour},
		"keepalive interval": {Targets: []string{":1"}, KeepAliveInterval: -1},
		"keepalive count":    {Targets: []string{":1"}, KeepAliveCount: 128},
		"user timeout":       {Targets: []string{":1"}, UserTimeout: 1000 * time.Hour},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v): %v, want %q", c, err, want)
		}
	}
}

func TestListenRejects(t *testing.T) {
	if ln, err := Listen(t.Context(), "127.0.0.1:0", Config{KeepAliveCount: -1}); err == nil {
		t.Error(ln.Close(), "accepted a negative count")
	}
	taken := listen(t)
	if ln, err := Listen(t.Context(), taken.Addr().String(), Config{}); !errors.Is(err, unix.EADDRINUSE) {
		t.Error(ln, err)
	}
}

func TestMode(t *testing.T) {
	for _, m := range []Mode{Fixed, Leaky} {
		if got, err := ParseMode(m.String()); got != m || err != nil {
			t.Errorf("ParseMode(%q) = %v, %v", m, got, err)
		}
	}
	if _, err := ParseMode("unknown(7)"); err == nil {
		t.Error("ParseMode took nonsense")
	}
}

// ends returns the proxy's own descriptors of the connection from client to server.
func ends(tb testing.TB, client, server *net.TCPConn) (toClient, toServer int) {
	tb.Helper()
	return find(tb, client.RemoteAddr(), client.LocalAddr()), find(tb, server.RemoteAddr(), server.LocalAddr())
}

func find(tb testing.TB, local, remote net.Addr) int {
	tb.Helper()
	for _, fd := range sockets() {
		l, lerr := unix.Getsockname(fd)
		r, rerr := unix.Getpeername(fd)
		if lerr == nil && rerr == nil && addrOf(l) == local.String() && addrOf(r) == remote.String() {
			return fd
		}
	}
	tb.Fatalf("no socket from %s to %s", local, remote)
	return -1
}

func wantOption(tb testing.TB, fd, level, name, want int) {
	tb.Helper()
	if got := must[int](tb)(unix.GetsockoptInt(fd, level, name)); got != want {
		tb.Errorf("descriptor %d: option %#x of level %d is %d, want %d", fd, name, level, got, want)
	}
}

func keepIdle(tb testing.TB, fd int) int {
	tb.Helper()
	return must[int](tb)(unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE))
}

// TestKeepAliveIsSpread holds that connections made at the same time are not probed at the same time, on either side.
func TestKeepAliveIsSpread(t *testing.T) {
	target := listen(t)
	r := start(t, Config{Targets: []string{target.Addr().String()}})
	accepted, made := map[int]bool{}, map[int]bool{}
	for range 30 {
		client := r.dial(t)
		server := own(t, must[net.Conn](t)(target.Accept()))
		ping(t, client, server)
		a, b := ends(t, client, server)
		accepted[keepIdle(t, a)], made[keepIdle(t, b)] = true, true
	}
	if len(accepted) < 5 || len(made) < 5 {
		t.Errorf("30 connections have keepalive times of %v and %v", accepted, made)
	}
}

func TestSocketOptions(t *testing.T) {
	type want struct{ keep, idle, interval, count, user int }
	for name, tt := range map[string]struct {
		cfg  Config
		want want
	}{
		"defaults": {Config{}, want{1, 60, 15, 4, 120_000}},
		"set": {
			Config{
				KeepAlive: 1500 * time.Millisecond, KeepAliveInterval: 3 * time.Second, KeepAliveCount: 5,
				UserTimeout: 7 * time.Second,
			},
			want{1, 2, 3, 5, 7000},
		},
		"no keepalive": {Config{KeepAlive: -1}, want{keep: 0, user: 60_000}},
		"all off":      {Config{KeepAlive: -1, UserTimeout: -1}, want{}},
		"leaky":        {Config{Mode: Leaky, KeepAlive: time.Second, UserTimeout: time.Second}, want{}},
	} {
		t.Run(name, func(t *testing.T) {
			client, server, _ := joined(t, tt.cfg)
			ping(t, client, server)
			a, b := ends(t, client, server)
			for _, fd := range []int{a, b} {
				wantOption(t, fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, tt.want.keep)
				wantOption(t, fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, tt.want.user)
				if tt.want.keep == 0 {
					continue
				}
				if got := keepIdle(t, fd); got > tt.want.idle || got < tt.want.idle*3/4 {
					t.Errorf("keepalive after %d s, want %d at most, and no more than a quarter less", got, tt.want.idle)
				}
				wantOption(t, fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, tt.want.interval)
				wantOption(t, fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, tt.want.count)
			}
		})
	}
}

// TestListenOptions holds that a connection is under keepalive, or is not, before anybody accepts it.
func TestListenOptions(t *testing.T) {
	for mode, want := range map[Mode]string{Fixed: "02", Leaky: "00"} {
		t.Run(mode.String(), func(t *testing.T) {
			ln := must[*Listener](t)(Listen(t.Context(), "127.0.0.1:0", Config{Mode: mode}))
			defer func() { _ = ln.Close() }()
			client := own(t, must[net.Conn](t)(net.Dial("tcp", ln.Addr())))
			if got := timer(t, client.RemoteAddr(), client.LocalAddr()); got != want {
				t.Errorf("timer %s, want %s", got, want)
			}
		})
	}
}
