package netlinkss

import (
	"bytes"
	"net/netip"
)

// ssRow is one socket as ss prints it.
type ssRow struct {
	sock  Socket
	users []User
	lack  Lack

	local, peer textAddr
	timer       bool // its word was there
	option      bool // a word that -o alone prints
	inode       bool // its word, and so uid's where that is not 0
	has         int  // how much of tcp_info, by its newest word
	torn        bool // of its words of tcp_info some may be missing
	cut         bool // its line is cut behind the addresses
	further     bool // what is read stands on a further line
	mptcp       bool // it is no TCP socket
	blankEnd    bool // its last line ends in a blank: nothing of it is broken
	congestion  Name
	unclosed    []byte // the list of holders up to here, where it has no end
	joined      int    // lines of it
}

// rowVerdict is what a line is.
type rowVerdict uint8

const (
	rowNone rowVerdict = iota
	rowRead
	rowOther     // of another protocol
	rowStateless // without a state
	rowBad
	rowCut
)

// parse reads the first line of a row.
func (r *ssRow) parse(line []byte, run *ssRun) rowVerdict {
	*r = ssRow{users: r.users[:0]}
	var t tokens
	t.reset(line)
	first := t.next()
	if !isRowStart(first) {
		return rowNone
	}
	if r.cut = run.cut(len(line)); r.cut {
		t.reset(line[:bytes.LastIndexByte(line, ' ')+1])
		first = t.next()
	}
	netid := isNetid(first)
	tcp := !netid || string(first) == "tcp"
	if netid {
		first = t.next()
	}
	verdict := r.columns(first, netid, tcp, &t, run)
	if verdict == rowRead {
		r.words(t.line, t.at)
		r.blankEnd = endsBlank(line)
	}
	if verdict == rowBad && r.cut {
		verdict = rowCut
	}
	run.measure(len(line), verdict == rowRead && r.unclosed == nil && r.cutEnd(line))
	return verdict
}

// columns reads from the state on to the peer's address.
func (r *ssRow) columns(first []byte, netid, tcp bool, t *tokens, run *ssRun) rowVerdict {
	recv := first
	state, found := stateOf(first)
	if found {
		recv = t.next()
	}
	recvQ, ok := number(recv, most32)
	sendQ, also := number(t.next(), most32)
	switch {
	case isNoState(first):
		return rowBad
	case !found && (!ok || !also):
		return rowNone
	case !ok || !also:
		return rowBad
	case !tcp, state == Unconn && !netid:
		return rowOther // in UNCONN, ss lists no TCP socket unless that is asked for alone, but all of UDP
	}
	if r.local, ok = parseAddr(t.next()); ok {
		r.peer, ok = parseAddr(t.next())
	}
	switch {
	case !ok:
		return rowBad
	case !found && run.state == 0:
		return rowStateless
	case !found:
		state = run.state
	}
	r.sock.State, r.sock.RecvQ, r.sock.SendQ = state, uint32(recvQ), uint32(sendQ)
	return rowRead
}

// more reads a further line of the row. open: it is the end of the text.
func (r *ssRow) more(line []byte, run *ssRun, open bool) {
	r.blankEnd = endsBlank(line)
	if r.unclosed != nil {
		r.reopen(line, open)
		return
	}
	run.measure(len(line), endsInWord(line))
	if open || run.cut(len(line)) {
		r.torn = true
		return
	}
	r.further = true
	r.words(line, 0)
}

// A list of holders goes on over so many lines at the most, and bytes.
const (
	mostJoined = 64
	mostUsers  = 64 << 10
)

// reopen joins a list of holders whose names hold the ends of lines.
func (r *ssRow) reopen(line []byte, open bool) {
	if r.joined++; r.joined > mostJoined || len(r.unclosed)+len(line) > mostUsers || open {
		r.cut = true
		return
	}
	joined := append(append(r.unclosed, '\n'), line...)
	r.unclosed = nil
	r.words(joined, 0)
}

// longestName is how much of a process's name ss knows.
const longestName = 15

// isUsersTail: the line may be what follows the end of a line in a name.
func isUsersTail(line []byte) bool {
	var t tokens
	t.reset(line)
	return (len(line) <= longestName || bytes.Contains(line, []byte("\","))) && !isRowStart(t.next())
}

// finish settles what words that are not there mean.
func (r *ssRow) finish(run *ssRun) {
	s := &r.sock
	r.addresses(run)
	if !r.timer {
		s.Timer = TimerOff
		if r.cut || r.unclosed != nil || !run.timers {
			s.Timer = TimerUnknown
		}
	}
	if s.Timer == TimerUnknown {
		r.lack |= LackTimer
	}
	if !r.inode {
		s.Inode, s.UID = 0, 0
		r.lack |= LackInode | LackUID
	}
	if s.Cookie == 0 {
		r.lack |= LackCookie
	}
	if len(r.users) == 0 {
		r.lack |= LackHolders
	}
	r.info(run)
}

func (r *ssRow) addresses(run *ssRun) {
	s := &r.sock
	for _, a := range [...]struct {
		a, other *textAddr
		to       *netip.AddrPort
		bit      Lack
	}{{&r.local, &r.peer, &s.Local, LackLocal}, {&r.peer, &r.local, &s.Peer, LackPeer}} {
		addr := a.a.addr
		if a.a.any && addr.IsValid() {
			addr = netip.AddrPortFrom(run.wildcard(*a.other), addr.Port())
		}
		if !addr.Addr().IsValid() {
			addr = netip.AddrPort{}
			r.lack |= a.bit
		}
		*a.to = addr
		if len(a.a.device) > 0 {
			r.device(a.a.device)
		}
	}
	s.Family = familyOf(s.Local.Addr(), s.Peer.Addr())
}

func (r *ssRow) device(name []byte) {
	n, ok := ifIndex(name)
	if !ok {
		r.lack |= LackDevice
	}
	r.sock.Interface = n
}

// familyOf is by the addresses that are known; 0 when none is.
func familyOf(local, peer netip.Addr) Family {
	switch {
	case local.Is6() || peer.Is6():
		return Inet6
	case local.Is4() || peer.Is4():
		return Inet
	}
	return 0
}

// info settles TCP_INFO.
func (r *ssRow) info(run *ssRun) {
	s := &r.sock
	if r.has == 0 || r.torn || r.cut || r.unclosed != nil {
		s.Info, s.infoLen = TCPInfo{}, 0
		return
	}
	s.infoLen = uint16(max(r.has, run.has))
	clear(s.Info.bytes()[s.infoLen:])
	s.present |= AttrInfo
	s.Info.State = uint8(s.State)
	switch s.Timer {
	case TimerOn:
		s.Info.Retransmits = s.Retrans
	case TimerKeepalive, TimerPersist:
		s.Info.Probes = s.Retrans
	}
	if r.congestion != (Name{}) {
		s.Congestion = r.congestion
		s.present |= AttrCong
	}
}

// cutEnd reports whether a row's line ends inside of a word with brackets, or with a word behind which ss always prints another.
func (r *ssRow) cutEnd(line []byte) bool {
	if endsInWord(line) {
		return true
	}
	last := line[bytes.LastIndexByte(line, ' ')+1:]
	// Behind the cookie, a socket that a process holds has its arrow.
	return bytes.HasPrefix(last, []byte("uid:")) || bytes.HasPrefix(last, []byte("ino:")) || bytes.HasPrefix(last, []byte("sk:")) && r.sock.Inode != 0
}

// endsInWord reports whether a line ends inside of a word with brackets.
func endsInWord(line []byte) bool {
	last := line[bytes.LastIndexByte(line, ' ')+1:]
	return bytes.IndexByte(last, '(') >= 0 && bytes.IndexByte(last, ')') < 0
}

func endsBlank(line []byte) bool { return len(line) > 0 && isBlank(line[len(line)-1]) }

// isRowStart: the first word of a row.
func isRowStart(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	if _, state := stateOf(b); state || isNetid(b) || isNoState(b) {
		return true
	}
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
	}
	return true
}

// stateOf reads a state as ss prints it.
func stateOf(b []byte) (State, bool) {
	for s := Estab; s <= Closing; s++ {
		if stateNames[s] == string(b) {
			return s, true
		}
	}
	return 0, false
}

// isNoState: what ss prints for a state that it does not know.
func isNoState(b []byte) bool { return string(b) == "UNDEF" || string(b) == "UNKNOWN" }

// isNetid: the first column, where sockets of several protocols are listed.
func isNetid(b []byte) bool {
	switch string(b) {
	case "tcp", "udp", "raw", "dccp", "sctp", "mptcp", "icmp6", "u_str", "u_seq", "u_dgr", "nl", "p_raw", "p_dgr",
		"v_str", "v_dgr", "ti_st", "ti_dg", "ti_rd", "ti_sq", "xdp", "unknown", "???":
		return true
	}
	return false
}
