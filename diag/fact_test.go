package diag

import (
	"testing"

	"github.com/sockleak/sockleak/netlinkss"
)

func TestKeepaliveOf(t *testing.T) {
	for _, tt := range []struct {
		state netlinkss.State
		timer netlinkss.Timer
		inode uint32
		want  Keepalive
	}{
		{netlinkss.Estab, netlinkss.TimerKeepalive, 1, KeepaliveOn},
		{netlinkss.CloseWait, netlinkss.TimerKeepalive, 1, KeepaliveOn},
		{netlinkss.FinWait2, netlinkss.TimerKeepalive, 1, KeepaliveOn},
		{netlinkss.Estab, netlinkss.TimerOff, 1, KeepaliveOff},
		{netlinkss.CloseWait, netlinkss.TimerOff, 1, KeepaliveOff},
		{netlinkss.FinWait2, netlinkss.TimerOff, 1, KeepaliveOff},
		// A delayed acknowledgement is shown only where no keepalive timer runs.
		{netlinkss.Estab, netlinkss.TimerDelack, 1, KeepaliveOff},
		// Another timer hides it.
		{netlinkss.Estab, netlinkss.TimerOn, 1, KeepaliveUnknown},
		{netlinkss.Estab, netlinkss.TimerPersist, 1, KeepaliveUnknown},
		{netlinkss.Estab, netlinkss.Timer(42), 1, KeepaliveUnknown},
		// An orphan's own timer in FIN-WAIT-2 has the same number.
		{netlinkss.FinWait2, netlinkss.TimerKeepalive, 0, KeepaliveUnknown},
		{netlinkss.Estab, netlinkss.TimerOff, 0, KeepaliveUnknown},
		{netlinkss.Listen, netlinkss.TimerOff, 1, KeepaliveUnknown},
		{netlinkss.SynSent, netlinkss.TimerOn, 1, KeepaliveUnknown},
		{netlinkss.TimeWait, netlinkss.TimerTimeWait, 0, KeepaliveUnknown},
		{netlinkss.LastAck, netlinkss.TimerOff, 1, KeepaliveUnknown},
	} {
		s := &netlinkss.Socket{State: tt.state, Timer: tt.timer, Inode: tt.inode}
		if got := KeepaliveOf(s); got != tt.want {
			t.Errorf("%v with timer %v and inode %d: %v, want %v", tt.state, tt.timer, tt.inode, got, tt.want)
		}
	}
}

func TestAsk(t *testing.T) {
	for on, want := range map[bool]Keepalive{true: KeepaliveOn, false: KeepaliveOff} {
		var h HeldSocket
		if h.Ask(on); h.Keepalive != want || !h.Asked {
			t.Errorf("asked, and told %v: %v", on, h.Keepalive)
		}
	}
}

func TestDirectionOf(t *testing.T) {
	// The SYN of the side that connected was acknowledged, and counts.
	info := func(sent, retrans, acked uint64) netlinkss.TCPInfo {
		return netlinkss.TCPInfo{BytesSent: sent, BytesRetrans: retrans, BytesAcked: acked}
	}
	unsent := func(n uint32, t netlinkss.TCPInfo) netlinkss.TCPInfo {
		t.NotSentBytes = n
		return t
	}
	for _, tt := range []struct {
		name  string
		state netlinkss.State
		sendQ uint32
		info  netlinkss.TCPInfo
		size  int
		want  Direction
	}{
		{"silent, accepted", netlinkss.Estab, 0, info(0, 0, 0), wholeInfo, Accepted},
		{"silent, connected", netlinkss.Estab, 0, info(0, 0, 1), wholeInfo, Connected},
		{"accepted", netlinkss.Estab, 0, info(10, 0, 10), wholeInfo, Accepted},
		{"connected", netlinkss.Estab, 0, info(10, 0, 11), wholeInfo, Connected},
		{"close-wait, connected", netlinkss.CloseWait, 0, info(10, 0, 11), wholeInfo, Connected},
		{"sent twice, accepted", netlinkss.Estab, 0, info(14, 4, 10), wholeInfo, Accepted},
		{"sent twice, connected", netlinkss.Estab, 0, info(14, 4, 11), wholeInfo, Connected},
		{"data on its way, connected", netlinkss.Estab, 1, info(11, 0, 11), wholeInfo, Connected},
		{"data on its way, accepted", netlinkss.Estab, 1, info(11, 0, 10), wholeInfo, Accepted},
		{"data sent again, connected", netlinkss.CloseWait, 5, info(20, 5, 11), wholeInfo, Connected},
		{"data not sent yet, accepted", netlinkss.Estab, 7, unsent(5, info(12, 0, 10)), wholeInfo, Accepted},
		{"counters of two moments", netlinkss.Estab, 3, unsent(5, info(10, 0, 10)), wholeInfo, DirectionUnknown},
		{"counters that do not fit", netlinkss.Estab, 0, info(10, 0, 13), wholeInfo, DirectionUnknown},
		{"less acknowledged than sent", netlinkss.Estab, 0, info(10, 0, 9), wholeInfo, DirectionUnknown},
		{"our FIN counts, accepted", netlinkss.FinWait2, 0, info(10, 0, 11), wholeInfo, Accepted},
		{"our FIN counts, connected", netlinkss.FinWait2, 0, info(10, 0, 12), wholeInfo, Connected},
		{"our FIN was not acknowledged, it seems", netlinkss.FinWait2, 0, info(10, 0, 10), wholeInfo, DirectionUnknown},
		{"whether our FIN was sent is not known", netlinkss.FinWait1, 0, info(10, 0, 11), wholeInfo, DirectionUnknown},
		{"no tcp_info", netlinkss.Estab, 0, info(0, 0, 0), 0, DirectionUnknown},
		{"cut before bytes_sent", netlinkss.Estab, 0, netlinkss.TCPInfo{DataSegsOut: 1}, netlinkss.InfoHasBytes - 1, DirectionUnknown},
		{"cut before bytes_sent, silent, accepted", netlinkss.Estab, 0, info(0, 0, 0), netlinkss.InfoHasBytes - 1, Accepted},
		{"cut before bytes_sent, silent, connected", netlinkss.Estab, 0, info(0, 0, 1), netlinkss.InfoHasDataSegs, Connected},
		{"cut before data_segs_out", netlinkss.Estab, 0, info(0, 0, 1), netlinkss.InfoHasDataSegs - 1, DirectionUnknown},
		{"cut behind bytes_retrans", netlinkss.Estab, 0, info(0, 0, 1), netlinkss.InfoHasBytes, Connected},
	} {
		s := &netlinkss.Socket{State: tt.state, SendQ: tt.sendQ}
		setInfo(s, tt.info, tt.size)
		if got := DirectionOf(s); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		KeepaliveUnknown.String(): "unknown", KeepaliveOff.String(): "off", KeepaliveOn.String(): "on",
		Accepted.String(): "accepted", Connected.String(): "connected",
		Info.String(): "info", Risk.String(): "risk", Leak.String(): "leak",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if Info > Risk || Risk > Leak {
		t.Error("severities are not in order")
	}
}
