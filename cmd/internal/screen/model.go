package screen

import (
	"slices"
	"time"

	"github.com/sockleak/sockleak/diag"
)

// pane is a list of the screen.
type pane uint8

const (
	paneFindings pane = iota
	paneGroups
	paneProcs
	paneGaps
	numPanes
)

// effect is what a key asks of the half that has the terminal and the clock.
type effect uint8

const (
	nothing effect = iota
	quit
	suspend
	lookNow
	slower  // the interval has changed
	retake  // another part of the last look is wanted
	arrange // another grouping or order of the host's groups is wanted
	redraw
	save
)

// cursor is where a list stands.
type cursor struct {
	row, top int // of what is listed
	id       any // of the row, to find it again in the next look
	order    int
	reverse  bool
}

// opened is a finding or a group whose sockets are shown.
type opened struct {
	finding *tracked // nil: it is a group
	key     string
	cursor  cursor
}

// model is all that the screen knows. It is changed by looks, keys and sizes alone.
type model struct {
	o       Options
	palette palette
	w, h    int

	latest  *shot
	shown   *shot // the latest, but for a frozen screen
	tracker tracker
	found   []*tracked // of the latest
	listed  []*tracked // of what is shown
	frozen  bool

	want  want
	by    int // of Options.Groupings
	order int // of Options.Orders

	pane    pane
	cursors [numPanes]cursor
	open    *opened

	filter string
	typing bool // what is typed goes into the filter
	help   bool
	scroll int    // of the help
	note   string // what the last key has brought about

	list   listing // what the pane has
	rows   []int   // of list, those that match, sorted
	room   int     // rows that were seen, for a page up or down
	grown  grown   // widths of columns, which do not shrink while a list is looked at
	beside grown   // the same of the list below it
}

func newModel(o Options) *model {
	m := &model{o: o, palette: newPalette(o.Color, o.ASCII), w: 80, h: 24, want: want{by: groupings()[0]}}
	m.refresh()
	return m
}

func (m *model) resize(w, h int) {
	m.w, m.h = w, h
	m.grown.forget()
	m.beside.forget()
}

// look takes a new shot. One of what is no longer wanted is passed over, for another is on its way.
func (m *model) look(s *shot) {
	if s.result != nil && !s.again {
		m.found = m.tracker.add(s.result)
	}
	if s.stat == nil && s.want != m.want {
		return
	}
	m.latest = s
	if !m.frozen {
		m.show()
	}
}

// show brings the latest look onto the screen.
func (m *model) show() {
	if m.latest == nil {
		return
	}
	m.shown, m.listed = m.latest, findingsOf(m.found, m.latest.want.scope)
	if m.shown.stat != nil && m.pane == paneFindings {
		m.pane = paneGroups
	}
	m.refresh()
}

// panes are those that there is something for.
func (m *model) panes() []pane {
	s := m.shown
	switch {
	case s == nil:
		return []pane{m.pane}
	case s.stat != nil:
		return withGaps([]pane{paneGroups}, s)
	}
	list := []pane{paneFindings, paneGroups}
	if len(s.procs) > 1 || m.pane == paneProcs {
		list = append(list, paneProcs)
	}
	return withGaps(list, s)
}

func withGaps(list []pane, s *shot) []pane {
	if len(s.gaps) > 0 {
		return append(list, paneGaps)
	}
	return list
}

// cursorOf is where the list stands that is shown.
func (m *model) cursorOf() *cursor {
	if m.open != nil {
		return &m.open.cursor
	}
	return &m.cursors[m.pane]
}

// refresh makes the list anew, after a look or a key, and finds the row again on which it stood.
func (m *model) refresh() {
	if m.shown != nil && !slices.Contains(m.panes(), m.pane) {
		m.pane = m.panes()[0]
	}
	m.list = m.listing()
	c := m.cursorOf()
	order := ""
	if sorts := m.list.sorts(); len(sorts) > 0 {
		order = sorts[c.order%len(sorts)]
	}
	m.rows = orderRows(m.list, order, c.reverse, m.filter)
	if c.id != nil {
		if i := slices.IndexFunc(m.rows, func(i int) bool { return m.list.id(i) == c.id }); i >= 0 {
			c.top += i - c.row
			c.row = i
		}
	}
	m.moveTo(c.row)
}

// moveTo chooses a row.
func (m *model) moveTo(row int) {
	c := m.cursorOf()
	c.row = min(max(row, 0), max(len(m.rows)-1, 0))
	if c.row == 0 {
		c.id = nil // who stands at the top wants to see what is there
		return
	}
	c.id = m.list.id(m.rows[c.row])
}

// listing is what the pane shows.
func (m *model) listing() listing {
	s := m.shown
	switch {
	case s == nil:
		return gapList(nil)
	case m.open != nil:
		return m.sockets()
	case m.pane == paneGaps:
		return gapList(s.gaps)
	case s.stat != nil:
		return groupList{list: s.stat.groups, by: s.stat.by.String(), idle: s.stat.idle, sorted: true}
	case m.pane == paneGroups:
		return groupList{list: s.groups, by: s.want.by, idle: true}
	case m.pane == paneProcs:
		return newProcList(s)
	}
	return findingList{list: m.listed, many: len(s.procs) > 1 && s.scope == nil, partial: s.result.Partial()}
}

// sockets are those of what is open, as the shown look has it.
func (m *model) sockets() listing {
	s := m.shown
	uptime := s.result.Snapshot.Host.Uptime
	if m.open.finding == nil {
		i := slices.IndexFunc(s.groups, func(g group) bool { return g.key == m.open.key })
		if i < 0 {
			return &socketList{gone: "the group has no socket any more"}
		}
		return &socketList{all: &s.sockets, members: s.groups[i].members, uptime: uptime}
	}
	now := find(m.listed, m.open.finding.id)
	if now == nil || now.cleared > 0 {
		cleared := *m.open.finding
		cleared.cleared = 1
		m.open.finding = &cleared
		return &socketList{gone: "the finding has cleared"}
	}
	m.open.finding = now
	return &socketList{samples: now.finding.Samples, proc: now.finding.Proc}
}

// process is the one that is shown alone, nil for none or several.
func (s *shot) process() *diag.Proc {
	if s.want.scope == (procID{}) && len(s.procs) == 1 {
		return s.procs[0]
	}
	return s.scope
}

// intervals are what + and - go through.
var intervals = []time.Duration{
	200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour,
}

// nextInterval is the next longer one, or the next shorter.
func nextInterval(d time.Duration, longer bool) time.Duration {
	if longer {
		for _, v := range intervals {
			if v > d {
				return v
			}
		}
		return d
	}
	for _, v := range slices.Backward(intervals) {
		if v < d {
			return v
		}
	}
	return d
}
