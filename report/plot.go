package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sockleak/sockleak/diag"
)

// Plot is a picture of numbers. A page draws it, a table has a line of bars for each of its lines, and programs get the numbers.
type Plot struct {
	Kind  PlotKind
	Name  string // one word, for CSV
	Title string
	Unit  Unit
	Of    string // what is counted, on the axis of the values: "sockets"
	Axis  string // what Labels are, on theirs: "idle for"
	PID   int    // of the process that it is about; 0: of none
	Note  string // what is left out, "" for nothing
	Shown Shown

	Times  []time.Time // of [LinesOverTime]
	Labels []string    // of the others
	Lines  []PlotLine
}

// Shown is who gets a plot beside the readers of a page.
type Shown uint8

// Who does.
const (
	ToAll        Shown = iota
	ToWide             // programs, and people who ask for the wide table
	ToPrograms         // a table beside it tells people the same
	ToNobodyElse       // what stands beside it tells everybody the same
)

// PlotLine is one line of a plot, or one layer of its bars.
type PlotLine struct {
	Name   string
	Values []float64 // one for each of the plot's Times or Labels; NaN: not known
}

// PlotKind is how the numbers of a plot hang together.
type PlotKind uint8

// The kinds.
const (
	LinesOverTime PlotKind = iota // over Times
	Histogram                     // layers, over Labels that follow each other
	Bars                          // layers, over Labels that are things of one kind, the largest first
	Pairs                         // two lines beside each other, over the same Labels as Bars
)

// Unit is what the values of a plot are.
type Unit uint8

// The units.
const (
	Count Unit = iota
	Bytes
	Share // of one processor: 1 is all of it
)

// text writes a value for people; "-" is not known.
func (u Unit) text(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "-"
	case u == Bytes && v < 0:
		return "−" + u.text(-v)
	case u == Bytes:
		return bytesText(uint64(math.Round(v)))
	case u == Share:
		return strconv.FormatFloat(v*100, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// cell is a value with its raw number; what is not known is empty for programs.
func (u Unit) cell(v float64) Cell {
	c := Cell{Text: u.text(v)}
	if c.Text != "-" {
		c.Raw, c.num = strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return c
}

// size is how many values a line has.
func (p *Plot) size() int {
	if p.Kind == LinesOverTime {
		return len(p.Times)
	}
	return len(p.Labels)
}

// label names the place of a value, in UTC where it is a time.
func (p *Plot) label(i int) string {
	if p.Kind == LinesOverTime {
		return rfc3339(p.Times[i])
	}
	return p.Labels[i]
}

// extent is the least and the most of what is known; ok is false for nothing.
func extent(values []float64) (least, most float64, ok bool) {
	least, most = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) {
			least, most, ok = min(least, v), max(most, v), true
		}
	}
	return least, most, ok
}

// lastKnown is the youngest value that is known, NaN for none.
func lastKnown(values []float64) float64 {
	for _, v := range slices.Backward(values) {
		if !math.IsNaN(v) {
			return v
		}
	}
	return math.NaN()
}

const (
	mostLines = 8  // that an eye can follow in one plot
	mostBars  = 12 // below each other
)

// drawn is the plot as it is drawn: lines of nothing but zeros are left out, and so are the lines and bars that are too many, which
// a last one sums up. Nil when nothing is left.
func (p *Plot) drawn() *Plot {
	d := *p
	d.Lines = slices.DeleteFunc(slices.Clone(p.Lines), func(l PlotLine) bool {
		least, most, ok := extent(l.Values)
		return !ok || least == 0 && most == 0
	})
	if len(d.Lines) == 0 || p.size() == 0 {
		return nil
	}
	if p.Kind == Pairs { // without its other half none would be read as one
		d.Lines = slices.Clone(p.Lines)
	}
	if p.Kind == LinesOverTime {
		d.foldLines()
	} else {
		d.foldBars()
	}
	return &d
}

// foldLines keeps the lines that move the most, in their order.
func (p *Plot) foldLines() {
	if len(p.Lines) <= mostLines {
		return
	}
	moves := func(l PlotLine) float64 {
		least, most, _ := extent(l.Values)
		return most - least
	}
	ranked := slices.Clone(p.Lines)
	slices.SortStableFunc(ranked, func(a, b PlotLine) int {
		return cmp.Or(cmp.Compare(moves(b), moves(a)), cmp.Compare(lastKnown(b.Values), lastKnown(a.Values)))
	})
	kept := map[string]bool{}
	for _, l := range ranked[:mostLines-1] {
		kept[l.Name] = true
	}
	rest := PlotLine{Values: make([]float64, len(p.Times))}
	n := 0
	p.Lines = slices.DeleteFunc(p.Lines, func(l PlotLine) bool {
		if !kept[l.Name] {
			n++
			for i, v := range l.Values {
				rest.Values[i] += v // of what is not known, nor is the sum
			}
		}
		return !kept[l.Name]
	})
	rest.Name = fmt.Sprintf("%d others, summed", n)
	p.Lines = append(p.Lines, rest)
}

// foldBars keeps the first bars of a kind.
func (p *Plot) foldBars() {
	if p.Kind == Histogram || len(p.Labels) <= mostBars {
		return
	}
	rest := len(p.Labels) - (mostBars - 1)
	p.Labels = append(slices.Clone(p.Labels[:mostBars-1]), fmt.Sprintf("%d others", rest))
	for i, l := range p.Lines {
		sum := 0.0
		for _, v := range l.Values[mostBars-1:] {
			sum += v
		}
		p.Lines[i].Values = append(slices.Clone(l.Values[:mostBars-1]), sum)
	}
}

// totals are the heights of the bars: the sums over the layers.
func (p *Plot) totals() []float64 {
	sums := make([]float64, len(p.Labels))
	for _, l := range p.Lines {
		for i, v := range l.Values {
			sums[i] += v
		}
	}
	return sums
}

// summary says in words what the plot shows.
func (p *Plot) summary() string {
	var parts []string
	switch p.Kind {
	case LinesOverTime:
		for _, l := range p.Lines {
			parts = append(parts, l.Name+" "+p.Unit.course(l.Values))
		}
		return fmt.Sprintf("%s over %s. %s.", plural(len(p.Times), "sample"), diag.FormatDuration(spanOf(p.Times)), strings.Join(parts, "; "))
	case Histogram:
		return p.peak() + "."
	case Pairs:
		for i, label := range p.Labels {
			parts = append(parts, fmt.Sprintf("%s %s to %s", label, p.Unit.text(p.Lines[0].Values[i]), p.Unit.text(p.Lines[1].Values[i])))
		}
		return strings.Join(parts, ", ") + "."
	}
	for i, v := range p.totals() {
		parts = append(parts, p.Labels[i]+" "+p.Unit.text(v))
	}
	return strings.Join(parts, ", ") + "."
}

func spanOf(times []time.Time) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[len(times)-1].Sub(times[0])
}

// course is where a line goes: its least, its most and its last value.
func (u Unit) course(values []float64) string {
	least, most, ok := extent(values)
	switch {
	case !ok:
		return "not known"
	case least == most:
		return u.text(most) + " throughout"
	}
	return fmt.Sprintf("%s to %s, last %s", u.text(least), u.text(most), u.text(values[len(values)-1]))
}

func whole(values []float64) []int {
	list := make([]int, len(values))
	for i, v := range values {
		list[i] = int(v)
	}
	return list
}

// peak is the highest bar of a histogram.
func (p *Plot) peak() string {
	sums := p.totals()
	all := 0.0
	for _, v := range sums {
		all += v
	}
	_, most, ok := extent(sums)
	if !ok {
		return "nothing is known"
	}
	return strings.TrimSuffix(fmt.Sprintf("%s of %s %s: %s %s", p.Unit.text(most), p.Unit.text(all), p.Of, p.Axis, p.Labels[slices.Index(sums, most)]), " ")
}

// table has the numbers as they are drawn, for those who cannot see them.
func (p *Plot) table() *Table {
	t := &Table{Name: p.Name, Columns: []Column{{Key: "at", Head: cmp.Or(p.Axis, "Time (UTC)")}}}
	for _, l := range p.Lines {
		t.Columns = append(t.Columns, Column{Key: "value", Head: l.Name, Right: true})
	}
	for i := range p.size() {
		row := []Cell{text(p.label(i))}
		if p.Kind == LinesOverTime {
			row[0].Text = p.Times[i].UTC().Format("2006-01-02 15:04:05")
		}
		for _, l := range p.Lines {
			row = append(row, p.Unit.cell(l.Values[i]))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// plotTable has every number of some plots that nothing else tells, for programs.
func plotTable(plots []*Plot) *Table {
	t := &Table{Name: "plot", Columns: []Column{
		{Key: "pid", Data: true}, {Key: "plot", Data: true}, {Key: "line", Data: true}, {Key: "at", Data: true}, {Key: "value", Data: true},
	}}
	for _, p := range plots {
		if p.Shown == ToNobodyElse {
			continue
		}
		pid := Cell{}
		if p.PID != 0 {
			pid = number(p.PID)
		}
		for _, l := range p.Lines {
			for i, v := range l.Values {
				t.Rows = append(t.Rows, []Cell{pid, text(p.Name), text(l.Name), text(p.label(i)), p.Unit.cell(v)})
			}
		}
	}
	return t
}

// plots writes a line for each line of those plots that are for a table, and reports whether there was one.
func (p *printer) plots(list []*Plot) (some bool) {
	for _, plot := range list {
		d := plot.drawn()
		if d == nil || plot.Shown >= ToPrograms || plot.Shown == ToWide && !p.o.wide {
			continue
		}
		some = true
		p.line("")
		p.line("  " + p.style(bold, Clean(d.Title)) + Clean(d.behindTitle()))
		switch d.Kind {
		case LinesOverTime:
			p.courses(d)
		case Histogram:
			p.wrapped("    "+sparkline(whole(d.totals()))+"  ", "    ", Clean(d.summary()))
		case Bars, Pairs:
			p.wrapped("    ", "    ", Clean(d.summary()))
		}
		if d.Note != "" {
			p.wrapped("    ", "    ", Clean(d.Note))
		}
	}
	return some
}

func (p *Plot) behindTitle() string {
	if p.Kind != LinesOverTime {
		return ""
	}
	return fmt.Sprintf("  %s over %s", plural(len(p.Times), "sample"), diag.FormatDuration(spanOf(p.Times)))
}

func (p *printer) courses(d *Plot) {
	width := 0
	for _, l := range d.Lines {
		width = max(width, utf8.RuneCountInString(Clean(l.Name)))
	}
	for _, l := range d.Lines {
		name := Clean(l.Name)
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(name))
		p.line("    " + p.style(dim, name) + pad + "  " + sparks(l.Values, sparkWidth) + "  " + d.Unit.course(l.Values))
	}
}

// sparkWidth is how many bars a line of them has at the most.
const sparkWidth = 24

// sparks draws values in so many bars at the most, from the least to the most. Each bar is the last of those that it stands for; a dot
// is not known.
func sparks(values []float64, room int) string {
	const bars = "▁▂▃▄▅▆▇█"
	levels := []rune(bars)
	least, most, _ := extent(values)
	n := min(len(values), room)
	var b strings.Builder
	for i := range n {
		v := values[(i+1)*len(values)/n-1]
		switch {
		case math.IsNaN(v):
			b.WriteRune('·')
		case most == least:
			b.WriteRune(levels[0])
		default:
			b.WriteRune(levels[int((v-least)/(most-least)*float64(len(levels)-1)+0.5)])
		}
	}
	return b.String()
}
