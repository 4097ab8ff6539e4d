package pipe

import (
	"context"
	"net"
)

// A Listener is a listening socket for [Proxy.Serve].
type Listener struct {
	ln net.Listener
}

// Listen announces on addr, which is a host:port as for net.Listen or "unix:" and a path, for a proxy with the
// configuration c; Targets need not be set. The sockets that it accepts have keepalive and user timeout as c says, and
// none in leaky mode, already while they wait to be accepted. Multipath TCP is off: a diagnosis by TCP sockets could
// not see it.
func Listen(ctx context.Context, addr string, c Config) (*Listener, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	// Linux hands a listener's options down to what it accepts. KeepAlive -1 keeps package net from setting its own.
	lc := net.ListenConfig{KeepAlive: -1, Control: c.withDefaults().sockopts().control}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Listener{ln: ln}, nil
}

// Addr returns the address that l listens on, as [Config.Targets] writes one.
func (l *Listener) Addr() string { return l.ln.Addr().String() }

// Close stops listening. [Proxy.Serve] does so itself at its end.
func (l *Listener) Close() error { return l.ln.Close() }
