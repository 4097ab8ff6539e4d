//go:build linux

package pipe

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// A phase says what has flowed when a connection begins to end.
type phase int

const (
	beforeData phase = iota
	amidData         // megabytes are under way in both directions
	afterData        // a megabyte has arrived each way, and nothing is under way
)

func (ph phase) String() string {
	return [...]string{"before data", "amid data", "after data"}[ph]
}

var allPhases = []phase{beforeData, amidData, afterData}

const megabyte = 1 << 20

// begin brings a connection to the phase.
func (ph phase) begin(t testing.TB, a, b *peer) {
	t.Helper()
	switch ph {
	case amidData:
		a.flow()
		b.flow()
		a.awaitGot(megabyte)
		b.awaitGot(megabyte)
	case afterData:
		var wg sync.WaitGroup
		wg.Go(func() { a.send(megabyte) })
		b.send(megabyte)
		wg.Wait()
		a.awaitGot(megabyte)
		b.awaitGot(megabyte)
	}
}

// A party is who ends a connection.
type party int

const (
	byClient party = iota
	byServer
	byBoth
)

func (w party) String() string { return [...]string{"client", "server", "both"}[w] }

// An ending is a way to end a connection.
type ending struct {
	name    string
	parties []party
	// end is what the one who ends it does. When both do, it is at the same time.
	end func(c *cell, p, other *peer)
	// react is what the other does meanwhile.
	react func(c *cell, p, other *peer)
	// cause returns those that a proxy may give.
	cause func(c *cell) []Cause
	// want, if set, says what the client and the server see of each other through a proxy. Else it is what they see
	// without one.
	want func(c *cell) (client, server string)
	// racy: amid data, the other is told of a FIN and then of a reset, or of a reset alone.
	racy bool
	cfg  Config // of the proxy
}

// A cell is one ending by one party in one phase.
type cell struct {
	*ending
	by    party
	phase phase
	alone bool // no other test runs meanwhile, so what this process holds can be counted
}

func (c *cell) String() string { return fmt.Sprintf("%s/%s/%s", c.name, c.by, c.phase) }

// cells returns every ending of the list by every party in every phase.
func cells(all []*ending) []*cell {
	var list []*cell
	for _, e := range all {
		for _, by := range e.parties {
			for _, ph := range allPhases {
				list = append(list, &cell{ending: e, by: by, phase: ph})
			}
		}
	}
	return list
}

func everyone() []party  { return []party{byClient, byServer, byBoth} }
func oneOfBoth() []party { return []party{byClient, byServer} }

// finishes is the end of one who has no more to send, and still reads.
func finishes(_ *cell, p, _ *peer) {
	p.hush()
	p.finish()
	p.awaitEnd()
}

// finishesToo is the answer to it.
func finishesToo(_ *cell, p, other *peer) {
	p.awaitEnd()
	finishes(nil, p, other)
}

// triesToSend is the answer to an end of both directions.
func triesToSend(_ *cell, p, other *peer) {
	p.awaitEnd()
	p.hush()
	eventually(p.t, other.name+" has left", other.left.Load)
	p.probe()
}

// aWindow is less than any first window, so that it arrives though nobody reads.
const aWindow = 8 << 10

// endings are those that have an observable end without the proxy.
var endings = []*ending{
	{
		name: "FIN", parties: everyone(), end: finishes, react: finishesToo,
		cause: always(Finished),
	},
	{
		name: "half-close then data", parties: everyone(),
		end: func(c *cell, p, _ *peer) {
			p.hush()
			if c.by == byBoth {
				p.send(megabyte) // with the FIN right behind it
			}
			p.finish()
			p.awaitEnd()
		},
		react: func(_ *cell, p, _ *peer) {
			p.awaitEnd()
			p.hush()
			for range 8 {
				p.send(megabyte / 8)
				time.Sleep(2 * time.Millisecond)
			}
			p.finish()
		},
		cause: always(Finished),
	},
	{
		name: "close", parties: everyone(), racy: true, end: func(_ *cell, p, _ *peer) {
			p.hush()
			p.leave(false)
		},
		react: triesToSend,
		cause: func(c *cell) []Cause {
			if c.by == byBoth {
				return append(resets(c), Finished) // a reset if one had unread data
			}
			return resets(c)
		},
	},
	{
		name: "close with unread data", parties: oneOfBoth(),
		end: func(c *cell, p, other *peer) {
			p.pause()
			least := 1 // the kernel counts a packet that was read in part as a whole, so little more may fit behind it
			if c.phase != amidData {
				least = aWindow
				other.send(aWindow)
			}
			eventually(p.t, "data to leave unread", func() bool { return p.unread() >= least })
			p.hush()
			p.leave(false)
		},
		react: triesToSend, cause: resets,
	},
	{
		name: "RST", parties: everyone(), end: func(_ *cell, p, _ *peer) {
			p.hush()
			p.leave(true)
		},
		react: triesToSend, cause: resets,
	},
	{
		name: "RST after FIN", parties: oneOfBoth(),
		end: func(_ *cell, p, other *peer) {
			p.hush()
			p.finish()
			eventually(p.t, other.name+" sees the FIN", other.ended.Load)
			p.leave(true)
		},
		react: triesToSend, cause: resets,
	},
	{
		name: "RST behind unread data", parties: oneOfBoth(),
		end: func(c *cell, p, other *peer) {
			other.pause()
			p.hush()
			if c.phase != amidData {
				p.send(aWindow)
			}
			p.leave(true)
			other.awaitClosed()
			other.read()
		},
		react: triesToSend, cause: resets,
	},
}

func always(all ...Cause) func(*cell) []Cause { return func(*cell) []Cause { return all } }

// resets are the causes of a reset by those who end the connection.
func resets(c *cell) []Cause {
	return [...][]Cause{{ClientReset}, {ServerReset}, {ClientReset, ServerReset}}[c.by]
}

// play runs the script on a new connection. It returns both ends, with what is left of them still open.
func (c *cell) play(t testing.TB, client, server duplex) (a, b *peer) {
	t.Helper()
	a, b = peers(t, client, server)
	c.phase.begin(t, a, b)
	var wg sync.WaitGroup
	do := func(f func(*cell, *peer, *peer), p, other *peer) {
		wg.Go(func() { f(c, p, other) })
	}
	switch c.by {
	case byClient:
		do(c.end, a, b)
		do(c.react, b, a)
	case byServer:
		do(c.end, b, a)
		do(c.react, a, b)
	case byBoth:
		do(c.end, a, b)
		do(c.end, b, a)
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return a, b
}

// compare plays the cell without a proxy and with one.
func (c *cell) compare(t testing.TB) {
	target := listen(t)
	accept := func() duplex { return own(t, must[net.Conn](t)(target.Accept())) }
	wantClient, wantServer := c.directly(t, target.Addr().String(), accept)

	before := holdings()
	cfg := c.cfg
	cfg.Targets = []string{target.Addr().String()}
	r := start(t, cfg)
	open := holdings()
	client, server := r.dial(t), accept()
	// A server may have accepted before the proxy knows. What comes until then is another test.
	eventually(t, "connected", func() bool { return r.Stats().Targets[0].Connected == 1 })
	a, b := c.play(t, client, server)
	r.gone(t)
	if c.alone {
		wantClosed(t, open, a, b)
	}
	c.wantSeen(t, a, b, wantClient)
	c.wantSeen(t, b, a, wantServer)
	c.wantCounts(t, r, a, b)
	hangUp(a, b)
	check(t, r.stop(t))
	if c.alone {
		wantHoldings(t, before)
	}
	wantNoSockets(t, portOf(t, r.addr), portOf(t, target.Addr().String()))
}

// wantClosed holds that a connection that the proxy counts as closed has no socket of the proxy any more.
func wantClosed(t testing.TB, before map[string]int, ends ...*peer) {
	t.Helper()
	n := holdings()["socket"] - before["socket"]
	for _, p := range ends {
		if !p.left.Load() {
			n--
		}
	}
	if n != 0 {
		t.Errorf("%d sockets of the proxy are left of a connection that it counts as closed", n)
	}
}

// directly returns what the client and the server are to see.
func (c *cell) directly(t testing.TB, addr string, accept func() duplex) (client, server outcome) {
	t.Helper()
	if c.want != nil {
		client.end, server.end = c.want(c)
		return client, server
	}
	conn := own(t, must[net.Conn](t)(net.Dial("tcp", addr)))
	a, b := c.play(t, conn, accept())
	defer hangUp(a, b)
	return a.sees(b), b.sees(a)
}

func hangUp(all ...*peer) {
	for _, p := range all {
		_ = p.conn.Close()
		p.reading.Wait()
	}
}

// wantSeen compares what p has seen with what it would have seen without the proxy.
func (c *cell) wantSeen(t testing.TB, p, other *peer, want outcome) {
	t.Helper()
	got := p.sees(other)
	if c.phase == amidData || c.want != nil {
		got.got, want.got = 0, 0 // what is under way at a reset may be lost, or not
	}
	if c.phase == amidData && c.racy && want.end != gone && (got.end == atClose || got.end == atReset) {
		got.end = want.end
	}
	if got != want {
		t.Errorf("%s: %d bytes, %s; without the proxy %d bytes, %s", p.name, got.got, got.end, want.got, want.end)
	}
}

// wantCounts compares the proxy's counts with what the ends know.
func (c *cell) wantCounts(t testing.TB, r *running, client, server *peer) {
	t.Helper()
	s, list := r.Stats(), r.ended()
	if s.Accepted != 1 || s.Active != 0 || s.TotalClosed() != 1 || len(list) != 1 {
		t.Fatalf("stats %+v and ended %+v, want one that has ended", s, list)
	}
	e := list[0]
	if !slices.Contains(c.cause(c), e.Cause) || s.Closed[e.Cause] != 1 {
		t.Errorf("cause %s, error %v, stats %+v; want of %v", e.Cause, e.Err, s, c.cause(c))
	}
	if e.BytesUp != s.BytesUp || e.BytesDown != s.BytesDown {
		t.Errorf("%d bytes up and %d down in %+v", e.BytesUp, e.BytesDown, s)
	}
	wantBetween(t, "bytes up", s.BytesUp, server, client)
	wantBetween(t, "bytes down", s.BytesDown, client, server)
}

// wantBetween checks a count of bytes written: no fewer than were received, no more than were sent.
func wantBetween(t testing.TB, what string, n uint64, to, from *peer) {
	t.Helper()
	if got, sent := uint64(to.got.Load()), uint64(from.sent.Load()); n < got || n > sent {
		t.Errorf("%d %s, though %d were sent and %d received", n, what, sent, got)
	}
}

func TestEndings(t *testing.T) {
	for _, c := range cells(endings) {
		c.alone = true
		t.Run(c.String(), func(t *testing.T) { c.compare(t) })
	}
}

// aLimit is more than what a busy machine holds up bytes that are under way.
const aLimit = 2 * time.Second

// silences have no end without a proxy. It must make one.
var silences = []*ending{
	{
		name: "silence", parties: everyone(), cfg: Config{IdleTimeout: aLimit, HalfCloseTimeout: -1},
		end: func(c *cell, p, _ *peer) {
			if c.phase != amidData {
				p.awaitEnd()
				return
			}
			p.pause()
			if c.by != byBoth {
				p.hush()
			}
			p.awaitClosed() // with bytes left in the proxy
			p.hush()
			p.read()
			p.awaitEnd()
		},
		react: func(_ *cell, p, _ *peer) {
			p.awaitEnd()
			p.hush()
		},
		want: func(c *cell) (client, server string) {
			if c.phase == amidData {
				return atReset, atReset
			}
			return atEnd, atEnd
		},
		cause: always(Idle),
	},
	{
		name: "half-close then silence", parties: oneOfBoth(), cfg: Config{IdleTimeout: -1, HalfCloseTimeout: aLimit},
		end: finishes,
		react: func(_ *cell, p, _ *peer) {
			p.awaitEnd()
			p.hush()
			p.awaitClosed()
			p.probe()
		},
		want: func(c *cell) (client, server string) {
			if c.by == byClient {
				return atReset, atClose
			}
			return atClose, atReset
		},
		cause: always(HalfClosed),
	},
}

func TestSilences(t *testing.T) {
	before := holdings()
	t.Run("cells", func(t *testing.T) { together(t, cells(silences), (*cell).compare) })
	wantHoldings(t, before)
}
