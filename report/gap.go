package report

import "github.com/sockleak/sockleak/diag"

// gapSection lists what could not be seen, nil when all was.
func gapSection(gaps []diag.Gap) []Section {
	t := gapTable()
	for _, g := range gaps {
		n := Cell{Text: "?"}
		if g.Count > 0 {
			n = number(g.Count)
		}
		t.Rows = append(t.Rows, []Cell{n, text(g.What), text(g.Why)})
	}
	return gapSectionOf(t)
}

func gapTable() *Table {
	return &Table{Name: "gap", Columns: []Column{
		{Key: "count", Head: "Count", Right: true}, {Key: "what", Head: "What"}, {Key: "why", Head: "Why", Wrap: true},
	}}
}

func gapSectionOf(t *Table) []Section {
	if len(t.Rows) == 0 {
		return nil
	}
	return []Section{{Tone: Warning, Mark: "GAPS", Heading: "what could not be seen", Table: t}}
}
