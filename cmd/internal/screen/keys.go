package screen

import (
	"strings"
	"unicode/utf8"

	"github.com/sockleak/sockleak/diag"
)

// binding is what a key does. The help is made of the same list.
type binding struct {
	keys []string // as the library names them
	show string   // as the help names them
	help string
	do   func(*model) effect
	can  func(*model) bool // nil: always
}

// bindings are all keys, in the order of the help.
var bindings = []binding{
	{keys: []string{"q", "ctrl+c"}, show: "q, ctrl-c", help: "quit", do: func(*model) effect { return quit }},
	{keys: []string{"?", "f1"}, show: "?", help: "this help", do: (*model).toggleHelp},
	{keys: []string{"space", " "}, show: "space", help: "freeze the screen; the looks go on", do: (*model).freeze},
	{keys: []string{"r"}, show: "r", help: "look now", do: func(*model) effect { return lookNow }},
	{keys: []string{"+", "="}, show: "+", help: "look less often", do: func(m *model) effect { return m.interval(true) }},
	{keys: []string{"-"}, show: "-", help: "look more often", do: func(m *model) effect { return m.interval(false) }},
	{keys: []string{"tab"}, show: "tab", help: "next list", do: func(m *model) effect { return m.next(1) }},
	{keys: []string{"shift+tab"}, show: "shift-tab", help: "previous list", do: func(m *model) effect { return m.next(-1) }},
	{keys: []string{"up", "k", "ctrl+p"}, show: "up, k", help: "one row up", do: func(m *model) effect { return m.move(-1) }},
	{keys: []string{"down", "j", "ctrl+n"}, show: "down, j", help: "one row down", do: func(m *model) effect { return m.move(1) }},
	{keys: []string{"pgup", "ctrl+b"}, show: "page up", help: "one page up", do: func(m *model) effect { return m.move(-m.page()) }},
	{keys: []string{"pgdown", "ctrl+f"}, show: "page down", help: "one page down", do: func(m *model) effect { return m.move(m.page()) }},
	{keys: []string{"home"}, show: "home", help: "first row", do: func(m *model) effect { return m.move(-1 << 30) }},
	{keys: []string{"end", "G"}, show: "end", help: "last row", do: func(m *model) effect { return m.move(1 << 30) }},
	{keys: []string{"enter", "right", "l"}, show: "enter", help: "open: the sockets of a finding or a group, one process alone", do: (*model).enter, can: (*model).isLeakscan},
	{keys: []string{"esc", "left", "h", "backspace"}, show: "esc", help: "back; out of the filter; all processes", do: (*model).back},
	{keys: []string{"s"}, show: "s", help: "sort by the next column", do: (*model).sort, can: (*model).canSort},
	{keys: []string{"S"}, show: "S", help: "sort the other way round", do: (*model).reverse, can: (*model).isLeakscan},
	{keys: []string{"g"}, show: "g", help: "group sockets by something else", do: (*model).group, can: (*model).canGroup},
	{keys: []string{"/"}, show: "/", help: "filter: peers, states, rules, names", do: (*model).startFilter},
	{keys: []string{"x"}, show: "x", help: "what could not be seen", do: (*model).showGaps},
	{keys: []string{"w"}, show: "w", help: "write the last look to a file", do: (*model).write, can: func(m *model) bool { return m.o.Save != nil }},
	{keys: []string{"ctrl+l"}, show: "ctrl-l", help: "draw the screen anew", do: func(*model) effect { return redraw }},
	{keys: []string{"ctrl+z"}, show: "ctrl-z", help: "suspend; fg goes on", do: func(*model) effect { return suspend }},
}

// key does what a key is for. name is as the library has it: a letter, or enter, shift+tab, …; text is what it types.
func (m *model) key(name, text string) effect {
	m.note = ""
	switch {
	case name == "ctrl+c":
		return quit
	case name == "ctrl+z":
		return suspend
	case m.typing:
		return m.typed(name, text)
	case m.help:
		return m.helpKey(name)
	}
	for i := range bindings {
		b := &bindings[i]
		for _, k := range b.keys {
			if k == name && (b.can == nil || b.can(m)) {
				return b.do(m)
			}
		}
	}
	return nothing
}

func (m *model) isLeakscan() bool { return m.shown == nil || m.shown.stat == nil }

func (m *model) canSort() bool { return m.isLeakscan() || m.o.Arrange != nil && len(m.o.Orders) > 1 }

func (m *model) canGroup() bool {
	return m.isLeakscan() || m.o.Arrange != nil && len(m.o.Groupings) > 1
}

// helpKey walks through the help, or closes it.
func (m *model) helpKey(name string) effect {
	switch name {
	case "down", "j":
		m.scroll++
	case "up", "k":
		m.scroll--
	case "pgdown", "space":
		m.scroll += m.page()
	case "pgup":
		m.scroll -= m.page()
	case "q", "esc", "?", "enter":
		m.help = false
	}
	m.scroll = max(m.scroll, 0)
	return nothing
}

func (m *model) toggleHelp() effect {
	m.help, m.scroll = true, 0
	return nothing
}

func (m *model) freeze() effect {
	if m.shown == nil { // a blank screen that is kept would wait for a look that it never shows
		m.note = "nothing to freeze before the first look"
		return nothing
	}
	if m.frozen = !m.frozen; !m.frozen {
		m.show()
	}
	return nothing
}

func (m *model) interval(longer bool) effect {
	m.o.Interval = nextInterval(m.o.Interval, longer)
	m.note = "a look every " + diag.FormatDuration(m.o.Interval)
	return slower
}

func (m *model) page() int { return max(m.room-1, 1) }

func (m *model) move(by int) effect {
	m.moveTo(m.cursorOf().row + by)
	return nothing
}

// next goes to the next list, and out of what is open.
func (m *model) next(by int) effect {
	panes := m.panes()
	at := 0
	for i, p := range panes {
		if p == m.pane {
			at = i
		}
	}
	m.open = nil
	m.pane = panes[(at+by+len(panes))%len(panes)]
	m.refresh()
	return nothing
}

func (m *model) showGaps() effect {
	if m.shown == nil || len(m.shown.gaps) == 0 {
		m.note = "everything was seen"
		return nothing
	}
	m.open, m.pane = nil, paneGaps
	m.refresh()
	return nothing
}

// enter opens the chosen row.
func (m *model) enter() effect {
	c := m.cursorOf()
	if m.open != nil || m.pane == paneGaps || c.row >= len(m.rows) {
		return nothing
	}
	i := m.rows[c.row]
	c.id = m.list.id(i) // to come back to
	switch m.pane {
	case paneFindings:
		m.open = &opened{finding: m.listed[i]}
	case paneGroups:
		m.open = &opened{key: m.shown.groups[i].key}
	case paneProcs:
		return m.rescope(idOf(m.shown.procs[i].Process))
	}
	m.filter = ""
	m.refresh()
	return nothing
}

// rescope shows one process alone, or all.
func (m *model) rescope(id procID) effect {
	if m.frozen {
		m.note = "frozen: space goes on"
		return nothing
	}
	m.want.scope = id
	m.open, m.filter, m.pane = nil, "", paneFindings
	if id == (procID{}) {
		m.pane = paneProcs
	}
	return retake
}

// back undoes the last step in.
func (m *model) back() effect {
	switch {
	case m.filter != "":
		m.filter = ""
	case m.open != nil:
		m.open = nil
	case m.want.scope != procID{}:
		return m.rescope(procID{})
	}
	m.refresh()
	return nothing
}

func (m *model) sort() effect {
	if !m.isLeakscan() && m.pane == paneGroups {
		m.order = (m.order + 1) % len(m.o.Orders)
		m.note = "sorted by " + m.o.Orders[m.order]
		return arrange
	}
	c := m.cursorOf()
	sorts := m.list.sorts()
	if len(sorts) == 0 {
		return nothing
	}
	c.order = (c.order + 1) % len(sorts)
	m.note = "sorted by " + sorts[c.order]
	c.id = nil
	c.row, c.top = 0, 0
	m.refresh()
	return nothing
}

func (m *model) reverse() effect {
	c := m.cursorOf()
	c.reverse, c.id = !c.reverse, nil
	c.row, c.top = 0, 0
	m.refresh()
	return nothing
}

func (m *model) group() effect {
	if !m.isLeakscan() {
		m.by = (m.by + 1) % len(m.o.Groupings)
		m.note = "grouped by " + m.o.Groupings[m.by]
		m.pane = paneGroups
		m.refresh()
		return arrange
	}
	if m.frozen {
		m.note = "frozen: space goes on"
		return nothing
	}
	m.open, m.pane = nil, paneGroups
	all := groupings()
	for i, by := range all {
		if by == m.want.by {
			m.want.by = all[(i+1)%len(all)]
			break
		}
	}
	m.cursors[paneGroups].id = nil
	m.note = "grouped by " + m.want.by
	return retake
}

func (m *model) startFilter() effect {
	m.typing = true
	return nothing
}

// maxFilter is the length of a filter, in bytes.
const maxFilter = 64

// typed changes the filter.
func (m *model) typed(name, text string) effect {
	switch {
	case name == "esc":
		m.filter, m.typing = "", false
	case name == "enter":
		m.typing = false
	case name == "backspace":
		_, size := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-size]
	case name == "ctrl+u":
		m.filter = ""
	case len(m.filter)+len(text) <= maxFilter:
		m.filter += strings.Map(printable, text)
	}
	m.refresh()
	return nothing
}

// printable leaves out what moves the cursor.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

func (m *model) write() effect {
	m.note = "writing …"
	return save
}
