//go:build linux

package pipe

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"
)

// A Mode says how a [Proxy] joins its two sockets.
type Mode int

const (
	// Fixed bounds every wait and passes on every way that a connection can end.
	Fixed Mode = iota
	// Leaky passes on data and close, and waits for everything else for ever.
	Leaky
)

// String returns "fixed" or "leaky", and "unknown(N)" for any other value.
func (m Mode) String() string {
	switch m {
	case Fixed:
		return "fixed"
	case Leaky:
		return "leaky"
	}
	return fmt.Sprintf("unknown(%d)", int(m))
}

// A Leak is a bug of the leaky mode.
type Leak int

const (
	// NoTimeout passes on data and close, and has neither keepalive nor time-out: sockets of silent peers stay.
	NoTimeout Leak = iota
	// HalfClose copies each direction to its end and closes only when both have ended, without passing a FIN on: each
	// waits for the other.
	HalfClose
	// ErrorIgnored closes on a FIN, and on an error closes nothing.
	ErrorIgnored
	// NoRead passes on the beginning of an answer, and then neither reads the rest nor closes.
	NoRead
)

var leakNames = [...]string{"no-timeout", "half-close", "error-ignored", "no-read"}

// String returns the leak's name, and "unknown(N)" for any other value.
func (l Leak) String() string {
	if l >= 0 && int(l) < len(leakNames) {
		return leakNames[l]
	}
	return fmt.Sprintf("unknown(%d)", int(l))
}

// Leaks returns all leaks.
func Leaks() []Leak { return []Leak{NoTimeout, HalfClose, ErrorIgnored, NoRead} }

// ParseLeak returns the leak that prints as s.
func ParseLeak(s string) (Leak, error) {
	for _, l := range Leaks() {
		if s == l.String() {
			return l, nil
		}
	}
	return 0, fmt.Errorf("parse leak %q: want %s", s, strings.Join(leakNames[:], ", "))
}

// ParseMode returns the mode that prints as s. It fails on anything but "fixed" and "leaky".
func ParseMode(s string) (Mode, error) {
	for _, m := range []Mode{Fixed, Leaky} {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("parse mode %q: want fixed or leaky", s)
}

// A Config says where a [Proxy] connects to and how long it waits for what.
//
// Only Targets is required. In every duration 0 stands for the default and, where the field says so, a negative value
// for "off". The leaky mode has no limits: it uses the first of Targets, Mode, Leak, Logf and Closed alone.
type Config struct {
	// Targets are where to connect to: each a host:port, with an empty host for this host as in package net, or
	// "unix:" and the path of a socket, or "unix:@" and an abstract name. With several, connections go round. One that
	// cannot be reached is passed over for a while, which grows with every further failure.
	Targets []string

	// Mode is Fixed unless set.
	Mode Mode

	// Leak is the bug of the leaky mode, NoTimeout unless set.
	Leak Leak

	// KeepAlive is how long a socket is silent before the kernel probes its peer (TCP_KEEPIDLE). It is rounded up to
	// whole seconds, 32767 at most, and each socket takes up to a quarter less, lest all be probed at once. Default 60s;
	// negative: no keepalive.
	KeepAlive time.Duration

	// KeepAliveInterval is the time between unanswered probes (TCP_KEEPINTVL), in seconds as KeepAlive. Default 15s.
	KeepAliveInterval time.Duration

	// KeepAliveCount is how many unanswered probes end a connection (TCP_KEEPCNT), 127 at most. Default 4. The kernel
	// ignores it in favour of UserTimeout when that is on, so the default UserTimeout leaves time for all probes.
	KeepAliveCount int

	// IdleTimeout closes both sockets when no byte has moved in either direction for so long, whether because neither
	// peer sends or because one does not read. Bytes that a peer acknowledges after they have left the proxy count as
	// moved. While such bytes are outstanding the limit may be exceeded by a quarter. Default 60s; negative: no limit.
	IdleTimeout time.Duration

	// HalfCloseTimeout bounds the other direction once one has ended. It is measured as IdleTimeout is, from the last
	// byte moved or the end of the first direction, whichever is later: a long answer to a finished request is not cut
	// while it makes progress. IdleTimeout holds as well, so the shorter one counts. Default 30s; negative: no limit
	// of its own.
	HalfCloseTimeout time.Duration

	// UserTimeout is how long sent data may stay unacknowledged, or a peer's window closed, before the kernel gives the
	// connection up (TCP_USER_TIMEOUT), rounded up to milliseconds. It also bounds unanswered keepalive probes.
	// Default: KeepAlive + KeepAliveInterval × KeepAliveCount, or 60s without keepalive; negative: off.
	UserTimeout time.Duration

	// ConnectTimeout bounds the connection to a target, name lookup included. Default 10s; negative: the kernel's own
	// limit alone.
	ConnectTimeout time.Duration

	// Lifetime ends a connection however busy it is. Default and negative: no limit.
	Lifetime time.Duration

	// MaxConnections is how many connections there may be at once. Others wait in the listener's backlog, unaccepted.
	// Default: as many as the descriptor limit leaves room for; negative: no limit but that of the system.
	MaxConnections int

	// ProxyProtocol tells the target who the client is, by a PROXY protocol header of version 2 before the first byte.
	ProxyProtocol bool

	// Drain is how long open connections may go on after the end of Serve's context before they are cut. Default 10s;
	// negative: not at all.
	Drain time.Duration

	// Loops is how many threads the fixed mode has. Default: GOMAXPROCS. With GOMAXPROCS one higher the scheduler has no
	// reason to take a loop's processor away whenever it waits, which saves a tenth of the CPU of short connections.
	Loops int

	// Logf, if set, is told in one line what goes wrong outside of any one connection: accepting, or a target that went
	// down or came back. It must be safe for concurrent use. It is never called after Serve has returned.
	Logf func(format string, args ...any)

	// Closed, if set, is told of each connection that has ended. It must be safe for concurrent use, and quick. It is
	// never called after Serve has returned.
	Closed func(Connection)
}

// Bounds of the kernel: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL and MAX_TCP_KEEPCNT in include/net/tcp.h, and the int of
// TCP_USER_TIMEOUT.
const (
	maxKeepAlive   = 32767 * time.Second
	maxProbes      = 127
	maxUserTimeout = math.MaxInt32 * time.Millisecond
)

// withDefaults returns c with every zero replaced by its default.
func (c Config) withDefaults() Config {
	c.KeepAlive = orDefault(c.KeepAlive, 60*time.Second)
	c.KeepAliveInterval = orDefault(c.KeepAliveInterval, 15*time.Second)
	c.KeepAliveCount = orDefault(c.KeepAliveCount, 4)
	c.IdleTimeout = orDefault(c.IdleTimeout, 60*time.Second)
	c.HalfCloseTimeout = orDefault(c.HalfCloseTimeout, 30*time.Second)
	c.UserTimeout = orDefault(c.UserTimeout, c.defaultUserTimeout())
	c.ConnectTimeout = orDefault(c.ConnectTimeout, 10*time.Second)
	c.Loops = orDefault(c.Loops, runtime.GOMAXPROCS(0))
	c.Drain = orDefault(c.Drain, 10*time.Second)
	return c
}

// defaultUserTimeout is the time that keepalive needs to find a dead peer. With less, the first lost probe would end
// the connection: a user timeout takes the place of the probe count (tcp_keepalive_timer).
func (c Config) defaultUserTimeout() time.Duration {
	if c.KeepAlive < 0 {
		return 60 * time.Second
	}
	return min(c.KeepAlive+c.KeepAliveInterval*time.Duration(c.KeepAliveCount), maxUserTimeout)
}

func orDefault[T time.Duration | int](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// check reports the first value that cannot be meant.
func (c Config) check() error {
	if c.Mode != Fixed && c.Mode != Leaky {
		return fmt.Errorf("mode %s: want fixed or leaky", c.Mode)
	}
	if c.KeepAlive > maxKeepAlive {
		return fmt.Errorf("keepalive %s: more than %s", c.KeepAlive, maxKeepAlive)
	}
	if c.KeepAliveInterval < 0 || c.KeepAliveInterval > maxKeepAlive {
		return fmt.Errorf("keepalive interval %s: want 1s to %s", c.KeepAliveInterval, maxKeepAlive)
	}
	if c.KeepAliveCount < 0 || c.KeepAliveCount > maxProbes {
		return fmt.Errorf("keepalive count %d: want 1 to %d", c.KeepAliveCount, maxProbes)
	}
	if c.UserTimeout > maxUserTimeout {
		return fmt.Errorf("user timeout %s: more than %s", c.UserTimeout, maxUserTimeout)
	}
	return nil
}
