package netlinkss

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// lines reads text line by line, in bounded memory.
type lines struct {
	r    *bufio.Reader
	line []byte // without its end; valid until the next step
	n    int    // its number, from 1
	long bool   // it was longer than the buffer, and line is its beginning
	open bool   // it is the last and has no end: it may be cut
	err  error
}

// next reads a line, and reports whether there was one.
func (l *lines) next() bool {
	if l.err != nil {
		return false
	}
	line, err := l.r.ReadSlice('\n')
	l.n++
	l.long, l.open = false, false
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		l.long = true
		line = append([]byte{}, line[:lineKept]...)
		l.skip()
	case errors.Is(err, io.EOF):
		if len(line) == 0 {
			return false
		}
		l.open = true
	case err != nil:
		l.err = err
		return false
	}
	if l.n == 1 {
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	l.line = bytes.TrimRight(line, "\r\n")
	return true
}

// byteOrderMark is how some editors begin a text.
var byteOrderMark = []byte("\ufeff")

// lineKept is how much is kept of a line that is too long.
const lineKept = 256

// skip passes over the rest of a line.
func (l *lines) skip() {
	for {
		switch _, err := l.r.ReadSlice('\n'); {
		case err == nil, errors.Is(err, io.EOF):
			return
		case !errors.Is(err, bufio.ErrBufferFull):
			l.err = err
			return
		}
	}
}

// tokens cuts a line at its blanks.
type tokens struct {
	line []byte
	at   int // where what is left begins
	from int // where the last token began
}

func (t *tokens) reset(line []byte) { *t = tokens{line: line} }

// next is the next token, empty at the end.
func (t *tokens) next() []byte {
	for t.at < len(t.line) && isBlank(t.line[t.at]) {
		t.at++
	}
	t.from = t.at
	for t.at < len(t.line) && !isBlank(t.line[t.at]) {
		t.at++
	}
	return t.line[t.from:t.at]
}

// rest is what follows the last token.
func (t *tokens) rest() []byte { return t.line[t.at:] }

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// number reads digits alone, at most most.
func number(b []byte, most uint64) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	for _, c := range b {
		d := uint64(c - '0')
		if !isDigit(c) || n > (most-d)/10 {
			return 0, false
		}
		n = 10*n + d
	}
	return n, true
}

// hexNumber reads hexadecimal digits alone.
func hexNumber(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 16 {
		return 0, false
	}
	for _, c := range b {
		switch {
		case isDigit(c):
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | uint64(c)
	}
	return n, true
}

const (
	most8  = 1<<8 - 1
	most16 = 1<<16 - 1
	most32 = 1<<32 - 1
	most64 = 1<<64 - 1
)

// isPrompt reports whether a line looks like a shell's, with or without a command.
func isPrompt(line []byte) bool {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return true
	}
	for _, mark := range [...]string{"$ ", "# ", "% ", "> ", "--", "==", "```"} {
		if bytes.Contains(line, []byte(mark)) {
			return true
		}
	}
	return bytes.IndexByte([]byte("$#%>"), line[len(line)-1]) >= 0
}
