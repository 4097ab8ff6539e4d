package netlinkss

// mostBefore is how many words may stand before a row that does not begin its line: a date, a host, a program, the marks of quoting, a
// header whose end of line is lost.
const mostBefore = 32

// hidesRow reports whether a line that is no row of ss or netstat has one inside of it: two queues and two addresses. Something stands
// before it (the > of a mail, the time of a log, the colour of a terminal), and it must be told that it was not read.
func hidesRow(line []byte) bool {
	var t tokens
	t.reset(line)
	queues := 0
	for range mostBefore + 3 {
		word := t.next()
		if len(word) == 0 {
			return false
		}
		if _, ok := number(word, most32); ok {
			queues++
			continue
		}
		if queues > 1 {
			if local, ok := parseAddr(word); ok {
				_, both := parseAddr(t.next())
				return both || local.addr.IsValid()
			}
		}
		queues = 0
	}
	return false
}

// hidesProcRow is [hidesRow] for the text of /proc/net/tcp.
func hidesProcRow(line []byte) bool {
	var t tokens
	t.reset(line)
	before := t.next()
	for range mostBefore {
		word := t.next()
		if isProcRow(before, word) {
			return true
		}
		before = word
	}
	return false
}
