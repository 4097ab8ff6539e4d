package netlinkss

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
)

// The kinds of list that [ReadList] knows.
const (
	KindDump    = "ss -D dump"
	KindSS      = "ss text"
	KindNetstat = "netstat text"
	KindProcNet = "/proc/net/tcp text"
)

// List is a list of sockets that another program wrote: a dump of `ss -D`, what ss or netstat print, or the text of
// /proc/net/tcp. It is read once, by [List.Sockets].
type List struct {
	Kind string // one of the kinds above; "" when the input is none of them, and then [List.Sockets] says so

	r      *bufio.Reader
	unfit  error // why the input is no list
	users  []User
	lack   Lack
	losses tallyOfLosses
}

// User is one holder of a socket, as the list names it: hostile text, which the process has chosen itself.
type User struct {
	Name string // as far as the list has it
	PID  int
	FD   int // -1: the list does not say
}

// Lack is a set of what a row does not tell of its socket; the field is then the zero value (the timer: [TimerUnknown]) and means nothing.
// What there is of TCP_INFO, [Socket.InfoLen] tells.
type Lack uint16

// What a row can lack.
const (
	LackLocal Lack = 1 << iota // the address is a name, or cut; without both addresses of a row of ss, the family is 0
	LackPeer
	LackTimer
	LackUID
	LackInode
	LackCookie
	LackHolders
	LackDevice // it is bound to a device, of which the number is not known
)

// listBuffer bounds a line of text, and how far a reading looks ahead.
const listBuffer = 1 << 20

// ReadList tells by the first bytes of r what kind of list it is.
func ReadList(r io.Reader) *List {
	l := &List{r: bufio.NewReaderSize(r, listBuffer)}
	head, err := l.r.Peek(listBuffer)
	if err != nil && !errors.Is(err, io.EOF) {
		l.unfit = err
		return l
	}
	l.Kind, l.unfit = sniff(head)
	l.losses.kind = l.Kind
	return l
}

// Sockets reads the list. The *Socket, [List.Users] and [List.Lack] are valid until the next step; a non-nil error ends the sequence:
// [ErrMalformed] where the input is no list or not one row of it could be read, [ErrTruncated] where a dump is cut. Rows of a text that
// could not be read are passed over, and counted in [List.Losses].
func (l *List) Sockets() iter.Seq2[*Socket, error] {
	return func(yield func(*Socket, error) bool) {
		if l.unfit != nil {
			yield(nil, opError("read a list of sockets", l.unfit))
			return
		}
		if l.Kind == KindDump {
			l.replay(yield)
			return
		}
		more, err := l.text(yield)
		if !more {
			return
		}
		if err == nil {
			err = l.losses.nothing()
		}
		if err != nil {
			yield(nil, opError("read "+l.Kind, err))
		}
	}
}

// text reads lines; more is false when the loop was left.
func (l *List) text(yield func(*Socket, error) bool) (more bool, err error) {
	in := &lines{r: l.r}
	switch l.Kind {
	case KindSS:
		more = (&ssText{list: l, in: in, yield: yield}).read()
	case KindNetstat:
		more = (&netstatText{list: l, in: in, yield: yield}).read()
	default:
		more = l.procNet(in, yield)
	}
	return more, in.err
}

func (l *List) replay(yield func(*Socket, error) bool) {
	for s, err := range Replay(l.r) {
		if err == nil {
			l.lack = LackHolders
			l.losses.add(s, l.lack)
		}
		if !yield(s, err) {
			return
		}
	}
}

// give hands out a socket that was read from a row.
func (l *List) give(s *Socket, users []User, lack Lack, yield func(*Socket, error) bool) bool {
	l.users, l.lack = users, lack
	l.losses.add(s, lack)
	return yield(s, nil)
}

// Users lists the holders of the socket that was yielded last, nil when its row names none. It is valid until the next step.
func (l *List) Users() []User {
	if len(l.users) == 0 {
		return nil
	}
	return l.users
}

// Lack is what the row of the socket that was yielded last does not tell.
func (l *List) Lack() Lack { return l.lack }

// Losses names what the list lacks, by what was read until now; after the pass it is all of it.
func (l *List) Losses() []Loss { return l.losses.list() }

// sniff tells what kind of list begins so.
func sniff(head []byte) (kind string, err error) {
	switch {
	case len(head) == 0:
		return "", malformed("the input is empty")
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}), bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "", malformed("the input is compressed: unpack it first")
	case isDump(head):
		return KindDump, nil
	}
	for rest := bytes.TrimPrefix(head, byteOrderMark); len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if kind, err := kindOfLine(bytes.TrimRight(line, "\r")); kind != "" || err != nil {
			return kind, err
		}
	}
	return "", malformed("no line of it is of ss, netstat or /proc/net/tcp, and it is no dump of ss -D: it begins with %.60q", head[:min(len(head), 60)])
}

// isDump reports whether b begins with a message of a dump, in whichever byte order.
func isDump(b []byte) bool {
	if len(b) < sizeofNlmsghdr {
		return len(b) < 4 && b[len(b)-1] == 0
	}
	h := readHeader(b)
	if isMessage(h.size, h.typ) {
		return true
	}
	return otherOrder(b)
}

func isMessage(size int, typ uint16) bool {
	switch typ {
	case msgTCPDiag, msgByFamily, msgDone, msgError:
		return size >= sizeofNlmsghdr && size <= maxRecord
	}
	return false
}

// kindOfLine is "" for a line that could be in any text.
func kindOfLine(line []byte) (string, error) {
	var t tokens
	t.reset(line)
	first, second := t.next(), t.next()
	switch {
	case bytes.Contains(line, []byte("(state)")) && bytes.Contains(line, []byte("Recv-Q")), string(first) == "tcp4", string(first) == "tcp46":
		return "", malformed("netstat of BSD or macOS is not read: %.100q", line)
	case bytes.Contains(line, []byte("local_address")), isProcRow(first, second):
		return KindProcNet, nil
	case bytes.Contains(line, []byte("Proto")) && bytes.Contains(line, []byte("Recv-Q")), isNetstatRow(line):
		return KindNetstat, nil
	case isSSHeader(line):
		return KindSS, nil
	}
	var row ssRow
	if verdict := row.parse(line, &ssRun{}); verdict == rowRead || verdict == rowStateless {
		return KindSS, nil
	}
	return "", nil
}
