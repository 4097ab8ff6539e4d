//go:build linux

package pipe

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

// TestEndingsOverNetwork plays the endings between three hosts, the proxy in a process of its own on the one in the
// middle, where all sockets are its own and can be counted.
func TestEndingsOverNetwork(t *testing.T) {
	n := newNetwork(t)
	target := n.listen(t)
	r := n.proxy(t, Config{Targets: []string{target.Addr().String()}})
	before := r.status()
	for _, c := range cells(endings) {
		t.Run(c.String(), func(t *testing.T) { c.compareOver(t, n, target, r, before) })
	}
	after := r.stop()
	if got, want := after.Holdings["socket"], before.Holdings["socket"]-1; got != want {
		t.Errorf("at the end %d sockets, want %d, the listener being closed", got, want)
	}
}

// proxy starts a proxy on the host in the middle.
func (n *network) proxy(tb testing.TB, cfg Config) *remote {
	tb.Helper()
	return spawn(tb, order{Config: cfg, Listen: clientSide + ":0"}, n.middle.launch(tb))
}

func (c *cell) compareOver(t testing.TB, n *network, target *net.TCPListener, r *remote, before status) {
	accept := func() duplex { return own(t, must[net.Conn](t)(target.Accept())) }
	check(t, target.SetDeadline(time.Now().Add(patience)))
	a, b := c.play(t, n.dial(t, target.Addr().String()), accept())
	wantClient, wantServer := a.sees(b), b.sees(a)
	hangUp(a, b)

	r.tb = t
	earlier := r.status().Stats.Accepted
	client, server := n.dial(t, r.addr), accept()
	r.await("connected", func(s status) bool { return s.Stats.Targets[0].Connected == earlier+1 })
	a, b = c.play(t, client, server)
	s := r.await("connection closed", func(s status) bool { return s.Stats.Active == 0 })
	if n := s.Holdings["socket"]; n != before.Holdings["socket"] {
		t.Errorf("%d sockets with no connection, were %d", n, before.Holdings["socket"])
	}
	c.wantSeen(t, a, b, wantClient)
	c.wantSeen(t, b, a, wantServer)
	if len(s.Ended) == 0 || !slices.Contains(c.cause(c), s.Ended[len(s.Ended)-1]) {
		t.Errorf("causes so far %v, want the last to be of %v", s.Ended, c.cause(c))
	}
	hangUp(a, b)
	awaitNoSockets(r, before)
}

// awaitNoSockets waits until the proxy's host has no more TCP sockets than before. "inuse" is the namespace's own and has
// orphans in it; the kernel's count of orphans is one for all namespaces.
func awaitNoSockets(r *remote, before status) {
	r.tb.Helper()
	r.await("all sockets of the host gone", func(s status) bool { return s.TCP["inuse"] <= before.TCP["inuse"] })
}

// A vanishing is what happens to the connections of a host of which no word comes any more.
type vanishing struct {
	name   string
	by     party
	cfg    Config
	phases []phase
	want   func(phase) string // what the other host sees
	causes []Cause
}

func (v *vanishing) String() string { return v.name }

// dead are the limits that find a dead peer, as low as they can be.
var dead = Config{
	IdleTimeout: -1, HalfCloseTimeout: -1,
	KeepAlive: time.Second, KeepAliveInterval: time.Second, KeepAliveCount: 1, UserTimeout: 2 * time.Second,
}

var vanishings = []*vanishing{
	{"client", byClient, dead, allPhases, reset, []Cause{ClientDead}},
	{"server", byServer, dead, allPhases, reset, []Cause{ServerDead}},
	{"both", byBoth, dead, allPhases, reset, []Cause{ClientDead, ServerDead}},
	{
		// The FIN to the client has nobody to arrive at. Its socket, an orphan then, has the user timeout.
		"client, without keepalive", byClient,
		Config{KeepAlive: -1, IdleTimeout: 2 * time.Second, HalfCloseTimeout: -1, UserTimeout: time.Second},
		[]phase{beforeData, afterData}, func(phase) string { return atEnd }, []Cause{Idle},
	},
}

func reset(phase) string { return atReset }

// TestVanish cuts the cable of a host. Without the proxy the other side would wait: for ever, or as long as it likes.
func TestVanish(t *testing.T) {
	networks := map[*vanishing]*network{}
	for _, v := range vanishings {
		networks[v] = newNetwork(t)
	}
	together(t, vanishings, func(v *vanishing, tb testing.TB) { v.play(tb, networks[v]) })
}

// play has one connection in each phase when the cable is cut.
func (v *vanishing) play(tb testing.TB, n *network) {
	target := n.listen(tb)
	check(tb, target.SetDeadline(time.Now().Add(patience)))
	cfg := v.cfg
	cfg.Targets = []string{target.Addr().String()}
	r := n.proxy(tb, cfg)
	before := r.status()
	var ends [][2]*peer
	for _, ph := range v.phases {
		client := n.dial(tb, r.addr)
		a, b := peers(tb, client, own(tb, must[net.Conn](tb)(target.Accept())))
		ph.begin(tb, a, b)
		ends = append(ends, [2]*peer{a, b})
	}
	time.Sleep(250 * time.Millisecond) // what is on its way is acknowledged then, a delayed ACK included
	if v.by != byServer {
		n.client.cut(tb, toMiddle)
	}
	if v.by != byClient {
		n.server.cut(tb, toMiddle)
	}
	for i, e := range ends {
		v.wantSeen(tb, v.phases[i], e[0], e[1])
	}
	s := r.await("all closed", func(s status) bool { return s.Stats.Active == 0 })
	if len(s.Ended) != len(ends) || slices.ContainsFunc(s.Ended, func(c Cause) bool { return !slices.Contains(v.causes, c) }) {
		tb.Errorf("causes %v, want %d of %v", s.Ended, len(ends), v.causes)
	}
	if n := s.Holdings["socket"]; n != before.Holdings["socket"] {
		tb.Errorf("%d sockets with no connection, were %d", n, before.Holdings["socket"])
	}
	for _, e := range ends {
		e[0].hush()
		e[1].hush()
		hangUp(e[:]...)
	}
	awaitNoSockets(r, before)
}

// wantSeen checks what the one sees that has not vanished.
func (v *vanishing) wantSeen(tb testing.TB, ph phase, client, server *peer) {
	tb.Helper()
	p, other := server, client
	switch v.by {
	case byBoth:
		return
	case byServer:
		p, other = client, server
	}
	p.awaitEnd()
	p.hush()
	if got := p.sees(other); got.end != v.want(ph) {
		tb.Errorf("%s: %s sees %d bytes, %s; want %s", ph, p.name, got.got, got.end, v.want(ph))
	}
	if ph == afterData && p.got.Load() != megabyte {
		tb.Errorf("%s got %d bytes of a megabyte", p.name, p.got.Load())
	}
}

// TestVanishedTarget has a server that vanished before the client came.
func TestVanishedTarget(t *testing.T) {
	n := newNetwork(t)
	r := n.proxy(t, Config{Targets: []string{fmt.Sprintf("%s:%d", serverAddr, 1)}, ConnectTimeout: 500 * time.Millisecond})
	before := r.status()
	n.server.cut(t, toMiddle)
	wantReset(t, own(t, n.dial(t, r.addr)))
	s := r.await("closed", func(s status) bool { return s.Stats.Active == 0 && s.Stats.Accepted == 1 })
	if !slices.Equal(s.Ended, []Cause{ConnectTimeout}) {
		t.Errorf("causes %v, want %s", s.Ended, ConnectTimeout)
	}
	awaitNoSockets(r, before)
}
