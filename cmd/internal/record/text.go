package record

import (
	"strings"
	"unicode/utf8"
)

// text is a string that somebody else chose. It may hold bytes that are no UTF-8, which JSON has no place for: they are written as runes
// of a plane that nobody uses, and so is what already looks like one of these.
type text string

// firstByte stands for byte 0, and those behind it for the others.
const firstByte = 0x10ff00

// MarshalText never fails.
func (t text) MarshalText() ([]byte, error) { return appendEscaped(nil, string(t)), nil }

// UnmarshalText never fails.
func (t *text) UnmarshalText(b []byte) error {
	*t = text(unescape(string(b)))
	return nil
}

func appendEscaped(b []byte, s string) []byte {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 || r >= firstByte {
			for _, c := range []byte(s[:n]) {
				b = utf8.AppendRune(b, firstByte+rune(c))
			}
		} else {
			b = append(b, s[:n]...)
		}
		s = s[n:]
	}
	return b
}

func unescape(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r >= firstByte }) {
		return s
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r >= firstByte {
			b = append(b, byte(r-firstByte))
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}

func texts(list []string) []text {
	if list == nil {
		return nil
	}
	all := make([]text, len(list))
	for i, s := range list {
		all[i] = text(s)
	}
	return all
}

func plain(list []text) []string {
	if list == nil {
		return nil
	}
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = string(s)
	}
	return all
}
