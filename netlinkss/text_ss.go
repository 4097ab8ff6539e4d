package netlinkss

import (
	"bytes"
	"net/netip"
)

// ssText reads what ss prints: a line a socket, of which the rest may stand on lines that begin with a blank (-i, -m). Versions since 3.10
// differ in what they print and never in the form of it.
//
//   - Words of value 0 are left out, and so are those that a version does not know yet: see [ssRun].
//   - A name of a process may hold a line's end (before 7.1), and nothing of it may be taken for a word.
type ssText struct {
	list  *List
	in    *lines
	yield func(*Socket, error) bool

	run     ssRun
	rows    [2]ssRow
	row     int  // of the two, the one that goes on
	open    bool // there is one
	command ssCommand
}

// read reports whether the loop is to go on, which is at the end of the text.
func (p *ssText) read() bool {
	p.begin(nil)
	for p.in.next() {
		if !p.take(p.in.line) {
			return false
		}
	}
	return p.flush()
}

// take reads one line.
func (p *ssText) take(line []byte) bool {
	losses := &p.list.losses
	switch {
	case p.in.long:
		losses.bad(p.in.n, line)
		return p.flush()
	case p.open && p.goesOn(line):
		p.current().more(line, &p.run, p.in.open)
		if p.in.open {
			losses.cut++
		}
		return true
	case isSSHeader(line):
		losses.header++
		if hidesRow(line) { // the ends of lines are lost
			losses.bad(p.in.n, line)
		}
		more := p.flush()
		p.begin(bytes.Clone(line))
		return more
	}
	next := &p.rows[1-p.row]
	verdict := next.parse(line, &p.run)
	if verdict == rowNone {
		return p.junk(line)
	}
	return p.flush() && p.begun(verdict, line)
}

// begun takes the first line of a row.
func (p *ssText) begun(verdict rowVerdict, line []byte) bool {
	losses := &p.list.losses
	switch {
	case verdict == rowOther:
		losses.other++
	case verdict == rowStateless:
		losses.stateless++
	case p.in.open, verdict == rowCut:
		losses.cut++
	case verdict == rowBad:
		losses.bad(p.in.n, line)
	default:
		p.row, p.open = 1-p.row, true
	}
	return true
}

func (p *ssText) current() *ssRow { return &p.rows[p.row] }

// goesOn reports whether a line belongs to the row before it.
func (p *ssText) goesOn(line []byte) bool {
	if p.current().unclosed != nil && p.current().joined < mostJoined && isUsersTail(line) {
		return true
	}
	return isFurther(line)
}

// isFurther reports whether a line is one that -i or -m print behind a row's first. A whole text may be moved to the right.
func isFurther(line []byte) bool {
	if len(line) == 0 || !isBlank(line[0]) {
		return false
	}
	var t tokens
	t.reset(line)
	first := t.next()
	if len(first) == 0 || isRowStart(first) {
		return len(first) == 0
	}
	// ss's own begin with a tab and a blank: they need no second look, which costs a third of the reading.
	return bytes.HasPrefix(line, []byte("\t ")) || !hidesRow(line)
}

// junk takes a line that is none of ss's. Behind a row that was broken at the width of a terminal it is the rest of a number.
func (p *ssText) junk(line []byte) bool {
	if c, found := commandOf(line); found {
		p.command = c
		p.run.state, p.run.timers = c.state, p.run.timers || c.timers
	}
	switch {
	case hidesRow(line):
		p.list.losses.bad(p.in.n, line)
	case p.open && !p.current().blankEnd && !isPrompt(line):
		p.open = false
		p.list.losses.cut++
	}
	return p.flush()
}

// flush hands out the row that was read.
func (p *ssText) flush() bool {
	if !p.open {
		return true
	}
	p.open = false
	row := p.current()
	p.run.learn(row)
	if row.mptcp {
		p.list.losses.other++
		return true
	}
	row.finish(&p.run)
	return p.list.give(&row.sock, row.users, row.lack, p.yield)
}

// begin looks ahead to the next header, or as far as the buffer reaches, for what the command prints. header is the one before, if any.
func (p *ssText) begin(header []byte) {
	p.run = ssRun{}
	p.run.measure(len(header), isCutHeader(header))
	if !bytes.Contains(header, []byte("State")) {
		p.run.state = p.command.state
	}
	// The next header may be another command's, whose line was not pasted.
	p.run.timers, p.command.timers = p.command.timers, false
	// A full look moves the buffer's bytes, so a text of headers alone must not have one for each.
	ahead := p.in.r.Buffered()
	if ahead < listBuffer/16 {
		ahead = listBuffer
	}
	rest, _ := p.in.r.Peek(ahead)
	p.run.survey(rest)
}

// isSSHeader: the names of the columns.
func isSSHeader(line []byte) bool {
	return bytes.Contains(line, []byte("Recv-Q")) && bytes.Contains(line, []byte("Send-Q")) && bytes.Contains(line, []byte("Local Address"))
}

// isCutHeader reports whether a header does not end with the name of a column.
func isCutHeader(line []byte) bool {
	line = bytes.TrimRight(line, " ")
	whole := bytes.HasSuffix(line, []byte("Process")) || bytes.HasSuffix(line, []byte("Port")) && bytes.Contains(line, []byte("Peer Address"))
	return len(line) > 0 && !whole
}

// ssCommand is what the command line of ss tells of its output.
type ssCommand struct {
	state  State // the only one, for which the output has no column; 0: several
	timers bool  // -o
}

// commandOf reads the command line of ss, behind a prompt or not.
func commandOf(line []byte) (c ssCommand, seen bool) {
	var t tokens
	t.reset(line)
	for word := t.next(); len(word) > 0; word = t.next() {
		switch {
		case string(word) == "ss", bytes.HasSuffix(word, []byte("/ss")):
			seen = true
		case !seen:
		case string(word) == "|": // what follows is another program's
			return c, seen
		case string(word) == "--options":
			c.timers = true
		case word[0] == '-':
			c.timers = c.timers || hasOption(word[1:], 'o')
		case string(word) == "state":
			m, err := ParseStates(string(t.next()))
			if err != nil || m&(m-1) != 0 || c.state != 0 {
				c.state = 0
				return c, true
			}
			for s := Estab; s <= BoundInactive; s++ {
				if m.Has(s) {
					c.state = s
				}
			}
		}
	}
	return c, seen
}

// hasOption finds a letter among those that stand together behind one dash. Behind some of ss's, the rest is their argument.
func hasOption(letters []byte, want byte) bool {
	for _, c := range letters {
		switch {
		case c == want:
			return true
		case c == '-', bytes.IndexByte([]byte("fADFN"), c) >= 0:
			return false
		}
	}
	return false
}

// ssRun is what one command prints, as far as its rows have told: from one header to the next. A word that it has printed once it would
// print in each row where its value is not 0.
type ssRun struct {
	timers bool  // -o
	has    int   // how much of tcp_info
	state  State // the only one; 0: rows have a column for it

	old, bracket bool // "*" is IPv4's (before 4.13); IPv6 stands in brackets (since)

	// Where lines are cut, by whatever, one of the longest ends inside of a word.
	longest, broken int
}

// survey learns from the rows ahead, up to the next header.
func (u *ssRun) survey(rest []byte) {
	var row ssRow
	open, unclosed := false, 0
	for len(rest) > 0 {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		line, rest = bytes.TrimRight(line, "\r"), after
		if unclosed > 0 && !isUsersTail(line) {
			u.measure(unclosed, true)
		}
		unclosed = 0
		switch {
		case !whole, isSSHeader(line):
			return
		case open && isFurther(line):
			row.more(line, u, false)
		default:
			if open = row.parse(line, u) == rowRead; open && row.unclosed != nil {
				unclosed = len(line)
			}
		}
		if open {
			u.learn(&row)
		}
	}
}

func (u *ssRun) learn(r *ssRow) {
	u.timers = u.timers || r.timer || r.option
	u.has = max(u.has, r.has)
	u.old = u.old || r.local.bare || r.peer.bare || isIPv4(r.local) && r.peer.any
	u.bracket = u.bracket || r.local.bracket || r.peer.bracket
}

func isIPv4(a textAddr) bool { return a.addr.Addr().Is4() }

// measure learns from the length of a line, and whether it ends inside of a word.
func (u *ssRun) measure(n int, broken bool) {
	u.longest = max(u.longest, n)
	if broken {
		u.broken = max(u.broken, n)
	}
}

// cut reports whether a line of n bytes may be cut.
func (u *ssRun) cut(n int) bool { return n > 0 && n == u.broken && n >= u.longest }

// wildcard is what "*" stands for in this run; not valid where that cannot be told.
func (u *ssRun) wildcard(other textAddr) netip.Addr {
	switch {
	case !other.any && other.addr.IsValid():
		if other.addr.Addr().Is4() {
			return netip.IPv4Unspecified()
		}
	case u.old && u.bracket:
		return netip.Addr{} // 4.13 and 4.14 wrote it for both families
	case u.old:
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
