package diag

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

var closeWait = &Rule{
	Name:     "close-wait",
	Title:    "connections that the peer has ended and the process never closes",
	Severity: Leak,
	Doc: Doc{
		Means: "The peer has sent its FIN and the kernel has acknowledged it; the process holds the descriptor and does not close it. " +
			"CLOSE-WAIT has no time-out of its own: it lasts until the process calls close.",
		Proof: "State CLOSE-WAIT with an inode that one of the process's descriptors has; tcp_info.last_ack_recv at or over the grace, which the FIN restarted, " +
			"so it is a lower bound of the time in the state; nothing sent for as long. Recv-Q 0 says that the program was given the end of the stream, " +
			"Recv-Q of 1 or more that it did not even read to the end.",
		Imitates: "A brief CLOSE-WAIT is how every passive close looks. A half-closed stream that is still being answered moves data, and its acknowledgements keep the " +
			"clock young. Answers to keepalive probes keep it young, too: then a second look is taken, and what it cannot prove is a risk. " +
			"A connection in an accept queue is in CLOSE-WAIT without a descriptor and belongs to nobody yet.",
		Todo: "Close the connection when read returns 0 (the end event, EOF, -1), on every path, the error paths included.",
		Advice: map[string]string{
			"": "Close the descriptor when read returns 0, on every path.",
			"node": "Call socket.end() or socket.destroy() in the 'end' and 'close' handlers of both sockets (with allowHalfOpen: true nobody else does), " +
				"and keep a reader on the socket: without 'data' or resume() the end is never seen.",
			"go":       "Add defer conn.Close() (for net/http: defer resp.Body.Close()) where the connection is taken, and keep reading until io.EOF.",
			"java":     "Use try-with-resources for the socket or the response, and evict idle connections of the pool (setConnectionTimeToLive, evictIdleConnections).",
			"python":   "Use `with` for the connection or response, and close it when recv returns b''.",
			"ruby":     "Close the socket in an ensure block when read returns nil.",
			"php":      "Call fclose or curl_close when feof is true.",
			"nginx":    "Look for a module that keeps upstream connections, and set keepalive_timeout in the upstream below the server's own.",
			"haproxy":  "Set timeout client-fin and timeout server-fin, and finite timeout client and timeout server.",
			"envoy":    "Set idle_timeout of the connection pool below the upstream's own.",
			"postgres": "Set idle_session_timeout and client_connection_check_interval.",
			"redis":    "Set timeout in redis.conf.",
		},
	},
	Check: checkCloseWait,
	Unsettled: anyHeld(func(p *Pass, h *HeldSocket) bool {
		return h.State == netlinkss.CloseWait && maskedHeld(h, p.Thresholds, p.Uptime)
	}),
}

func checkCloseWait(p *Pass) {
	checkHalfClosed(p, closeWaitFinding, closeWaitProved, func(_ *Pass, h *HeldSocket) bool { return h.State == netlinkss.CloseWait })
}

// checkHalfClosed judges the sockets of a state whose only clock answers to keepalive probes may restart: what is proved leaks, what
// these may hide is a risk.
func checkHalfClosed(p *Pass, finding func(*Pass, *peerGroup[*HeldSocket], Severity) *Finding, proves, concerns func(*Pass, *HeldSocket) bool) {
	var proved, masked []*HeldSocket
	for i := range p.Proc.Held {
		h := &p.Proc.Held[i]
		switch {
		case !concerns(p, h) || p.Claimed(h):
		case proves(p, h):
			proved = append(proved, h)
		case maskedRisk(p, h):
			masked = append(masked, h)
		}
	}
	p.claim(proved)
	for _, g := range groupByPeer(proved, keyOf) {
		p.Report(finding(p, g, Leak))
	}
	for _, g := range groupByPeer(masked, keyOf) {
		p.Report(finding(p, g, Risk))
	}
}

// closeWaitProved: in the state for the grace, and for as long nothing sent or acknowledged.
func closeWaitProved(p *Pass, h *HeldSocket) bool {
	grace := p.Thresholds.Grace
	return p.History.Held(h, p.Uptime).AtLeast(grace) && sentQuiet(h, grace, p.Uptime) && !p.History.Moved(h)
}

// sentQuiet: no payload has left for d.
func sentQuiet(h *HeldSocket, d, uptime time.Duration) bool {
	return hasClocks(h.Socket) && clock(h.Info.LastDataSent, "", uptime).D >= d
}

// maskedHeld: the state, CLOSE-WAIT or FIN-WAIT-2, may be old, but answers to keepalive probes keep its only clock young.
func maskedHeld(h *HeldSocket, t Thresholds, uptime time.Duration) bool {
	return h.Keepalive == KeepaliveOn && !Held(h.Socket, uptime).AtLeast(t.Grace) && Idle(h.Socket, uptime).AtLeast(t.Grace)
}

// maskedRisk: and no look has shown that it is young, or that anything moves.
func maskedRisk(p *Pass, h *HeldSocket) bool {
	return maskedHeld(h, p.Thresholds, p.Uptime) && !p.History.Moved(h) && !p.History.Entered(p.Proc, h, p.Thresholds.Grace)
}

func closeWaitFinding(p *Pass, g *peerGroup[*HeldSocket], severity Severity) *Finding {
	f := &Finding{
		Severity: severity, Peer: g.Peer(), Direction: g.direction, LocalPort: g.localPort, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
		Why: "The peer has closed; CLOSE-WAIT has no time-out, so the kernel keeps the socket until the process closes its descriptor.",
	}
	var longest Span
	readToEnd := 0
	for _, h := range g.items {
		s := sampleOf(h, p.Uptime)
		s.Held = p.History.Held(h, p.Uptime)
		f.Samples = append(f.Samples, s)
		longest = longer(longest, s.Held)
		if h.RecvQ == 0 {
			readToEnd++
		}
	}
	f.Message = fmt.Sprintf("%s holds %s %s, the longest for %s; %s",
		Subject(p.Proc.Process), count(len(g.items), "CLOSE-WAIT socket", "CLOSE-WAIT sockets"), g.towards(), longest, endOf(readToEnd, len(g.items)))
	if severity == Risk {
		f.Message += "; keepalive answers restart the only clock of this state, so it cannot be proved to be older"
	}
	f.Evidence = []Evidence{
		{"sockets", strconv.Itoa(len(g.items)), p.Proc.joined()},
		{"held", longest.String(), longest.Source},
		{"read to the end", strconv.Itoa(readToEnd), "Recv-Q 0: an unread FIN counts as 1"},
		{"not read to the end", strconv.Itoa(len(g.items) - readToEnd), "Recv-Q 1 or more"},
		{"threshold", FormatDuration(p.Thresholds.Grace), "--grace"},
	}
	f.Evidence = append(f.Evidence, watchOf(p, g.items)...)
	f.Evidence = append(f.Evidence, endsOf(g.items)...)
	f.Evidence = append(f.Evidence, neverCarried(g.items)...)
	f.Evidence = append(f.Evidence, optionsOf(g.items, optReceive, optUser)...)
	f.Evidence = append(f.Evidence, g.evidence()...)
	if severity == Leak {
		f.Onset = heldOnset(p, g.items)
	}
	return f
}

// heldOnset is when sockets came into CLOSE-WAIT or FIN-WAIT-2. Where keepalive may be on, their clock does not tell.
func heldOnset(p *Pass, items []*HeldSocket) *Onset {
	var ages []time.Duration
	for _, h := range items {
		if h.Keepalive == KeepaliveOff {
			ages = append(ages, p.History.Held(h, p.Uptime).D)
		}
	}
	return p.onset(ages, p.Thresholds.Grace, sourceAck)
}

// endOf says whether the program has been told of the end.
func endOf(readToEnd, all int) string {
	switch readToEnd {
	case all:
		return "the program has read to the end and did not close"
	case 0:
		return "the program has not read to the end"
	}
	return fmt.Sprintf("on %d of them the program has read to the end, on %d it has not", readToEnd, all-readToEnd)
}
