package netlinkss

import (
	"bytes"
	"net/netip"
	"time"
)

// netstatText reads what netstat of net-tools and of BusyBox print, with -n, -a, -o, -p, -e, -W.
type netstatText struct {
	list  *List
	in    *lines
	yield func(*Socket, error) bool

	sock  Socket
	users []User
	lack  Lack
}

// read reports whether the loop is to go on, which is at the end of the text.
func (p *netstatText) read() bool {
	losses := &p.list.losses
	for p.in.next() {
		line := p.in.line
		var t tokens
		t.reset(line)
		proto := t.next()
		switch {
		case string(proto) == "Proto":
			losses.header++
		case !isTCP(proto) && isNetstatOther(proto):
			losses.other++
		case !isTCP(proto):
			if hidesRow(line) {
				losses.bad(p.in.n, line)
			}
		case p.in.open:
			losses.cut++
		case p.in.long || !p.row(&t, string(proto) == "tcp6"):
			losses.bad(p.in.n, line)
		default:
			if !p.list.give(&p.sock, p.users, p.lack, p.yield) {
				return false
			}
		}
	}
	return true
}

func isTCP(proto []byte) bool { return string(proto) == "tcp" || string(proto) == "tcp6" }

func isNetstatOther(proto []byte) bool {
	switch string(proto) {
	case "udp", "udp6", "udplite", "udplite6", "udpl", "udpl6", "raw", "raw6", "icmp", "icmp6", "sctp", "dccp", "unix", "l2cap", "rfcomm":
		return true
	}
	return false
}

// isNetstatRow: ss, too, has rows that begin with tcp, but its state comes before the numbers.
func isNetstatRow(line []byte) bool {
	var t tokens
	t.reset(line)
	proto := t.next()
	return isTCP(proto) && (&netstatText{}).row(&t, string(proto) == "tcp6")
}

// row reads what is behind the protocol.
func (p *netstatText) row(t *tokens, v6 bool) bool {
	p.sock, p.users, p.lack = Socket{Family: Inet, Timer: TimerUnknown}, p.users[:0], LackCookie|LackTimer|LackUID|LackInode|LackHolders
	s := &p.sock
	recvQ, ok := number(t.next(), most32)
	sendQ, also := number(t.next(), most32)
	if !ok || !also {
		return false
	}
	if v6 {
		s.Family = Inet6
	}
	if s.Local, ok = netstatAddr(t.next(), v6); !ok {
		return false
	}
	if s.Peer, ok = netstatAddr(t.next(), v6); !ok {
		return false
	}
	if s.State, ok = netstatState(t.next()); !ok {
		return false
	}
	s.RecvQ, s.SendQ = uint32(recvQ), uint32(sendQ)
	if !s.Local.IsValid() {
		p.lack |= LackLocal
	}
	if !s.Peer.IsValid() {
		p.lack |= LackPeer
	}
	if familyOf(s.Local.Addr(), s.Peer.Addr()) == Inet6 {
		s.Family = Inet6 // old ones have no tcp6
	}
	p.behind(t)
	return true
}

// netstatWidth is how long an address and its port are at the most without -W: of one so long, the address may be cut, or the port.
const netstatWidth = 23

// netstatAddr reads ADDRESS:PORT, not valid when it is a name or may be cut. In a row of tcp6, an IPv4 address is a v4-mapped one.
func netstatAddr(b []byte, v6 bool) (netip.AddrPort, bool) {
	if len(b) == netstatWidth {
		return netip.AddrPort{}, true
	}
	a, ok := parseAddr(b)
	if !ok || a.any && !a.addr.IsValid() {
		return netip.AddrPort{}, ok
	}
	ip := a.addr.Addr()
	switch {
	case a.any && !v6:
		ip = netip.IPv4Unspecified()
	case v6 && ip.Is4():
		ip = netip.AddrFrom16(ip.As16())
	}
	if !ip.IsValid() {
		return netip.AddrPort{}, true
	}
	return netip.AddrPortFrom(ip, a.addr.Port()), true
}

// netstatStates are the spellings of netstat; the kernel's number is the index.
var netstatStates = [...]string{
	Estab:     "ESTABLISHED",
	SynSent:   "SYN_SENT",
	SynRecv:   "SYN_RECV",
	FinWait1:  "FIN_WAIT1",
	FinWait2:  "FIN_WAIT2",
	TimeWait:  "TIME_WAIT",
	Unconn:    "CLOSE",
	CloseWait: "CLOSE_WAIT",
	LastAck:   "LAST_ACK",
	Listen:    "LISTEN",
	Closing:   "CLOSING",
}

func netstatState(b []byte) (State, bool) {
	for s := Estab; s <= Closing; s++ {
		if netstatStates[s] == string(b) {
			return s, true
		}
	}
	return 0, false
}

// programWidth is the least width of the column of programs; none is longer, so a timer inside of it is a program's name.
const programWidth = 20

// behind reads the columns that options add, each of which tells itself: user and inode, PID/program, timer.
func (p *netstatText) behind(t *tokens) {
	before := *t
	user, inode := t.next(), t.next()
	if n, ok := number(inode, most32); ok && len(user) > 0 && string(user) != "-" && bytes.IndexByte(user, '/') < 0 {
		p.sock.Inode = uint32(n)
		p.lack &^= LackInode
		if n, ok := number(user, most32); ok {
			p.sock.UID = uint32(n)
			p.lack &^= LackUID
		}
	} else {
		*t = before
	}
	before = *t
	program := t.next()
	rest := t.rest()
	if pid, _, found := bytes.Cut(program, []byte("/")); found {
		n, ok := number(pid, 1<<31-1)
		if !ok {
			*t = before
			rest = t.rest()
		} else {
			var name []byte
			name, rest = programColumn(t.line[t.from:])
			name = name[len(pid)+1:]
			p.users = append(p.users, User{Name: nameString(name, p.users), PID: int(n), FD: -1})
			p.lack &^= LackHolders
		}
	} else if string(program) != "-" {
		rest = before.rest()
	}
	p.timer(rest)
}

// programColumn cuts PID/program off what stands from it on. Where that has lost its blanks (they were squeezed, or are tabs now), a timer
// at its end is as likely the end of a program's name: it is neither then.
func programColumn(b []byte) (program, rest []byte) {
	end := min(programWidth, len(b))
	program, rest = b[:end], b[end:]
	if bytes.IndexByte(b, '\t') < 0 && program[end-1] == ' ' {
		return bytes.TrimRight(program, " "), rest
	}
	bracket := max(bytes.LastIndexByte(b, '('), 0)
	before := bytes.TrimRight(b[:bracket], " \t")
	word := bytes.LastIndexAny(before, " \t") + 1
	switch string(before[word:]) {
	case "off", "on", "keepalive", "timewait", "probe":
		program = b[:word]
	}
	return bytes.TrimRight(program, " \t"), nil
}

// timer reads keepalive (7183.98/0/0): seconds left, retransmits, probes.
func (p *netstatText) timer(b []byte) {
	b = bytes.Trim(b, " \t")
	name, numbers, _ := bytes.Cut(b, []byte(" ("))
	numbers, found := bytes.CutSuffix(numbers, []byte(")"))
	left, counts, _ := bytes.Cut(numbers, []byte("/"))
	retrans, probes, _ := bytes.Cut(counts, []byte("/"))
	expires, ok := netstatSeconds(left)
	r, isNumber := number(retrans, most32)
	n, also := number(probes, most32)
	if !found || !ok || !isNumber || !also {
		return
	}
	s := &p.sock
	switch string(name) {
	case "off":
		s.Timer = TimerOff
	case "on":
		s.Timer, s.Retrans = TimerOn, uint8(min(r, most8))
	case "keepalive":
		s.Timer, s.Retrans = TimerKeepalive, uint8(min(n, most8))
	case "timewait":
		s.Timer = TimerTimeWait
	case "probe":
		s.Timer, s.Retrans = TimerPersist, uint8(min(n, most8))
	default:
		return
	}
	s.Expires = expires
	p.lack &^= LackTimer
}

// netstatSeconds reads seconds with two places behind the point.
func netstatSeconds(b []byte) (time.Duration, bool) {
	whole, fraction, _ := bytes.Cut(b, []byte("."))
	s, ok := number(whole, most32)
	f, also := number(fraction, 99)
	return time.Duration(s)*time.Second + time.Duration(f)*clockTick, ok && also && len(fraction) == 2
}
