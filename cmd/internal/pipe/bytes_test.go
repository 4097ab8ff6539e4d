//go:build linux

package pipe

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A size is a number of bytes as a flag.
type size int64

var sizeUnits = []string{"", "KiB", "MiB", "GiB"}

func (s *size) Set(text string) error {
	digits := strings.TrimRight(text, "KMGiB")
	for i, unit := range sizeUnits {
		if text[len(digits):] == unit {
			n, err := strconv.ParseInt(digits, 10, 64)
			*s = size(n << (10 * i))
			return err
		}
	}
	return errors.New("want a number and KiB, MiB or GiB")
}

func (s *size) String() string { return strconv.FormatInt(int64(*s), 10) }

var bytesFlag = size(24 << 20)

func init() {
	flag.Var(&bytesFlag, "pipe.bytes", "TestBytes sends so much, as 10GiB, in all of its directions together, for each number of connections")
}

// chunks are what is written at once: less than anything, odd, and one more and one less than the sizes of buffers.
var chunks = []int{1, 7, 1448, 4095, 16 << 10, 65537, 128<<10 + 1, 1<<20 - 1}

// A flow is one direction of a connection of TestBytes.
type flow struct {
	from, to duplex
	seed     byte
	total    int64
	slow     bool // the reader pauses now and then
}

// send writes the flow in pieces of changing size with pauses, and its FIN.
func (f *flow) send() error {
	out, r := newStream(f.seed), rand.New(rand.NewPCG(uint64(f.seed), 1))
	buf := make([]byte, chunks[len(chunks)-1])
	for left := f.total; left > 0; {
		// A size stays for a while, but small ones not for megabytes.
		n := chunks[r.IntN(len(chunks))]
		for range min(1+r.IntN(64), 1+int(left)/n) {
			b := buf[:min(int64(n), left)]
			out.next(b)
			if _, err := f.from.Write(b); err != nil {
				return fmt.Errorf("with %d bytes left: %w", left, err)
			}
			left -= int64(len(b))
		}
		if r.IntN(16) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return f.from.CloseWrite()
}

// receive compares what arrives, up to the FIN.
func (f *flow) receive() error {
	in, r := newStream(f.seed), rand.New(rand.NewPCG(uint64(f.seed), 2))
	buf := make([]byte, 256<<10)
	for got := int64(0); ; {
		b := buf[:1+r.IntN(len(buf))]
		n, err := f.to.Read(b)
		if n > 0 && !in.accept(b[:n]) {
			return fmt.Errorf("of bytes %d to %d one is not what was sent", got, got+int64(n))
		}
		got += int64(n)
		switch {
		case errors.Is(err, io.EOF) && got == f.total:
			return nil
		case err != nil:
			return fmt.Errorf("%d bytes of %d: %w", got, f.total, err)
		case f.slow && r.IntN(8) == 0:
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// transfer sends total bytes, half of them up and half down, over n connections at once.
func transfer(t *testing.T, total int64, n int, connect func() (client, server duplex)) {
	t.Helper()
	each := max(total/int64(2*n), 1)
	errs := make(chan error, 4*n)
	for i := range n {
		client, server := connect()
		slow := i%4 == 1
		for _, f := range []*flow{
			{from: client, to: server, seed: byte(2 * i), total: each, slow: slow},
			{from: server, to: client, seed: byte(2*i + 1), total: each + 1, slow: slow},
		} {
			check(t, f.from.SetDeadline(time.Time{}))
			go func() { errs <- f.send() }()
			go func() { errs <- f.receive() }()
		}
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestBytes holds that random bytes arrive as they were sent, both ways at once.
func TestBytes(t *testing.T) {
	for _, n := range []int{1, 8, 200} {
		t.Run(fmt.Sprintf("connections=%d", n), func(t *testing.T) {
			wantTransfer(t, int64(bytesFlag), n, "127.0.0.1:0", listenTCP(t, "127.0.0.1:0"))
		})
	}
}

// wantTransfer transfers through a proxy that listens on addr, and checks its counts.
func wantTransfer(t *testing.T, total int64, n int, addr string, target net.Listener) {
	t.Helper()
	r := startAt(t, addr, Config{Targets: []string{targetName(target)}, IdleTimeout: patience})
	transfer(t, total, n, func() (client, server duplex) {
		client = r.dialAny(t)
		return client, keep(t, must[net.Conn](t)(target.Accept()))
	})
	r.gone(t)
	s, each := r.Stats(), max(total/int64(2*n), 1)
	up, down := uint64(each)*uint64(n), uint64(each+1)*uint64(n)
	if s.BytesUp != up || s.BytesDown != down || s.Closed[Finished] != uint64(n) {
		t.Errorf("stats %+v, want %d finished, %d bytes up and %d down", s, n, up, down)
	}
}

func listenTCP(tb testing.TB, addr string) net.Listener {
	tb.Helper()
	ln := must[net.Listener](tb)(net.Listen("tcp", addr))
	tb.Cleanup(func() { _ = ln.Close() })
	return ln
}

func TestBytesIPv6(t *testing.T) {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	defer func() { _ = ln.Close() }()
	wantTransfer(t, 4*megabyte, 4, "[::1]:0", ln)
	wantTransfer(t, 4*megabyte, 4, "127.0.0.1:0", ln)
}

// TestBytesUnix has unix sockets on either side, and on both.
func TestBytesUnix(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	unix := must[net.Listener](t)(net.Listen("unix", path("target")))
	defer func() { _ = unix.Close() }()
	abstract := must[net.Listener](t)(net.Listen("unix", "@"+path("abstract")))
	defer func() { _ = abstract.Close() }()
	tcp := listenTCP(t, "127.0.0.1:0")
	for _, c := range []struct {
		name, listen string
		target       net.Listener
	}{
		{"to a path", "127.0.0.1:0", unix},
		{"to a name", "127.0.0.1:0", abstract},
		{"from a path", "unix:" + path("proxy"), tcp},
		{"from a name", "unix:@" + path("proxy"), tcp},
		{"both", "unix:" + path("both"), unix},
	} {
		t.Run(c.name, func(t *testing.T) { wantTransfer(t, 4*megabyte, 4, c.listen, c.target) })
	}
}

// targetName returns the address of a listener as Config.Targets has it.
func targetName(ln net.Listener) string {
	if ln.Addr().Network() == "unix" {
		return "unix:" + ln.Addr().String()
	}
	return ln.Addr().String()
}

// dialAny connects to the proxy by whatever it listens on.
func (r *running) dialAny(tb testing.TB) duplex {
	tb.Helper()
	if path, ok := strings.CutPrefix(r.addr, "unix:"); ok {
		return keep(tb, must[net.Conn](tb)(net.Dial("unix", path)))
	}
	return keep(tb, must[net.Conn](tb)(net.Dial("tcp", r.addr)))
}

// keep closes conn at the end of the test.
func keep(tb testing.TB, conn net.Conn) duplex {
	tb.Helper()
	tb.Cleanup(func() { _ = conn.Close() })
	return conn.(duplex)
}
