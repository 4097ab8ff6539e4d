//go:build linux

package pipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// spareDescriptors are left to others by the default of Config.MaxConnections: to lookups of names, to whoever asks for
// the counts, to the runtime.
const spareDescriptors = 32

// A relay is one call of Serve in fixed mode.
type relay struct {
	*Proxy
	lns    []*Listener
	loops  []*loop
	epoch  time.Time
	ctx    context.Context // of lookups; ended when everything is cut
	cancel context.CancelFunc

	lookups sync.WaitGroup
	active  atomic.Int64 // connections, and places taken for one that is about to be accepted
	most    int64        // of active; 0: no limit
	starved atomic.Int64 // connections that wait for a descriptor
	waiting atomic.Bool  // a loop has stopped to accept until there is room

	mu      sync.Mutex
	failure error // of a listener
	failed  chan struct{}
}

// relay serves lns in fixed mode.
func (p *Proxy) relay(ctx context.Context, lns []*Listener) error {
	r := &relay{Proxy: p, lns: lns, epoch: time.Now(), failed: make(chan struct{})}
	// Connections outlive ctx by the drain.
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer r.cancel()
	var err error
	if r.most, err = p.mostConnections(); err != nil {
		return err
	}
	defer r.close()
	for range max(1, p.cfg.Loops) {
		l, err := newLoop(r)
		if err != nil {
			return err
		}
		r.loops = append(r.loops, l)
	}
	var running sync.WaitGroup
	for _, l := range r.loops {
		running.Go(l.run)
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	select {
	case <-ctx.Done():
	case <-r.failed:
	}
	r.drain(done)
	r.cancel()
	r.lookups.Wait()
	return r.failure
}

// drain stops accepting, and cuts what is left when the time for it is over. It returns when all loops have.
func (r *relay) drain(done <-chan struct{}) {
	var stopped sync.WaitGroup
	stopped.Add(len(r.loops))
	for _, l := range r.loops {
		l.post(func() {
			l.stopAccepting()
			stopped.Done()
		})
	}
	stopped.Wait()
	for _, ln := range r.lns {
		if err := ln.Close(); err != nil {
			r.logf("close listener: %v", err)
		}
	}
	for _, l := range r.loops {
		l.post(func() { l.over = true })
	}
	over := time.NewTimer(max(0, r.cfg.Drain))
	defer over.Stop()
	select {
	case <-done:
		return
	case <-over.C:
	}
	for _, l := range r.loops {
		l.post(l.cutAll)
	}
	<-done
}

// close frees what the loops hold. They have ended.
func (r *relay) close() {
	for _, l := range r.loops {
		l.close()
	}
}

// fail ends the relay because a listener failed.
func (r *relay) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure == nil {
		r.failure = err
		close(r.failed)
	}
}

// mostConnections returns how many connections there may be at once, 0 for any number.
func (p *Proxy) mostConnections() (int64, error) {
	switch n := p.cfg.MaxConnections; {
	case n > 0:
		return int64(n), nil
	case n < 0:
		return 0, nil
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		open = nil // without /proc: those that are open count among the spare ones
	}
	return max(1, (int64(min(lim.Cur, 1<<30))-int64(len(open))-spareDescriptors)/2), nil
}

// enter takes a place for a connection, if there is one.
func (r *relay) enter() bool {
	if r.active.Add(1) <= r.most || r.most == 0 {
		return true
	}
	r.active.Add(-1)
	return false
}

// leave gives a place back, and has the loops that wait for one accept again.
func (r *relay) leave() {
	r.active.Add(-1)
	if !r.waiting.Load() || !r.waiting.Swap(false) {
		return
	}
	for _, l := range r.loops {
		l.post(l.startAccepting)
	}
}

// lightest returns the loop that a connection accepted by l is to go to: l itself unless another has clearly less to
// do, since a connection that changes hands costs a wake-up.
func (r *relay) lightest(l *loop) *loop {
	best, least := l, l.active.Load()
	for _, other := range r.loops {
		if n := other.active.Load(); n+1 < least-least/8 {
			best, least = other, n
		}
	}
	return best
}

// targetFailed notes that t was not reached, because of err.
func (r *relay) targetFailed(t *target, err error) {
	if d := t.failed(time.Now()); d > 0 {
		next := "there is no other"
		if len(r.targets) > 1 {
			next = fmt.Sprintf("passed over for %s", d)
		}
		r.logf("target %s: %v; %s", t.name, err, next)
	}
}

func (r *relay) targetReached(t *target) {
	if t.succeeded() {
		r.logf("target %s: reached again", t.name)
	}
}

// causeOf says what an error of one side's socket means.
func causeOf(err error, client bool) Cause {
	reset, dead := ServerReset, ServerDead
	if client {
		reset, dead = ClientReset, ClientDead
	}
	switch {
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ENOTCONN):
		return reset
	case errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTDOWN):
		return dead
	}
	return Failed
}
