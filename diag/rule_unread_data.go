package diag

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

var unreadData = &Rule{
	Name:     "unread-data",
	Title:    "connections whose data the process does not read",
	Severity: Leak,
	Doc: Doc{
		Means: "Data of the peer has waited in the receive queue for the grace, and the process reads none of it: it has forgotten the connection, has paused it for good, or hangs. " +
			"What stands behind the data, the peer's end included, the process will never see; when the queue is full, the peer cannot send either.",
		Proof: "State ESTAB or FIN-WAIT-2 with Recv-Q over 0 and tcp_info.last_data_recv at or over the grace: for so long the youngest byte has waited. Nothing was read between two looks: " +
			"tcp_info.bytes_received less Recv-Q, which counts what the process has read, is the same in both.",
		Imitates: "A slow reader may keep its queue full, so that Recv-Q never changes, and still read: what it has read tells. In CLOSE-WAIT the peer's FIN counts as a byte of Recv-Q; " +
			"that state is close-wait's. A connection in an accept queue has no descriptor yet. A relay does not read what it cannot write on: where a connection that it made or accepted has carried the same bytes and is full, " +
			"that is said as an info. On one look (--settle 0) a slow reader cannot be told apart, so it is a risk. " +
			"So are a few small records of TLS: they may be session tickets, which OpenSSL leaves unread until the next read.",
		Todo: "Read from every connection that is open, or close it; let no handler wait without a time-out while its connection has data.",
		Advice: map[string]string{
			"":        "Read from every connection until it ends, or close it.",
			"node":    "Add a 'data' handler or call socket.resume(), and make sure that every socket.pause() and every pipe has its resume() or destroy().",
			"go":      "Keep one goroutine in conn.Read for every connection, or call conn.Close() when the last one returns (for net/http: read resp.Body to io.EOF and close it).",
			"java":    "Read the response to its end and close it (EntityUtils.consume, try-with-resources); in Netty, set autoRead or call ctx.read() after each message.",
			"python":  "Read the response to its end or close it (requests: `with` or response.close(); asyncio: await reader.read() in a task that is not forgotten).",
			"ruby":    "Read the response to its end, or close the socket in an ensure block.",
			"php":     "Read with stream_get_contents until feof, or call fclose.",
			"nginx":   "Keep send_timeout and proxy_read_timeout finite: nginx stops reading one side while the other does not take what it has.",
			"haproxy": "Set timeout client, timeout server and timeout tunnel: haproxy stops reading one side while the other does not take what it has.",
			"envoy":   "Set idle_timeout on the TCP proxy, and stream_idle_timeout and per_connection_buffer_limit_bytes on the listener.",
			"postgres": "Look in pg_stat_activity for the statement or lock that the backend waits for, and set statement_timeout and " +
				"lock_timeout.",
			"redis": "Look with SLOWLOG and CLIENT LIST for the command that blocks the main thread, and stop scripts that run for long (SCRIPT KILL).",
		},
	},
	Check: checkUnreadData,
	Unsettled: anyHeld(func(p *Pass, h *HeldSocket) bool {
		return unread(h, p.Uptime).AtLeast(p.Thresholds.Grace)
	}),
}

func checkUnreadData(p *Pass) {
	var proved, tickets, likely []*HeldSocket
	for i := range p.Proc.Held {
		h := &p.Proc.Held[i]
		switch {
		case !mayRead(h) || p.Claimed(h) || !unreadFor(p, h).AtLeast(p.Thresholds.Grace):
		case p.History.twice(h, readNothing) && h.Tickets:
			tickets = append(tickets, h)
		case p.History.twice(h, readNothing):
			proved = append(proved, h)
		case !p.History.seen(h):
			likely = append(likely, h)
		}
	}
	pressed, proved := underPressure(p, proved)
	more, likely := underPressure(p, likely)
	pressed = append(pressed, more...)
	p.claim(proved) // a connection with tickets may be idle, as any other
	for _, of := range []struct {
		list  []*HeldSocket
		doubt unreadDoubt
	}{{proved, unreadForSure}, {tickets, unreadTickets}, {likely, unreadOnce}, {pressed, unreadPressed}} {
		for _, g := range groupByPeer(of.list, keyOf) {
			p.Report(unreadFinding(p, g, of.doubt))
		}
	}
}

// mayRead: data waits. The byte of CLOSE-WAIT may be the FIN.
func mayRead(h *HeldSocket) bool {
	return h.RecvQ > 0 && (h.State == netlinkss.Estab || h.State == netlinkss.FinWait2)
}

// unread is how long something has waited in Recv-Q at the least: the youngest of it has waited since it came.
func unread(h *HeldSocket, uptime time.Duration) Span {
	if !mayRead(h) || !hasCounters(h.Socket) {
		return Span{}
	}
	span := clock(h.Info.LastDataRecv, sourceRecv, uptime)
	span.Exact = false
	return span
}

// unreadFor is the same by all looks: where none was read between two, what waited at the first waits yet, whatever came since.
func unreadFor(p *Pass, h *HeldSocket) Span {
	return p.History.lasted(h, func(h *HeldSocket) Span { return unread(h, p.Uptime) }, readNothing)
}

// readNothing: what the process has read of a connection is the same.
func readNothing(was, now *HeldSocket) bool {
	return was.RecvQ > 0 && hasCounters(was.Socket) && hasCounters(now.Socket) && taken(was.Socket) == taken(now.Socket)
}

// taken is how many bytes the process has read of a connection.
func taken(s *netlinkss.Socket) uint64 { return s.Info.BytesReceived - uint64(s.RecvQ) }

// unreadDoubt is what keeps unread data from being a leak.
type unreadDoubt uint8

const (
	unreadForSure unreadDoubt = iota
	unreadTickets             // the program has read all that was sent for it
	unreadOnce                // a slow reader
	unreadPressed             // what was read before cannot be written on
)

// fedBy is by how much what has waited must be older than what came last, for more to have come meanwhile.
const fedBy = 5 * time.Second

func unreadFinding(p *Pass, g *peerGroup[*HeldSocket], doubt unreadDoubt) *Finding {
	f := &Finding{
		Severity: Risk, Peer: g.Peer(), Direction: g.direction, LocalPort: g.localPort, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
		Why: "The kernel keeps what was received, and the connection with it, until the process reads or closes; its keepalive and time-outs do not ask whether anybody reads.",
	}
	var longest Span
	var ages []time.Duration
	var bytes uint64
	fed := false // more came to what waited already, so that the clock of the youngest of it tells no beginning
	for _, h := range g.items {
		f.Samples = append(f.Samples, sampleOf(h, p.Uptime))
		all, youngest := unreadFor(p, h), unread(h, p.Uptime)
		longest = longer(longest, all)
		ages, fed = append(ages, youngest.D), fed || all.D > youngest.D+fedBy
		bytes += uint64(h.RecvQ)
	}
	f.Message = fmt.Sprintf("%s leaves %d %s unread on %s %s, the longest for %s", Subject(p.Proc.Process),
		bytes, plural(int(min(bytes, 2)), "byte", "bytes"), count(len(g.items), "socket", "sockets"), g.towards(), longest)
	between := "the same in two looks: nothing was read"
	switch doubt {
	case unreadForSure:
		f.Severity = Leak
		if !fed {
			f.Onset = p.onset(ages, p.Thresholds.Grace, sourceRecv)
		}
	case unreadTickets:
		f.Message += "; it may be the session tickets of TLS, which OpenSSL leaves until the next read"
	case unreadOnce:
		f.Message += "; seen in one look, so it may be read slowly"
		between = "seen once"
	case unreadPressed:
		f.Severity = Info
		f.Message += "; the connections on which it passes the data on take no more for now: back pressure, no leak"
		f.Advice = "Bound the wait on both sides: an idle time-out, and TCP_USER_TIMEOUT for a peer that keeps its window shut."
		f.Why = "A relay that cannot write does not read, and so its peer waits as well. It goes on when the slow side does, or when that one is given up."
	}
	f.Evidence = []Evidence{
		{"sockets", strconv.Itoa(len(g.items)), p.Proc.joined()},
		{"unread bytes", strconv.FormatUint(bytes, 10), "Recv-Q"},
		{"unread", longest.String(), longest.Source},
		{"read between", between, "tcp_info.bytes_received less Recv-Q"},
		{"threshold", FormatDuration(p.Thresholds.Grace), "--grace"},
	}
	if doubt == unreadTickets {
		f.Evidence = append(f.Evidence, Evidence{"perhaps tickets", strconv.Itoa(len(g.items)), "what is unread: whole records of TLS, few and small"})
	}
	if doubt == unreadPressed {
		f.Evidence = append(f.Evidence, Evidence{"other leg full", strconv.Itoa(len(g.items)),
			"bytes read here and written there, and there as much back (tcp_info); tcp_info.notsent_bytes of the other leg over 0"})
	}
	f.Evidence = append(f.Evidence, watchOf(p, g.items)...)
	f.Evidence = append(f.Evidence, endsOf(g.items)...)
	f.Evidence = append(f.Evidence, optionsOf(g.items, optReceive, optUser)...)
	f.Evidence = append(f.Evidence, g.evidence()...)
	return f
}
