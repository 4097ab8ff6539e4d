//go:build linux

package pipe

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func names(list []*target) string {
	var s []string
	for _, t := range list {
		s = append(s, t.name)
	}
	return strings.Join(s, " ")
}

func wantOrder(t *testing.T, p *Proxy, now time.Time, want ...string) {
	t.Helper()
	for i, w := range want {
		if got := names(p.order(nil, now)); got != w {
			t.Errorf("connection %d tries %s, want %s", i, got, w)
		}
	}
}

func TestOrder(t *testing.T) {
	p := must[*Proxy](t)(New(Config{Targets: []string{":1", ":2", ":3"}}))
	now := time.Now()
	wantOrder(t, p, now, ":1 :2 :3", ":2 :3 :1", ":3 :1 :2", ":1 :2 :3")

	two := p.targets[1]
	if d := two.failed(now); d != minDown {
		t.Errorf("down for %s, want %s", d, minDown)
	}
	if d := two.failed(now); d != 0 {
		t.Errorf("an attempt that was under way puts it down for %s more", d)
	}
	wantOrder(t, p, now, ":3 :1 :2", ":3 :1 :2", ":1 :3 :2")

	// Its time is over: one connection tries it, and only one.
	now = now.Add(minDown)
	p.turn.Store(1)
	wantOrder(t, p, now, ":2 :3 :1")
	p.turn.Store(1)
	wantOrder(t, p, now, ":3 :1 :2")
	if d := two.failed(now); d != 2*minDown {
		t.Errorf("down for %s after a second failure, want %s", d, 2*minDown)
	}
	for range 70 {
		now = now.Add(maxDown)
		two.admit(now)
		if d := two.failed(now); d > maxDown || d <= 0 {
			t.Fatalf("down for %s", d)
		}
	}
	if !two.succeeded() || two.succeeded() {
		t.Error("coming back is not told once")
	}
	p.turn.Store(1)
	wantOrder(t, p, now, ":2 :3 :1")
}

func TestAllTargetsDown(t *testing.T) {
	p := must[*Proxy](t)(New(Config{Targets: []string{":1", ":2"}}))
	now := time.Now()
	for _, target := range p.targets {
		target.failed(now)
	}
	wantOrder(t, p, now, ":1 :2", ":2 :1") // rather a try than none
}

// TestTargetsGoRound has one target refuse: nobody notices.
func TestTargetsGoRound(t *testing.T) {
	r := start(t, Config{Targets: []string{echo(t), deadAddr(t), echo(t)}})
	const rounds = 30
	for range rounds {
		check(t, roundTrip(r.addr, []byte("hello")))
	}
	eventually(t, "all closed", func() bool { return r.closed() == rounds })
	s := r.Stats()
	if s.Closed[Finished] != rounds || s.Targets[1].Failures == 0 || s.Targets[1].Connected != 0 || !s.Targets[1].Down {
		t.Errorf("stats %+v", s)
	}
	one, two := s.Targets[0].Connected, s.Targets[2].Connected
	if one+two != rounds || one < rounds/4 || two < rounds/4 {
		t.Errorf("%d and %d connections", one, two)
	}
	if log := r.log.String(); strings.Count(log, "connection refused") == 0 || strings.Contains(log, "there is no other") {
		t.Errorf("log: %s", log)
	}
}

func TestNamesAreLookedUp(t *testing.T) {
	ln := listen(t)
	_, port, err := net.SplitHostPort(ln.Addr().String())
	check(t, err)
	for _, host := range []string{"localhost", ""} {
		// localhost may stand for ::1 first, where nobody listens.
		r := start(t, Config{Targets: []string{net.JoinHostPort(host, port)}})
		client := r.dial(t)
		ping(t, client, own(t, must[net.Conn](t)(ln.Accept())))
	}
}

func TestUnknownName(t *testing.T) {
	r := start(t, Config{Targets: []string{"no-such-host.invalid:80"}})
	wantRefusal(t, r)
	r.gone(t)
	if s := r.Stats(); s.Closed[ConnectFailed]+s.Closed[ConnectTimeout] != 1 {
		t.Errorf("stats %+v, want one that failed to connect", s)
	}
	r.wantLastLog(t, "no-such-host.invalid")
}

func TestUnixSockets(t *testing.T) {
	dir := t.TempDir()
	for name, addr := range map[string]string{"path": "unix:" + filepath.Join(dir, "target, with a comma"), "abstract": "unix:@" + t.Name()} {
		t.Run(name, func(t *testing.T) {
			path, _ := unixPath(addr)
			target := must[net.Listener](t)(net.Listen("unix", path))
			defer func() { _ = target.Close() }()
			cfg := Config{Targets: []string{addr}}
			r := startAt(t, "unix:"+filepath.Join(dir, "proxy"), cfg)
			client := must[net.Conn](t)(net.Dial("unix", filepath.Join(dir, "proxy"))).(*net.UnixConn)
			defer func() { _ = client.Close() }()
			server := must[net.Conn](t)(target.Accept()).(*net.UnixConn)
			defer func() { _ = server.Close() }()
			var wg sync.WaitGroup
			msg := random(1<<20, 20)
			for _, c := range [][2]*net.UnixConn{{client, server}, {server, client}} {
				wg.Go(func() {
					_, err := c[0].Write(msg)
					if err := errors.Join(err, c[0].CloseWrite()); err != nil {
						t.Error(err)
					}
				})
				wg.Go(func() {
					got := make([]byte, len(msg)+1)
					n, _ := readAll(c[1], got)
					sameBytes(t, "over unix sockets", got[:n], msg)
				})
			}
			wg.Wait()
			r.gone(t)
			if s := r.Stats(); s.Closed[Finished] != 1 {
				t.Errorf("stats %+v, want one finished", s)
			}
		})
	}
}

func readAll(c net.Conn, b []byte) (int, error) {
	n := 0
	for {
		m, err := c.Read(b[n:])
		if n += m; err != nil {
			return n, err
		}
	}
}

// TestUnixBacklogFull holds that a target whose backlog is full is waited for: there the kernel says EAGAIN.
func TestUnixBacklogFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "target")
	fd := must[int](t)(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	defer func() { _ = unix.Close(fd) }()
	check(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	check(t, unix.Listen(fd, 0))
	first := must[net.Conn](t)(net.Dial("unix", path))
	defer func() { _ = first.Close() }()

	r := start(t, Config{Targets: []string{"unix:" + path}})
	client := r.dial(t)
	eventually(t, "accepted", func() bool { return r.Stats().Active == 1 })
	for range 2 { // the first one's, and then the proxy's
		conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		check(t, err)
		defer func() { _ = unix.Close(conn) }()
		if got := r.Stats().Closed[ConnectFailed]; got != 0 {
			t.Fatal("gave up")
		}
	}
	eventually(t, "connected", func() bool { return r.Stats().Targets[0].Active == 1 })
	check(t, client.Close())
}
