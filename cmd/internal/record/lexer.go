package record

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"unicode/utf8"
)

// lexer reads the JSON of a table, which is of one shape and most of a file: objects, lists of numbers and of strings, no space between
// them.
type lexer struct {
	b []byte
	i int
}

func (l *lexer) is(c byte) bool { return l.i < len(l.b) && l.b[l.i] == c }

func (l *lexer) eat(c byte) bool {
	if l.is(c) {
		l.i++
		return true
	}
	return false
}

func (l *lexer) want(c byte) error {
	if !l.eat(c) {
		return fmt.Errorf("byte %d: want %q", l.i+1, c)
	}
	return nil
}

// object calls f behind each name.
func (l *lexer) object(f func(name string) error) error {
	return l.between('{', '}', func() error {
		name, err := l.text()
		if err != nil {
			return err
		}
		if err := l.want(':'); err != nil {
			return err
		}
		return f(name)
	})
}

// list calls f before each element.
func (l *lexer) list(f func() error) error { return l.between('[', ']', f) }

func (l *lexer) between(open, end byte, f func() error) error {
	if err := l.want(open); err != nil {
		return err
	}
	if l.eat(end) {
		return nil
	}
	for {
		if err := f(); err != nil {
			return err
		}
		if l.eat(end) {
			return nil
		}
		if err := l.want(','); err != nil {
			return err
		}
	}
}

// ints calls f with each number of a list.
func (l *lexer) ints(f func(int64) error) error {
	return l.list(func() error {
		v, err := l.int()
		if err != nil {
			return err
		}
		return f(v)
	})
}

func (l *lexer) int() (int64, error) {
	start, digits := l.i, 0
	negative := l.eat('-')
	var v uint64
	for ; l.i < len(l.b) && l.b[l.i]-'0' < 10; l.i++ {
		v = v*10 + uint64(l.b[l.i]-'0')
		digits++
	}
	switch {
	case digits == 0:
		return 0, fmt.Errorf("byte %d: want a number", l.i+1)
	case digits > 18: // it may be out of range
		return strconv.ParseInt(string(l.b[start:l.i]), 10, 64)
	case negative:
		return -int64(v), nil
	}
	return int64(v), nil
}

// text reads a string.
func (l *lexer) text() (string, error) {
	start := l.i
	if err := l.want('"'); err != nil {
		return "", err
	}
	plain := true
	for ; l.i < len(l.b); l.i++ {
		switch c := l.b[l.i]; {
		case c == '"' && plain:
			l.i++
			return string(l.b[start+1 : l.i-1]), nil
		case c == '"':
			l.i++
			var s string
			err := json.Unmarshal(l.b[start:l.i], &s)
			return s, err
		case c == '\\':
			l.i++
			plain = false
		case c < ' ' || c >= utf8.RuneSelf:
			plain = false
		}
	}
	return "", fmt.Errorf("byte %d: a string without end", start+1)
}

// Each line ends in a checksum of what is before it, so that a byte that has changed on a disk becomes no number.
const (
	crcBefore = `,"crc":"`
	crcBehind = `"}`
	crcLen    = len(crcBefore) + 8 + len(crcBehind)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendCRC ends the line that began at start, an object without its last brace.
func appendCRC(b []byte, start int) []byte {
	sum := crc32.Checksum(b[start:], castagnoli)
	return append(fmt.Appendf(b, "%s%08x%s", crcBefore, sum, crcBehind), '\n')
}

// checkCRC holds a line to its checksum, and returns what is before it.
func checkCRC(line []byte) ([]byte, error) {
	if len(line) < crcLen || string(line[len(line)-crcLen:][:len(crcBefore)]) != crcBefore {
		return nil, fmt.Errorf("no checksum at its end")
	}
	body := line[:len(line)-crcLen]
	if got, want := string(line[len(body)+len(crcBefore):]), fmt.Sprintf("%08x%s", crc32.Checksum(body, castagnoli), crcBehind); got != want {
		return nil, fmt.Errorf("its checksum is %.8q, want %.8q: it was changed", got, want)
	}
	return body, nil
}
