package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sockleak/sockleak/diag"
)

// Diff is the view of what has changed between two looks.
func Diff(d *diag.Diff) Value { return diff{d} }

type diff struct{ d *diag.Diff }

// beforeAfter head the columns: the names of files may be long.
var beforeAfter = [2]string{"before", "after"}

func (v diff) document(o Options) *Document {
	doc := &Document{Title: fmt.Sprintf("sockleak diff · before %s · after %s", v.d.Sides[0].Name, v.d.Sides[1].Name)}
	add := func(heading string, t *Table, plots ...*Plot) {
		if len(t.Rows) > 0 || o.data {
			doc.Sections = append(doc.Sections, Section{Heading: heading, Table: t, Plots: plots})
		}
	}
	doc.Sections = append(doc.Sections, v.verdict())
	add("what leaks", v.leakTable(o), v.leakPlots()...)
	add("sockets by state and timer", v.stateTable(), v.statePlots()...)
	add("connections by peer, TIME-WAIT left out", v.peerTable(o), v.peerPlots()...)
	add("descriptors by kind", v.kindTable(), v.kindPlots()...)
	add("processes", v.processTable(o))
	add("findings by peer", v.findingTable(o))
	doc.Sections = append(doc.Sections, v.residue(o)...)
	return v.withGaps(doc, o)
}

func (v diff) withGaps(doc *Document, o Options) *Document {
	gaps := func(of string, list []diag.Gap) {
		for _, s := range gapSection(list) {
			s.Heading += " (" + of + ")"
			s.Table.label("side", of)
			doc.Sections = append(doc.Sections, s)
		}
	}
	for i := range v.d.Sides {
		gaps(beforeAfter[i]+": "+v.d.Sides[i].Name, v.d.Sides[i].Gaps)
	}
	gaps("of the comparison", v.d.Gaps)
	if o.data {
		t := gapTable()
		t.label("side", "")
		doc.Sections = append(doc.Sections, Section{Table: t})
	}
	return doc
}

// maxReasons is how many reasons are told; the tables have what is behind all of them.
const maxReasons = 10

// diffVerdicts are the answers; without a diagnosis nothing is proved to leak.
var diffVerdicts = [...]struct {
	tone                Tone
	mark, judged, lists string
}{
	diag.Same:    {Good, "SAME", "it leaks no more than before", "no more connections than before may be leaked"},
	diag.Better:  {Good, "BETTER", "it leaks less than before", "fewer connections than before may be leaked"},
	diag.Unclear: {Warning, "UNCLEAR", "not worse as far as could be seen", "not worse as far as could be seen"},
	diag.Worse:   {Alarm, "WORSE", "it got worse", "more connections than before may be leaked"},
}

func (v diff) verdict() Section {
	w := diffVerdicts[v.d.Verdict]
	s := Section{Tone: w.tone, Mark: w.mark, Heading: w.judged, Table: v.sideTable()}
	if !v.d.Sides[0].Judged || !v.d.Sides[1].Judged {
		s.Heading = w.lists
	}
	for i, r := range v.d.Reasons {
		if i == maxReasons && len(v.d.Reasons) > maxReasons+1 {
			s.Text = append(s.Text, fmt.Sprintf("… and %d more reasons: see what leaks.", len(v.d.Reasons)-maxReasons))
			break
		}
		s.Text = append(s.Text, r+".")
	}
	for i := range v.d.Sides {
		s.Facts = append(s.Facts, Fact{beforeAfter[i], sideFacts(&v.d.Sides[i])})
	}
	if v.d.Interval != 0 {
		s.Facts = append(s.Facts, Fact{"apart", diag.FormatDuration(v.d.Interval.Abs())})
	}
	for i, n := range v.d.Notes {
		if i == maxReasons && len(v.d.Notes) > maxReasons+1 {
			s.Facts = append(s.Facts, Fact{"note", fmt.Sprintf("… and %d more", len(v.d.Notes)-maxReasons)})
			break
		}
		s.Facts = append(s.Facts, Fact{"note", n})
	}
	return s
}

func sideFacts(s *diag.DiffSide) string {
	parts := []string{s.Name}
	if s.Host.Name != "" {
		parts = append(parts, s.Host.Name)
	}
	if s.Host.Kernel != "" {
		parts = append(parts, "Linux "+s.Host.Kernel)
	}
	if !s.At.IsZero() {
		parts = append(parts, s.At.UTC().Format("2006-01-02 15:04:05Z"))
	}
	sockets := plural(s.Sockets, "TCP socket")
	switch {
	case s.Whole:
		sockets += " of the namespace"
	case s.Judged && s.Partial():
		sockets += " that could be seen of its processes"
	case s.Judged:
		sockets += " of its processes"
	}
	parts = append(parts, sockets)
	if !s.Judged {
		parts = append(parts, "no diagnosis")
	}
	return strings.Join(parts, " · ")
}

// sideTable is for programs: people have read the facts.
func (v diff) sideTable() *Table {
	t := &Table{Name: "side", Columns: []Column{
		{Key: "verdict", Data: true}, {Key: "side", Data: true}, {Key: "name", Data: true}, {Key: "host", Data: true}, {Key: "kernel", Data: true},
		{Key: "taken_at", Data: true}, {Key: "sockets", Data: true}, {Key: "judged", Data: true}, {Key: "whole", Data: true},
	}}
	for i := range v.d.Sides {
		s := &v.d.Sides[i]
		at := Cell{}
		if !s.At.IsZero() {
			at = text(rfc3339(s.At))
		}
		t.Rows = append(t.Rows, []Cell{
			text(v.d.Verdict.String()), text(beforeAfter[i]), text(s.Name), text(s.Host.Name), text(s.Host.Kernel), at, number(s.Sockets),
			text(strconv.FormatBool(s.Judged)), text(strconv.FormatBool(s.Whole)),
		})
	}
	return t
}

// cutTo says what is behind the first rows of a table.
func (t *Table) cutTo(o Options) *Table {
	if n := topOf(len(t.Rows), o); n < len(t.Rows) {
		t.More = fmt.Sprintf("… and %d more: --top 0 shows all", len(t.Rows)-n)
		t.Rows = t.Rows[:n]
	}
	return t
}

func (v diff) leakTable(o Options) *Table {
	t := &Table{Name: "leak", Columns: changeColumns(beforeAfter,
		Column{Key: "rule", Head: "Rule"}, Column{Key: "process", Head: "Process"}, Column{Key: "direction", Data: true},
		Column{Key: "port", Head: "Service", Spare: 1})}
	for i := range v.d.Leaks {
		l := &v.d.Leaks[i]
		port := Cell{Text: l.Where()}
		if l.Port != 0 {
			port.Raw, port.num = strconv.Itoa(int(l.Port)), true
		}
		t.Rows = append(t.Rows, append([]Cell{text(l.Rule), text(l.Process), text(l.Direction.String()), port}, changeCells(wide(l.N), false, plainCount)...))
	}
	return t.cutTo(o)
}

// stateTable has the states, of ESTAB those with a timer and without, all timers, and what may be leaked.
func (v diff) stateTable() *Table {
	t := &Table{Name: "state", Columns: changeColumns(beforeAfter, Column{Key: "what", Head: ""})}
	add := func(head, key string, c diag.Change) {
		t.Rows = append(t.Rows, append([]Cell{{Text: head, Raw: key}}, changeCells(wide(c.N), c.Unlike, plainCount)...))
	}
	for _, c := range v.d.States {
		add(stateWords(c.Key), stateKey(c.Key), c)
	}
	for _, c := range v.d.Timers {
		key := c.Key
		if timerWords(key) == "timer "+key {
			key = "timer_" + key
		}
		add(timerWords(c.Key), key, c)
	}
	for _, c := range v.d.Suspects {
		add(v.d.SuspectText(c.Key), c.Key, c)
	}
	return t
}

// estabNoTimer is the key of the connections that wait for nothing in the kernel.
const estabNoTimer = "estab_no_timer"

func stateWords(key string) string {
	if key == diag.DarkState {
		return "closed but held"
	}
	return key
}

func timerWords(key string) string {
	switch key {
	case estabNoTimer:
		return "ESTAB without a timer"
	case "estab_timer":
		return "ESTAB with a timer"
	}
	return "timer " + key
}

func (v diff) peerTable(o Options) *Table {
	t := &Table{Name: "peer", Columns: changeColumns(beforeAfter, Column{Key: "direction", Data: true}, Column{Key: "peer", Head: "connections"})}
	top := topOf(len(v.d.Peers), o)
	rest, unlike := v.d.PeersRest, false
	for i, p := range v.d.Peers {
		unlike = p.Unlike
		if i >= top {
			for k := range rest.N {
				if rest.N[k] >= 0 {
					rest.N[k] += p.N[k]
				}
			}
			continue
		}
		peer := Cell{Text: directionWords[p.Direction.String()] + p.Peer, Raw: p.Peer}
		t.Rows = append(t.Rows, append([]Cell{text(p.Direction.String()), peer}, changeCells(wide(p.N), p.Unlike, plainCount)...))
	}
	sum := func(words string, n [2]int) {
		if n != [2]int{} {
			t.Rows = append(t.Rows, append([]Cell{{}, text(words)}, changeCells(wide(n), unlike, plainCount)...))
		}
	}
	words := "further"
	if n := len(v.d.Peers) - top; rest.Peers != diag.NotKnown {
		words = strconv.Itoa(rest.Peers+n) + " further"
	}
	sum(words, rest.N)
	sum(unknownPeer.peer, v.d.Unkept)
	return t
}

// allKinds is the key of all descriptors.
const allKinds = "open"

func (v diff) kindTable() *Table {
	t := &Table{Name: "kind", Columns: changeColumns(beforeAfter, Column{Key: "kind", Head: ""})}
	for _, c := range v.d.Kinds {
		head := c.Key
		if c.Key == allKinds {
			head = "all"
		}
		t.Rows = append(t.Rows, append([]Cell{{Text: head, Raw: c.Key}}, changeCells(wide(c.N), c.Unlike, plainCount)...))
	}
	return t
}

func (v diff) findingTable(o Options) *Table {
	t := &Table{Name: "finding", Columns: changeColumns(beforeAfter,
		Column{Key: "severity", Head: "Severity"}, Column{Key: "rule", Head: "Rule"}, Column{Key: "process", Head: "Process", Spare: 2},
		Column{Key: "direction", Data: true}, Column{Key: "peer", Head: "Peer"}, Column{Key: "local_port", Data: true})}
	for i := range v.d.Findings {
		f := &v.d.Findings[i]
		t.Rows = append(t.Rows, append([]Cell{
			text(f.Severity.String()), text(f.Rule), text(f.Process), text(f.Direction.String()),
			peerWords(f.Peer, f.Direction, f.LocalPort), port(f.LocalPort),
		}, changeCells(wide(f.N), false, plainCount)...))
	}
	return t.cutTo(o)
}

// peerWords name a peer for people: from 10.0.0.7 on :8080. There may be none, or several.
func peerWords(peer string, d diag.Direction, localPort uint16) Cell {
	c := Cell{Text: unknownCount, Raw: peer}
	if peer != "" {
		c.Text = directionWords[d.String()] + peer
	}
	if peer != "" && localPort != 0 {
		c.Text += " on :" + strconv.Itoa(int(localPort))
	}
	return c
}

// port is empty for none.
func port(n uint16) Cell {
	if n == 0 {
		return Cell{}
	}
	return number(n)
}

// wide is a pair as [changeCells] has it.
func wide(n [2]int) [2]int64 { return [2]int64{int64(n[0]), int64(n[1])} }
