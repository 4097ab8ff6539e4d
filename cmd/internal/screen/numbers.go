package screen

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// numbers are the plots, in at most room lines.
func (m *model) numbers(room int) []line {
	if m.shown.stat != nil {
		return m.matrix(room)
	}
	if len(m.shown.gauges) == 0 {
		return nil
	}
	parts := m.parts()
	for i, part := range parts {
		parts[i] = foremost(part, room)
	}
	w := (m.w - (len(parts)-1)*gutter) / len(parts)
	var blocks [][]line
	high := 0
	for _, part := range parts {
		block := m.gaugeLines(part, w)
		blocks = append(blocks, block)
		high = max(high, len(block))
	}
	lines := make([]line, high)
	for i := range lines {
		for k, block := range blocks {
			l := line{pad(w)}
			if i < len(block) {
				l = block[i]
			}
			if k > 0 {
				lines[i] = append(lines[i], pad(gutter))
			}
			lines[i] = append(lines[i], l...)
		}
	}
	return lines
}

// gutter is between two columns of gauges; leastGauge is how wide one is at the least.
const (
	gutter     = 3
	leastGauge = 36
)

// parts are the gauges side by side: as many columns as fit.
func (m *model) parts() [][]gauge {
	var of [numGaugeGroups][]gauge
	for _, g := range m.shown.gauges {
		of[g.group] = append(of[g.group], g)
	}
	fds, tcp, rest := of[gaugeFDs], of[gaugeTCP], of[gaugeRest]
	var parts [][]gauge
	switch n := (m.w + gutter) / (leastGauge + gutter); {
	case n <= 1:
		parts = [][]gauge{m.shown.gauges}
	case n == 2:
		parts = [][]gauge{slices.Concat(fds, rest), tcp}
	default:
		parts = [][]gauge{fds, tcp, rest}
	}
	return slices.DeleteFunc(parts, func(p []gauge) bool { return len(p) == 0 })
}

// foremost are the n gauges that matter most, in their order.
func foremost(list []gauge, n int) []gauge {
	if len(list) <= n {
		return list
	}
	ranks := make([]int, len(list))
	for i := range list {
		ranks[i] = i
	}
	slices.SortStableFunc(ranks, func(a, b int) int { return cmp.Compare(list[a].rank, list[b].rank) })
	ranks = ranks[:n]
	slices.Sort(ranks)
	kept := make([]gauge, 0, n)
	for _, i := range ranks {
		kept = append(kept, list[i])
	}
	return kept
}

// gaugeLines have a label, the number, its change and its plot, each line w columns wide.
func (m *model) gaugeLines(list []gauge, w int) []line {
	p := &m.palette
	columns := []column{{}, {right: true}, {right: true}, {trend: true}}
	widths := make([]int, len(columns))
	rows := make([][]cell, len(list))
	for i, g := range list {
		now := cell{style: g.style, text: g.unit.text(g.now)}
		if g.partial {
			now.text = p.own("≥ " + now.text)
		}
		if g.style == plain && g.now == 0 {
			now.style = dim
		}
		rows[i] = []cell{{text: p.clean(g.label)}, now, {style: dim, text: p.own(g.unit.change(g.change))}, {trend: g.points}}
		for k, v := range rows[i] {
			widths[k] = max(widths[k], width(v.text))
		}
	}
	share(widths, w)
	lines := make([]line, len(list))
	for i, row := range rows {
		for k, c := range columns {
			lines[i] = p.put(lines[i], row[k], c, widths[k], 1)
		}
		lines[i] = append(lines[i], pad(w-lines[i].width()))
	}
	return lines
}

// leastPlot is how wide a plot must be to say anything.
const leastPlot = 6

// share gives the plot what w leaves, and the change up where that is too little.
func share(widths []int, w int) {
	widths[2] = max(widths[2], 1)
	plot := w - widths[0] - widths[1] - widths[2] - 3
	if plot < leastPlot {
		plot += widths[2] + 1
		widths[2] = 0
	}
	if plot < leastPlot {
		plot = 0
	}
	widths[3] = plot
}

// matrix are the states of a host by their timers.
func (m *model) matrix(room int) []line {
	s := m.shown.stat
	columns := []column{{head: "State"}, {head: "Sockets", right: true}, {head: "Change", right: true, spare: 7}, {head: "Trend", trend: true, spare: 9}}
	for timer := netlinkss.TimerOff; timer <= netlinkss.TimerDelack; timer++ {
		columns = append(columns, column{head: timer.String(), right: true, spare: 8 - int(timer)})
	}
	columns = append(columns, column{head: "unknown", right: true, spare: 8})
	var cells [][]cell
	for _, r := range largest(s.states(), room-1) {
		cells = append(cells, m.stateCells(r))
	}
	widths := make([]int, len(columns))
	for i, c := range columns {
		some := i < 2 || i < 4 && len(m.shown.gauges) > 0
		for _, row := range cells {
			widths[i] = max(widths[i], width(row[i].text))
			some = some || i >= 4 && row[i].text != "0"
		}
		if widths[i] = max(widths[i], width(c.head)); !some {
			widths[i] = 0
		}
	}
	head, lines := m.palette.tableLines(columns, cells, widths, m.w)
	return append([]line{head}, lines...)
}

// largest are at most n rows, but always one and the last, which is their sum.
func largest(rows []stateRow, n int) []stateRow {
	last := len(rows) - 1
	if n = max(n-1, 1); last <= n {
		return rows
	}
	slices.SortStableFunc(rows[:last], func(a, b stateRow) int { return cmp.Compare(b.total, a.total) })
	rows[last].name = fmt.Sprintf("all %d states", last)
	return append(rows[:n], rows[last])
}

// stateCells are a row of the matrix; the total has the sum of the states as its plot.
func (m *model) stateCells(r stateRow) []cell {
	row := []cell{{text: r.name}, count(r.total), {style: dim}, {}}
	if g := m.gaugeOf(r.name); g != nil {
		row[2].text, row[3].trend = m.palette.own(g.unit.change(g.change)), g.points
	}
	for _, n := range r.timers {
		row = append(row, count(n))
	}
	return row
}

func (m *model) gaugeOf(state string) *gauge {
	for i := range m.shown.gauges {
		if g := &m.shown.gauges[i]; g.key == (diag.LineKey{Kind: diag.LineState, Name: state}) {
			return g
		}
	}
	return nil
}
