package screen

import (
	"cmp"
	"slices"
	"strings"
)

// grown are the widths that the columns of a list have had: a list that is walked through does not jump.
type grown struct {
	list   string
	widths map[string]int // by head; of a column that has had nothing in it, none
}

func (g *grown) forget() { g.list, g.widths = "", nil }

// of are the widths of columns, at least those that they had.
func (g *grown) of(list string, columns []column, rows [][]cell) []int {
	if g.list != list || g.widths == nil {
		g.list, g.widths = list, map[string]int{}
	}
	widths := make([]int, len(columns))
	for i, c := range columns {
		something := false
		w := width(c.head)
		for _, row := range rows {
			w = max(w, width(row[i].text))
			something = something || row[i].text != "" && row[i].text != "-" || row[i].trend != nil
		}
		if something || g.widths[c.head] > 0 {
			g.widths[c.head] = max(w, g.widths[c.head])
		}
		widths[i] = g.widths[c.head]
	}
	return widths
}

const (
	leastTrend = 8  // columns of a plot
	leastLoose = 16 // columns of text that may be cut
	between    = 2  // columns between two columns
)

// layout are the columns that fit into w, with their widths: those that may be spared go first, then text is cut. A width of 0 is a
// column that is not shown.
func layout(columns []column, widths []int, w int) []int {
	widths = slices.Clone(widths)
	for i, c := range columns {
		if c.trend && widths[i] > 0 {
			widths[i] = max(leastTrend, width(c.head))
		}
	}
	for _, i := range spareOrder(columns) {
		if need(columns, widths, leastLoose) <= w {
			break
		}
		widths[i] = 0
	}
	if over := need(columns, widths, 1<<20) - w; over > 0 {
		shorten(columns, widths, over)
	} else {
		widen(columns, widths, -over)
	}
	return widths
}

func spareOrder(columns []column) []int {
	var list []int
	for i, c := range columns {
		if c.spare > 0 {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(columns[a].spare, columns[b].spare) })
	return list
}

// need is how wide the columns are, when loose ones are cut to most.
func need(columns []column, widths []int, most int) int {
	n := 0
	for i, w := range widths {
		if w == 0 {
			continue
		}
		if columns[i].loose {
			w = min(w, most)
		}
		n += w + between
	}
	return max(n-between, 0)
}

// shorten takes columns from those that are loose, the last first, and then from the widest.
func shorten(columns []column, widths []int, over int) {
	for i := len(columns) - 1; i >= 0 && over > 0; i-- {
		if columns[i].loose && widths[i] > leastLoose {
			by := min(over, widths[i]-leastLoose)
			widths[i] -= by
			over -= by
		}
	}
	for over > 0 {
		i := slices.Index(widths, slices.Max(widths))
		if widths[i] <= 1 {
			return
		}
		widths[i]--
		over--
	}
}

// mostTrend is how wide a plot in a row becomes.
const mostTrend = 40

// widen gives what is left to a plot.
func widen(columns []column, widths []int, room int) {
	for i, c := range columns {
		if c.trend && widths[i] > 0 {
			widths[i] = min(widths[i]+room, mostTrend)
			return
		}
	}
}

// tableLines are the head of a list and its rows, in w columns. widths are those that the columns would have.
func (p *palette) tableLines(columns []column, rows [][]cell, widths []int, w int) (head line, lines []line) {
	widths = layout(columns, widths, w)
	for i, c := range columns {
		head = p.put(head, cell{style: dim, text: p.own(c.head)}, c, widths[i], between)
	}
	for _, row := range rows {
		var l line
		for i, c := range columns {
			l = p.put(l, row[i], c, widths[i], between)
		}
		lines = append(lines, l)
	}
	return head, lines
}

// put adds a cell to a line, gap columns behind the one before.
func (p *palette) put(l line, v cell, c column, w, gap int) line {
	if w == 0 {
		return l
	}
	if len(l) > 0 {
		l = append(l, pad(gap))
	}
	text := p.cut(v.text, w)
	if c.trend && v.trend != nil {
		text, v.style = p.sparkline(v.trend, w), plotStyle(v.trend)
	}
	blank := strings.Repeat(" ", max(w-width(text), 0))
	if c.right {
		return append(l, span{plain, blank}, span{v.style, text})
	}
	return append(l, span{v.style, text}, span{plain, blank})
}
