package report

import "github.com/sockleak/sockleak/diag"

// What follows is for a screen that shows parts of a report, in its words.

// Verdict is the answer of a diagnosis: a word, the sentence behind it, and how alarming it is.
func Verdict(r *diag.Result) (mark, sentence string, tone Tone) {
	s := leakscan{r}.verdict()
	return s.Mark, s.Heading, s.Tone
}

// ToneOf is how alarming a finding of that severity is.
func ToneOf(s diag.Severity) Tone { return severityTones[s] }

// Since is when the oldest socket of a finding was left, "≥ 12m"; "-" when it cannot be told.
func Since(f *diag.Finding) string { return atLeast(leftSince(f)).Text }

// Outlook says where the leaks of a process lead, "" when nothing is known.
func Outlook(g diag.Growth) string { return growth(g) }

// ByteText writes a number of bytes in its largest unit.
func ByteText(n uint64) string { return bytesText(n) }

// SocketTable has a row for each of some sockets of a process, in their order. Its text is not yet clean: see [Clean].
func SocketTable(p *diag.Proc, list []diag.Sample) *Table {
	return socketTable(&diag.Finding{Proc: p}, list)
}
