package diag

import (
	"fmt"
	"strconv"

	"github.com/sockleak/sockleak/netlinkss"
)

var connectStuck = &Rule{
	Name:     "connect-stuck",
	Title:    "connects that nothing answers",
	Severity: Risk,
	Doc: Doc{
		Means: "The process connects, and nothing has answered for the grace: neither an acceptance nor a refusal. A firewall drops the SYN, the host is gone, or the accept queue of the peer is full. " +
			"Each such connect holds a descriptor, a local port and, where it blocks, a thread.",
		Proof: "State SYN-SENT with an inode that one of the process's descriptors has; tcp_info.retransmits, rto and backoff tell how long ago the first SYN left at the least, " +
			"or two looks that are so far apart saw the same connect.",
		Imitates: "Every connect is in SYN-SENT for a round trip: without a retransmit it is young. The three clocks of tcp_info do not run yet and read about the host's uptime: " +
			"they prove nothing here. The SYN counts as a byte of Send-Q, but nothing is stalled: the connection does not exist yet.",
		Todo: "Give every connect a time-out of a few seconds, close the descriptor when it passes, and find out what drops the SYN.",
		Advice: map[string]string{
			"":         "Give every connect a time-out of a few seconds, and close the descriptor when it passes.",
			"node":     "Call socket.setTimeout(5_000, () => socket.destroy()) before connect (for http.request: the timeout option and request.destroy()).",
			"go":       "Set net.Dialer.Timeout, or dial with DialContext and a context that ends.",
			"java":     "Call socket.connect(address, 5_000) (Netty: ChannelOption.CONNECT_TIMEOUT_MILLIS; HttpClient: connectTimeout).",
			"python":   "Pass timeout=5 to socket.create_connection, or wrap asyncio.open_connection in asyncio.wait_for.",
			"ruby":     "Use Socket.tcp(host, port, connect_timeout: 5) (Net::HTTP: open_timeout).",
			"php":      "Pass the timeout argument of stream_socket_client or fsockopen (curl: CURLOPT_CONNECTTIMEOUT).",
			"nginx":    "Set proxy_connect_timeout (fastcgi_, uwsgi_, grpc_connect_timeout) to a few seconds.",
			"haproxy":  "Set timeout connect to a few seconds, and check on the server line.",
			"envoy":    "Set connect_timeout of the cluster to a few seconds.",
			"postgres": "Set connect_timeout in primary_conninfo and in the options of foreign servers.",
			"redis":    "Check the address in replicaof and cluster-announce-ip, and set repl-timeout.",
		},
	},
	Check: checkConnectStuck,
	Unsettled: anyHeld(func(p *Pass, h *HeldSocket) bool {
		return p.wouldReach(Connecting(h.Socket))
	}),
}

func checkConnectStuck(p *Pass) {
	var stuck []*HeldSocket
	for i := range p.Proc.Held {
		h := &p.Proc.Held[i]
		if h.State == netlinkss.SynSent && !p.Claimed(h) && connectingFor(p, h).AtLeast(p.Thresholds.Grace) {
			stuck = append(stuck, h)
		}
	}
	dialled := func(h *HeldSocket) peerKey { return keyTo(Connected, h.Peer, 0) }
	for _, g := range groupByPeer(stuck, dialled) {
		p.Report(connectStuckFinding(p, g))
	}
}

// connectingFor is how long the connect has lasted, by all looks.
func connectingFor(p *Pass, h *HeldSocket) Span {
	return p.History.lasted(h, func(h *HeldSocket) Span { return Connecting(h.Socket) }, sameConnect)
}

// sameConnect: a socket whose connect has failed may connect again.
func sameConnect(was, now *HeldSocket) bool {
	return was.Local == now.Local && was.Peer == now.Peer && now.InfoLen() >= netlinkss.InfoHasClocks && was.Info.Retransmits <= now.Info.Retransmits
}

func connectStuckFinding(p *Pass, g *peerGroup[*HeldSocket]) *Finding {
	f := &Finding{
		Severity: Risk, Peer: g.Peer(), Direction: g.direction, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
		Why: "The kernel sends the SYN again, at growing distances, until net.ipv4.tcp_syn_retries is used up: over two minutes by default.",
	}
	var longest Span
	var syns int
	for _, h := range g.items {
		s := sampleOf(h, p.Uptime)
		s.Held = connectingFor(p, h)
		f.Samples = append(f.Samples, s)
		longest = longer(longest, s.Held)
		syns += int(h.Info.Retransmits)
	}
	f.Message = fmt.Sprintf("%s has waited for %s %s, the longest for %s; nothing answers the SYN",
		Subject(p.Proc.Process), count(len(g.items), "connect", "connects"), g.towards(), longest)
	f.Evidence = []Evidence{
		{"sockets", strconv.Itoa(len(g.items)), p.Proc.joined()},
		{"connecting", longest.String(), longest.Source},
		{"SYNs sent again", strconv.Itoa(syns), "tcp_info.retransmits"},
		{"threshold", FormatDuration(p.Thresholds.Grace), "--grace"},
	}
	f.Evidence = append(f.Evidence, optionsOf(g.items, optSend, optUser)...)
	f.Evidence = append(f.Evidence, g.evidence()...)
	return f
}
