package diag

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// wholeInfo is longer than any tcp_info.
const wholeInfo = 1 << 10

// socket reads STATE [LOCAL [PEER]] and words; n is what "*" stands for.
func (p *fixtureParser) socket(words []string, n int) *netlinkss.Socket {
	s := &netlinkss.Socket{Family: netlinkss.Inet, State: p.state(words[0])}
	addrs := 0
	words = words[1:]
	for ; addrs < 2 && addrs < len(words) && strings.Contains(words[addrs], ":"); addrs++ {
		*[]*netip.AddrPort{&s.Local, &s.Peer}[addrs] = p.addrPort(words[addrs], n)
	}
	if s.Local.Addr().Is6() {
		s.Family = netlinkss.Inet6
	}
	var info netlinkss.TCPInfo
	size := wholeInfo
	for _, w := range words[addrs:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "timer":
			s.Timer = p.timer(value)
		case "recvq":
			s.RecvQ = uint32(p.number(value))
		case "sendq":
			s.SendQ = uint32(p.number(value))
		case "cookie":
			s.Cookie = uint64(p.number(value))
		case "info":
			size = p.number(value)
		case "asked", "born": // read by the caller
		case "expires":
			s.Expires = p.duration(value)
		case "watch", "end", "options", "others", "tickets", "cloexec": // by beside and heldWords
		default:
			p.info(&info, key, nth(value, n))
		}
	}
	countQueue(s, &info)
	if size > 0 {
		setInfo(s, info, size)
	}
	return s
}

func (p *fixtureParser) state(name string) netlinkss.State {
	for s := netlinkss.Estab; s <= netlinkss.BoundInactive; s++ {
		if s.String() == name {
			return s
		}
	}
	p.fail("unknown state %q", name)
	return 0
}

// timer reads a name of ss.
func (p *fixtureParser) timer(name string) netlinkss.Timer {
	for t := netlinkss.TimerOff; t <= netlinkss.TimerDelack; t++ {
		if t.String() == name {
			return t
		}
	}
	p.fail("unknown timer %q", name)
	return 0
}

func (p *fixtureParser) addrPort(word string, n int) netip.AddrPort {
	if addr, ok := strings.CutSuffix(word, ":*"); ok {
		word = addr + ":" + strconv.Itoa(40000+n)
	}
	a, err := netip.ParseAddrPort(strings.ReplaceAll(word, "*", strconv.Itoa(n)))
	if err != nil {
		p.fail("%v", err)
	}
	return a
}

// info reads a field of tcp_info by the kernel's own name, or a word for several.
func (p *fixtureParser) info(t *netlinkss.TCPInfo, key, value string) {
	clocks := map[string][]*uint32{
		"quiet":          {&t.LastDataSent, &t.LastDataRecv, &t.LastAckRecv},
		"last_data_sent": {&t.LastDataSent},
		"last_data_recv": {&t.LastDataRecv},
		"last_ack_recv":  {&t.LastAckRecv},
	}
	counters32 := map[string]*uint32{
		"data_segs_in": &t.DataSegsIn, "data_segs_out": &t.DataSegsOut, "segs_in": &t.SegsIn, "segs_out": &t.SegsOut,
		"snd_wnd": &t.SndWnd,
	}
	counters8 := map[string]*uint8{"retransmits": &t.Retransmits, "backoff": &t.Backoff, "probes": &t.Probes}
	counters64 := map[string]*uint64{
		"bytes_acked": &t.BytesAcked, "bytes_sent": &t.BytesSent, "bytes_received": &t.BytesReceived,
		"bytes_retrans": &t.BytesRetrans,
	}
	switch {
	case key == "accepted" || key == "connected":
		*t = withTraffic(*t, key == "connected")
	case clocks[key] != nil:
		for _, c := range clocks[key] {
			*c = uint32(p.duration(value) / time.Millisecond)
		}
	case counters32[key] != nil:
		*counters32[key] = uint32(p.number(value))
	case counters8[key] != nil:
		*counters8[key] = uint8(p.number(value))
	case key == "rto":
		t.RTO = uint32(p.duration(value) / time.Microsecond)
	case counters64[key] != nil:
		*counters64[key] = uint64(p.number(value))
	default:
		p.fail("unknown field %q", key)
	}
}

// countQueue counts in the FIN of FIN-WAIT-2, which was acknowledged, and what waits in Send-Q: not sent behind
// a closed window, on its way otherwise.
func countQueue(s *netlinkss.Socket, t *netlinkss.TCPInfo) {
	switch {
	case t.DataSegsOut == 0:
	case s.State == netlinkss.FinWait2:
		t.BytesAcked++
	case s.Timer == netlinkss.TimerPersist:
		t.NotSentBytes = s.SendQ
	default:
		t.BytesSent += uint64(s.SendQ)
	}
}

// nth reads "2h+10s*", of the n-th socket of a range: as many times more.
func nth(value string, n int) string {
	base, step, _ := strings.Cut(value, "+")
	step, ok := strings.CutSuffix(step, "*")
	if !ok {
		return value
	}
	b, err := time.ParseDuration(base)
	d, err2 := time.ParseDuration(step)
	if err != nil || err2 != nil {
		return value // and the caller says what is wrong with it
	}
	return (b + time.Duration(n)*d).String()
}

// withTraffic gives counters of a connection that carried 100 bytes out, all acknowledged, and 50 in.
// The side that connected counts its SYN as acknowledged, too.
func withTraffic(t netlinkss.TCPInfo, connected bool) netlinkss.TCPInfo {
	t.SegsIn, t.SegsOut, t.DataSegsIn, t.DataSegsOut = 4, 4, 1, 1
	t.BytesSent, t.BytesAcked, t.BytesReceived, t.SndWnd = 100, 100, 50, 65535
	if connected {
		t.BytesAcked++
	}
	return t
}
