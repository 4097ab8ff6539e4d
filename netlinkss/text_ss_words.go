package netlinkss

import (
	"bytes"
	"time"
	"unsafe"
)

// infoWord is a word of `ss -i` whose value is a whole number: a field of tcp_info, and how much of that a kernel has filled (and a
// version of ss knows) that prints it.
type infoWord struct {
	offset uintptr
	size   uint8 // bytes
	has    int
}

// What ss -i prints of tcp_info and is kept. It leaves out what is 0; the clocks came with its version 3.18, the bytes acknowledged with
// 4.2, the data segments with 4.7, the bytes sent with 4.20, the window with 5.18.
var infoWords = map[string]infoWord{
	"backoff":        {unsafe.Offsetof(TCPInfo{}.Backoff), 1, InfoHasClocks},
	"mss":            {unsafe.Offsetof(TCPInfo{}.SndMSS), 4, infoHasOld},
	"unacked":        {unsafe.Offsetof(TCPInfo{}.Unacked), 4, infoHasOld},
	"sacked":         {unsafe.Offsetof(TCPInfo{}.Sacked), 4, infoHasOld},
	"lost":           {unsafe.Offsetof(TCPInfo{}.Lost), 4, infoHasOld},
	"fackets":        {unsafe.Offsetof(TCPInfo{}.Fackets), 4, infoHasOld},
	"lastsnd":        {unsafe.Offsetof(TCPInfo{}.LastDataSent), 4, InfoHasClocks},
	"lastrcv":        {unsafe.Offsetof(TCPInfo{}.LastDataRecv), 4, InfoHasClocks},
	"lastack":        {unsafe.Offsetof(TCPInfo{}.LastAckRecv), 4, InfoHasClocks},
	"bytes_acked":    {unsafe.Offsetof(TCPInfo{}.BytesAcked), 8, 136},
	"bytes_received": {unsafe.Offsetof(TCPInfo{}.BytesReceived), 8, 136},
	"segs_out":       {unsafe.Offsetof(TCPInfo{}.SegsOut), 4, 144},
	"segs_in":        {unsafe.Offsetof(TCPInfo{}.SegsIn), 4, 144},
	"notsent":        {unsafe.Offsetof(TCPInfo{}.NotSentBytes), 4, 148},
	"data_segs_in":   {unsafe.Offsetof(TCPInfo{}.DataSegsIn), 4, InfoHasDataSegs},
	"data_segs_out":  {unsafe.Offsetof(TCPInfo{}.DataSegsOut), 4, InfoHasDataSegs},
	"delivered":      {unsafe.Offsetof(TCPInfo{}.Delivered), 4, InfoHasDelivered},
	"delivered_ce":   {unsafe.Offsetof(TCPInfo{}.DeliveredCE), 4, InfoHasDelivered},
	"bytes_sent":     {unsafe.Offsetof(TCPInfo{}.BytesSent), 8, InfoHasBytes},
	"bytes_retrans":  {unsafe.Offsetof(TCPInfo{}.BytesRetrans), 8, InfoHasBytes},
	"dsack_dups":     {unsafe.Offsetof(TCPInfo{}.DSACKDups), 4, 220},
	"reord_seen":     {unsafe.Offsetof(TCPInfo{}.ReordSeen), 4, 224},
	"rcv_ooopack":    {unsafe.Offsetof(TCPInfo{}.RcvOOOPack), 4, 228},
	"snd_wnd":        {unsafe.Offsetof(TCPInfo{}.SndWnd), 4, InfoHasSndWnd},
	"rcv_wnd":        {unsafe.Offsetof(TCPInfo{}.RcvWnd), 4, 236},
	"rehash":         {unsafe.Offsetof(TCPInfo{}.Rehash), 4, 240},
}

// infoHasOld is as much as every version of ss prints: up to the clocks.
const infoHasOld = 44

// words reads what stands behind the addresses, from a place in a line on.
func (r *ssRow) words(line []byte, at int) {
	t := tokens{line: line, at: at}
	for word := t.next(); len(word) > 0; word = t.next() {
		switch {
		case bytes.HasPrefix(word, usersWord) && !r.further:
			users, rest, ok := appendUsers(r.users, line[t.from:])
			r.users = users
			if !ok {
				r.unclosed = bytes.Clone(line[t.from:])
				return
			}
			line = rest
			t.reset(rest)
		case bytes.HasPrefix(word, []byte("cgroup:")):
			// A cgroup's path may hold blanks, and so whatever looks like a word. The arrow ends it.
			t.at = r.arrow(line, t.from)
		case bytes.HasPrefix(word, []byte("opt:\"")), bytes.HasPrefix(word, []byte("inet-sockopt:")):
			return
		default:
			r.word(word)
		}
	}
}

// arrow reads the shutdown state, which stands behind the cgroup's path, and returns where it ends: at the end of the line when there is none.
func (r *ssRow) arrow(line []byte, from int) int {
	for end := len(line); end-from > 4; end-- {
		word := line[end-3 : end]
		if word[1] != '-' || !isBlank(line[end-4]) || end < len(line) && !isBlank(line[end]) {
			continue
		}
		if !r.shutdown(word) {
			continue
		}
		before := bytes.TrimRight(line[from:end-3], " ")
		if v, found := bytes.CutPrefix(before[bytes.LastIndexByte(before, ' ')+1:], []byte("v6only:")); found {
			r.value([]byte("v6only"), v)
		}
		return end
	}
	return len(line)
}

// shutdown reads <->, --> (no more is received), <-- or ---.
func (r *ssRow) shutdown(word []byte) bool {
	var bits uint8
	switch string(word) {
	case "<->":
	case "-->":
		bits = ShutdownRecv
	case "<--":
		bits = ShutdownSend
	case "---":
		bits = ShutdownRecv | ShutdownSend
	default:
		return false
	}
	r.sock.Shutdown = bits
	r.sock.present |= AttrShutdown
	return true
}

func (r *ssRow) word(word []byte) {
	if key, value, found := bytes.Cut(word, []byte(":")); found {
		r.value(key, value)
		return
	}
	switch string(word) {
	case "ts", "usec_ts", "sack", "ecn", "ecnseen", "fastopen":
		r.option = true
	case "app_limited":
		r.has = max(r.has, 168)
	default:
		if r.shutdown(word) {
			return
		}
		if name, found := bytes.CutPrefix(word, []byte("tcp-ulp-")); found {
			r.sock.ULP = nameOf(name)
			r.sock.present |= AttrULP
		} else if r.has == 0 && r.congestion == (Name{}) {
			r.congestion = nameOf(word) // it stands before the numbers
		}
	}
}

// value reads a word with a value.
func (r *ssRow) value(key, value []byte) {
	if w, found := infoWords[string(key)]; found {
		r.infoValue(w, value)
		return
	}
	switch string(key) {
	case "timer", "uid", "ino", "sk":
		if !r.further {
			r.identity(key, value)
		}
	case "rto":
		r.rto(value)
	case "retrans":
		r.retrans(value)
	case "write_seq", "snd_una", "rcv_nxt":
		r.mptcp = true
	default:
		r.rareValue(key, value)
	}
}

// identity reads what stands on the first line alone.
func (r *ssRow) identity(key, value []byte) {
	s := &r.sock
	switch string(key) {
	case "timer":
		r.timerValue(value)
	case "uid":
		s.UID = uint32(r.detail(number(value, most32)))
	case "ino":
		s.Inode = uint32(r.detail(number(value, most32)))
		r.inode = !r.torn
	case "sk":
		// Before Linux 4.2 it was the socket's address, which is used again.
		if n := r.detail(hexNumber(value)); n>>48 == 0 {
			s.Cookie = n
		}
	}
}

// detail is a number of -e; one that is none makes the row's words doubtful.
func (r *ssRow) detail(n uint64, ok bool) uint64 {
	if !ok {
		r.torn = true
		return 0
	}
	return n
}

func (r *ssRow) rareValue(key, value []byte) {
	s := &r.sock
	switch string(key) {
	case "fwmark":
		if n, ok := hexNumber(bytes.TrimPrefix(value, []byte("0x"))); ok && n <= most32 {
			s.Mark = uint32(n)
			s.present |= AttrMark
		}
	case "v6only":
		if n, ok := number(value, most8); ok {
			s.V6Only = uint8(n)
			s.present |= AttrV6Only
		}
	case "skmem":
		if r.memory(value, skMemLetters, s.SkMem.fields()) {
			s.present |= AttrSkMem
		} else {
			s.SkMem = SkMem{}
		}
	case "wscale", "rtt", "cwnd", "rcv_space", "pacing_rate":
		r.has = max(r.has, infoHasOld)
	case "busy":
		r.has = max(r.has, 192)
	}
}

// infoValue stores a number of tcp_info.
func (r *ssRow) infoValue(w infoWord, value []byte) {
	most := uint64(1)<<(8*uint(w.size)) - 1
	if w.size == 8 {
		most = most64
	}
	n, ok := number(value, most)
	if !ok {
		r.torn = true
		return
	}
	r.has = max(r.has, w.has)
	field := r.sock.Info.bytes()[w.offset:]
	switch w.size {
	case 1:
		field[0] = uint8(n)
	case 4:
		native.PutUint32(field, uint32(n))
	default:
		native.PutUint64(field, n)
	}
}

// rto reads milliseconds with a fraction, six digits in all: from a second on, that is rounded, and the fraction is left out, because what
// follows from this number is a lower bound. ss leaves 3 s out; the field is 0 then, which bounds nothing.
func (r *ssRow) rto(value []byte) {
	whole, fraction, _ := bytes.Cut(value, []byte("."))
	n, ok := number(whole, most32/1000)
	if !ok {
		r.torn = true
		return
	}
	us := n * 1000
	for i, scale := 0, uint64(100); i < len(fraction) && len(whole) < 4; i, scale = i+1, scale/10 {
		if !isDigit(fraction[i]) {
			r.torn = true
			return
		}
		us += scale * uint64(fraction[i]-'0')
	}
	r.has = max(r.has, infoHasOld)
	r.sock.Info.RTO = uint32(us)
}

// retrans reads those in flight and all that ever were.
func (r *ssRow) retrans(value []byte) {
	now, all, _ := bytes.Cut(value, []byte("/"))
	n, ok := number(now, most32)
	total, also := number(all, most32)
	if !ok || !also {
		r.torn = true
		return
	}
	r.has = max(r.has, infoHasOld)
	r.sock.Info.Retrans, r.sock.Info.TotalRetrans = uint32(n), uint32(total)
}

// skMemLetters are before the numbers of skmem, in the order of [SkMem]'s fields.
var skMemLetters = [9]string{"r", "rb", "t", "tb", "f", "w", "o", "bl", "d"}

// memory reads (r0,rb131072,…).
func (r *ssRow) memory(value []byte, letters [9]string, fields [9]*uint32) bool {
	value, found := bytes.CutPrefix(value, []byte("("))
	value, ends := bytes.CutSuffix(value, []byte(")"))
	for i := 0; i < len(letters) && len(value) > 0; i++ {
		var one []byte
		one, value, _ = bytes.Cut(value, []byte(","))
		digits, ok := bytes.CutPrefix(one, []byte(letters[i]))
		n, isNumber := number(digits, most32)
		if !ok || !isNumber {
			return false
		}
		*fields[i] = uint32(n)
	}
	return found && ends && len(value) == 0
}

// timerValue reads (keepalive,119min,0).
func (r *ssRow) timerValue(value []byte) {
	if r.timer {
		return
	}
	r.timer = true
	s := &r.sock
	s.Timer = TimerUnknown
	value, found := bytes.CutPrefix(value, []byte("("))
	value, ends := bytes.CutSuffix(value, []byte(")"))
	name, value, _ := bytes.Cut(value, []byte(","))
	left, retrans, _ := bytes.Cut(value, []byte(","))
	n, ok := number(retrans, most8)
	low, high, also := ssDuration(left)
	if !found || !ends || !ok || !also {
		return
	}
	for t, known := range timerNames {
		if Timer(t) != TimerOff && known == string(name) {
			s.Timer = Timer(t)
		}
	}
	if s.Timer == TimerUnknown {
		return
	}
	s.Retrans, s.Expires = uint8(n), low
	if s.Timer == TimerPersist {
		s.Expires = high // how long it has been running is what follows from it
	}
}

// ssDuration reads 119min, 1min58sec, 59sec, 7.123sec, 200ms, or nothing for 0; versions before 6.11 write 7.123ms for 7.123sec. It is cut
// to its unit, so it is between low and high.
func ssDuration(b []byte) (low, high time.Duration, ok bool) {
	if len(b) == 0 {
		return 0, 0, true
	}
	unit := time.Millisecond
	if before, after, found := bytes.Cut(b, []byte("min")); found {
		n, ok := number(before, most32)
		if !ok {
			return 0, 0, false
		}
		low, b, unit = time.Duration(n)*time.Minute, after, time.Second
		if n > 9 {
			unit = time.Minute
		}
	}
	if len(b) > 0 {
		n, second, ok := ssSeconds(b)
		if !ok {
			return 0, 0, false
		}
		low += n
		unit = max(unit, second)
	}
	return low, low + unit - time.Millisecond, true
}

// ssSeconds reads 59sec, 7sec, 7.123sec, 7.123ms or 200ms, and its unit. Without a fraction, up to 9 seconds are whole.
func ssSeconds(b []byte) (d, unit time.Duration, ok bool) {
	if whole, fraction, found := bytes.Cut(b, []byte(".")); found {
		if fraction, ok = bytes.CutSuffix(fraction, []byte("sec")); !ok {
			fraction, ok = bytes.CutSuffix(fraction, []byte("ms"))
		}
		s, isNumber := number(whole, 9)
		ms, also := number(fraction, 999)
		return time.Duration(s)*time.Second + time.Duration(ms)*time.Millisecond, time.Millisecond, ok && isNumber && also && len(fraction) == 3
	}
	if digits, found := bytes.CutSuffix(b, []byte("sec")); found {
		s, ok := number(digits, 59)
		if unit = time.Millisecond; s > 9 {
			unit = time.Second
		}
		return time.Duration(s) * time.Second, unit, ok
	}
	digits, found := bytes.CutSuffix(b, []byte("ms"))
	ms, ok := number(digits, 999)
	return time.Duration(ms) * time.Millisecond, time.Millisecond, found && ok
}
