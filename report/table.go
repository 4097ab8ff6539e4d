package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
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
	p.heading("", Clean(d.Title))
	layouts := make([]layout, len(d.Sections))
	for i, s := range d.Sections {
		layouts[i] = p.layoutOf(s.Table)
	}
	once := sameLeft(layouts)
	for i, s := range d.Sections {
		p.section(s, layouts[i])
		if once == nil {
			p.leftOut("  ", layouts[i].left)
		}
	}
	if once != nil {
		p.line("")
		p.leftOut("", once)
	}
	return p.err
}

// layout is what a table shows, and what the terminal has no room for.
type layout struct {
	cols  []int
	left  []string // heads
	tight bool     // there are columns that may go
}

func (p *printer) layoutOf(t *Table) layout {
	if t == nil || len(t.Rows) == 0 {
		return layout{}
	}
	l := layout{cols: t.shown(p.o.wide)}
	l.tight = len(t.spare(l.cols)) > 0
	var left []int
	l.cols, left = p.fitting(t, l.cols)
	for _, i := range left {
		l.left = append(l.left, t.Columns[i].Head)
	}
	return l
}

// sameLeft is what several tables leave out, all of them the same; nil when they do not, and each has to say it.
func sameLeft(layouts []layout) []string {
	layouts = slices.DeleteFunc(slices.Clone(layouts), func(l layout) bool { return !l.tight })
	if len(layouts) < 2 || slices.ContainsFunc(layouts, func(l layout) bool { return !slices.Equal(l.left, layouts[0].left) }) {
		return nil
	}
	return layouts[0].left
}

// leftOut says which columns are not there, by what shows them.
func (p *printer) leftOut(indent string, heads []string) {
	if len(heads) == 0 {
		return
	}
	s := "-o wide adds " + Clean(strings.Join(heads, ", "))
	for i, line := range Wrap(s, max(p.width-len(indent)-2, leastRoom)) {
		if i == 1 {
			indent += "  "
		}
		p.line(indent + p.style(dim, line))
	}
}

// printer keeps the first error of w.
type printer struct {
	w     io.Writer
	o     Options
	width int
	near  bool // what was written last is brief, and no blank line need follow
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

func (p *printer) section(s Section, l layout) {
	if !s.Brief || !p.near {
		p.line("")
	}
	p.near = s.Brief && len(s.Facts) == 0
	switch {
	case s.Brief:
		p.brief(s)
		s.Text = nil
	case s.Part:
		p.line(p.style(toneStyles[s.Tone], "── "+Clean(s.Heading)+" ──"))
	case s.Mark != "" || s.Heading != "":
		head := p.style(toneStyles[s.Tone], Clean(s.Mark))
		if s.Mark != "" && s.Heading != "" {
			head += "  "
		}
		p.heading(head, Clean(s.Heading))
	}
	for _, t := range s.Text {
		p.wrapped("  ", "  ", Clean(t))
	}
	p.facts(s.Facts)
	for i, step := range s.Steps {
		p.wrapped(fmt.Sprintf("%3d  ", i+1), "     ", Clean(step))
	}
	p.commands(s.Commands)
	above := p.plots(s.Plots) || len(s.Text)+len(s.Facts) > 0
	if s.Table == nil {
		return
	}
	if len(s.Table.Rows) == 0 {
		p.more(s.Table)
		return
	}
	if len(l.cols) > 0 {
		if above {
			p.line("")
		}
		p.table(p.folded(s.Table, l.cols), l.cols)
	}
}

func (p *printer) facts(facts []Fact) {
	nameWidth := 0
	for _, f := range facts {
		nameWidth = max(nameWidth, utf8.RuneCountInString(f.Name))
	}
	last := ""
	for _, f := range facts {
		name := f.Name
		if name == last {
			name = "" // the same name again: one block
		}
		last = f.Name
		pad := strings.Repeat(" ", nameWidth-utf8.RuneCountInString(name))
		p.wrapped("  "+p.style(dim, name)+pad+"  ", strings.Repeat(" ", nameWidth+4), Clean(f.Text))
	}
}

// commands are never broken: they are for copying.
func (p *printer) commands(list []Command) {
	for _, c := range list {
		p.line("  " + p.style(dim, "$") + " " + p.style(bold, Clean(c.Line)))
		p.wrapped("    ", "    ", Clean(c.Shows))
	}
}

// brief writes mark, heading and text as one paragraph.
func (p *printer) brief(s Section) {
	mark, heading := Clean(s.Mark), Clean(s.Heading)
	head := mark + "  " + heading
	for i, line := range Wrap(Clean(head+"  "+strings.Join(s.Text, " ")), max(p.width-2, leastRoom)) {
		if rest, ok := strings.CutPrefix(line, head); ok && i == 0 {
			line = p.style(toneStyles[s.Tone], mark) + "  " + p.style(bold, heading) + rest
		}
		if i > 0 {
			line = "  " + line
		}
		p.line(line)
	}
}

// heading writes a title in bold behind a mark. On a terminal it is broken between words.
func (p *printer) heading(mark, s string) {
	lines := []string{s}
	if p.o.Width > 0 {
		lines = Wrap(s, max(p.width-len("PARTIAL  "), leastRoom))
	}
	for i, line := range lines {
		if i > 0 {
			mark = "  "
		}
		p.line(mark + p.style(bold, line))
	}
}

// leastRoom is how narrow text may become.
const leastRoom = 20

// wrapped writes words behind a first prefix, and behind rest on further lines.
func (p *printer) wrapped(first, rest, s string) {
	prefix := first
	for _, line := range Wrap(s, max(p.width-utf8.RuneCountInString(rest), leastRoom)) {
		p.line(prefix + line)
		prefix = rest
	}
}

// Wrap breaks s between words into lines of so many columns, one line at the least. Two blanks between words stay two where
// the line does not end there.
func Wrap(s string, room int) []string {
	var lines []string
	line, used, gap := "", 0, ""
	for word := range strings.SplitSeq(s, " ") {
		if word == "" {
			gap = "  "
			continue
		}
		n := utf8.RuneCountInString(word)
		if used > 0 && used+len(gap)+n > room {
			lines = append(lines, line)
			line, used = "", 0
		}
		if used > 0 {
			line += gap
			used += len(gap)
		}
		line += word
		used += n
		gap = " "
	}
	return append(lines, line)
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

// shown are the indexes of the columns that a table shows: those that have something in them, and in the narrow one
// those alone that are not Wide.
func (t *Table) shown(wide bool) []int {
	var cols []int
	for i, c := range t.Columns {
		if !c.Data && (wide || !c.Wide) && !t.emptyColumn(i) {
			cols = append(cols, i)
		}
	}
	return cols
}

func (t *Table) emptyColumn(i int) bool {
	return !slices.ContainsFunc(t.Rows, func(row []Cell) bool { return !row[i].empty() })
}

// fitting leaves columns out until the table is as narrow as the terminal. Without a terminal, and in the wide table, all
// stay.
func (p *printer) fitting(t *Table, cols []int) (stay, left []int) {
	if p.o.Width <= 0 || p.o.wide {
		return cols, nil
	}
	widths, total := make(map[int]int, len(cols)), 0
	for _, i := range cols {
		widths[i] = 2 + p.columnWidth(t, i)
		total += widths[i]
	}
	for _, i := range t.spare(cols) {
		if total > p.o.Width {
			total -= widths[i]
			left = append(left, i)
		}
	}
	// The last that went may have been wide enough to let others stay.
	back := map[int]bool{}
	for _, i := range slices.Backward(left) {
		if total+widths[i] <= p.o.Width {
			total += widths[i]
			back[i] = true
		}
	}
	left = slices.DeleteFunc(left, func(i int) bool { return back[i] })
	return slices.DeleteFunc(slices.Clone(cols), func(i int) bool { return slices.Contains(left, i) }), left
}

// spare are the columns that may go, the first that goes first.
func (t *Table) spare(cols []int) []int {
	list := slices.DeleteFunc(slices.Clone(cols), func(i int) bool { return t.Columns[i].Spare == 0 })
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(t.Columns[a].Spare, t.Columns[b].Spare) })
	return list
}

// folded breaks the text of columns that may be broken, where the table is too wide: what does not fit stands below.
func (p *printer) folded(t *Table, cols []int) *Table {
	var texts []int
	room, total := p.width, 0
	widths := make(map[int]int, len(cols))
	for _, i := range cols {
		if widths[i] = p.columnWidth(t, i); t.Columns[i].Wrap {
			texts = append(texts, i)
			room -= 2
		} else {
			room -= 2 + widths[i]
		}
		total += 2 + widths[i]
	}
	if len(texts) == 0 || total <= p.width {
		return t
	}
	// Each leaves those behind it their part.
	part := room / (len(texts) + 1)
	for k, i := range texts {
		widths[i] = min(widths[i], max(room-part*(len(texts)-1-k), leastRoom))
		room -= widths[i]
	}
	folded := *t
	folded.Rows = nil
	for _, row := range t.Rows {
		folded.Rows = append(folded.Rows, foldedRow(row, texts, widths)...)
	}
	return &folded
}

// foldedRow is a row with the texts broken to their widths, and below it the rows that have the rest of them.
func foldedRow(row []Cell, texts []int, widths map[int]int) [][]Cell {
	rows := [][]Cell{slices.Clone(row)}
	for _, i := range texts {
		for k, line := range Wrap(Clean(row[i].Text), widths[i]) {
			if k == len(rows) {
				rows = append(rows, make([]Cell, len(row)))
			}
			rows[k][i].Text = line
		}
	}
	return rows
}

func (p *printer) columnWidth(t *Table, i int) int {
	width := 0
	if !p.o.NoHeader {
		width = utf8.RuneCountInString(Clean(t.Columns[i].Head))
	}
	for _, row := range t.Rows {
		width = max(width, utf8.RuneCountInString(Clean(row[i].Text)))
	}
	return width
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
		widths[k] = p.columnWidth(t, i)
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
