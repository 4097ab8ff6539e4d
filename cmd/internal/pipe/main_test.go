//go:build linux

package pipe

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
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
	if os.Getenv(childEnv) != "" {
		os.Exit(childMain())
	}
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

	mu   sync.Mutex
	list []Connection
}

// ended returns the connections that have ended, in that order.
func (r *running) ended() []Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// closed returns how many connections have ended.
func (r *running) closed() uint64 {
	s := r.Stats()
	return s.TotalClosed()
}

// start serves a listener of its own until the test ends.
func start(tb testing.TB, cfg Config) *running {
	tb.Helper()
	return startAt(tb, "127.0.0.1:0", cfg)
}

func startAt(tb testing.TB, addr string, cfg Config) *running {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	r := &running{log: new(logbook), cancel: cancel, result: make(chan error, 1)}
	cfg.Logf = r.log.logf
	cfg.Closed = func(c Connection) {
		r.mu.Lock()
		r.list = append(r.list, c)
		r.mu.Unlock()
		if c.Err != nil || c.Cause != Finished {
			r.log.logf("%s: %v", c.Cause, c.Err)
		}
	}
	if cfg.Drain == 0 {
		cfg.Drain = -1
	}
	ln := must[*Listener](tb)(Listen(ctx, addr, cfg))
	r.addr = ln.Addr()
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
		if s := r.Stats(); s.Active != 0 || s.TotalClosed() != s.Accepted {
			tb.Errorf("after Serve: %+v", s)
		}
		if len(r.log.late) > 0 {
			tb.Errorf("logged after Serve: %q", r.log.late)
		}
	})
	return r
}

func contextOf(tb testing.TB) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(tb.Context())
	tb.Cleanup(cancel)
	return ctx, cancel
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
	target := listen(tb)
	cfg.Targets = []string{target.Addr().String()}
	r = start(tb, cfg)
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

// wantLastLog wants want in the last line.
func (r *running) wantLastLog(tb testing.TB, want string) {
	tb.Helper()
	lines := strings.Split(r.log.String(), "\n")
	if got := lines[len(lines)-1]; !strings.Contains(got, want) {
		tb.Errorf("log %q, want %q in its last line", lines, want)
	}
}

// listening reports whether there is a listener on the IPv4 address addr.
func listening(t *testing.T, addr string) bool {
	t.Helper()
	want := hexAddr(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))) + " 00000000:0000 0A"
	return strings.Contains(string(must[[]byte](t)(os.ReadFile("/proc/self/net/tcp"))), want)
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
