package pipe

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// TestMain fails the suite if it leaves sockets or goroutines behind.
func TestMain(m *testing.M) {
	fds, goroutines := len(sockets()), runtime.NumGoroutine()
	code := m.Run()
	clean := func() bool { return len(sockets()) <= fds && runtime.NumGoroutine() <= goroutines }
	if code == 0 && !within(patience, clean) {
		fmt.Printf("sockets: %d before, %d after; goroutines: %d before, %d after\n",
			fds, len(sockets()), goroutines, runtime.NumGoroutine())
		if err := pprof.Lookup("goroutine").WriteTo(os.Stdout, 1); err != nil {
			fmt.Println(err)
		}
		code = 1
	}
	os.Exit(code)
}

// sockets returns the descriptors of this process that are sockets.
func sockets() []int {
	var fds []int
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		target, err := os.Readlink(name)
		if err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		if fd, err := strconv.Atoi(filepath.Base(name)); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

func within(d time.Duration, cond func() bool) bool {
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if cond() {
			return true
		}
	}
	return cond()
}

func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	if !within(patience, cond) {
		tb.Fatalf("after %s still not: %s", patience, what)
	}
}

func must[T any](tb testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// A logbook collects what a proxy logs, and complains about what comes too late.
type logbook struct {
	mu    sync.Mutex
	lines []string
	shut  bool
	late  []string
}

func (l *logbook) logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	if l.shut {
		l.late = append(l.late, line)
	}
	l.lines = append(l.lines, line)
}

func (l *logbook) shutDown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// A running proxy.
type running struct {
	*Proxy
	addr   string
	log    *logbook
	cancel context.CancelFunc
	result chan error
}

// start serves ln, or a listener of its own if that is nil, until the test ends.
func start(tb testing.TB, cfg Config, ln net.Listener) *running {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	r := &running{log: new(logbook), cancel: cancel, result: make(chan error, 1)}
	cfg.Logf = r.log.logf
	if cfg.Drain == 0 {
		cfg.Drain = -1
	}
	if ln == nil {
		ln = must[net.Listener](tb)(Listen(ctx, "127.0.0.1:0", cfg))
	}
	r.addr = ln.Addr().String()
	r.Proxy = must[*Proxy](tb)(New(cfg))
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := r.Serve(ctx, ln)
		r.log.shutDown()
		r.result <- err
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
		if s := r.Stats(); s.Active != 0 || s.Closed != s.Accepted {
			tb.Errorf("after Serve: %+v", s)
		}
		if len(r.log.late) > 0 {
			tb.Errorf("logged after Serve: %q", r.log.late)
		}
	})
	return r
}

// stop ends the context and returns what Serve returns.
func (r *running) stop(tb testing.TB) error {
	tb.Helper()
	r.cancel()
	return r.wait(tb)
}

func (r *running) wait(tb testing.TB) error {
	tb.Helper()
	select {
	case err := <-r.result:
		return err
	case <-time.After(patience):
		tb.Fatal("Serve does not return")
		return nil
	}
}

func (r *running) dial(tb testing.TB) *net.TCPConn {
	tb.Helper()
	return own(tb, must[net.Conn](tb)(net.Dial("tcp", r.addr)))
}

// own closes conn at the end of the test and bounds all that is done with it.
func own(tb testing.TB, conn net.Conn) *net.TCPConn {
	tb.Helper()
	tb.Cleanup(func() { _ = conn.Close() })
	check(tb, conn.SetDeadline(time.Now().Add(patience)))
	return conn.(*net.TCPConn)
}

func listen(tb testing.TB) *net.TCPListener {
	tb.Helper()
	ln := must[net.Listener](tb)(net.Listen("tcp", "127.0.0.1:0")).(*net.TCPListener)
	tb.Cleanup(func() { _ = ln.Close() })
	check(tb, ln.SetDeadline(time.Now().Add(patience)))
	return ln
}

// joined starts a proxy and returns the two ends of one connection through it.
func joined(tb testing.TB, cfg Config) (client, server *net.TCPConn, r *running) {
	tb.Helper()
	return joinedBy(tb, cfg, nil)
}

func joinedBy(tb testing.TB, cfg Config, ln net.Listener) (client, server *net.TCPConn, r *running) {
	tb.Helper()
	target := listen(tb)
	cfg.Target = target.Addr().String()
	r = start(tb, cfg, ln)
	client = r.dial(tb)
	server = own(tb, must[net.Conn](tb)(target.Accept()))
	return client, server, r
}

func (r *running) gone(tb testing.TB) {
	tb.Helper()
	eventually(tb, "connection closed", func() bool { s := r.Stats(); return s.Accepted > 0 && s.Active == 0 })
}

func (r *running) wantLog(tb testing.TB, want string) {
	tb.Helper()
	if got := r.log.String(); !strings.Contains(got, want) || strings.Contains(got, "\n") {
		tb.Errorf("log %q, want one line with %q", got, want)
	}
}

func abort(tb testing.TB, c *net.TCPConn) {
	tb.Helper()
	check(tb, c.SetLinger(0))
	check(tb, c.Close())
}

func wantEOF(tb testing.TB, c *net.TCPConn) {
	tb.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		tb.Errorf("read: %d bytes, error %v; want EOF", n, err)
	}
}

func wantReset(tb testing.TB, c *net.TCPConn) {
	tb.Helper()
	if n, err := io.Copy(io.Discard, c); !errors.Is(err, unix.ECONNRESET) {
		tb.Errorf("read: %d bytes, error %v; want a reset", n, err)
	}
}

// ping sends one byte from one end to the other.
func ping(tb testing.TB, from, to *net.TCPConn) {
	tb.Helper()
	must[int](tb)(from.Write([]byte{42}))
	b := make([]byte, 1)
	must[int](tb)(io.ReadFull(to, b))
	if b[0] != 42 {
		tb.Fatalf("got %d, want 42", b[0])
	}
}

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0] = byte(seed)
	r := rand.NewChaCha8(key)
	_, _ = r.Read(b)
	return b
}

func sameBytes(tb testing.TB, what string, got, want []byte) {
	tb.Helper()
	if sha256.Sum256(got) != sha256.Sum256(want) {
		tb.Errorf("%s: got %d bytes, want %d, or others", what, len(got), len(want))
	}
}

// bothModes runs f as a subtest for each mode.
func bothModes(t *testing.T, f func(t *testing.T, mode Mode)) {
	for _, mode := range []Mode{Fixed, Leaky} {
		t.Run(mode.String(), func(t *testing.T) { f(t, mode) })
	}
}

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
		want := Stats{Accepted: 1, Closed: 1, BytesUp: 1 << 20, BytesDown: 1 << 20}
		if got := r.Stats(); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
		if got := r.log.String(); got != "" {
			t.Errorf("log: %s", got)
		}
	})
}

func TestManyConnections(t *testing.T) {
	bothModes(t, func(t *testing.T, mode Mode) {
		target := echo(t)
		r := start(t, Config{Target: target, Mode: mode}, nil)
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
		eventually(t, "all closed", func() bool { return r.Stats().Closed == workers*rounds })
	})
}

// echo returns the address of a server that sends back what it gets.
func echo(tb testing.TB) string {
	tb.Helper()
	ln := must[net.Listener](tb)(net.Listen("tcp", "127.0.0.1:0"))
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
	return ln.Addr().String()
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
		r := start(t, Config{Target: deadAddr(t), Mode: mode}, nil)
		if mode == Fixed {
			wantRefusal(t, r)
		} else {
			wantEOF(t, r.dial(t))
		}
		r.gone(t)
		if s := r.Stats(); s.DialErrors != 1 {
			t.Errorf("stats %+v, want one dial error", s)
		}
		r.wantLog(t, "connection refused")
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
	r := start(t, Config{Target: silentAddr(t), ConnectTimeout: 50 * time.Millisecond}, nil)
	wantRefusal(t, r)
	r.gone(t)
	if s := r.Stats(); s.DialErrors != 1 {
		t.Errorf("stats %+v, want one dial error", s)
	}
	r.wantLog(t, "timeout")
}

func TestShutdownWhileConnecting(t *testing.T) {
	bothModes(t, func(t *testing.T, mode Mode) {
		r := start(t, Config{Target: silentAddr(t), Mode: mode}, nil)
		r.dial(t)
		eventually(t, "accepted", func() bool { return r.Stats().Active == 1 })
		check(t, r.stop(t))
		if s := r.Stats(); s.Cut != 1 || s.DialErrors != 0 {
			t.Errorf("stats %+v, want one cut", s)
		}
	})
}

func TestDrainLetsTransfersFinish(t *testing.T) {
	ln := listen(t)
	client, server, r := joinedBy(t, Config{Drain: patience}, ln)
	ping(t, client, server)
	r.cancel()
	eventually(t, "listener closed", func() bool {
		return errors.Is(ln.SetDeadline(time.Now()), net.ErrClosed)
	})
	want := random(1<<20, 3)
	go func() {
		_, _ = server.Write(want)
		_ = server.Close()
	}()
	got := must[[]byte](t)(io.ReadAll(client))
	sameBytes(t, "during the drain", got, want)
	check(t, client.Close())
	check(t, r.wait(t))
	if s := r.Stats(); s.Cut != 0 {
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
			if s := r.Stats(); s.Cut != 1 || s.Failed != 0 {
				t.Errorf("stats %+v, want one cut", s)
			}
			r.wantLog(t, "cut at shutdown")
		})
	}
}

func TestServeAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ln := listen(t)
	p := must[*Proxy](t)(New(Config{Target: "127.0.0.1:1"}))
	check(t, p.Serve(ctx, ln))
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listener: %v, want closed", err)
	}
}

// A flaky listener fails with errs first.
type flaky struct {
	net.Listener
	errs []error
}

func (f *flaky) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return f.Listener.Accept()
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
}

func TestAcceptSurvives(t *testing.T) {
	ln := &flaky{listen(t), []error{unix.EMFILE, unix.ENFILE, unix.ECONNABORTED, unix.ENOBUFS, unix.ENOMEM}}
	client, server, r := joinedBy(t, Config{}, ln)
	ping(t, client, server)
	if s := r.Stats(); s.AcceptRetries != 4 {
		t.Errorf("stats %+v, want 4 retries", s)
	}
	if log := r.log.String(); strings.Count(log, "; next try in ") != 4 || !strings.Contains(log, "too many open files") {
		t.Errorf("log: %s", log)
	}
}

func TestStopDuringBackoff(t *testing.T) {
	errs := make([]error, 1000)
	for i := range errs {
		errs[i] = unix.EMFILE
	}
	r := start(t, Config{Target: "127.0.0.1:1"}, &flaky{listen(t), errs})
	eventually(t, "retried", func() bool { return r.Stats().AcceptRetries > 2 })
	check(t, r.stop(t))
}

func TestAcceptFails(t *testing.T) {
	ln := listen(t)
	client, server, r := joinedBy(t, Config{}, ln)
	ping(t, client, server)
	check(t, ln.Close())
	if err := r.wait(t); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v, want closed listener", err)
	}
	wantReset(t, server)
}

func TestAcceptNeedsTCP(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	r := start(t, Config{Target: "127.0.0.1:1"}, must[net.Listener](t)(net.Listen("unix", path)))
	c := must[net.Conn](t)(net.Dial("unix", path))
	defer func() { _ = c.Close() }()
	if err := r.wait(t); err == nil || !strings.Contains(err.Error(), "not a TCP connection") {
		t.Errorf("Serve: %v", err)
	}
}

func TestNewRejects(t *testing.T) {
	for want, c := range map[string]Config{
		"want host:port":     {Target: "localhost"},
		"no port":            {Target: "localhost:0"},
		"unknown port":       {Target: "localhost:no-such-service"},
		"invalid port":       {Target: "localhost:65536"},
		"mode unknown(7)":    {Target: ":1", Mode: 7},
		"keepalive 10h0m0s":  {Target: ":1", KeepAlive: 10 * time.Hour},
		"keepalive interval": {Target: ":1", KeepAliveInterval: -1},
		"keepalive count":    {Target: ":1", KeepAliveCount: 128},
		"user timeout":       {Target: ":1", UserTimeout: 1000 * time.Hour},
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
		for kind, ln := range map[string]net.Listener{"own listener": nil, "other listener": listen(t)} {
			t.Run(name+" "+kind, func(t *testing.T) {
				client, server, _ := joinedBy(t, tt.cfg, ln)
				ping(t, client, server)
				a, b := ends(t, client, server)
				for _, fd := range []int{a, b} {
					wantOption(t, fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, tt.want.keep)
					wantOption(t, fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, tt.want.user)
					if tt.want.keep == 0 {
						continue
					}
					wantOption(t, fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, tt.want.idle)
					wantOption(t, fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, tt.want.interval)
					wantOption(t, fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, tt.want.count)
				}
			})
		}
	}
}

// TestListenOptions holds that a connection is under keepalive, or is not, before anybody accepts it.
func TestListenOptions(t *testing.T) {
	bothModes(t, func(t *testing.T, mode Mode) {
		ln := must[net.Listener](t)(Listen(t.Context(), "127.0.0.1:0", Config{Mode: mode}))
		defer func() { _ = ln.Close() }()
		client := own(t, must[net.Conn](t)(net.Dial("tcp", ln.Addr().String())))
		own(t, must[net.Conn](t)(ln.Accept()))
		fd := find(t, client.RemoteAddr(), client.LocalAddr())
		if mode == Leaky {
			wantOption(t, fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)
			wantOption(t, fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 0)
			return
		}
		wantOption(t, fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		wantOption(t, fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60)
		wantOption(t, fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 120_000)
	})
}
