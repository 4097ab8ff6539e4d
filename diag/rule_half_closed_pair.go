package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

var halfClosedPair = &Rule{
	Name:     "half-closed-pair",
	Title:    "proxied connections of which one leg has ended and the other was left open",
	Severity: Leak,
	Doc: Doc{
		Means: "The process passes bytes between two connections. One of them has ended, and the process did not close the other: its peer waits for more, and nothing will come. " +
			"A peer at the other end is healthy and answers keepalive, so no timer ends this either.",
		Proof: "One leg is in CLOSE-WAIT for the grace, or dead in two looks. What was read from it was written to the other leg and the reverse, to the byte (tcp_info.bytes_received less Recv-Q " +
			"and the FIN, bytes_sent less bytes_retrans), at the same time (last_data_sent and last_data_recv, crosswise), one was accepted and the other made, and the other is in " +
			"ESTAB and has been idle for the grace. Where a connection that lives fits as well, nothing is said.",
		Imitates: "Requests that are answered out of a pool of connections have other sizes, and a pool is used again; one that was used once cannot be told from a leg, so a single pair is a risk. " +
			"Connections of the same size that did not move together are not of one pair. " +
			"A half-closed stream that still moves is not idle. A proxy that changes what it passes (TLS, HTTP headers) is not recognised.",
		Todo: "When one leg ends, pass the end on with shutdown(SHUT_WR); when both directions have ended, or one has failed, close both legs, on every path.",
		Advice: map[string]string{
			"": "Close both connections of a pair whenever either has ended in both directions, failed, or been silent for too long.",
			"node": "Use stream.pipeline(client, upstream, client, callback), which destroys both at the end or the error of either, in place of pipe(), " +
				"or destroy the other one in each 'close' handler.",
			"go": "When one io.Copy returns call CloseWrite on the other connection, set a deadline for the second io.Copy with SetReadDeadline, " +
				"and Close both after it.",
			"java":    "In Netty, close the other channel in channelInactive and exceptionCaught with writeAndFlush(Unpooled.EMPTY_BUFFER).addListener(ChannelFutureListener.CLOSE).",
			"python":  "Run both directions in an asyncio.TaskGroup, call write_eof() at the end of one, and close() both writers in a finally block.",
			"ruby":    "Call close_write on the other socket when IO.copy_stream returns, and close both in an ensure block.",
			"php":     "Call stream_socket_shutdown on the other stream at feof, and fclose both.",
			"nginx":   "Set proxy_timeout of the stream module to minutes, and leave proxy_half_close off.",
			"haproxy": "Set timeout client-fin and timeout server-fin, and a finite timeout tunnel.",
			"envoy":   "Set idle_timeout of the TCP proxy filter.",
		},
	},
	Check: checkHalfClosedPair,
}

func checkHalfClosedPair(p *Pass) {
	left := leftLegs(p)
	severity := Leak
	if len(left) == 1 { // chance makes one pair, and hardly two
		severity = Risk
	} else {
		p.claim(left)
	}
	for _, g := range groupByPeer(left, keyOf) {
		p.Report(pairFinding(p, g, severity))
	}
	otherEnds(p)
}

// leftLegs are connections whose other leg has ended.
func leftLegs(p *Pass) []*HeldSocket {
	grace := p.Thresholds.Grace
	var ended []leg
	for i := range p.Proc.Held {
		if h := &p.Proc.Held[i]; h.State == netlinkss.CloseWait && closeWaitProved(p, h) {
			if l, ok := legOf(p.Proc, h, p.Uptime); ok {
				ended = append(ended, l)
			}
		}
	}
	for i := range p.Proc.Dark {
		// One look may see it between the end and the close.
		if d := &p.Proc.Dark[i]; p.History.Dark(p.Proc, d).Known() {
			ended = append(ended, legsOfDead(d)...)
		}
	}
	pairs := newPairing(ended, p.Proc.rowsTook())
	if pairs == nil {
		return nil
	}
	for i := range p.Proc.Held {
		h := &p.Proc.Held[i]
		if h.State != netlinkss.Estab {
			continue
		}
		if l, ok := legOf(p.Proc, h, p.Uptime); ok {
			pairs.add(l, h.SendQ == 0 && Idle(h.Socket, p.Uptime).AtLeast(grace) && !p.Claimed(h))
		}
	}
	left := pairs.left()
	slices.SortFunc(left, func(a, b *HeldSocket) int { return cmp.Or(cmp.Compare(a.Task, b.Task), cmp.Compare(a.FD(), b.FD())) })
	return left
}

func pairFinding(p *Pass, g *peerGroup[*HeldSocket], severity Severity) *Finding {
	f := &Finding{
		Severity: severity, Peer: g.Peer(), Direction: g.direction, LocalPort: g.localPort, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
		Why: "To the kernel the two legs are two connections: the end of one says nothing to the other, which lives until the process closes it.",
	}
	var idle spanRange
	ages := make([]time.Duration, 0, len(g.items))
	for _, h := range g.items {
		s := sampleOf(h, p.Uptime)
		f.Samples = append(f.Samples, s)
		ages = append(ages, s.Idle.D)
		idle.add(s.Idle)
	}
	f.Onset = p.onset(ages, p.Thresholds.Grace, "the younger of tcp_info.last_data_sent and last_data_recv")
	open, ended := "upstream", "client"
	if g.direction == Accepted {
		open, ended = ended, open
	}
	holds, so := "holds", ": it has to close "+plural(len(g.items), "it", "them")
	if severity == Risk {
		holds, so = "may hold", "; there is one such pair, so it may be a connection that is kept for more and was used once"
	}
	f.Message = fmt.Sprintf("%s %s %s %s whose %s leg is gone, idle for %s%s",
		Subject(p.Proc.Process), holds, count(len(g.items), open+" leg", open+" legs"), g.towards(), ended, idle.String(), so)
	f.Evidence = []Evidence{
		{"legs left open", strconv.Itoa(len(g.items)), p.Proc.joined() + ", ESTAB"},
		{"paired by", "bytes both ways, and clocks", "tcp_info.bytes_received, bytes_sent, last_data_recv and last_data_sent of both legs, crosswise"},
		{"idle", idle.String(), "the younger of tcp_info.last_data_sent and last_data_recv"},
		{"threshold", FormatDuration(p.Thresholds.Grace), "--grace"},
	}
	f.Evidence = append(f.Evidence, g.evidence()...)
	return f
}

// endKey is who has the other end of a connection.
type endKey struct {
	pid   int
	name  string
	state netlinkss.State // of this end
}

// otherEnds says of the connections that half-ended, and are leaks by an earlier rule, who is at the other end on this host.
func otherEnds(p *Pass) {
	by := map[endKey][]*HeldSocket{}
	for i := range p.Proc.Held {
		h := &p.Proc.Held[i]
		if h.State != netlinkss.CloseWait && h.State != netlinkss.FinWait2 || h.End == nil || len(h.End.Holders) == 0 || h.Passing || !p.Claimed(h) {
			continue
		}
		holder := slices.MinFunc(h.End.Holders, func(a, b Holder) int { return cmp.Compare(a.PID, b.PID) })
		k := endKey{holder.PID, holder.Name, h.State}
		by[k] = append(by[k], h)
	}
	keys := make([]endKey, 0, len(by))
	for k := range by {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b endKey) int { return cmp.Or(cmp.Compare(a.pid, b.pid), cmp.Compare(a.state, b.state)) })
	for _, k := range keys {
		for _, g := range groupByPeer(by[k], keyOf) {
			p.Report(endFinding(p, k, g))
		}
	}
}

func endFinding(p *Pass, k endKey, g *peerGroup[*HeldSocket]) *Finding {
	f := &Finding{
		Severity: Info, Peer: g.Peer(), Direction: g.direction, LocalPort: g.localPort, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
		Why: "A connection ends when both sides have closed. The one in CLOSE-WAIT has been told that the other is done, and has not closed yet.",
	}
	for _, h := range g.items {
		f.Samples = append(f.Samples, sampleOf(h, p.Uptime))
	}
	self, other := Subject(p.Proc.Process), fmt.Sprintf("%s[%d]", k.name, k.pid)
	closer := self
	if k.state == netlinkss.FinWait2 {
		closer = other
	}
	f.Message = fmt.Sprintf("%s of %s %s %s on this host, at %s; it is %s that has to close",
		count(len(g.items), k.state.String()+" socket", k.state.String()+" sockets"), self, g.towards(), plural(len(g.items), "ends", "end"), other, closer)
	if k.state == netlinkss.FinWait2 {
		f.Advice = "Mend " + other + ", which has been sent the end and keeps its side open."
	}
	f.Evidence = []Evidence{
		{"sockets", strconv.Itoa(len(g.items)), p.Proc.joined()},
		{"other end", other, "the socket with the reverse addresses, and who has a descriptor on it"},
	}
	f.Evidence = append(f.Evidence, g.evidence()...)
	return f
}
