//go:build linux

package pipe

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	idleFlag    = flag.Int("pipe.idle", 500, "TestIdleConnections has so many; 9000 is the most that fit in 20000 descriptors")
	idleForFlag = flag.Duration("pipe.idle-for", 0, "TestIdleConnections leaves them alone for so long")
)

// TestTargetDown has three targets, of which one refuses. No client is to notice, and when it is back it is used.
func TestTargetDown(t *testing.T) {
	fd := must[int](t)(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	down := bindLoopback(t, fd) // not listening yet
	r := start(t, Config{Targets: []string{echo(t), down, echo(t)}})
	for i := range 30 {
		check(t, roundTrip(r.addr, random(100, uint64(i))))
	}
	s := r.Stats().Targets
	if s[0].Connected < 10 || s[2].Connected < 10 || s[1].Connected != 0 || s[1].Failures == 0 || !s[1].Down {
		t.Errorf("targets %+v, want the first and the last in turn, and the other down", s)
	}
	check(t, unix.Listen(fd, 8))
	f := os.NewFile(uintptr(fd), "listener")
	ln := must[net.Listener](t)(net.FileListener(f))
	check(t, f.Close())
	serveEcho(t, ln)
	eventually(t, "used again", func() bool {
		check(t, roundTrip(r.addr, random(100, 40)))
		return r.Stats().Targets[1].Connected > 0
	})
	r.gone(t)
	if s := r.Stats(); s.Closed[Finished] != s.Accepted || s.Targets[1].Down {
		t.Errorf("stats %+v, want all finished and no target down", s)
	}
}

// TestTargetSilent has one of two targets not answer connects.
func TestTargetSilent(t *testing.T) {
	r := start(t, Config{Targets: []string{silentAddr(t), echo(t)}, ConnectTimeout: 100 * time.Millisecond})
	for i := range 8 {
		check(t, roundTrip(r.addr, random(100, uint64(i))))
	}
	r.gone(t)
	if s := r.Stats(); s.Closed[Finished] != 8 || s.Targets[0].Failures == 0 || s.Targets[1].Connected != 8 {
		t.Errorf("stats %+v, want eight finished at the second target", s)
	}
}

// TestClientLeaves has the client reset the connection while there is none to the target.
func TestClientLeaves(t *testing.T) {
	r := start(t, Config{Targets: []string{silentAddr(t)}})
	client := r.dial(t)
	must[int](t)(client.Write([]byte("early")))
	eventually(t, "accepted", func() bool { return r.Stats().Active == 1 })
	abort(t, client)
	r.gone(t)
	if s := r.Stats(); s.Closed[ClientLeft] != 1 || s.Targets[0].Active != 0 {
		t.Errorf("stats %+v, want one client that left", s)
	}
}

// TestClientIsEarly has a client that has said all, FIN included, before there is a connection to the target.
func TestClientIsEarly(t *testing.T) {
	fd := must[int](t)(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	target := bindLoopback(t, fd)
	r := start(t, Config{Targets: []string{target}})
	// The target has room for one connection, which is taken: the next has to wait until the kernel tries again.
	check(t, unix.Listen(fd, 0))
	f := os.NewFile(uintptr(fd), "listener")
	ln := must[net.Listener](t)(net.FileListener(f)).(*net.TCPListener)
	check(t, f.Close())
	defer func() { _ = ln.Close() }()
	check(t, ln.SetDeadline(time.Now().Add(patience)))
	first := own(t, must[net.Conn](t)(net.Dial("tcp", target)))
	check(t, first.Close())

	client, said := r.dial(t), random(aWindow, 17)
	must[int](t)(client.Write(said))
	check(t, client.CloseWrite())
	eventually(t, "accepted", func() bool { return r.Stats().Active == 1 })
	_ = own(t, must[net.Conn](t)(ln.Accept())).Close()
	server := own(t, must[net.Conn](t)(ln.Accept()))
	sameBytes(t, "before the connect", must[[]byte](t)(io.ReadAll(server)), said)
	must[int](t)(server.Write(said))
	check(t, server.Close())
	sameBytes(t, "answer", must[[]byte](t)(io.ReadAll(client)), said)
	r.gone(t)
	if s := r.Stats(); s.Closed[Finished] != 1 {
		t.Errorf("stats %+v, want one finished", s)
	}
}

// held opens n connections to addr, of which each has said a byte.
func held(t *testing.T, addr string, n int) []*net.TCPConn {
	t.Helper()
	var list []*net.TCPConn
	for range n {
		c := own(t, must[net.Conn](t)(net.Dial("tcp", addr)))
		check(t, c.SetDeadline(time.Now().Add(3*patience)))
		must[int](t)(c.Write([]byte{42}))
		list = append(list, c)
	}
	return list
}

// serveAll closes each connection when its byte has come back, so that another gets its turn. It returns how many were
// served; the others' errors fail the test.
func serveAll(t *testing.T, list []*net.TCPConn) {
	t.Helper()
	var wg sync.WaitGroup
	for i, c := range list {
		wg.Go(func() {
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Errorf("client %d of %d: %v", i, len(list), err)
			}
			_ = c.Close()
		})
	}
	wg.Wait()
}

func TestMaxConnections(t *testing.T) {
	const most, clients = 3, 12
	r := start(t, Config{Targets: []string{echo(t)}, MaxConnections: most})
	var over atomic.Uint64
	watch, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for watch.Err() == nil {
			over.Store(max(over.Load(), r.Stats().Active))
			time.Sleep(100 * time.Microsecond)
		}
	})
	list := held(t, r.addr, clients)
	eventually(t, "full", func() bool { return r.Stats().Active == most })
	if s := r.Stats(); s.Accepted != most {
		t.Errorf("stats %+v, want %d accepted", s, most)
	}
	serveAll(t, list)
	r.gone(t)
	cancel()
	wg.Wait()
	if s := r.Stats(); s.Accepted != clients || s.Closed[Finished] != clients || over.Load() > most {
		t.Errorf("stats %+v and up to %d at once, want %d finished, up to %d at once", s, over.Load(), clients, most)
	}
}

// TestDescriptorsUsedUp gives the proxy too few descriptors for all of its clients. They wait, and are served when others
// have gone; and waiting takes no processor.
func TestDescriptorsUsedUp(t *testing.T) {
	const clients = 80
	for name, most := range map[string]int{"no limit of connections": -1, "limit by default": 0} {
		t.Run(name, func(t *testing.T) {
			o := order{Config: Config{Targets: []string{echo(t)}, MaxConnections: most}, Listen: "127.0.0.1:0", Descriptors: 72}
			r := spawn(t, o, nil)
			list := held(t, r.addr, clients)
			s := r.await("as many as can be", func(s status) bool { return s.Stats.BytesDown > 0 })
			lull := time.Second / 2
			before := r.status()
			time.Sleep(lull)
			after := r.status()
			if after.Stats.Active == clients {
				t.Fatalf("%+v: there are descriptors for all", after)
			}
			wantCalm(t, before, after, lull)
			serveAll(t, list)
			s = r.await("all gone", func(s status) bool { return s.Stats.Accepted == clients && s.Stats.Active == 0 })
			if s.Stats.Closed[Finished] != clients {
				t.Errorf("stats %+v, want %d finished", s.Stats, clients)
			}
		})
	}
}

// wantCalm holds that the proxy did not spin between the two looks, which were at least d apart.
func wantCalm(t *testing.T, before, after status, d time.Duration) {
	t.Helper()
	if used := after.CPU - before.CPU; used > d/2 {
		t.Errorf("%s of processor time in %s of waiting", used, d)
	}
	if n := after.Stats.AcceptRetries - before.Stats.AcceptRetries; n > 100 {
		t.Errorf("%d tries to accept in %s of waiting", n, d)
	}
}

// TestIdleConnections prints what an idle connection costs.
func TestIdleConnections(t *testing.T) {
	target := listen(t)
	check(t, target.SetDeadline(time.Time{}))
	r := spawn(t, order{Config: Config{Targets: []string{target.Addr().String()}, IdleTimeout: -1}, Listen: "127.0.0.1:0"}, nil)
	open := func() [2]*net.TCPConn {
		client := own(t, must[net.Conn](t)(net.Dial("tcp", r.addr)))
		server := own(t, must[net.Conn](t)(target.Accept()))
		ping(t, client, server)
		ping(t, server, client)
		return [2]*net.TCPConn{client, server}
	}
	ends := [][2]*net.TCPConn{open()} // and the proxy has all that it needs for any number
	before := r.status()
	for range *idleFlag {
		ends = append(ends, open())
	}
	time.Sleep(*idleForFlag)
	s := r.status()
	fds := s.Holdings["socket"] - before.Holdings["socket"]
	each := (s.RSS - before.RSS) / int64(*idleFlag)
	t.Logf("%d connections: %.1f KiB of memory and %.2f sockets each", *idleFlag, float64(each)/1024, float64(fds)/float64(*idleFlag))
	if fds != 2**idleFlag || s.Holdings["pipe"] > before.Holdings["pipe"] || each > 64<<10 {
		t.Errorf("%d sockets for %d connections, %d bytes each; %v before, %v now", fds, *idleFlag, each, before.Holdings, s.Holdings)
	}
	for _, e := range ends {
		check(t, e[0].SetDeadline(time.Now().Add(patience)))
		check(t, e[1].SetDeadline(time.Now().Add(patience)))
		ping(t, e[0], e[1])
		check(t, e[0].Close())
		check(t, e[1].Close())
	}
	s = r.await("all gone", func(s status) bool { return s.Stats.Active == 0 })
	if n, want := s.Holdings["socket"], before.Holdings["socket"]-2; n != want {
		t.Errorf("%d sockets at the end, want %d", n, want)
	}
}

// TestSlowReader has the fast sender of a reader of 1 KiB/s held back, and what the proxy holds does not grow.
func TestSlowReader(t *testing.T) {
	target := listen(t)
	r := spawn(t, order{Config: Config{Targets: []string{target.Addr().String()}}, Listen: "127.0.0.1:0"}, nil)
	before := r.status()
	var sent sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 8 {
		client := own(t, must[net.Conn](t)(net.Dial("tcp", r.addr)))
		server := own(t, must[net.Conn](t)(target.Accept()))
		sent.Go(func() { _, _ = io.Copy(client, neverEnding{}) })
		sent.Go(func() {
			readSlowly(ctx, t, server)
			abort(t, client)
			abort(t, server)
		})
	}
	time.Sleep(500 * time.Millisecond) // for the buffers of the kernel to fill
	full := r.status()
	const lull = time.Second
	time.Sleep(lull)
	after := r.status()
	stop()
	sent.Wait()
	wantCalm(t, full, after, lull)
	if grown := after.RSS - before.RSS; grown > 32<<20 {
		t.Errorf("%d bytes of memory more than before", grown)
	}
	if grown := after.RSS - full.RSS; grown > 4<<20 {
		t.Errorf("%d bytes of memory more after %s", grown, lull)
	}
	r.await("all gone", func(s status) bool { return s.Stats.Active == 0 })
}

// readSlowly reads 1 KiB a second until ctx ends.
func readSlowly(ctx context.Context, t *testing.T, c net.Conn) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if _, err := io.ReadFull(c, make([]byte, 102)); err != nil {
			t.Error(err)
			return
		}
		<-tick.C
	}
}

type neverEnding struct{}

func (neverEnding) Read(b []byte) (int, error) { return len(b), nil }

// TestLifetime holds that a busy connection is cut all the same.
func TestLifetime(t *testing.T) {
	client, server, r := joined(t, Config{Lifetime: 300 * time.Millisecond})
	a, b := peers(t, client, server)
	a.flow()
	b.flow()
	for _, p := range []*peer{a, b} {
		p.awaitEnd()
		p.hush()
	}
	for p, other := range map[*peer]*peer{a: b, b: a} {
		if got := p.sees(other); got.end != atReset || got.got == 0 {
			t.Errorf("%s sees %d bytes, %s; want a reset", p.name, got.got, got.end)
		}
	}
	r.gone(t)
	if s := r.Stats(); s.Closed[Lifetime] != 1 {
		t.Errorf("stats %+v, want one that has lived too long", s)
	}
}

// TestUrgentData holds that a byte sent as urgent holds up neither what comes before it nor what comes after. The byte
// itself may be in the stream or not.
func TestUrgentData(t *testing.T) {
	for _, n := range []int{1, 100, megabyte} {
		for _, urgent := range []int{1, 3} {
			t.Run(fmt.Sprintf("%d bytes, %d urgent", n, urgent), func(t *testing.T) { wantThroughUrgent(t, n, urgent) })
		}
	}
}

func wantThroughUrgent(t *testing.T, n, urgent int) {
	target := listen(t)
	r := spawn(t, order{Config: Config{Targets: []string{target.Addr().String()}}, Listen: "127.0.0.1:0"}, nil)
	client := own(t, must[net.Conn](t)(net.Dial("tcp", r.addr)))
	server := own(t, must[net.Conn](t)(target.Accept()))
	var got bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := io.Copy(&got, server); err != nil {
			t.Error(err)
		}
	})
	part := make([]byte, n)
	for range urgent {
		must[int](t)(client.Write(part))
		sendUrgent(t, client)
	}
	const lull = 200 * time.Millisecond
	before := r.status()
	time.Sleep(lull) // with the urgent byte the last
	wantCalm(t, before, r.status(), lull)
	must[int](t)(client.Write(part))
	check(t, client.CloseWrite())
	wg.Wait()
	if plain := bytes.ReplaceAll(got.Bytes(), []byte{'!'}, nil); !bytes.Equal(plain, make([]byte, (urgent+1)*n)) {
		t.Errorf("got %d bytes, of them %d not urgent, want %d", got.Len(), len(plain), (urgent+1)*n)
	}
	check(t, server.Close())
	r.await("gone", func(s status) bool { return s.Stats.Active == 0 && s.Stats.Closed[Finished] == 1 })
}

func sendUrgent(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw := must[interface {
		Write(f func(fd uintptr) bool) error
	}](t)(c.SyscallConn())
	var err error
	check(t, raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), []byte{'!'}, unix.MSG_OOB, nil)
		return !errors.Is(err, unix.EAGAIN)
	}))
	check(t, err)
}
