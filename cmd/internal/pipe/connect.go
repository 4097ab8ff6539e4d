//go:build linux

package pipe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tryTarget starts on the first of the targets that are left.
func (p *pair) tryTarget() {
	a := &p.attempt
	if limit := p.loop.r.cfg.ConnectTimeout; limit > 0 {
		a.by = p.loop.now + limit
	}
	a.delay, a.addrs = 0, nil
	t := a.targets[0]
	addrs, known := t.addrs(time.Now())
	if !known {
		p.lookup(t)
		return
	}
	a.addrs = addrs
	p.tryAddr()
}

// lookup has the addresses of t looked up, in a goroutine, and goes on with them.
func (p *pair) lookup(t *target) {
	l, me := p.loop, ref{slot: p.slot, gen: p.gen}
	l.timers.set(p, 0) // the lookup has its own time
	ctx, cancel := l.r.ctx, context.CancelFunc(func() {})
	if limit := l.r.cfg.ConnectTimeout; limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
	}
	l.r.lookups.Go(func() {
		defer cancel()
		err := t.lookup(ctx)
		l.post(func() {
			if p := l.pair(me); p != nil {
				p.lookedUp(t, err)
			}
		})
	})
}

func (p *pair) lookedUp(t *target, err error) {
	if exhausted(err) {
		p.setStarved(true)
		p.tryLater(err)
		return
	}
	addrs, _ := t.addrs(time.Now())
	if len(addrs) == 0 { // else an earlier answer is better than none
		if err == nil {
			err = errors.New("no address")
		}
		p.targetFailed(fmt.Errorf("lookup: %w", err))
		return
	}
	p.attempt.addrs = addrs
	p.tryAddr()
}

// tryAddr starts to connect to the first of the target's addresses that are left.
func (p *pair) tryAddr() {
	p.attempt.retry = false
	err := p.connect()
	p.setStarved(exhausted(err))
	switch {
	case err == nil, errors.Is(err, unix.EINPROGRESS):
		p.loop.timers.set(p, p.connectBy())
		if err == nil {
			p.server.writable = true
			p.connected(true)
		}
	case exhausted(err), errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EAGAIN):
		p.tryLater(err)
	default:
		p.addrFailed(err)
	}
}

// connect makes a socket and has it connect.
func (p *pair) connect() error {
	t := p.attempt.targets[0]
	sa, family := p.attempt.sockaddr.unixAddr(t.path)
	if !t.unix {
		sa, family = p.attempt.sockaddr.ip(p.attempt.addrs[0], t.port)
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	p.server = end{fd: fd, tcp: !t.unix, plain: !t.unix}
	if p.server.tcp {
		err = p.loop.r.opts.apply(fd)
	}
	var result error
	if err == nil {
		if result = unix.Connect(fd, sa); result == nil || errors.Is(result, unix.EINPROGRESS) {
			err = p.watch(&p.server)
		} else {
			err = os.NewSyscallError("connect", result)
		}
	}
	if err != nil {
		return errors.Join(err, p.server.close(false))
	}
	return result
}

// connectBy returns when the present address is given up: its share of the target's time.
func (p *pair) connectBy() time.Duration {
	a := &p.attempt
	if a.by == 0 {
		return 0
	}
	left := a.by - p.loop.now
	if n := time.Duration(len(a.addrs)); n > 1 {
		left = min(left, max(left/n, minConnect))
	}
	return p.loop.now + max(left, 1)
}

// tryLater tries the same again after a while. What is lacking is the host's or the process's, not the target's.
func (p *pair) tryLater(err error) {
	a := &p.attempt
	a.retry, a.err = true, err
	a.delay = min(max(2*a.delay, minBackoff), maxBackoff)
	next := p.loop.now + a.delay
	if a.by > 0 {
		next = min(next, a.by)
	}
	p.loop.timers.set(p, next)
}

// setStarved tells the relay whether the pair waits for a descriptor: nobody takes one for a new client then.
func (p *pair) setStarved(now bool) {
	switch a := &p.attempt; {
	case now && !a.starved:
		p.loop.r.starved.Add(1)
	case !now && a.starved:
		p.loop.r.starved.Add(-1)
	}
	p.attempt.starved = now
}

// connectTimeUp is timeUp for a pair that is connecting.
func (p *pair) connectTimeUp() {
	a := &p.attempt
	expired := a.by > 0 && p.loop.now >= a.by
	switch {
	case a.retry && expired:
		p.end(Failed, fmt.Errorf("connect to %s: %w", a.targets[0].name, a.err), true)
	case a.retry && len(a.addrs) == 0 && !a.targets[0].unix:
		p.lookup(a.targets[0])
	case a.retry:
		p.tryAddr()
	default:
		p.addrFailed(os.ErrDeadlineExceeded)
	}
}

// connected looks at what became of the connect. well says that nothing can have gone wrong.
func (p *pair) connected(well bool) {
	if p.server.fd < 0 {
		return // an event of a socket that was given up
	}
	var err error
	if !well {
		err = socketError(p.server.fd)
	}
	reached := err == nil || p.server.tcp && wasConnected(err)
	if !reached {
		p.addrFailed(err)
		return
	}
	t := p.attempt.targets[0]
	if t.ephemeral && localPort(p.server.fd) == t.port && p.self(t) {
		p.addrFailed(errSelf)
		return
	}
	if p.loop.r.cfg.Closed != nil {
		if sa, err := unix.Getsockname(p.server.fd); err == nil {
			p.localAddr = addrString(sa)
		}
	}
	p.state = open
	t.active.Add(1)
	p.loop.r.targetReached(t)
	p.server.broken = false
	p.moved = p.loop.now
	p.rearm()
	if err != nil {
		p.breakOff(&p.server, err)
		return
	}
	p.pump()
}

// wasConnected reports whether a TCP socket with the error err has been connected: a reset in answer to a connect says
// ECONNREFUSED (tcp_reset). The target was reached then, and may have said something before it reset.
func wasConnected(err error) bool {
	return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// errSelf is the connect that met itself: nobody listens, and the kernel chose the very port that is connected to.
var errSelf = fmt.Errorf("connected to itself: %w", unix.ECONNREFUSED)

// self reports whether the connection to t is one to itself.
func (p *pair) self(t *target) bool {
	sa, err := unix.Getsockname(p.server.fd)
	return err == nil && addrPort(sa) == netip.AddrPortFrom(p.attempt.addrs[0].Unmap(), uint16(t.port))
}

// addrFailed goes on with the target's next address, or with the next target.
func (p *pair) addrFailed(err error) {
	a := &p.attempt
	_ = p.server.close(false) // it is not connected
	if len(a.addrs) > 1 && (a.by == 0 || p.loop.now < a.by) {
		a.addrs, a.err = a.addrs[1:], err
		p.tryAddr()
		return
	}
	p.targetFailed(err)
}

// targetFailed goes on with the next target, or gives up.
func (p *pair) targetFailed(err error) {
	a := &p.attempt
	t := a.targets[0]
	p.loop.r.targetFailed(t, err)
	if len(a.targets) > 1 {
		a.targets = a.targets[1:]
		p.tryTarget()
		return
	}
	// The client asked for a connection that is not to be had. A FIN would say that it had been served.
	cause := ConnectFailed
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, unix.ETIMEDOUT) {
		cause = ConnectTimeout
	}
	p.end(cause, fmt.Errorf("connect to %s: %w", t.name, err), true)
}
