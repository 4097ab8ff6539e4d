package report

import (
	"fmt"
	"strings"

	"github.com/sockleak/sockleak/diag"
)

// residue are the sockets that were there both times and silent, and what became of all of them.
func (v diff) residue(o Options) []Section {
	t := &v.d.Turnover
	s := Section{Heading: v.residueHeading(), Table: v.residueTable(o)}
	switch {
	case v.d.ResidueLeaked > 0:
		s.Tone, s.Mark = Alarm, "RESIDUE"
	case !t.Known:
		s.Table.More = "cannot be told: see the gaps"
	case v.d.ResidueIdle == 0:
		s.Table.More = "none"
	}
	if t.Known {
		s.Facts = []Fact{{"there both times", stayedText(t)}, {"others", fmt.Sprintf("%d not seen again, %d not seen before", t.Gone, t.New)}}
	}
	list := []Section{s}
	if o.data {
		list = append(list, Section{Table: v.turnoverTable()})
	}
	if samples := v.sampleTable(o); len(samples.Rows) > 0 || o.data {
		list = append(list, Section{Heading: "some of them", Table: samples})
	}
	return list
}

// residueHeading says how much of it is leaked, which without a diagnosis nobody knows.
func (v diff) residueHeading() string {
	const what = "held both times and silent between"
	leaked, idle := v.d.ResidueLeaked, v.d.ResidueIdle
	switch {
	case leaked > 0 && idle > 0:
		return fmt.Sprintf("%s %s, and %d that no finding says leak", plural(leaked, "leaked socket"), what, idle)
	case leaked > 0:
		return plural(leaked, "leaked socket") + " " + what
	case idle > 0 && v.d.Sides[1].Judged:
		return plural(idle, "socket") + " " + what + ", none of which leaks by any finding"
	case idle > 0:
		return plural(idle, "socket") + " " + what + "; without a diagnosis, it is not known whether they leak"
	}
	return what
}

func stayedText(t *diag.Turnover) string {
	parts := []string{plural(t.Stayed, "connection")}
	for _, p := range []struct {
		n     int
		words string
	}{{t.Silent, "silent"}, {t.Moved, "with bytes moved"}, {t.Changed, "in another state"}, {t.Untold, "of which it cannot be told"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.words))
		}
	}
	return strings.Join(parts, ", ")
}

// turnoverTable is for programs: people have read the facts.
func (v diff) turnoverTable() *Table {
	t := &Table{Name: "turnover"}
	var row []Cell
	n := &v.d.Turnover
	for _, c := range []struct {
		key string
		n   int
	}{
		{"gone", n.Gone}, {"new", n.New}, {"stayed", n.Stayed}, {"silent", n.Silent}, {"moved", n.Moved}, {"state_changed", n.Changed}, {"untold", n.Untold},
		{"residue_leaked", v.d.ResidueLeaked}, {"residue_idle", v.d.ResidueIdle},
	} {
		t.Columns = append(t.Columns, Column{Key: c.key, Data: true})
		row = append(row, number(c.n))
	}
	if n.Known {
		t.Rows = [][]Cell{row}
	}
	return t
}

// residueColumns name the group of a socket.
func residueColumns() []Column {
	return []Column{
		{Key: "severity", Data: true}, {Key: "rule", Head: "Leaks by"}, {Key: "pid", Data: true}, {Key: "process", Head: "Process"},
		{Key: "direction", Data: true}, {Key: "peer", Head: "Peer"}, {Key: "local_port", Data: true}, {Key: "state", Head: "State", Spare: 3},
		{Key: "timer", Head: "Timer", Spare: 1}, {Key: "keepalive", Head: "Keepalive", Spare: 2},
	}
}

func residueCells(r *diag.Residue) []Cell {
	severity, rule, pid, process := Cell{}, Cell{Text: unknownCount}, Cell{}, Cell{Text: unknownCount}
	if r.Rule != "" {
		severity, rule = text(r.Severity.String()), text(r.Rule)
		if !r.Leaked() {
			rule.Text += " (" + r.Severity.String() + ")"
		}
	}
	if r.Proc != nil {
		pid, process = number(r.Proc.PID), text(diag.Subject(r.Proc.Process))
	}
	timer := text(r.Timer)
	if r.Timer == "" {
		timer.Text = unknownCount
	}
	return []Cell{
		severity, rule, pid, process, text(r.Direction.String()), peerWords(r.Peer, r.Direction, r.LocalPort), port(r.LocalPort),
		text(r.State), timer, text(r.Keepalive),
	}
}

func (v diff) residueTable(o Options) *Table {
	t := &Table{Name: "residue", Columns: append(residueColumns(), Column{Key: "sockets", Head: "Sockets", Right: true},
		Column{Key: "oldest_idle_ms", Head: "Oldest idle", Right: true})}
	for i := range v.d.Residue {
		r := &v.d.Residue[i]
		t.Rows = append(t.Rows, append(residueCells(r), number(r.Sockets), span(r.Oldest)))
	}
	return t.cutTo(o)
}

// sampleTable has the samples of the first groups; programs get those of all that are shown.
func (v diff) sampleTable(o Options) *Table {
	t := &Table{Name: "residue_socket", Columns: []Column{
		{Key: "rule", Data: true}, {Key: "pid", Data: true}, {Key: "process", Head: "Process", Spare: 5}, {Key: "fd", Head: "FD", Right: true},
		{Key: "local", Head: "Local Address:Port", Spare: 6}, {Key: "peer", Head: "Peer Address:Port"}, {Key: "state", Head: "State"},
		{Key: "timer", Head: "Timer", Spare: 1}, {Key: "keepalive", Data: true}, {Key: "recv_q", Head: "Recv-Q", Right: true, Spare: 3},
		{Key: "send_q", Head: "Send-Q", Right: true, Spare: 2}, {Key: "idle_ms", Head: "Idle", Right: true}, {Key: "age_ms", Head: "Age", Right: true, Spare: 4},
		{Key: "inode", Head: "Inode", Right: true, Wide: true}, {Key: "cookie", Head: "Cookie", Right: true, Wide: true},
	}}
	groups := v.d.Residue[:topOf(len(v.d.Residue), o)]
	if !o.data {
		groups = groups[:min(len(groups), inFull)]
	}
	for i := range groups {
		for k := range groups[i].Samples {
			t.Rows = append(t.Rows, residueSample(&groups[i], &groups[i].Samples[k]))
		}
	}
	return t
}

func residueSample(r *diag.Residue, s *diag.Sample) []Cell {
	g := residueCells(r)
	fd := Cell{Text: unknownCount}
	if s.PID != 0 {
		fd = number(s.FD)
	}
	timer := text(s.Timer)
	switch {
	case s.Timer == "":
		timer.Text = unknownCount
	case s.Expires > 0:
		timer.Text += " " + diag.FormatDuration(s.Expires)
	}
	inode := Cell{Text: unknownCount}
	if s.Inode != 0 {
		inode = number(s.Inode)
	}
	return []Cell{
		text(r.Rule), g[2], g[3], fd, address(s.Local), address(s.Peer), text(s.State), timer, text(s.Keepalive), number(s.RecvQ), number(s.SendQ),
		span(s.Idle), span(s.Age), inode, text(fmt.Sprintf("%x", s.Cookie)),
	}
}
