package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// longTable is from how many rows a table is written by hand: the library measures every cell, some
// tens of µs a row.
const longTable = 1000

const defaultWidth = 100

func writeWide(w io.Writer, v Value, o Options) error {
	o.wide = true
	return writeTable(w, v, o)
}

func writeTable(w io.Writer, v Value, o Options) error {
	p := &printer{w: w, o: o, width: o.Width}
	if p.width <= 0 {
		p.width = defaultWidth
	}
	d := v.document(o)
	p.line(p.style(bold, Clean(d.Title)))
	for _, s := range d.Sections {
		p.section(s)
	}
	return p.err
}

// printer keeps the first error of w.
type printer struct {
	w     io.Writer
	o     Options
	width int
	err   error
}

// SGR codes.
const (
	bold   = "1"
	dim    = "2"
	red    = "1;31"
	yellow = "1;33"
	cyan   = "1;36"
	green  = "1;32"
)

var toneStyles = [...]string{Plain: bold, Good: green, Note: cyan, Warning: yellow, Alarm: red}

func (p *printer) style(code, s string) string {
	if !p.o.Color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p *printer) line(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s+"\n")
	}
}

func (p *printer) section(s Section) {
	p.line("")
	if s.Mark != "" || s.Heading != "" {
		head := p.style(toneStyles[s.Tone], Clean(s.Mark))
		if s.Mark != "" && s.Heading != "" {
			head += "  "
		}
		p.line(head + p.style(bold, Clean(s.Heading)))
	}
	for _, t := range s.Text {
		p.wrapped("  ", "  ", Clean(t))
	}
	nameWidth := 0
	for _, f := range s.Facts {
		nameWidth = max(nameWidth, utf8.RuneCountInString(f.Name))
	}
	last := ""
	for _, f := range s.Facts {
		name := f.Name
		if name == last {
			name = "" // the same name again: one block
		}
		last = f.Name
		pad := strings.Repeat(" ", nameWidth-utf8.RuneCountInString(name))
		p.wrapped("  "+p.style(dim, name)+pad+"  ", strings.Repeat(" ", nameWidth+4), Clean(f.Text))
	}
	if s.Table == nil {
		return
	}
	if len(s.Table.Rows) == 0 {
		p.more(s.Table)
		return
	}
	if cols := s.Table.shown(p.o.wide); len(cols) > 0 {
		if len(s.Text)+len(s.Facts) > 0 {
			p.line("")
		}
		p.table(s.Table, cols)
	}
}

// wrapped writes words behind a first prefix, and behind rest on further lines.
func (p *printer) wrapped(first, rest, s string) {
	room := max(p.width-utf8.RuneCountInString(rest), 20)
	prefix, line, used := first, "", 0
	for word := range strings.FieldsSeq(s) {
		n := utf8.RuneCountInString(word)
		if used > 0 && used+1+n > room {
			p.line(prefix + line)
			prefix, line, used = rest, "", 0
		}
		if used > 0 {
			line += " "
			used++
		}
		line += word
		used += n
	}
	p.line(prefix + line)
}

func (p *printer) table(t *Table, cols []int) {
	if len(t.Rows) > longTable {
		p.long(t, cols)
	} else {
		p.short(t, cols)
	}
	p.more(t)
}

// more says what the table left out, or why it is empty.
func (p *printer) more(t *Table) {
	if t.More != "" {
		p.line("  " + p.style(dim, Clean(t.More)))
	}
}

// shown are the indexes of the columns that a table shows: in the narrow one those alone that are not
// Wide.
func (t *Table) shown(wide bool) []int {
	var cols []int
	for i, c := range t.Columns {
		if !c.Data && (wide || !c.Wide) {
			cols = append(cols, i)
		}
	}
	return cols
}

// short writes a table through the library.
func (p *printer) short(t *Table, cols []int) {
	align := tw.Alignment{}
	for _, i := range cols {
		if t.Columns[i].Right {
			align = append(align, tw.AlignRight)
		} else {
			align = append(align, tw.AlignLeft)
		}
	}
	var b bytes.Buffer
	table := tablewriter.NewTable(&b,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone,
			Symbols: tw.NewSymbols(tw.StyleNone),
			Settings: tw.Settings{
				Separators: tw.Separators{BetweenColumns: tw.Off, BetweenRows: tw.Off, ShowHeader: tw.Off},
				Lines:      tw.Lines{ShowHeaderLine: tw.Off, ShowFooterLine: tw.Off, ShowTop: tw.Off, ShowBottom: tw.Off},
			},
		})),
		tablewriter.WithHeaderAutoFormat(tw.Off), // it would write ss's names in capitals
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithPadding(tw.Padding{Left: "", Right: "  ", Overwrite: true}),
		tablewriter.WithAlignment(align),
		tablewriter.WithEastAsian(tw.Off), // else the locale says how wide ≥ is
	)
	if !p.o.NoHeader {
		head := make([]any, len(cols))
		for k, i := range cols {
			head[k] = Clean(t.Columns[i].Head) // a comparison's are file names
		}
		table.Header(head...)
	}
	for _, row := range t.Rows {
		cells := make([]any, len(cols))
		for k, i := range cols {
			cells[k] = Clean(row[i].Text)
		}
		if err := table.Append(cells...); err != nil && p.err == nil {
			p.err = err
		}
	}
	if err := table.Render(); err != nil && p.err == nil {
		p.err = err
	}
	for i, line := range strings.Split(strings.TrimRight(b.String(), "\n"), "\n") {
		line = "  " + strings.TrimRight(line, " ")
		if i == 0 && !p.o.NoHeader {
			line = p.style(dim, line)
		}
		p.line(line)
	}
}

// long writes a table row by row, in the same look.
func (p *printer) long(t *Table, cols []int) {
	widths := make([]int, len(cols))
	for k, i := range cols {
		if !p.o.NoHeader {
			widths[k] = utf8.RuneCountInString(Clean(t.Columns[i].Head))
		}
		for _, row := range t.Rows {
			widths[k] = max(widths[k], utf8.RuneCountInString(Clean(row[i].Text)))
		}
	}
	var b strings.Builder
	row := func(cell func(i int) string) string {
		b.Reset()
		for k, i := range cols {
			format := "  %-*s"
			if t.Columns[i].Right {
				format = "  %*s"
			}
			fmt.Fprintf(&b, format, widths[k], cell(i))
		}
		return strings.TrimRight(b.String(), " ")
	}
	if !p.o.NoHeader {
		p.line(p.style(dim, row(func(i int) string { return Clean(t.Columns[i].Head) })))
	}
	for _, r := range t.Rows {
		p.line(row(func(i int) string { return Clean(r[i].Text) }))
	}
}
