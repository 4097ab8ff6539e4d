package screen

import (
	"slices"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/report"
)

// How many looks a finding is marked for.
const (
	newFor     = 5
	clearedFor = 5
)

// findingID is what makes a finding the same in two looks.
type findingID struct {
	proc      procID
	rule      string
	peer      string
	direction diag.Direction
	localPort uint16
	severity  diag.Severity
	nth       int // of those that are alike in all that
}

// tracked is a finding over the looks. It does not change: each look has its own.
type tracked struct {
	id      findingID
	finding *diag.Finding // of the last look that had it
	first   int           // sockets, when it was first seen
	isNew   bool
	cleared int // looks that it has not been in; 0: it is there
	seen    int // looks that it has been in since it was first seen
}

// tracker follows findings from look to look.
type tracker struct {
	list  []*tracked
	looks int
}

// add takes a look and returns its findings, then those that were in one before and have cleared.
func (t *tracker) add(r *diag.Result) []*tracked {
	before := map[findingID]*tracked{}
	for _, f := range t.list {
		before[f.id] = f
	}
	var list []*tracked
	alike := map[findingID]int{}
	for _, f := range r.Findings {
		id := findingID{
			proc: idOf(f.Proc.Process), rule: f.Rule, peer: f.Peer, direction: f.Direction, localPort: f.LocalPort, severity: f.Severity,
		}
		alike[id]++
		id.nth = alike[id]
		now := &tracked{id: id, finding: f, first: f.Sockets, seen: 1, isNew: t.looks > 0}
		if was := before[id]; was != nil && was.cleared == 0 {
			now.first, now.seen = was.first, was.seen+1
			now.isNew = was.isNew && now.seen <= newFor
		}
		delete(before, id)
		list = append(list, now)
	}
	t.list = append(list, cleared(t.list, before)...)
	t.looks++
	return t.list
}

// cleared are those of a list that are in left, for some looks.
func cleared(list []*tracked, left map[findingID]*tracked) []*tracked {
	var gone []*tracked
	for _, f := range list {
		if left[f.id] == f && f.cleared < clearedFor {
			f := *f
			f.cleared++
			gone = append(gone, &f)
		}
	}
	return gone
}

func (f *tracked) cells(p *palette, many bool) []cell {
	v := f.finding
	mark, severity := cell{text: "   "}, cell{style: toneStyles[report.ToneOf(v.Severity)], text: v.Severity.String()}
	if f.isNew {
		mark = cell{style: bold, text: "new"}
	}
	change := cell{text: unitCount.change(float64(v.Sockets - f.first))}
	row := []cell{
		mark, severity, {text: v.Rule}, {text: "-"}, {text: p.clean(v.Peer)}, count(v.Sockets), change, {text: p.own(report.Since(v))},
		{style: dim, text: p.clean(v.Message)},
	}
	row[6].text = p.own(row[6].text)
	if many {
		row[3].text = p.clean(diag.Subject(v.Proc.Process))
	}
	if f.cleared > 0 {
		for i := range row {
			row[i].style = struck
		}
		row[0].text = ""
		row[1].text = "cleared"
	}
	return row
}

// find is the finding of that id, nil when it is neither there nor has just cleared.
func find(list []*tracked, id findingID) *tracked {
	i := slices.IndexFunc(list, func(f *tracked) bool { return f.id == id })
	if i < 0 {
		return nil
	}
	return list[i]
}

// findingsOf are those of one process; of all for the zero value.
func findingsOf(list []*tracked, scope procID) []*tracked {
	if scope == (procID{}) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(f *tracked) bool { return f.id.proc != scope })
}
