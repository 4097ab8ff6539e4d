package diag

import (
	"fmt"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// Span is a length of time that is known exactly or as a proven lower bound. The zero Span is not
// known at all.
type Span struct {
	D      time.Duration
	Exact  bool
	Source string // the kernel's field, "" when the span is not known
}

// Known reports whether anything is known.
func (s Span) Known() bool { return s.Source != "" }

// AtLeast reports whether the span is proven to be d or more.
func (s Span) AtLeast(d time.Duration) bool { return s.Known() && s.D >= d }

// longer is the longer of two spans, the first when they are even. What is not known is shorter than all.
func longer(a, b Span) Span {
	if b.Known() && (!a.Known() || b.D > a.D) {
		return b
	}
	return a
}

// spanRange is the shortest and the longest of some spans.
type spanRange struct{ least, most Span }

func (r *spanRange) add(s Span) {
	if !r.least.Known() || s.D < r.least.D {
		r.least = s
	}
	r.most = longer(r.most, s)
}

// String writes both ends, or the one that they are.
func (r spanRange) String() string {
	if r.least.String() == r.most.String() {
		return r.least.String()
	}
	return r.least.String() + " to " + r.most.String()
}

// String is "12h01m" for an exact span, "≥ 12h01m" for a lower bound, "-" for none.
func (s Span) String() string {
	switch {
	case !s.Known():
		return "-"
	case s.Exact:
		return FormatDuration(s.D)
	}
	return "≥ " + FormatDuration(s.D)
}

// FormatDuration writes a duration in its two largest units: 350ms, 3.2s, 5m12s, 12h01m, 3d04h.
func FormatDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + FormatDuration(-d)
	case d > 0 && d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second && d%time.Second != 0:
		return fmt.Sprintf("%d.%ds", d/time.Second, d%time.Second/(100*time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// clockWrap is when the clocks of tcp_info start again: 2³² ms. A clock reads its true value less a
// multiple of this, so on a host that has been up for longer every reading is only a lower bound.
const clockWrap = (1 << 32) * time.Millisecond

// The clocks, as a span names its source. They are whole, because a tally asks for one per socket and must not allocate.
const (
	sourceSent          = "tcp_info.last_data_sent"
	sourceRecv          = "tcp_info.last_data_recv"
	sourceAck           = "tcp_info.last_ack_recv"
	sourceNeverSent     = sourceSent + " (never sent)"
	sourceNeverReceived = sourceRecv + " (never received)"
)

// clock is one of the ms clocks of tcp_info.
func clock(ms uint32, source string, uptime time.Duration) Span {
	return Span{D: time.Duration(ms) * time.Millisecond, Exact: uptime > 0 && uptime < clockWrap, Source: source}
}

// hasClocks reports whether the clocks mean anything: they do once a connection was established.
func hasClocks(s *netlinkss.Socket) bool {
	return s.InfoLen() >= netlinkss.InfoHasClocks && isConnection(s.State)
}

// hasCounters: bytes_acked and bytes_received are there.
func hasCounters(s *netlinkss.Socket) bool { return s.InfoLen() >= netlinkss.InfoHasDataSegs }

// isConnection: established, or on the way out and not a mere record yet.
func isConnection(s netlinkss.State) bool {
	switch s {
	case netlinkss.Estab, netlinkss.FinWait1, netlinkss.FinWait2, netlinkss.CloseWait, netlinkss.LastAck, netlinkss.Closing:
		return true
	}
	return false
}

// Idle is the time since payload last moved in either direction (retransmits count as moving).
// uptime is the host's.
func Idle(s *netlinkss.Socket, uptime time.Duration) Span {
	if !hasClocks(s) {
		return Span{}
	}
	if s.Info.LastDataSent < s.Info.LastDataRecv {
		return clock(s.Info.LastDataSent, sourceSent, uptime)
	}
	return clock(s.Info.LastDataRecv, sourceRecv, uptime)
}

// Age is the time since the connection was established. A direction that never carried payload keeps
// the clock that was started then, so it tells the age exactly; otherwise the older of the two is a
// lower bound. uptime is the host's.
func Age(s *netlinkss.Socket, uptime time.Duration) Span {
	if !hasClocks(s) {
		return Span{}
	}
	sent := clock(s.Info.LastDataSent, sourceSent, uptime)
	recv := clock(s.Info.LastDataRecv, sourceRecv, uptime)
	if s.InfoLen() >= netlinkss.InfoHasDataSegs {
		switch {
		case s.Info.DataSegsOut == 0:
			sent.Source = sourceNeverSent
			return sent
		case s.Info.DataSegsIn == 0:
			recv.Source = sourceNeverReceived
			return recv
		}
	}
	if sent.D > recv.D {
		recv = sent
	}
	recv.Exact = false
	return recv
}

// Held is a proven lower bound of the time in CLOSE-WAIT or FIN-WAIT-2. Both are entered by a segment
// that restarts last_ack_recv, so the time in the state is that clock at the least; answers to
// keepalive probes restart it too. uptime is the host's.
func Held(s *netlinkss.Socket, uptime time.Duration) Span {
	if !hasClocks(s) || s.State != netlinkss.CloseWait && s.State != netlinkss.FinWait2 {
		return Span{}
	}
	span := clock(s.Info.LastAckRecv, sourceAck, uptime)
	span.Exact = false
	return span
}

// The sources of how long nothing has been acknowledged.
const (
	sourceRTO       = "tcp_info.rto and backoff"
	sourceZeroProbe = "tcp_info.snd_wnd 0, rto and backoff"
	sourceZeroSent  = "tcp_info.snd_wnd 0 and last_data_sent"
)

// windowClosed is how many zero-window probes prove that what waits was not written just now.
const windowClosed = 5

// Unanswered is a proven lower bound of how long nothing has been acknowledged of what waits in Send-Q; not known when nothing does,
// or when it may have been sent just now. uptime is the host's.
//
//   - The peer's window is closed (snd_wnd 0), and the persist timer probes it: each probe comes at twice the distance of the one before.
//     Nothing was sent since the window closed, so it is no longer than last_data_sent; after a few probes it is that (the backoff stops at
//     net.ipv4.tcp_retries2, so it does not tell for ever).
//   - The persist timer runs because sending failed on this host, and each unanswered probe counts.
//   - Retransmits have backed off in the same way; an acknowledgement would have restarted them. The last of them renewed last_data_sent.
func Unanswered(s *netlinkss.Socket, uptime time.Duration) Span {
	switch s.State {
	case netlinkss.Estab, netlinkss.CloseWait, netlinkss.FinWait1, netlinkss.Closing, netlinkss.LastAck:
	default:
		return Span{}
	}
	if s.SendQ == 0 || s.InfoLen() < netlinkss.InfoHasSndWnd {
		return Span{}
	}
	i := &s.Info
	rto := time.Duration(i.RTO) * time.Microsecond
	sent := clock(i.LastDataSent, sourceZeroSent, uptime)
	sent.Exact = false
	switch s.Timer {
	case netlinkss.TimerPersist:
		if i.SndWnd > 0 {
			return backed(backedOff(rto, int(min(i.Backoff, i.Probes))))
		}
		if i.Backoff >= windowClosed {
			return sent
		}
		running := min(rto<<i.Backoff, maxRTO) // an answer restarts it, at the same length
		d := backedOff(rto, int(i.Backoff)) + max(running-s.Expires, 0)
		return Span{D: min(d, sent.D), Source: sourceZeroProbe}
	case netlinkss.TimerOn:
		// Backoff alone outlives an acknowledgement that measured no round trip (Karn).
		steps := int(min(i.Backoff, i.Retransmits))
		if steps == 0 {
			return Span{}
		}
		d := backedOff(rto>>steps, steps)
		if s.State == netlinkss.Estab || s.State == netlinkss.CloseWait { // a FIN that is sent again renews no clock
			d += min(sent.D, maxRTO)
		}
		return backed(d)
	}
	return Span{}
}

// backed is a span that time-outs tell, not known when there was none.
func backed(d time.Duration) Span {
	if d == 0 {
		return Span{}
	}
	return Span{D: d, Source: sourceRTO}
}

// maxRTO is TCP_RTO_MAX: no time-out is longer.
const maxRTO = 120 * time.Second

// backedOff is the sum of so many time-outs of which each is twice the one before.
func backedOff(first time.Duration, steps int) (sum time.Duration) {
	for range min(steps, 64) {
		sum += min(first, maxRTO)
		first = min(2*first, maxRTO)
	}
	return sum
}

// resourceInterval is TCP_RESOURCE_PROBE_INTERVAL: how soon the kernel sends again what this host itself could not take.
const resourceInterval = 500 * time.Millisecond

// Connecting is a proven lower bound of the time in SYN-SENT, by the SYNs that were sent again; the three clocks do not run yet. The first
// few may come at even distances (net.ipv4.tcp_syn_linear_timeouts), the others at twice the distance of the one before. What runs now
// does not count: TCP_USER_TIMEOUT may have shortened it.
func Connecting(s *netlinkss.Socket) Span {
	if s.State != netlinkss.SynSent || s.InfoLen() < netlinkss.InfoHasClocks {
		return Span{}
	}
	sent, backoff := int(s.Info.Retransmits), int(s.Info.Backoff)
	first := time.Duration(s.Info.RTO) * time.Microsecond >> backoff
	d := backedOff(first, min(backoff, sent)) + time.Duration(max(sent-backoff, 0))*min(first, resourceInterval)
	return Span{D: d, Source: "tcp_info.retransmits, rto and backoff"}
}
