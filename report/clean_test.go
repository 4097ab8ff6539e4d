package report

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"plain text, ≥ 12h01m … né": "plain text, ≥ 12h01m … né",
		"日本語 🙂":                     "日本語 🙂",
		"\x1b[31mred\x1b[0m":        `\x1b[31mred\x1b[0m`,
		"\x1b]0;title\a":            `\x1b]0;title\x07`,
		"two\nlines\r":              `two\nlines\x0d`,
		"a\tb\x00c\x7f":             `a\tb\x00c\x7f`,
		"c1 \u009b31m":              `c1 \u{9b}31m`,
		"raw c1 \x9b31m":            `raw c1 \x9b31m`,
		"\u202egnp.exe":             `\u{202e}gnp.exe`,
		"\u2066x\u2069":             `\u{2066}x\u{2069}`,
		"zero\u200bwidth\ufeff":     `zero\u{200b}width\u{feff}`,
		"\u2028\u2029":              `\u{2028}\u{2029}`,
		"tag \U000e0041":            `tag \u{e0041}`,
		"private \ue000":            `private \u{e000}`,
		"bad \xff\xc3":              `bad \xff\xc3`,
		"surrogate \xed\xa0\x80":    `surrogate \xed\xa0\x80`,
		"the rune \ufffd itself":    "the rune \ufffd itself",
		`\n is no line feed`:        `\n is no line feed`,
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// checkSafe fails on anything that could move a cursor, hide, or turn the direction of writing.
func checkSafe(t *testing.T, what, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("%s is not UTF-8: %q", what, s)
	}
	if i := strings.IndexFunc(s, unsafeRune); i >= 0 {
		t.Errorf("%s has an unsafe character at byte %d: %q", what, i, s[max(i-20, 0):min(i+20, len(s))])
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range append(hostile, "", "plain", "≥ 12h01m", "日本語", strings.Repeat("\x80", 9)) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		checkSafe(t, "the result", got)
		if again := Clean(got); again != got {
			t.Errorf("cleaned twice: %q, once: %q", again, got)
		}
		if safe := utf8.ValidString(s) && !strings.ContainsFunc(s, unsafeRune); safe && got != s {
			t.Errorf("safe text changed: %q, was %q", got, s)
		}
		if len(got) < len(s) {
			t.Errorf("%d bytes of %d are lost: %q", len(s)-len(got), len(s), got)
		}
	})
}
