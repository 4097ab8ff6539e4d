package netlinkss

// mostBefore is how many words may stand before a row that does not begin its line: a date, a host, a program, the marks of quoting, a
// header whose end of line is lost.
const mostBefore = 32

// hidesRow reports whether a line that is no row of the list has one inside of it, of any of the texts: two queues and two addresses, or
// what /proc/net/tcp has. Something stands before it (the > of a mail, the time of a log, the colour of a terminal), or it is another
// list's, and it must be told that it was not read.
func hidesRow(line []byte) bool {
	var t tokens
	t.reset(line)
	queues := 0
	var before []byte
	for range mostBefore + 3 {
		word := t.next()
		if len(word) == 0 {
			return false
		}
		_, isNumber := number(word, most32)
		switch {
		case isNumber:
			queues++
		case queues > 1:
			if local, ok := parseAddr(word); ok {
				_, both := parseAddr(t.next())
				return both || local.addr.IsValid()
			}
			queues = 0
		case isProcRow(before, word):
			return true
		default:
			queues = 0
		}
		before = word
	}
	return false
}
