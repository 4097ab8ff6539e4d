package diag

import (
	"fmt"
	"strconv"

	"github.com/sockleak/sockleak/netlinkss"
)

var finWait2 = &Rule{
	Name:     "fin-wait-2",
	Title:    "connections that the process has ended and the peer never does",
	Severity: Leak,
	Doc: Doc{
		Means: "The process has ended its side with shutdown, the peer has acknowledged that and does not end its own; the process holds the descriptor and waits. " +
			"net.ipv4.tcp_fin_timeout is for closed descriptors alone: while the descriptor is open, FIN-WAIT-2 has no time-out.",
		Proof: "State FIN-WAIT-2 with an inode that one of the process's descriptors has; tcp_info.last_ack_recv at or over the grace, which the acknowledgement of the FIN restarted, " +
			"so it is a lower bound of the time in the state; nothing received for as long (last_data_recv, and bytes_received between two looks); Recv-Q 0.",
		Imitates: "A request whose end the client has marked by shutdown, and whose answer still comes: data moves, and the clocks are young. A brief FIN-WAIT-2 is how every active close looks. " +
			"After close, nobody holds the socket any more: the kernel ends it after tcp_fin_timeout. Answers to keepalive probes keep last_ack_recv young: then a second look is taken, " +
			"and what it cannot prove is a risk. With Recv-Q over 0 the peer has sent and the process does not read: that is unread-data.",
		Todo: "Close the connection when the peer does not end its side in good time: after shutdown, read until the end with a time-out, and then call close.",
		Advice: map[string]string{
			"": "After shutdown, read until the end with a time-out, and then close the descriptor.",
			"node": "After socket.end(), call socket.setTimeout(30_000, () => socket.destroy()) or socket.destroySoon(), and keep reading with socket.resume(): " +
				"with allowHalfOpen at the peer nobody ends the other side.",
			"go":       "After CloseWrite, set a deadline with conn.SetReadDeadline, read until io.EOF, and then call conn.Close() in every case.",
			"java":     "After shutdownOutput(), read with socket.setSoTimeout(30_000) until -1, and call close() in a finally block (Netty: close the channel from an IdleStateHandler).",
			"python":   "After sock.shutdown(socket.SHUT_WR), call sock.settimeout(30), read until b'', and close the socket in a finally block.",
			"ruby":     "After close_write, read until nil with IO.select and a time-out, and close the socket in an ensure block.",
			"php":      "After stream_socket_shutdown, set stream_set_timeout, read until feof, and call fclose.",
			"nginx":    "Keep lingering_timeout and lingering_time finite, and look for a module that keeps connections.",
			"haproxy":  "Set timeout client-fin and timeout server-fin.",
			"envoy":    "Set idle_timeout on the TCP proxy and delayed_close_timeout on the HTTP connection manager.",
			"postgres": "Look for an extension or a library that keeps the socket: PostgreSQL itself closes without a half-close.",
			"redis":    "Look for a module that keeps the socket: Redis itself closes without a half-close.",
		},
	},
	Check: checkFinWait2,
	Unsettled: anyHeld(func(p *Pass, h *HeldSocket) bool {
		return h.State == netlinkss.FinWait2 && (maskedHeld(h, p.Thresholds, p.Uptime) || h.RecvQ > 0 && receivedQuiet(h, p))
	}),
}

func checkFinWait2(p *Pass) { checkHalfClosed(p, finWait2Finding, finWait2Proved, waitsForFIN) }

// waitsForFIN: all that is missing is the peer's end. A long answer that the process is still reading is not all.
func waitsForFIN(p *Pass, h *HeldSocket) bool {
	return h.State == netlinkss.FinWait2 && (h.RecvQ == 0 || p.History.twice(h, readNothing))
}

// finWait2Proved: in the state for the grace, and for as long nothing received.
func finWait2Proved(p *Pass, h *HeldSocket) bool {
	grace := p.Thresholds.Grace
	return p.History.Held(h, p.Uptime).AtLeast(grace) && receivedQuiet(h, p) && !p.History.Moved(h)
}

// receivedQuiet: no payload has come for the grace.
func receivedQuiet(h *HeldSocket, p *Pass) bool {
	return hasClocks(h.Socket) && clock(h.Info.LastDataRecv, sourceRecv, p.Uptime).AtLeast(p.Thresholds.Grace)
}

func finWait2Finding(p *Pass, g *peerGroup[*HeldSocket], severity Severity) *Finding {
	f := &Finding{
		Severity: severity, Peer: g.Peer(), Direction: g.direction, LocalPort: g.localPort, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
		Why: "The process has ended its side and not closed the descriptor; while one is open, FIN-WAIT-2 has no time-out, so the kernel waits for the peer's FIN.",
	}
	var longest Span
	unread := 0
	for _, h := range g.items {
		if h.RecvQ > 0 {
			unread++
		}
		s := sampleOf(h, p.Uptime)
		s.Held = p.History.Held(h, p.Uptime)
		f.Samples = append(f.Samples, s)
		longest = longer(longest, s.Held)
	}
	f.Message = fmt.Sprintf("%s holds %s %s, the longest for %s; it has ended its side, and the peer does not end the other",
		Subject(p.Proc.Process), count(len(g.items), "FIN-WAIT-2 socket", "FIN-WAIT-2 sockets"), g.towards(), longest)
	if severity == Risk {
		f.Message += "; keepalive answers restart the only clock of this state, so it cannot be proved to be older"
	} else {
		f.Onset = heldOnset(p, g.items)
	}
	f.Evidence = []Evidence{
		{"sockets", strconv.Itoa(len(g.items)), p.Proc.joined()},
		{"held", longest.String(), longest.Source},
		{"threshold", FormatDuration(p.Thresholds.Grace), "--grace"},
	}
	if unread > 0 {
		f.Evidence = append(f.Evidence, Evidence{"with an answer that nobody reads", strconv.Itoa(unread), "Recv-Q over 0, the same in two looks"})
	}
	f.Evidence = append(f.Evidence, watchOf(p, g.items)...)
	f.Evidence = append(f.Evidence, endsOf(g.items)...)
	f.Evidence = append(f.Evidence, neverCarried(g.items)...)
	f.Evidence = append(f.Evidence, optionsOf(g.items, optReceive, optUser)...)
	f.Evidence = append(f.Evidence, g.evidence()...)
	return f
}
