package report

import (
	"fmt"
	"strings"

	"github.com/sockleak/sockleak/diag"
)

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

// GapMark stands in front of what could not be seen, at the end of a table and at the beginning of a line.
const GapMark = "GAPS"

func gapTable() *Table {
	return &Table{Name: "gap", Columns: []Column{
		{Key: "count", Head: "Count", Right: true}, {Key: "what", Head: "What", Wrap: true}, {Key: "why", Head: "Why", Wrap: true},
	}}
}

func gapSectionOf(t *Table) []Section {
	if len(t.Rows) == 0 {
		return nil
	}
	return []Section{{Tone: Warning, Mark: GapMark, Heading: "what could not be seen", Table: t}}
}

// foldFrom is how many processes must have the same gap for it to be one row.
const foldFrom = 4

// foldedGapSection has one row for a gap that many processes have.
func foldedGapSection(r *diag.Result) []Section {
	t := gapTable()
	for _, f := range foldGaps(r) {
		if len(f.gaps) < foldFrom || f.kind == "" {
			for _, s := range gapSection(f.gaps) {
				t.Rows = append(t.Rows, s.Table.Rows...)
			}
			continue
		}
		t.Rows = append(t.Rows, []Cell{f.count(), text(fmt.Sprintf("%s of %d processes", f.kind, len(f.gaps))), text(f.gaps[0].Why)})
	}
	return gapSectionOf(t)
}

// gapFold are gaps of one kind and reason, one a process.
type gapFold struct {
	kind string // "" for what is not of a process
	gaps []diag.Gap
}

// count is the sum, at the least where some are not known; of gaps that nobody has counted, the number of processes.
func (f *gapFold) count() Cell {
	n, unknown := 0, 0
	for _, g := range f.gaps {
		n += max(g.Count, 0)
		if g.Count <= 0 {
			unknown++
		}
	}
	if unknown == len(f.gaps) {
		return number(unknown)
	}
	c := number(n)
	if unknown > 0 {
		c.Text = "≥ " + c.Text
	}
	return c
}

// foldGaps keeps the order in which the kinds come.
func foldGaps(r *diag.Result) []*gapFold {
	subjects := map[string]bool{}
	for _, p := range r.Procs() {
		subjects[diag.Subject(p.Process)] = true
	}
	var list []*gapFold
	same := map[diag.Gap]*gapFold{}
	for _, g := range r.Gaps {
		kind := kindOf(g.What, subjects)
		key := diag.Gap{What: kind, Why: g.Why, Minor: g.Minor}
		f := same[key]
		if f == nil || kind == "" {
			f = &gapFold{kind: kind}
			list, same[key] = append(list, f), f
		}
		f.gaps = append(f.gaps, g)
	}
	return list
}

// kindOf is what a gap is of any process: "descriptors of node[4242]" are descriptors. A name may have anything in it, so only what
// a process is called in whole counts. "" when it is of none.
func kindOf(what string, subjects map[string]bool) string {
	const of = " of "
	for i := 0; ; {
		k := strings.Index(what[i:], of)
		if k < 0 {
			return ""
		}
		if subjects[what[i+k+len(of):]] {
			return what[:i+k]
		}
		i += k + 1
	}
}
