package screen

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/report"
)

// A screen lower than this has no line to spare.
const lowScreen = 18

// view is the screen, m.h lines of at most m.w columns.
func (m *model) view() string {
	var lines []line
	chosenLine := -1
	switch {
	case m.help:
		lines = m.helpLines()
	case m.shown == nil:
		lines = m.waiting()
	default:
		lines, chosenLine = m.body()
	}
	lines = lines[:min(len(lines), max(m.h-1, 0))]
	for len(lines) < m.h-1 {
		lines = append(lines, nil)
	}
	lines = append(lines, m.footer())
	var b strings.Builder
	for i, l := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		m.palette.render(&b, l, m.w, i == chosenLine)
	}
	return b.String()
}

func (m *model) waiting() []line {
	return []line{{{bold, m.palette.clean(m.o.Title)}}, nil, {{dim, m.palette.own("the first look is under way …")}}}
}

// body is all but the last line, and which of its lines is the chosen row.
func (m *model) body() ([]line, int) {
	lines := m.head()
	low := m.h < lowScreen
	gaps := m.gapLine()
	plots := m.numbers(m.room4plots(len(lines), len(gaps)))
	lines = append(lines, plots...)
	if !low {
		lines = append(lines, nil)
	}
	lines = append(lines, m.tabs())
	room := m.h - 1 - len(lines) - len(gaps)
	detail := m.detail(room)
	lines = append(lines, detail...)
	room -= len(detail)
	rows, chosenRow := m.table(room)
	if chosenRow >= 0 {
		chosenRow += len(lines)
	}
	lines = append(lines, rows...)
	lines = append(lines, m.preview(m.h-1-len(gaps)-len(lines))...)
	for len(lines) < m.h-1-len(gaps) {
		lines = append(lines, nil)
	}
	return append(lines, gaps...), chosenRow
}

// room4plots is how many lines the numbers may have: what is below them needs some, too.
func (m *model) room4plots(head, gaps int) int {
	room := m.h - head - gaps - 4 // tabs, head of the table, blank, footer
	if m.open != nil {
		return max(room/4, 1)
	}
	return max(room*9/20, min(room-2, 2), 1)
}

// head says what is looked at, and the verdict.
func (m *model) head() []line {
	s := m.shown
	var first line
	if m.frozen {
		first = append(first, span{badgeOf + style(report.Warning), " FROZEN "}, pad(1))
	}
	ended := s.want.scope != procID{} && s.scope == nil
	if s.stat == nil && !ended {
		first = append(first, span{badgeOf + style(s.tone), " " + s.mark + " "}, pad(1))
	}
	lines := []line{m.palette.aside(append(first, m.subject()...), m.clock(), m.w)}
	if ended {
		return lines
	}
	if m.h < lowScreen || s.stat != nil {
		return lines
	}
	second := line{{toneStyles[s.tone], m.palette.own(s.answer)}}
	if p := s.process(); p != nil {
		if to := report.Outlook(s.result.GrowthOf(p)); to != "" {
			second = append(second, span{plain, m.palette.clean(" · " + to)})
		}
	}
	return append(lines, second, nil)
}

// subject is what is looked at.
func (m *model) subject() line {
	s := m.shown
	p := s.process()
	switch {
	case s.stat != nil:
		return line{{bold, m.palette.clean(m.o.Title)}, {dim, m.palette.clean(hostText(s.stat))}}
	case p != nil:
		return line{{bold, m.palette.clean(diag.Subject(p.Process))}, {dim, m.palette.clean(processText(p))}}
	case s.want.scope != procID{}:
		return line{{bold, "process " + strconv.Itoa(s.want.scope.pid)}, {dim, " has ended"}}
	}
	return line{{bold, m.palette.clean(m.o.Title)}, {dim, m.palette.own(" · " + strconv.Itoa(len(s.procs)) + " processes")}}
}

func hostText(s *stat) string {
	text := " · " + strconv.Itoa(s.matrix.Total()) + " TCP sockets"
	if s.host != "" {
		text = " · " + s.host + text
	}
	if s.kernel != "" {
		text += " · Linux " + s.kernel
	}
	return text
}

func processText(p *diag.Proc) string {
	text := ""
	if p.Runtime != "" {
		text += " · " + p.Runtime
	}
	text += " · up " + diag.FormatDuration(p.Uptime)
	if len(p.Args) > 0 {
		text += " · " + strings.Join(p.Args, " ")
	}
	return text
}

// clock says when the shown look was taken, and how often that is done.
func (m *model) clock() line {
	s := m.shown
	text := s.at.UTC().Format("15:04:05Z") + " · every " + diag.FormatDuration(m.o.Interval) + " · took " + diag.FormatDuration(s.took)
	return line{{dim, m.palette.own(text)}}
}

// tabs name the lists. The one that is shown stands out.
func (m *model) tabs() line {
	var l line
	for _, p := range m.panes() {
		look := plain
		if p == m.pane {
			look = badge
		}
		l = append(l, span{look, " " + m.tab(p) + " "}, pad(1))
	}
	var right line
	if m.filter != "" {
		right = append(right, span{bold, m.palette.clean("/" + m.filter)}, pad(1))
	}
	right = append(right, span{dim, m.place()})
	return m.palette.aside(l, right, m.w)
}

func (m *model) tab(p pane) string {
	s := m.shown
	switch {
	case p == paneGaps:
		return fmt.Sprintf("gaps %d", len(s.gaps))
	case p == paneProcs:
		return fmt.Sprintf("processes %d", len(s.procs))
	case p == paneFindings:
		n := 0
		for _, f := range m.listed {
			if f.cleared == 0 {
				n++
			}
		}
		return fmt.Sprintf("findings %d", n)
	case s.stat != nil:
		return fmt.Sprintf("by %s %d", s.stat.by, s.stat.distinct)
	}
	return fmt.Sprintf("by %s %d", s.want.by, len(s.groups))
}

// place says how many rows there are, which of them are seen, and how they are sorted.
func (m *model) place() string {
	c := m.cursorOf()
	text := fmt.Sprintf("%d of %d", min(c.row+1, len(m.rows)), len(m.rows))
	if all := m.list.len(); all > len(m.rows) {
		text += fmt.Sprintf(" (%d in all)", all)
	}
	if sorts := m.list.sorts(); len(sorts) > 0 {
		text += ", by " + sorts[c.order%len(sorts)]
		if c.reverse {
			text += ", reversed"
		}
	} else if !m.isLeakscan() && m.pane == paneGroups && len(m.o.Orders) > 0 {
		text += ", by " + m.o.Orders[m.order]
	}
	return text
}

// table is the list, with its head, in at most room lines, and which of them is the chosen row; -1 for none.
func (m *model) table(room int) ([]line, int) {
	room-- // the head
	if note := m.unlisted(); note != "" {
		room--
		defer func() { room++ }()
	}
	if room < 1 {
		return nil, -1
	}
	if len(m.rows) == 0 {
		m.room = room
		why := m.list.empty()
		if m.filter != "" && m.list.len() > 0 {
			why = "nothing matches the filter"
		}
		return m.withUnlisted([]line{{{dim, m.palette.own(why)}}}), -1
	}
	c := m.cursorOf()
	m.room = room
	c.top = min(max(c.top, c.row-room+1), c.row)
	c.top = max(min(c.top, len(m.rows)-room), 0)
	columns, cells := m.list.rows(&m.palette, m.rows[c.top:min(c.top+room, len(m.rows))])
	head, lines := m.palette.tableLines(columns, cells, m.grown.of(m.list.name(), columns, cells), m.w)
	return m.withUnlisted(append([]line{head}, lines...)), c.row - c.top + 1
}

// leastPreview is how many lines must be left for a second list below the first.
const leastPreview = 6

// preview are the largest groups, below the findings, where these leave room.
func (m *model) preview(room int) []line {
	s := m.shown
	if m.pane != paneFindings || m.open != nil || m.filter != "" || room < leastPreview || len(s.groups) == 0 {
		return nil
	}
	l := groupList{list: s.groups, by: s.want.by, idle: true}
	which := orderRows(l, l.sorts()[0], false, "")
	columns, cells := l.rows(&m.palette, which[:min(len(which), room-3)])
	head, rows := m.palette.tableLines(columns, cells, m.beside.of(l.name(), columns, cells), m.w)
	return append([]line{nil, {{bold, m.tab(paneGroups)}}, head}, rows...)
}

// unlisted tells of sockets that are in no group, because nothing was kept of them but their number.
func (m *model) unlisted() string {
	s := m.shown
	if s.stat != nil {
		if rest := s.stat.distinct - len(s.stat.groups); rest > 0 && m.pane == paneGroups {
			return fmt.Sprintf("… and %d more groups", rest)
		}
		return ""
	}
	if m.pane != paneGroups || m.open != nil || s.unlisted <= 0 {
		return ""
	}
	return fmt.Sprintf("and %d connections in order, which were counted and not kept", s.unlisted)
}

func (m *model) withUnlisted(lines []line) []line {
	if note := m.unlisted(); note != "" {
		lines = append(lines, line{{dim, m.palette.own(note)}})
	}
	return lines
}

// gapLine tells of what could not be seen; no line when all was.
func (m *model) gapLine() []line {
	s := m.shown
	if len(s.gaps) == 0 || m.pane == paneGaps {
		return nil
	}
	g := s.gaps[0]
	text := fmt.Sprintf(" %d: %s: %s", len(s.gaps), g.What, g.Why)
	return []line{{{warning, report.GapMark}, {plain, m.palette.clean(text)}}}
}

// footer are the keys, or what the last one has done.
func (m *model) footer() line {
	switch {
	case m.typing:
		return line{{bold, "filter: "}, {plain, m.palette.clean(m.filter)}, {chosen, " "}, {dim, "  enter keeps it, esc clears it"}}
	case m.note != "":
		return line{{bold, m.palette.clean(m.note)}}
	}
	hints := [][2]string{{"q", "quit"}, {"?", "help"}, {"space", "freeze"}, {"tab", "list"}, {"/", "filter"}}
	if m.frozen {
		hints[2][1] = "go on"
	}
	switch {
	case m.open != nil || m.want.scope != procID{}:
		hints = append(hints, [2]string{"esc", "back"})
	case m.isLeakscan():
		hints = append(hints, [2]string{"enter", "open"})
	}
	if m.canSort() {
		hints = append(hints, [2]string{"s", "sort"})
	}
	if m.canGroup() {
		hints = append(hints, [2]string{"g", "group"})
	}
	if m.o.Save != nil {
		hints = append(hints, [2]string{"w", "write"})
	}
	var l line
	for _, h := range hints {
		l = append(l, span{bold, h[0]}, span{dim, " " + h[1] + "  "})
	}
	return l
}

// detail is what stands above the sockets of what is open, in at most half of room lines.
func (m *model) detail(room int) []line {
	if m.open == nil {
		return nil
	}
	f := m.open.finding
	if f == nil {
		return []line{{{bold, m.palette.clean("sockets of " + m.open.key)}}}
	}
	lines := []line{{
		{toneStyles[report.ToneOf(f.finding.Severity)], f.finding.Severity.String() + " " + f.finding.Rule}, pad(1),
		{plain, m.palette.clean(diag.Subject(f.finding.Proc.Process))},
	}}
	if f.cleared > 0 {
		lines[0] = append(line{{struck, "cleared"}, pad(1)}, lines[0]...)
	}
	add := func(name, text string) {
		for i, s := range report.Wrap(m.palette.clean(text), max(m.w-10, 10)) {
			if i > 0 {
				name = ""
			}
			lines = append(lines, line{{dim, fmt.Sprintf("%-9s ", name)}, {plain, s}})
		}
	}
	add("what", f.finding.Message)
	add("do", f.finding.Advice)
	add("why", f.finding.Why)
	for _, e := range f.finding.Evidence {
		add("evidence", e.Field+": "+e.Value+" ("+e.Source+")")
	}
	most := max(room/2, 1)
	if len(lines) > most {
		lines = lines[:most]
	}
	return lines
}
