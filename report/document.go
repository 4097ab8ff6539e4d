package report

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/diag"
)

// Document is a report without a format.
type Document struct {
	Title    string
	Sections []Section
}

// Section is a heading with what stands under it, in this order.
type Section struct {
	Tone    Tone
	Mark    string // a word in front of the heading, in the tone's colour
	Heading string
	// Part: a part of the document begins, and the heading is that of all up to the next one. The mark is for a list of the parts.
	Part bool
	// Brief: the text goes on behind the heading, and stands close to what is brief before it.
	Brief    bool
	Text     []string
	Facts    []Fact
	Steps    []string // numbered from 1
	Commands []Command
	Plots    []*Plot // above the table
	Table    *Table
}

// Tone is how alarming a section is.
type Tone uint8

// The tones.
const (
	Plain Tone = iota
	Good
	Note
	Warning
	Alarm
)

// Fact is a name with a text.
type Fact struct{ Name, Text string }

// Command is a line for a shell, and what to see in what it prints.
type Command struct{ Line, Shows string }

// Table is a list of rows.
type Table struct {
	Name    string // one word, for CSV
	Columns []Column
	Rows    [][]Cell
	Total   bool   // the last row sums up the others
	More    string // what was left out, "" for nothing
}

// Column is a column of a table.
type Column struct {
	Key   string // snake_case, with the unit: idle_ms
	Head  string // as a person reads it: Idle
	Right bool
	Wide  bool // shown by the wide table, and by formats for programs
	Data  bool // for programs alone: a table would say it twice
	// Spare is over 0 for a column that a narrow terminal may do without: the lowest goes first.
	Spare int
	// Wrap is for text, which is broken between words where it does not fit.
	Wrap bool
	// Drawing is what is drawn in letters: for a terminal alone, since a page has plots.
	Drawing bool
}

// Cell is one value: as people read it, and as programs do.
type Cell struct {
	Text string
	Raw  string
	num  bool // Raw is a number of ours: no spreadsheet takes it for a formula
}

// empty reports whether the cell tells people nothing.
func (c Cell) empty() bool { return c.Text == "" || c.Text == noAddress }

func text(s string) Cell { return Cell{Text: s, Raw: s} }

func number[N int | int64 | uint16 | uint32 | uint64](n N) Cell {
	s := fmt.Sprint(n)
	return Cell{Text: s, Raw: s, num: true}
}

// optional is a number that is unknown when it is negative.
func optional(n int) Cell {
	if n < 0 {
		return Cell{Text: "-"}
	}
	return number(n)
}

// unknown are n cells of what is not known.
func unknown(n int) []Cell { return slices.Repeat([]Cell{{Text: "-"}}, n) }

// span shows people "≥ 12m" and programs ms.
func span(s diag.Span) Cell {
	if !s.Known() {
		return Cell{Text: "-"}
	}
	return Cell{Text: s.String(), Raw: strconv.FormatInt(s.D.Milliseconds(), 10), num: true}
}

// address is "-" for people and empty for programs where there is none.
func address(a netip.AddrPort) Cell {
	s := addrPort(a)
	if s == noAddress {
		return Cell{Text: s}
	}
	return text(s)
}

func duration(d time.Duration) Cell {
	return Cell{Text: diag.FormatDuration(d), Raw: strconv.FormatInt(d.Milliseconds(), 10), num: true}
}

// bytesText writes a number of bytes in its largest unit.
func bytesText(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := uint64(unit), 0
	for m := n / unit; m >= unit; m /= unit {
		div *= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(div), "KMGTPE"[exp])
}
