//go:build linux

package pipe

import (
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRestart passes a listener on to the next proxy, while clients come all the time. Starting one takes O_NONBLOCK from
// the listener, which is shared with the one before: service managers do so too.
func TestRestart(t *testing.T) {
	t.Run("TCP", func(t *testing.T) { testRestart(t, handedOn(t, false)) })
	t.Run("Multipath TCP", func(t *testing.T) { testRestart(t, handedOn(t, true)) }) // which is what Go listens with
}

func testRestart(t *testing.T, f *os.File) {
	target := echo(t)
	next := func() *remote {
		return spawn(t, order{Config: Config{Targets: []string{target}}}, func(cmd *exec.Cmd) error {
			cmd.ExtraFiles = []*os.File{f}
			return cmd.Start()
		})
	}
	old := next()
	var served atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for msg := random(5000, uint64(i)); !stop.Load(); served.Add(1) {
				if err := roundTrip(old.addr, msg); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	someServed := func() {
		goal := served.Load() + 50
		eventually(t, "clients served", func() bool { return served.Load() >= goal || t.Failed() })
	}
	var total uint64
	last := old
	for range 3 {
		r := next()
		someServed()
		total += wantAllFinished(t, last.stop())
		last = r
	}
	someServed()
	stop.Store(true)
	wg.Wait()
	total += wantAllFinished(t, last.stop())
	if total != uint64(served.Load()) {
		t.Errorf("%d connections served, and the proxies count %d", served.Load(), total)
	}
}

// handedOn returns a listening socket as a service manager makes it.
func handedOn(t *testing.T, multipath bool) *os.File {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(multipath)
	ln := must[net.Listener](t)(lc.Listen(t.Context(), "tcp", "127.0.0.1:0"))
	f := must[*os.File](t)(ln.(*net.TCPListener).File())
	t.Cleanup(func() { _ = f.Close() })
	check(t, ln.Close())
	return f
}

// wantAllFinished returns how many connections a proxy had at its end.
func wantAllFinished(t *testing.T, s status) uint64 {
	t.Helper()
	if s.Stats.Closed[Finished] != s.Stats.Accepted || s.Stats.Active != 0 {
		t.Errorf("at the end %+v, want all finished", s.Stats)
	}
	return s.Stats.Accepted
}
