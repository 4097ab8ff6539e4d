//go:build linux

package pipe

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// What a pair is doing.
const (
	closed     = iota // nothing: its place is free
	connecting        // there is no connection to a target yet
	open              // bytes may move
	lingering         // one side is gone; what it sent before its FIN is still on its way to the other
)

// minConnect is the least time that an address is tried for, when the time of its target is shared by several.
const minConnect = 2 * time.Second

// A pair is a client's connection joined with one to a target. It belongs to a loop and is reused.
type pair struct {
	loop  *loop
	slot  int32
	gen   uint32 // counts the uses of the slot, so that events of an earlier one are known
	state int
	ready bool // in loop.ready

	client, server end
	up, down       direction // client to server, server to client

	when     time.Duration // the timer's time
	timerPos int           // in loop.timers; -1: not there

	began   time.Duration // accepted; like all times here since the relay's epoch
	moved   time.Duration // when a byte last moved, in either direction: the idle clock
	nudged  bool          // the timer is set to try a write again
	pending int           // bytes not yet acknowledged by the peers at the last look

	attempt attempt
	linger  linger

	// Only for Config.Closed.
	id         uint64
	clientAddr string
	localAddr  string
}

// An attempt is the way of a pair to its target.
type attempt struct {
	targets  []*target     // still to be tried, the present one first
	addrs    []netip.Addr  // of the present one, still to be tried, the present one first
	by       time.Duration // when the present target is given up
	retry    bool          // nothing is under way: what was lacking is tried again when the timer fires
	delay    time.Duration // of that
	starved  bool          // counted in relay.starved
	sockaddr sockaddr
	err      error // what the last try failed with
}

// An end is one socket of a pair.
type end struct {
	fd       int  // -1: none
	tcp      bool // or else a unix socket
	plain    bool // TCP, of which a short read tells that there is no more
	readable bool // a read may find something
	writable bool // a write may be taken
	hangup   bool // a FIN or an error has come in: read until it shows
	urgent   bool // urgent data has come in, where reads stop short
	broken   bool // an error has come in
	reset    bool // and has been told: that nothing is left to read is no FIN then
}

func newPair(l *loop, slot int32) *pair {
	p := &pair{loop: l, slot: slot, timerPos: -1}
	p.client.fd, p.server.fd = -1, -1
	return p
}

// begin starts the pair with the accepted connection fd.
func (p *pair) begin(id uint64, fd int, ln *Listener) {
	l := p.loop
	p.state, p.id, p.began, p.moved, p.pending, p.ready = connecting, id, l.now, l.now, 0, false
	p.nudged = false
	p.clientAddr, p.localAddr = "", ""
	p.client = end{fd: fd, tcp: ln.tcp, plain: ln.plain, writable: true}
	p.server = end{fd: -1}
	p.up.begin(&p.client, &p.server, &l.r.count.bytesUp)
	p.down.begin(&p.server, &p.client, &l.r.count.bytesDown)
	p.attempt = attempt{targets: l.r.order(p.attempt.targets, time.Now())}
	if err := p.greet(ln); err != nil {
		p.end(causeOf(err, true), fmt.Errorf("client: %w", err), true)
		return
	}
	p.tryTarget()
}

// greet prepares the client's socket, and what is to be told of it.
func (p *pair) greet(ln *Listener) error {
	if err := p.watch(&p.client); err != nil {
		return err
	}
	cfg := &p.loop.r.cfg
	if err := p.loop.r.prepare(p.client.fd, ln); err != nil {
		return err
	}
	if cfg.Closed != nil {
		if sa, err := unix.Getpeername(p.client.fd); err == nil {
			p.clientAddr = addrString(sa)
		}
	}
	if !cfg.ProxyProtocol {
		return nil
	}
	header, err := proxyHeader(p.client.fd)
	p.up.prepend(header)
	return err
}

// prepare sets what an accepted socket does not have from its listener.
func (r *relay) prepare(fd int, ln *Listener) error {
	switch {
	case !ln.tcp:
		return nil
	case ln.inherited: // what was in the backlog before the listener was ours may lack its options
		return r.opts.applyTo(fd, ln.plain)
	}
	return r.opts.spread(fd)
}

// watch has the loop told of what happens to e, once for each change.
func (p *pair) watch(e *end) error {
	side := int32(0)
	if e == &p.server {
		side = 1
	}
	return p.loop.watch(e.fd, unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET,
		Fd:     p.slot<<1 | side, Pad: int32(p.gen),
	})
}

// event takes in what happened to one of the sockets.
func (p *pair) event(client bool, events uint32) {
	e := &p.server
	if client {
		e = &p.client
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0 {
		e.readable = true
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e.writable = true
	}
	e.hangup = e.hangup || events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	e.urgent = e.urgent || events&unix.EPOLLPRI != 0
	e.broken = e.broken || events&unix.EPOLLERR != 0
	switch {
	case p.state == open:
		p.pump()
	case p.state == lingering:
		p.keepLingering()
	case client && e.broken:
		p.end(ClientLeft, socketError(e.fd), true)
	case !client && e.writable:
		p.connected(events&(unix.EPOLLERR|unix.EPOLLHUP) == 0)
	}
}

// pump moves what there is to be moved, and ends the pair if that was the end.
func (p *pair) pump() {
	more := p.up.move(p)
	if p.state == open {
		more = p.down.move(p) || more
	}
	switch {
	case p.state != open:
		return
	case p.up.done && p.down.done:
		p.end(Finished, nil, false)
		return
	case p.client.broken:
		p.breakOff(&p.client, socketError(p.client.fd))
	case p.server.broken:
		p.breakOff(&p.server, socketError(p.server.fd))
	}
	if more && p.state == open {
		p.again()
	}
}

// again asks the loop for another turn.
func (p *pair) again() {
	if !p.ready {
		p.ready = true
		p.loop.ready = append(p.loop.ready, ref{slot: p.slot, gen: p.gen})
	}
}

// turn is that turn.
func (p *pair) turn() {
	p.ready = false
	switch p.state {
	case open:
		p.pump()
	case lingering:
		p.keepLingering()
	}
}

// breakOff ends the pair because e has failed with err. What e had sent before that is passed on as far as the other
// side takes it now; then the other side is reset.
//
// If e had sent its FIN before, its stream was whole, and all of it is passed on first. A proxy's buffers would
// otherwise make a loss likely that hardly happens without: the last megabytes of an answer, because its reader, not
// yet at their end, has said something to a server that has closed.
func (p *pair) breakOff(e *end, err error) {
	e.broken = false
	if err == nil {
		return // told by a read or write before
	}
	d, other := &p.up, &p.server
	if e == &p.server {
		d, other = &p.down, &p.client
	}
	e.readable, e.hangup = true, true
	e.reset = !e.sentFIN(d.taken(), err)
	d.flush(p)
	err = fmt.Errorf("%s: %w", p.name(e), err)
	cause := causeOf(err, e == &p.client)
	if d.ended || !e.reset {
		p.startLingering(linger{d: d, other: other, cause: cause, err: err})
		return
	}
	p.end(cause, err, true)
}

func (p *pair) name(e *end) string {
	if e == &p.client {
		return "client"
	}
	return "server"
}

// nudgeAfter is when a write is tried again for which the kernel will not call.
const nudgeAfter = 20 * time.Millisecond

// blocked notes that e takes no more. The kernel tells when acknowledged bytes have made room. But it also refuses bytes
// when it is short of TCP memory, and if none are under way then, nothing is ever told: there was room all the time.
func (p *pair) blocked(e *end) {
	e.writable = false
	if e.tcp && p.state == open && unacknowledged(e.fd) == 0 {
		p.nudged = true
		p.rearm()
	}
}

// nudge tries again.
func (p *pair) nudge() {
	p.nudged = false
	p.client.writable, p.server.writable = true, true
	p.pump()
}

// half notes that a direction has ended, and that the other has its own limit from now on.
func (p *pair) half() {
	p.moved = p.loop.now
	p.pending = 0
	p.rearm()
}

// limit returns for how long no byte may move, and what it means if none has. It is not positive if there is none.
func (p *pair) limit() (time.Duration, Cause) {
	cfg := &p.loop.r.cfg
	limit, cause := cfg.IdleTimeout, Idle
	if half := cfg.HalfCloseTimeout; (p.up.done || p.down.done) && half > 0 && (limit <= 0 || half < limit) {
		return half, HalfClosed
	}
	return limit, cause
}

// rearm sets the timer to when the limits that hold now may be reached.
func (p *pair) rearm() {
	limit, _ := p.limit()
	next := time.Duration(0)
	if limit > 0 {
		next = min(p.moved+limit, p.loop.now+limit/4+1) // for the sake of look
	}
	if p.nudged && (next == 0 || p.loop.now+nudgeAfter < next) {
		next = p.loop.now + nudgeAfter
	}
	if p.state == lingering && (next == 0 || p.loop.now+p.linger.delay < next) {
		next = p.loop.now + p.linger.delay
	}
	if life := p.loop.r.cfg.Lifetime; life > 0 && (next == 0 || p.began+life < next) {
		next = p.began + life
	}
	p.loop.timers.set(p, next)
}

// timeUp looks at the clocks, since one of them may have run out.
func (p *pair) timeUp() {
	switch p.state {
	case connecting:
		p.connectTimeUp()
		return
	case lingering:
		p.linger.other.writable = true // see blocked
		p.keepLingering()
		if p.state == closed {
			return
		}
	}
	if p.nudged && p.state == open {
		p.nudge()
		if p.state == closed {
			return
		}
	}
	life := p.loop.r.cfg.Lifetime
	if life > 0 && p.loop.now >= p.began+life {
		p.end(Lifetime, fmt.Errorf("older than %s", life), true)
		return
	}
	p.look()
	limit, cause := p.limit()
	if limit <= 0 || p.loop.now < p.moved+limit {
		p.rearm()
		return
	}
	// A FIN says that the stream is whole. It may be, as far as one can know, unless something was under way.
	whole := !p.up.done && !p.down.done && p.pending == 0 && !p.up.holds() && !p.down.holds()
	p.end(cause, fmt.Errorf("no byte moved for %s", limit), !whole)
}

// look lets bytes count as moved that have left the proxy and were acknowledged since the last look. A send buffer
// holds megabytes, which a slow peer may take longer to read than the idle limit, while nothing moves that a read or
// write could see.
func (p *pair) look() {
	n := unacknowledged(p.client.fd) + unacknowledged(p.server.fd)
	if n != p.pending { // more than at the last look is what was written since, of which some may have been acknowledged
		p.moved = p.loop.now
	}
	p.pending = n
}

// end closes the pair: with a reset to both sides, or else by a FIN behind all that was written.
func (p *pair) end(cause Cause, err error, reset bool) {
	if p.state == closed {
		return
	}
	p.setStarved(false)
	err = errors.Join(err, p.client.close(reset), p.server.close(reset))
	l := p.loop
	if p.state != connecting {
		p.attempt.targets[0].active.Add(^uint64(0))
	}
	if l.r.cfg.Closed != nil {
		l.r.cfg.Closed(p.tell(cause, err))
	}
	p.up.rest, p.down.rest, p.linger = nil, nil, linger{}
	p.state = closed
	l.r.count.closed[cause].Add(1)
	l.release(p)
}

func (p *pair) tell(cause Cause, err error) Connection {
	c := Connection{
		ID: p.id, Client: p.clientAddr, Start: p.loop.r.epoch.Add(p.began), Duration: time.Since(p.loop.r.epoch) - p.began,
		BytesUp: p.up.bytes, BytesDown: p.down.bytes, Cause: cause, Err: err,
	}
	if p.state != connecting {
		c.Target, c.Local = p.attempt.targets[0].name, p.localAddr
	}
	return c
}

// close closes the socket, if there is one.
func (e *end) close(reset bool) error {
	if e.fd < 0 {
		return nil
	}
	var err error
	if reset && e.tcp {
		linger := unix.Linger{Onoff: 1}
		err = os.NewSyscallError("setsockopt", unix.SetsockoptLinger(e.fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger))
	}
	err = errors.Join(err, os.NewSyscallError("close", unix.Close(e.fd)))
	e.fd = -1
	return err
}

// socketError returns the error that is pending on a socket, nil if there is none.
func socketError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if n == 0 {
		return nil
	}
	return unix.Errno(n)
}
