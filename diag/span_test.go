package diag

import (
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

const day = 24 * time.Hour

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                    "0ms",
		1:                                    "<1ms",
		time.Millisecond - 1:                 "<1ms",
		time.Millisecond:                     "1ms",
		350 * time.Millisecond:               "350ms",
		time.Second - 1:                      "999ms",
		time.Second:                          "1s",
		3200 * time.Millisecond:              "3.2s",
		3 * time.Second:                      "3s",
		3*time.Second + time.Millisecond:     "3.0s",
		10*time.Second - 1:                   "9.9s", // a lower bound is never rounded up
		10 * time.Second:                     "10s",
		59*time.Second + 999999999:           "59s",
		time.Minute:                          "1m00s",
		5*time.Minute + 12*time.Second:       "5m12s",
		time.Hour - 1:                        "59m59s",
		time.Hour:                            "1h00m",
		12*time.Hour + time.Minute:           "12h01m",
		day - 1:                              "23h59m",
		day:                                  "1d00h",
		3*day + 4*time.Hour + 59*time.Minute: "3d04h",
		400 * day:                            "400d00h",
		-5 * time.Second:                     "-5s",
		-350 * time.Millisecond:              "-350ms",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for _, tt := range []struct {
		span    Span
		text    string
		known   bool
		atLeast time.Duration // the longest that it proves; 0: nothing
	}{
		{Span{}, "-", false, 0},
		{Span{D: time.Hour}, "-", false, 0}, // a length without a source is no knowledge
		{Span{D: 12 * time.Minute, Source: "clock"}, "≥ 12m00s", true, 12 * time.Minute},
		{Span{D: 12 * time.Minute, Source: "clock", Exact: true}, "12m00s", true, 12 * time.Minute},
	} {
		if got := tt.span.String(); got != tt.text {
			t.Errorf("%+v: %q, want %q", tt.span, got, tt.text)
		}
		if got := tt.span.Known(); got != tt.known {
			t.Errorf("%+v: known %v", tt.span, got)
		}
		if tt.known != tt.span.AtLeast(tt.atLeast) || tt.span.AtLeast(tt.atLeast+1) {
			t.Errorf("%+v: wants to prove %v and no more", tt.span, tt.atLeast)
		}
	}
}

// spans is what the three clocks say of one socket.
type spans struct{ idle, age, held Span }

func spansOf(s *netlinkss.Socket, uptime time.Duration) spans {
	return spans{Idle(s, uptime), Age(s, uptime), Held(s, uptime)}
}

func exact(d time.Duration, source string) Span { return Span{d, true, "tcp_info." + source} }
func bound(d time.Duration, source string) Span { return Span{d, false, "tcp_info." + source} }

func TestClocks(t *testing.T) {
	// Sent 5 s ago, received 7 s ago, acknowledged 2 s ago.
	clocks := netlinkss.TCPInfo{LastDataSent: 5000, LastDataRecv: 7000, LastAckRecv: 2000}
	both := clocks
	both.DataSegsOut, both.DataSegsIn = 3, 4
	sentOnly, receivedOnly := both, both
	sentOnly.DataSegsIn, receivedOnly.DataSegsOut = 0, 0
	received := both
	received.LastDataSent, received.LastDataRecv = 7000, 5000

	const sec = time.Second
	sent5, recv7 := "last_data_sent", "last_data_recv"
	for _, tt := range []struct {
		name   string
		state  netlinkss.State
		info   netlinkss.TCPInfo
		size   int
		uptime time.Duration
		want   spans
	}{
		{"payload both ways", netlinkss.Estab, both, wholeInfo, day,
			spans{idle: exact(5*sec, sent5), age: bound(7*sec, recv7)}},
		{"received last", netlinkss.Estab, received, wholeInfo, day,
			spans{idle: exact(5*sec, "last_data_recv"), age: bound(7*sec, "last_data_sent")}},
		{"never sent", netlinkss.Estab, receivedOnly, wholeInfo, day,
			spans{idle: exact(5*sec, sent5), age: exact(5*sec, "last_data_sent (never sent)")}},
		{"never received", netlinkss.Estab, sentOnly, wholeInfo, day,
			spans{idle: exact(5*sec, sent5), age: exact(7*sec, "last_data_recv (never received)")}},
		{"never either", netlinkss.Estab, clocks, wholeInfo, day,
			spans{idle: exact(5*sec, sent5), age: exact(5*sec, "last_data_sent (never sent)")}},
		{"close-wait", netlinkss.CloseWait, both, wholeInfo, day,
			spans{idle: exact(5*sec, sent5), age: bound(7*sec, recv7), held: bound(2*sec, "last_ack_recv")}},
		{"fin-wait-2", netlinkss.FinWait2, both, wholeInfo, day,
			spans{idle: exact(5*sec, sent5), age: bound(7*sec, recv7), held: bound(2*sec, "last_ack_recv")}},
		{"last-ack is not held by a peer", netlinkss.LastAck, both, wholeInfo, day,
			spans{idle: exact(5*sec, sent5), age: bound(7*sec, recv7)}},

		// The clocks go round after 49.7 days, so one reads its true value less a multiple of that.
		{"just before the wrap", netlinkss.Estab, receivedOnly, wholeInfo, clockWrap - 1,
			spans{idle: exact(5*sec, sent5), age: exact(5*sec, "last_data_sent (never sent)")}},
		{"host up for the wrap", netlinkss.Estab, receivedOnly, wholeInfo, clockWrap,
			spans{idle: bound(5*sec, sent5), age: bound(5*sec, "last_data_sent (never sent)")}},
		{"host up for 60 days", netlinkss.CloseWait, both, wholeInfo, 60 * day,
			spans{idle: bound(5*sec, sent5), age: bound(7*sec, recv7), held: bound(2*sec, "last_ack_recv")}},
		{"uptime not known", netlinkss.Estab, sentOnly, wholeInfo, 0,
			spans{idle: bound(5*sec, sent5), age: bound(7*sec, "last_data_recv (never received)")}},

		// Kernels that send less.
		{"no tcp_info", netlinkss.Estab, both, 0, day, spans{}},
		{"cut before the clocks", netlinkss.CloseWait, both, netlinkss.InfoHasClocks - 1, day, spans{}},
		{"cut behind the clocks", netlinkss.CloseWait, both, netlinkss.InfoHasClocks, day,
			spans{idle: exact(5*sec, sent5), age: bound(7*sec, recv7), held: bound(2*sec, "last_ack_recv")}},
		{"cut before the counters", netlinkss.Estab, receivedOnly, netlinkss.InfoHasDataSegs - 1, day,
			spans{idle: exact(5*sec, sent5), age: bound(7*sec, recv7)}},
		{"cut behind the counters", netlinkss.Estab, receivedOnly, netlinkss.InfoHasDataSegs, day,
			spans{idle: exact(5*sec, sent5), age: exact(5*sec, "last_data_sent (never sent)")}},
	} {
		s := &netlinkss.Socket{State: tt.state}
		setInfo(s, tt.info, tt.size)
		if got := spansOf(s, tt.uptime); got != tt.want {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
}

// Before a connection is established its clocks read about the host's uptime, and minisocks have none.
func TestClocksOfStatesWithoutAny(t *testing.T) {
	for _, state := range []netlinkss.State{
		0, netlinkss.SynSent, netlinkss.SynRecv, netlinkss.TimeWait, netlinkss.Unconn, netlinkss.Listen,
		netlinkss.NewSynRecv, netlinkss.BoundInactive, 42,
	} {
		s := &netlinkss.Socket{State: state}
		setInfo(s, quietFor(netlinkss.TCPInfo{}, 10*day), wholeInfo)
		if got := spansOf(s, 11*day); got != (spans{}) {
			t.Errorf("%v: %+v, want nothing known", state, got)
		}
	}
}

// The largest value of a clock is a time and no overflow.
func TestClockLargest(t *testing.T) {
	s := &netlinkss.Socket{State: netlinkss.Estab}
	setInfo(s, netlinkss.TCPInfo{LastDataSent: 1<<32 - 1, LastDataRecv: 1<<32 - 1}, wholeInfo)
	if got, want := Idle(s, 365*day).String(), "≥ 49d17h"; got != want {
		t.Errorf("idle %q, want %q", got, want)
	}
}

func TestUnanswered(t *testing.T) {
	const ms, sec, hour = time.Millisecond, time.Second, time.Hour
	us := func(d time.Duration) uint32 { return uint32(d / time.Microsecond) }
	shut := func(backoff uint8, sent time.Duration) netlinkss.TCPInfo {
		return netlinkss.TCPInfo{RTO: us(200 * ms), Backoff: backoff, LastDataSent: uint32(sent / ms)}
	}
	again := func(rto time.Duration, backoff, retransmits uint8, sent time.Duration) netlinkss.TCPInfo {
		return netlinkss.TCPInfo{RTO: us(rto), Backoff: backoff, Retransmits: retransmits, LastDataSent: uint32(sent / ms), SndWnd: 1}
	}
	failing := shut(9, hour)
	failing.SndWnd, failing.Probes = 1, 3
	hostile := again(0, 255, 255, 0)
	hostile.RTO = 1<<32 - 1
	const persist, on = netlinkss.TimerPersist, netlinkss.TimerOn
	for _, tt := range []struct {
		name    string
		state   netlinkss.State
		timer   netlinkss.Timer
		expires time.Duration
		info    netlinkss.TCPInfo
		size    int
		want    time.Duration // negative: not known
	}{
		{"written just now, window shut for an hour", netlinkss.Estab, persist, 200 * ms, shut(0, hour), wholeInfo, 0},
		{"and half of the first wait later", netlinkss.Estab, persist, 100 * ms, shut(0, hour), wholeInfo, 100 * ms},
		{"after two probes", netlinkss.Estab, persist, 300 * ms, shut(2, hour), wholeInfo, 600*ms + 500*ms},
		{"a timer that was set for longer", netlinkss.Estab, persist, hour, shut(2, hour), wholeInfo, 600 * ms},
		{"a backoff from before", netlinkss.Estab, persist, 300 * ms, shut(4, sec), wholeInfo, sec},
		{"after many probes", netlinkss.Estab, persist, 300 * ms, shut(15, 3*hour), wholeInfo, 3 * hour},
		{"after many probes, sent since", netlinkss.CloseWait, persist, 300 * ms, shut(15, sec), wholeInfo, sec},
		{"a backoff that no kernel has", netlinkss.Estab, persist, 0, shut(255, hour), wholeInfo, hour},
		{"this host cannot send", netlinkss.Estab, persist, 0, failing, wholeInfo, 200*ms + 400*ms + 800*ms},
		{"window shut, no probe", netlinkss.Estab, netlinkss.TimerOff, 0, shut(0, hour), wholeInfo, -1},

		{"sent just now", netlinkss.Estab, on, 100 * ms, again(200*ms, 0, 0, 0), wholeInfo, -1},
		{"sent again once", netlinkss.Estab, on, 100 * ms, again(400*ms, 1, 1, 300*ms), wholeInfo, 200*ms + 300*ms},
		{"sent again eight times", netlinkss.CloseWait, on, 0, again(51200*ms, 8, 8, 0), wholeInfo, 51 * sec},
		{"the time-out at its largest", netlinkss.Estab, on, 0, again(120*sec, 15, 15, 119*sec), wholeInfo, 120*sec - 120*sec>>15 + 119*sec},
		{"backoff kept over an acknowledgement", netlinkss.Estab, on, 0, again(51200*ms, 8, 1, 0), wholeInfo, 25600 * ms},
		{"thin stream, even distances", netlinkss.Estab, on, 0, again(200*ms, 0, 5, 0), wholeInfo, -1},
		{"a clock that no kernel has", netlinkss.Estab, on, 0, again(400*ms, 1, 1, hour), wholeInfo, 200*ms + 120*sec},
		{"a FIN renews no clock", netlinkss.FinWait1, on, 0, again(400*ms, 1, 1, hour), wholeInfo, 200 * ms},
		{"counters that no kernel has", netlinkss.Estab, on, 0, hostile, wholeInfo, -1},

		{"SYN-SENT", netlinkss.SynSent, on, 0, again(51200*ms, 8, 8, 0), wholeInfo, -1},
		{"FIN-WAIT-2", netlinkss.FinWait2, on, 0, again(51200*ms, 8, 8, 0), wholeInfo, -1},
		{"no tcp_info", netlinkss.Estab, persist, 0, shut(15, hour), 0, -1},
		{"cut before snd_wnd", netlinkss.Estab, persist, 0, shut(15, hour), netlinkss.InfoHasSndWnd - 1, -1},
		{"cut behind snd_wnd", netlinkss.Estab, persist, 0, shut(15, hour), netlinkss.InfoHasSndWnd, hour},
	} {
		s := &netlinkss.Socket{State: tt.state, Timer: tt.timer, Expires: tt.expires, SendQ: 1}
		setInfo(s, tt.info, tt.size)
		got := Unanswered(s, day)
		if got.Known() != (tt.want >= 0) || got.Known() && ((got.D-tt.want).Abs() > ms || got.Exact) {
			t.Errorf("%s: %+v, want at least %v", tt.name, got, tt.want)
		}
		s.SendQ = 0
		if got := Unanswered(s, day); got.Known() {
			t.Errorf("%s, but nothing waits: %+v", tt.name, got)
		}
	}
}

func TestConnecting(t *testing.T) {
	const ms, sec = time.Millisecond, time.Second
	for _, tt := range []struct {
		name                 string
		rto                  time.Duration
		backoff, retransmits uint8
		want                 time.Duration
	}{
		{"first SYN", sec, 0, 0, 0},
		{"sent again once", 2 * sec, 1, 1, sec},
		{"six times", 64 * sec, 6, 6, 63 * sec},
		{"four at even distances", sec, 0, 4, 2 * sec},
		{"four at even distances, then six", 64 * sec, 6, 10, 65 * sec},
		{"the time-out at its largest", 120 * sec, 8, 8, 120*sec - 120*sec>>8},
		{"a short time-out of the route", 200 * ms, 0, 3, 600 * ms},
		{"more backoff than SYNs", 64 * sec, 6, 1, sec},
		{"a backoff that no kernel has", 64 * sec, 255, 255, 0},
		{"a time-out that no kernel has", (1<<32 - 1) * time.Microsecond, 0, 255, 127*sec + 500*ms},
	} {
		s := &netlinkss.Socket{State: netlinkss.SynSent, Timer: netlinkss.TimerOn}
		info := netlinkss.TCPInfo{RTO: uint32(tt.rto / time.Microsecond), Backoff: tt.backoff, Retransmits: tt.retransmits}
		setInfo(s, quietFor(info, 10*day), netlinkss.InfoHasClocks)
		if got := Connecting(s); !got.Known() || got.Exact || (got.D-tt.want).Abs() > ms {
			t.Errorf("%s: %+v, want at least %v", tt.name, got, tt.want)
		}
		s.State = netlinkss.Estab
		if got := Connecting(s); got.Known() {
			t.Errorf("%s, but it is established: %+v", tt.name, got)
		}
		s.State = netlinkss.SynSent
		setInfo(s, info, netlinkss.InfoHasClocks-1)
		if got := Connecting(s); got.Known() {
			t.Errorf("%s, cut before the clocks: %+v", tt.name, got)
		}
	}
}
