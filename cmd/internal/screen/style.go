package screen

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"github.com/sockleak/sockleak/report"
)

// style is how a piece of text looks. A colour says how alarming something is and nothing else, but for that of the plots.
type style uint8

const (
	plain style = iota
	dim
	bold
	good
	note
	warning
	alarm
	plot
	struck   // of what is gone
	chosen   // the row that the keys are for
	badge    // a word in reverse
	badgeOf  // badgeOf+tone is a badge in the colour of a tone
	badgeEnd = badgeOf + style(report.Alarm)
)

// codes are the parameters of SGR, of the sixteen colours alone: they are the user's own, on a dark ground as on a light one.
var codes = [badgeEnd + 1]string{
	dim: "2", bold: "1", good: "32", note: "34", warning: "33", alarm: "1;31", plot: "36", struck: "2;9", chosen: "7", badge: "1;7",
	badgeOf + style(report.Plain): "1;7", badgeOf + style(report.Good): "1;7;32", badgeOf + style(report.Note): "1;7;34",
	badgeOf + style(report.Warning): "1;7;33", badgeOf + style(report.Alarm): "1;7;31",
}

// colourless are the same without colours.
var colourless = [badgeEnd + 1]string{
	dim: "2", bold: "1", alarm: "1", warning: "1", struck: "2;9", chosen: "7", badge: "1;7", badgeOf: "1;7",
	badgeOf + style(report.Good): "1;7", badgeOf + style(report.Note): "1;7", badgeOf + style(report.Warning): "1;7", badgeOf + style(report.Alarm): "1;7",
}

var toneStyles = [...]style{report.Plain: plain, report.Good: good, report.Note: note, report.Warning: warning, report.Alarm: alarm}

// palette is what the terminal can show.
type palette struct {
	codes *[badgeEnd + 1]string
	ascii bool
	bars  []rune // the levels of a plot, the lowest first
}

func newPalette(color, ascii bool) palette {
	p := palette{codes: &codes, ascii: ascii, bars: []rune("▁▂▃▄▅▆▇█")}
	if !color {
		p.codes = &colourless
	}
	if ascii {
		p.bars = []rune("_.-=+*#@")
	}
	return p
}

// asciiOf spells what has no place in ASCII.
var asciiOf = strings.NewReplacer("≥ ", ">= ", "≥", ">=", "…", "..", "·", "|", "−", "-", "→", "->")

// own makes our own text fit the terminal's character set. What has no spelling is a question mark.
func (p *palette) own(s string) string {
	if !p.ascii || isASCII(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '?'
		}
		return r
	}, asciiOf.Replace(s))
}

// clean makes text from outside harmless.
func (p *palette) clean(s string) string { return p.own(report.Clean(s)) }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// width is how many columns clean text takes.
func width(s string) int {
	if isASCII(s) {
		return len(s)
	}
	return ansi.StringWidthWc(s)
}

// cut shortens clean text to w columns, and shows that it did.
func (p *palette) cut(s string, w int) string {
	switch {
	case w <= 0:
		return ""
	case width(s) <= w:
		return s
	}
	return ansi.TruncateWc(s, w, p.own("…"))
}

// span is text in one style.
type span struct {
	style style
	text  string // clean
}

// line is text from the left to the right.
type line []span

func (l line) width() (n int) {
	for _, s := range l {
		n += width(s.text)
	}
	return n
}

// pad is a line of blanks.
func pad(n int) span { return span{plain, strings.Repeat(" ", max(n, 0))} }

// cutTo shortens a line to w columns.
func (p *palette) cutTo(l line, w int) line {
	for i, s := range l {
		n := width(s.text)
		if n > w {
			return append(l[:i:i], span{s.style, p.cut(s.text, w)})
		}
		w -= n
	}
	return l
}

// render writes a line with its styles. A line that is chosen has one alone, over the whole width w.
func (p *palette) render(b *strings.Builder, l line, w int, isChosen bool) {
	l = p.cutTo(l, w)
	if isChosen {
		l = line{{chosen, textOf(l) + strings.Repeat(" ", max(w-l.width(), 0))}}
	}
	for _, s := range l {
		code := p.codes[s.style]
		if code == "" || s.text == "" {
			b.WriteString(s.text)
			continue
		}
		b.WriteString("\x1b[" + code + "m")
		b.WriteString(s.text)
		b.WriteString("\x1b[m")
	}
}

func textOf(l line) string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.text)
	}
	return b.String()
}

// aside puts two lines on one of w columns, the second at its right end. Where there is no room for both, the first is cut, but to no
// less than half of the line: then the second goes.
func (p *palette) aside(left, right line, w int) line {
	room := w - right.width() - 1
	if room < left.width() {
		if room < w/2 {
			return p.cutTo(left, w)
		}
		left = p.cutTo(left, room)
	}
	return append(append(slices.Clip(left), pad(w-left.width()-right.width())), right...)
}
