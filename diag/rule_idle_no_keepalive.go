package diag

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// fewIdle is below how many idle sockets of one process the rule is only a risk.
const fewIdle = 5

var idleNoKeepalive = &Rule{
	Name:     "idle-no-keepalive",
	Title:    "established connections without keepalive on which nothing has moved for long",
	Severity: Leak,
	Doc: Doc{
		Means: "The process holds established connections on which no byte has moved for the idle threshold, and SO_KEEPALIVE is off. " +
			"If the peer has gone (power, cable, NAT, firewall, a killed container), nothing will ever say so: the kernel sends nothing on an idle " +
			"connection without keepalive, so it keeps the socket, its memory and its descriptor until the process ends.",
		Proof: "State ESTAB; Send-Q 0; no keepalive timer (inet_diag idiag_timer off or delack, which a held socket shows only with SO_KEEPALIVE off; behind a " +
			"retransmit or persist timer the socket itself is asked); tcp_info.last_data_sent and last_data_recv both at or over the threshold.",
		Imitates: "A pool with keepalive on shows the keepalive timer. A connection that pings in the application moves payload, so it is not idle. " +
			"What the program reads slowly (Recv-Q over 0, and less of it at a second look) is in use. Data that waits for a slow reader (Send-Q over 0) is probed or sent again, and these timers find out about the peer: see stalled-send. " +
			"A listener is no connection. A young connection is under the threshold. Fewer than 5 in a process are a risk, not a leak: " +
			"a control connection may rightly be silent for hours.",
		Todo: "Switch keepalive on, and close connections that are idle for longer than the protocol allows; handle the end, error and timeout of both sides of a pipe.",
		Advice: map[string]string{
			"": "Set SO_KEEPALIVE with TCP_KEEPIDLE 60 on every connection, and close those that stay idle.",
			"node": "Call socket.setKeepAlive(true, 60_000) and socket.setTimeout(60_000, () => socket.destroy()) on both sockets, " +
				"and handle 'error', 'end' and 'close' of each.",
			"go": "Leave net.Dialer.KeepAlive and net.ListenConfig.KeepAlive at their default (a negative value is off), " +
				"and set a read deadline with conn.SetReadDeadline before each Read.",
			"java":     "Call socket.setKeepAlive(true) and socket.setSoTimeout(60_000) (Netty: ChannelOption.SO_KEEPALIVE and an IdleStateHandler).",
			"python":   "Call sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) and sock.settimeout(60), and close the socket when it raises.",
			"ruby":     "Call sock.setsockopt(:SOCKET, :KEEPALIVE, true) and close the socket when IO.select times out.",
			"php":      "Set SO_KEEPALIVE with socket_set_option and a time-out with stream_set_timeout.",
			"nginx":    "Add so_keepalive=60s::4 to listen and proxy_socket_keepalive on, and keep proxy_read_timeout and send_timeout finite.",
			"haproxy":  "Add option clitcpka and option srvtcpka, and set timeout client, timeout server and timeout tunnel.",
			"envoy":    "Set tcp_keepalive on the cluster and the listener's socket options, and idle_timeout on the TCP proxy.",
			"postgres": "Set tcp_keepalives_idle = 60 and idle_session_timeout in postgresql.conf.",
			"redis":    "Set tcp-keepalive 60 and timeout 300 in redis.conf.",
		},
	},
	Check:     checkIdleNoKeepalive,
	Unsettled: anyHeld(idleUnsettled),
}

func checkIdleNoKeepalive(p *Pass) {
	threshold, source := p.Thresholds.IdleIn(p.Proc.Space)
	var idle []*HeldSocket
	unknown := 0
	for i := range p.Proc.Held {
		h := &p.Proc.Held[i]
		if !silent(p, h) || p.Claimed(h) || h.RecvQ > 0 && !p.History.twice(h, readNothing) {
			continue
		}
		switch h.Keepalive {
		case KeepaliveOff:
			idle = append(idle, h)
		case KeepaliveUnknown:
			unknown++
		}
	}
	severity := Leak
	if len(idle) < fewIdle {
		severity = Risk
	} else {
		p.claim(idle)
	}
	for _, g := range groupByPeer(idle, keyOf) {
		p.Report(idleFinding(p, g, severity, threshold, source))
	}
	if unknown > 0 {
		p.Gap(Gap{
			What: "keepalive of idle sockets of " + Subject(p.Proc.Process), Count: unknown,
			Why: "another timer hides it, and the socket could not be asked",
		})
	}
}

// silent: nothing has come or gone for the threshold of its namespace. What is on its way has a timer of its own, which finds
// out about the peer.
func silent(p *Pass, h *HeldSocket) bool {
	threshold, _ := p.Thresholds.IdleOf(p.Proc, h)
	return h.State == netlinkss.Estab && h.SendQ == 0 && Idle(h.Socket, p.Uptime).AtLeast(threshold)
}

// idleUnsettled: it may be reading slowly what came long ago.
func idleUnsettled(p *Pass, h *HeldSocket) bool {
	return h.RecvQ > 0 && h.Keepalive == KeepaliveOff && silent(p, h)
}

func idleFinding(p *Pass, g *peerGroup[*HeldSocket], severity Severity, threshold time.Duration, source string) *Finding {
	f := &Finding{
		Severity: severity, Peer: g.Peer(), Direction: g.direction, LocalPort: g.localPort, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
		Why: "SO_KEEPALIVE is off and nothing is on its way, so no timer runs: the kernel will never find out whether the peer is still there.",
	}
	var idle spanRange
	var oldest Span
	ages := make([]time.Duration, 0, len(g.items))
	asked, told := 0, 0
	for _, h := range g.items {
		switch {
		case h.Has(netlinkss.AttrKeepAlive):
			told++
		case h.Asked:
			asked++
		}
		s := sampleOf(h, p.Uptime)
		f.Samples = append(f.Samples, s)
		ages = append(ages, s.Idle.D)
		idle.add(s.Idle)
		oldest = longer(oldest, s.Age)
	}
	f.Message = fmt.Sprintf("%s holds %s %s without keepalive, idle for %s, the oldest open for %s",
		Subject(p.Proc.Process), count(len(g.items), "ESTAB socket", "ESTAB sockets"), g.towards(),
		idle.String(), oldest)
	f.Evidence = []Evidence{
		{"sockets", strconv.Itoa(len(g.items)), p.Proc.joined()},
		{"keepalive", KeepaliveOff.String(), keepaliveSource(asked, told, len(g.items))},
		{"idle", idle.String(), sourceIdle},
		{"age", oldest.String(), oldest.Source},
		{"threshold", FormatDuration(threshold), source},
	}
	f.Onset = p.onset(ages, threshold, sourceIdle)
	f.Evidence = append(f.Evidence, endsOf(g.items)...)
	f.Evidence = append(f.Evidence, neverCarried(g.items)...)
	f.Evidence = append(f.Evidence, optionsOf(g.items, optReceive, optUser)...)
	f.Evidence = append(f.Evidence, g.evidence()...)
	return f
}

// sourceIdle is what [Idle] reads.
const sourceIdle = "the younger of tcp_info.last_data_sent and last_data_recv"

// keepaliveSource says how SO_KEEPALIVE was told.
func keepaliveSource(asked, told, all int) string {
	switch {
	case told == all:
		return "SO_KEEPALIVE of the socket itself (sk_flags), by a BPF iterator"
	case told > 0:
		return fmt.Sprintf("SO_KEEPALIVE of the socket itself: for %d by a BPF iterator, for the others through a pidfd or from the timer", told)
	}
	switch asked {
	case 0:
		return "inet_diag shows no timer"
	case all:
		return "SO_KEEPALIVE of the socket itself, through a pidfd"
	}
	return fmt.Sprintf("inet_diag shows no timer; for %d, SO_KEEPALIVE through a pidfd", asked)
}
