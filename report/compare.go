package report

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/diag"
)

// Compare is the view of two diagnoses side by side, as the hunt for a leak counts them: before and
// after a fix, say. The names head the columns.
func Compare(nameA string, a *diag.Result, nameB string, b *diag.Result) Value {
	return compare{[2]string{nameA, nameB}, [2]*diag.Result{a, b}}
}

type compare struct {
	names   [2]string
	results [2]*diag.Result
}

// compareRow is one thing that is counted in both.
type compareRow struct {
	key, head string
	value     [2]int64
	text      func(int64) string
}

func (v compare) rows() []compareRow {
	plain := func(n int64) string { return strconv.FormatInt(n, 10) }
	rows := []compareRow{
		{key: "estab_no_timer", head: "ESTAB without a timer", text: plain},
		{key: "estab_timer", head: "ESTAB with a timer", text: plain},
		{key: "close_wait", head: "CLOSE-WAIT", text: plain},
		{key: "time_wait", head: "TIME-WAIT", text: plain},
		{key: "closed_fd", head: "closed but held", text: plain},
		{key: "open_fds", head: "descriptors", text: plain},
		{key: "rss_bytes", head: "RSS", text: func(n int64) string { return bytesText(uint64(n)) }},
		{key: "leak_findings", head: "findings: leak", text: plain},
		{key: "leaked_sockets", head: "leaked sockets", text: plain},
		{key: "risk_findings", head: "findings: risk", text: plain},
		{key: "oldest_idle_ms", head: "oldest leaked: idle", text: func(n int64) string {
			if n == 0 {
				return "-"
			}
			return diag.FormatDuration(time.Duration(n) * time.Millisecond)
		}},
	}
	for i, r := range v.results {
		for k, n := range sumsOf(r) {
			rows[k].value[i] = n
		}
	}
	return rows
}

// sumsOf counts over all processes of a result, in the order of rows.
func sumsOf(r *diag.Result) [11]int64 {
	var n [11]int64
	for _, p := range r.Procs() {
		c := countsOf(p)
		n[0] += int64(c.noTimer)
		n[1] += int64(c.timer)
		n[2] += int64(c.closeWait)
		n[3] += int64(c.timeWait)
		n[4] += int64(c.dark)
		n[5] += int64(max(p.Open, 0))
		n[6] += int64(p.RSS)
	}
	for _, f := range r.Findings {
		switch f.Severity {
		case diag.Leak:
			n[7]++
			n[8] += int64(f.Sockets)
			for _, s := range f.Samples {
				n[10] = max(n[10], s.Idle.D.Milliseconds())
			}
		case diag.Risk:
			n[9]++
		}
	}
	return n
}

func (v compare) document(Options) *Document {
	t := &Table{Name: "compare", Columns: []Column{
		{Key: "what", Head: ""}, {Key: "before", Head: v.names[0], Right: true}, {Key: "after", Head: v.names[1], Right: true},
	}}
	for _, r := range v.rows() {
		t.Rows = append(t.Rows, []Cell{
			{Text: r.head, Raw: r.key}, {Text: r.text(r.value[0]), Raw: fmt.Sprint(r.value[0]), num: true},
			{Text: r.text(r.value[1]), Raw: fmt.Sprint(r.value[1]), num: true},
		})
	}
	d := &Document{Title: "before and after", Sections: []Section{{Table: t}}}
	for i, r := range v.results {
		for _, s := range gapSection(r.Gaps) {
			s.Heading += " (" + v.names[i] + ")"
			d.Sections = append(d.Sections, s)
		}
	}
	return d
}

// compareSchema changes when a field changes its meaning or goes; new fields may come.
const compareSchema = "sockleak.compare/1"

type wireCompare struct {
	Schema string              `json:"schema"`
	Names  [2]string           `json:"names"`
	Counts map[string][2]int64 `json:"counts"`
	Scans  [2]any              `json:"scans"`
}

func (v compare) wire(o Options) any {
	w := wireCompare{Schema: compareSchema, Names: v.names, Counts: map[string][2]int64{}}
	for _, r := range v.rows() {
		w.Counts[r.key] = r.value
	}
	for i, r := range v.results {
		w.Scans[i] = leakscan{r}.wire(o)
	}
	return w
}
