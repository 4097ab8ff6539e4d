package netlinkss

import "bytes"

// procNet reads /proc/net/tcp and tcp6, one or both, of a machine with this one's byte order, which the text does not tell.
func (l *List) procNet(in *lines, yield func(*Socket, error) bool) bool {
	var s Socket
	for in.next() {
		var t tokens
		t.reset(in.line)
		first := t.next()
		local := t.next()
		switch {
		case bytes.Contains(in.line, []byte("local_address")):
			l.losses.header++
		case !isProcRow(first, local):
			if hidesRow(in.line) {
				l.losses.bad(in.n, in.line)
			}
		case in.open:
			l.losses.cut++
		case in.long || decodeProcNet(in.line[bytes.IndexByte(in.line, first[0]):], procFamily(local), &s) != nil || !procWhole(&t) || !procState(&s):
			l.losses.bad(in.n, in.line)
		default:
			lack := LackCookie | LackHolders
			if s.Timer == TimerUnknown {
				lack |= LackTimer
			}
			if !l.give(&s, nil, lack, yield) {
				return false
			}
		}
	}
	return true
}

// isProcRow: "12:" and an address in hexadecimal.
func isProcRow(first, local []byte) bool {
	digits, found := bytes.CutSuffix(first, []byte(":"))
	if _, ok := number(digits, most64); !found || !ok {
		return false
	}
	addr, port, found := bytes.Cut(local, []byte(":"))
	return found && (len(addr) == 8 || len(addr) == 32) && len(port) == 4
}

func procFamily(local []byte) Family {
	if len(local) > 32 {
		return Inet6
	}
	return Inet
}

// procWhole reports whether something follows the inode, as it does in every row: its digits are all there.
func procWhole(t *tokens) bool {
	for range numCols - 2 {
		t.next()
	}
	return len(t.next()) > 0
}

// procState reports whether the number is one that a kernel writes.
func procState(s *Socket) bool { return s.State >= Estab && s.State <= NewSynRecv }
