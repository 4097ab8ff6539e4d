package diag

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

var stalledSend = &Rule{
	Name:     "stalled-send",
	Title:    "connections whose data the peer does not take",
	Severity: Leak,
	Doc: Doc{
		Means: "The process has written, and for the grace nothing of it was acknowledged. Either the peer answers, but its window is closed: its program does not read. " +
			"Or nothing answers: the peer or the path is gone, and the kernel sends again. The process holds the connection, and the memory of what waits, all the while; " +
			"a blocked write hangs.",
		Proof: "State ESTAB, CLOSE-WAIT, FIN-WAIT-1, CLOSING or LAST-ACK with Send-Q over 0. Window closed: the persist timer, tcp_info.snd_wnd 0, and the probes since, by rto, backoff and last_data_sent, which " +
			"probes do not renew. Sent again: tcp_info.retransmits, rto and backoff tell since when at the least, for an acknowledgement restarts them. " +
			"Between two looks bytes_acked is the same, and the other end, if it is on this host, has read nothing.",
		Imitates: "A write just now after a long silence finds old clocks, but no backoff. A slow reader opens its window again and again, or reads while it is closed: its end, on this host, " +
			"is looked at twice. On one look (--settle 0) a reader that takes less than a segment at a time cannot be told apart, so a closed window is a risk. " +
			"A SYN counts as a byte of Send-Q: SYN-SENT is connect-stuck. A FIN that nothing acknowledges counts as one, too, and is this rule's while the descriptor is open. " +
			"Without TCP_INFO nothing is proved, and on a kernel before 5.4 by two looks alone.",
		Todo: "Give every write a time-out, and close the connection when it passes; set TCP_USER_TIMEOUT so that the kernel does.",
		Advice: map[string]string{
			"": "Set TCP_USER_TIMEOUT and a time-out for every write, and close the connection when it passes.",
			"node": "Call socket.setTimeout(60_000, () => socket.destroy()), heed the return value of write(), and destroy the socket when 'drain' does not come; " +
				"use stream.pipeline instead of pipe.",
			"go":       "Call conn.SetWriteDeadline before each Write (for net/http: set Server.WriteTimeout or http.ResponseController.SetWriteDeadline), and close the connection when it passes.",
			"java":     "Set TCP_USER_TIMEOUT (Netty: EpollChannelOption.TCP_USER_TIMEOUT) and a WriteTimeoutHandler, and heed Channel.isWritable().",
			"python":   "Call sock.settimeout(60) and sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000), wrap asyncio's drain() in asyncio.wait_for, and close the socket when it raises.",
			"ruby":     "Call sock.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_USER_TIMEOUT, 60_000) and use write_nonblock with IO.select and a time-out.",
			"php":      "Set stream_set_timeout and close the stream when fwrite returns false or 0.",
			"nginx":    "Set send_timeout and proxy_send_timeout, and reset_timedout_connection on.",
			"haproxy":  "Set timeout client, timeout server and timeout tunnel, and tcp-ut on bind and server lines.",
			"envoy":    "Set stream_idle_timeout and stream_flush_timeout on the HTTP connection manager, idle_timeout on the TCP proxy, and TCP_USER_TIMEOUT in the socket options.",
			"postgres": "Set tcp_user_timeout = 60000 in postgresql.conf.",
			"redis":    "Set client-output-buffer-limit for the class of the client (normal, replica, pubsub) in redis.conf.",
		},
	},
	Check:     checkStalledSend,
	Unsettled: anyHeld(stalledUnsettled),
}

// stalledUnsettled: a second look would reach the grace, or tell a slow reader by what it takes.
func stalledUnsettled(p *Pass, h *HeldSocket) bool {
	if !writes(h) {
		return false
	}
	span := Unanswered(h.Socket, p.Uptime)
	return p.wouldReach(span) || probed(h.Socket) && span.AtLeast(p.Thresholds.Grace)
}

func checkStalledSend(p *Pass) {
	var stalled, likely []*HeldSocket
	for i := range p.Proc.Held {
		h := &p.Proc.Held[i]
		if !writes(h) || p.Claimed(h) || !unansweredFor(p, h).AtLeast(p.Thresholds.Grace) {
			continue
		}
		switch seen := p.History.seen(h); {
		case !seen && probed(h.Socket):
			likely = append(likely, h)
		case !seen || p.History.twice(h, tookNothing):
			stalled = append(stalled, h)
		}
	}
	p.claim(stalled)
	for _, g := range groupByPeer(stalled, keyOf) {
		p.Report(stalledFinding(p, g, Leak))
	}
	for _, g := range groupByPeer(likely, keyOf) {
		p.Report(stalledFinding(p, g, Risk))
	}
}

// writes: payload, or its own FIN, may wait. The byte of SYN-SENT is the SYN.
func writes(h *HeldSocket) bool {
	switch h.State {
	case netlinkss.Estab, netlinkss.CloseWait, netlinkss.FinWait1, netlinkss.Closing, netlinkss.LastAck:
		return h.SendQ > 0
	}
	return false
}

// unansweredFor is how long nothing has been acknowledged, by all looks.
func unansweredFor(p *Pass, h *HeldSocket) Span {
	return p.History.lasted(h, func(h *HeldSocket) Span { return Unanswered(h.Socket, p.Uptime) }, tookNothing)
}

// tookNothing: what waited at the first look waits yet, and the other end has read nothing.
func tookNothing(was, now *HeldSocket) bool {
	return was.SendQ > 0 && hasCounters(was.Socket) && hasCounters(now.Socket) && was.Info.BytesAcked == now.Info.BytesAcked &&
		(was.End == nil || now.End == nil || !hasCounters(was.End.Socket) || !hasCounters(now.End.Socket) ||
			taken(was.End.Socket) == taken(now.End.Socket))
}

// probed: the peer answers the probes of a window that is shut. A slow reader that takes less than a segment, for which the kernel
// does not open the window, looks the same in one look.
func probed(s *netlinkss.Socket) bool { return s.Timer == netlinkss.TimerPersist && windowShut(s) }

// windowShut: the peer answers and takes nothing. An old kernel tells by the timer alone.
func windowShut(s *netlinkss.Socket) bool {
	if s.InfoLen() < netlinkss.InfoHasSndWnd {
		return s.Timer == netlinkss.TimerPersist
	}
	return s.Info.SndWnd == 0
}

func stalledFinding(p *Pass, g *peerGroup[*HeldSocket], severity Severity) *Finding {
	f := &Finding{
		Severity: severity, Peer: g.Peer(), Direction: g.direction, LocalPort: g.localPort, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
	}
	var longest Span
	var ages []time.Duration
	var bytes, there uint64
	closed, ends := 0, 0
	for _, h := range g.items {
		f.Samples = append(f.Samples, sampleOf(h, p.Uptime))
		span := unansweredFor(p, h)
		longest = longer(longest, span)
		ages = append(ages, span.D)
		bytes += uint64(h.SendQ)
		if windowShut(h.Socket) {
			closed++
		}
		if h.End != nil && !isMPTCP(h.Socket) { // what its other end has unread is in the queue of MPTCP
			ends++
			there += uint64(h.End.RecvQ)
		}
	}
	if severity == Leak {
		f.Onset = p.onset(ages, p.Thresholds.Grace, longest.Source)
	}
	cause, why := stallOf(closed, len(g.items), severity)
	f.Why = why
	f.Message = fmt.Sprintf("%s has %d %s stuck in %s %s, the longest unacknowledged for %s; %s", Subject(p.Proc.Process),
		bytes, plural(int(min(bytes, 2)), "byte", "bytes"), count(len(g.items), "socket", "sockets"), g.towards(), longest, cause)
	f.Evidence = []Evidence{
		{"sockets", strconv.Itoa(len(g.items)), p.Proc.joined()},
		{"bytes that wait", strconv.FormatUint(bytes, 10), "Send-Q: a FIN counts as 1"},
		{"unacknowledged", longest.String(), longest.Source},
		{"window closed", strconv.Itoa(closed), "tcp_info.snd_wnd 0: the peer answers, and takes nothing"},
		{"not answered", strconv.Itoa(len(g.items) - closed), "tcp_info.retransmits and backoff"},
		{"threshold", FormatDuration(p.Thresholds.Grace), "--grace"},
	}
	if ends > 0 {
		f.Message += fmt.Sprintf("; the other end is on this host, with %d %s unread: %s", there, plural(int(min(there, 2)), "byte", "bytes"), endsOf(g.items)[0].Value)
		f.Evidence = append(f.Evidence, Evidence{"unread there", strconv.FormatUint(there, 10) + " bytes", "Recv-Q of the other end"})
	}
	if severity == Risk {
		f.Message += "; seen in one look, so it may be taken slowly"
		f.Evidence = append(f.Evidence, Evidence{"acknowledged between", "seen once", "tcp_info.bytes_acked in two looks"})
	}
	f.Evidence = append(f.Evidence, endsOf(g.items)...)
	f.Evidence = append(f.Evidence, watchOf(p, g.items)...)
	f.Evidence = append(f.Evidence, optionsOf(g.items, optSend, optUser)...)
	f.Evidence = append(f.Evidence, g.evidence()...)
	return f
}

// stallOf says why nothing is acknowledged, and why the kernel keeps it.
func stallOf(closed, all int, severity Severity) (cause, why string) {
	const (
		asked = "The peer's window is closed, and it answers the probes of it: they go on for as long as it does, so the kernel keeps the socket and what waits for ever."
		again = "The kernel sends again what nothing acknowledges, at twice the distance each time, until net.ipv4.tcp_retries2 is used up: about 15 minutes."
	)
	switch {
	case severity == Risk:
		return "the peer's window is closed", asked
	case closed == all:
		return "the peer's window is closed: it does not read", asked
	case closed == 0:
		return "nothing answers what is sent again: the peer or the path is silent", again
	}
	return fmt.Sprintf("on %d the peer's window is closed: it does not read; on %d nothing answers what is sent again", closed, all-closed), asked + " " + again
}
