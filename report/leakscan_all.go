package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// LeakscanAll is the view of a diagnosis of many processes: they are ranked, and the worst is shown in full. For programs
// it is the document of [Leakscan], with the processes in that order.
func LeakscanAll(r *diag.Result) Value { return leakscanAll{r} }

type leakscanAll struct{ r *diag.Result }

// worstRows is how many samples are shown of a finding of the worst process.
const worstRows = 5

func (v leakscanAll) document(o Options) *Document {
	procs := ranked(v.r, o.Sort)
	if o.data {
		return leakscan(v).documentOf(procs, o)
	}
	d := &Document{Title: titleOf("leakscan --all", v.r.Snapshot, v.r.Took)}
	d.Sections = append(d.Sections, v.verdict(procs), Section{Table: rankingTable(procs, o)})
	if worst := worstOf(procs); worst != nil {
		d.Sections = append(d.Sections, v.inFull(worst)...)
		if unsound(procs) > 1 {
			d.Sections = append(d.Sections, Section{Text: []string{"sockleak leakscan PID shows the others in full."}})
		}
	}
	d.Sections = append(d.Sections, foldedGapSection(v.r)...)
	return d
}

func (v leakscanAll) wire(o Options) any { return leakscan(v).wireOf(ranked(v.r, o.Sort), o) }

// inFull is a process with its findings as [Leakscan] shows them.
func (v leakscanAll) inFull(s *standing) []Section {
	var findings []*diag.Finding
	for _, f := range v.r.Findings {
		if f.Proc == s.proc {
			findings = append(findings, f)
		}
	}
	o := Options{Top: worstRows, allBy: "sockleak leakscan " + strconv.Itoa(s.proc.PID) + " "}
	return append([]Section{leakscan(v).plotted(s)}, findingSections(findings, o)...)
}

// verdict is the answer in one line. It is clean only when everything was seen, and says when not all rules judged.
func (v leakscanAll) verdict(procs []*standing) Section {
	leaking, sockets, risky, risks, findings := 0, 0, 0, 0, 0
	for _, s := range procs {
		sockets += s.leaked
		risks += s.risks
		if s.leaking() {
			leaking++
		}
		if s.risks > 0 {
			risky++
		}
	}
	for _, f := range v.r.Findings {
		if f.Severity == diag.Leak {
			findings++
		}
	}
	all := plural(len(procs), "process")
	atRisk := fmt.Sprintf("%s in %d of them", plural(risks, "risk"), risky)
	section := Section{Tone: Warning}
	switch {
	case leaking > 0:
		verb := "leak"
		if leaking == 1 {
			verb = "leaks"
		}
		section.Tone, section.Mark = Alarm, "LEAK"
		section.Heading = fmt.Sprintf("%d of %s %s %s in %s%s", leaking, all, verb, plural(sockets, "socket"), plural(findings, "finding"), alsoPartial(v.r))
	case v.r.Partial() && risks > 0:
		section.Mark, section.Heading = "PARTIAL", "no leak proved in "+all+", "+atRisk+alsoPartial(v.r)
	case v.r.Partial():
		section.Mark, section.Heading = "PARTIAL", "no leak found in "+all+", but not everything could be seen: see the gaps"
	case risks > 0:
		section.Mark, section.Heading = "RISK", "no leak proved in "+all+"; "+atRisk
	default:
		return Section{Tone: Good, Mark: "CLEAN", Heading: "nothing leaks in " + all + byRules(v.r)}
	}
	section.Heading += rulesLeftOut(v.r)
	return section
}

// processSorts order processes; ties go by how bad they are.
var processSorts = map[string]func(a, b *standing) int{
	"leaked":     func(_, _ *standing) int { return 0 },
	"fds":        func(a, b *standing) int { return cmp.Compare(b.proc.Open, a.proc.Open) },
	"estab":      func(a, b *standing) int { return cmp.Compare(b.counts.estab, a.counts.estab) },
	"close-wait": func(a, b *standing) int { return cmp.Compare(b.counts.closeWait, a.counts.closeWait) },
	"pid":        func(a, b *standing) int { return cmp.Compare(a.proc.PID, b.proc.PID) },
}

// ProcessSorts lists the orders of processes; the first is the default.
func ProcessSorts() []string { return []string{"leaked", "fds", "estab", "close-wait", "pid"} }

func ranked(r *diag.Result, by string) []*standing {
	order, ok := processSorts[by]
	if !ok {
		order = processSorts["leaked"]
	}
	list := standings(r)
	slices.SortStableFunc(list, func(a, b *standing) int { return cmp.Or(order(a, b), byHarm(a, b)) })
	return list
}

// byHarm is a total order, the worst first.
func byHarm(a, b *standing) int {
	return cmp.Or(cmp.Compare(b.leaked, a.leaked), cmp.Compare(b.risks, a.risks), cmp.Compare(b.proc.Open, a.proc.Open),
		cmp.Compare(a.proc.PID, b.proc.PID))
}

// worstOf is the worst process, in whatever order they are; nil when all are sound.
func worstOf(procs []*standing) *standing {
	if unsound(procs) == 0 {
		return nil
	}
	return slices.MinFunc(procs, byHarm)
}

func unsound(procs []*standing) (n int) {
	for _, s := range procs {
		if !s.sound() {
			n++
		}
	}
	return n
}

// rankingTable has a row per process, the first ones only.
func rankingTable(procs []*standing, o Options) *Table {
	t := &Table{Name: "ranking", Columns: []Column{
		{Key: "pid", Head: "PID", Right: true},
		{Key: "name", Head: "Process"},
		{Key: "leaked", Head: "Leaked", Right: true},
		{Key: "risks", Head: "Risks", Right: true},
		{Key: "worst_rule", Head: "Worst rule"},
		{Key: "worst_peer", Head: "Peer", Spare: 6},
		{Key: "since_ms", Head: "Since", Right: true},
		{Key: "fds", Head: "FDs", Right: true, Spare: 5},
		{Key: "estab", Head: "ESTAB", Right: true, Spare: 3},
		{Key: "close_wait", Head: "CLOSE-WAIT", Right: true, Spare: 2},
		{Key: "closed_fd", Head: "Dark", Right: true, Spare: 1},
	}}
	if o.wide {
		t.Columns = append(t.Columns, Column{Key: "where", Head: "Container or unit"})
	}
	shown := procs
	if o.Top > 0 && len(procs) > o.Top {
		shown = procs[:o.Top]
		t.More = moreProcesses(procs[o.Top:])
	}
	for _, s := range shown {
		rule, peer := worstCells(s)
		row := []Cell{
			number(s.proc.PID), text(s.proc.Name), number(s.leaked), number(s.risks), rule, peer, atLeast(s.since),
			fdsCell(s.proc), number(s.counts.estab), number(s.counts.closeWait), number(s.counts.dark),
		}
		if o.wide {
			row = append(row, text(cmp.Or(diag.ContainerText(&s.proc.Place), diag.UnitText(&s.proc.Place))))
		}
		t.Rows = append(t.Rows, row)
	}
	if len(procs) == 0 {
		t.More = "no process was looked at"
	}
	return t
}

// moreProcesses sums up those that a ranking leaves out.
func moreProcesses(rest []*standing) string {
	leaking, sockets := 0, 0
	for _, s := range rest {
		sockets += s.leaked
		if s.leaking() {
			leaking++
		}
	}
	more := fmt.Sprintf("… and %s, of which ", plural(len(rest), "more process"))
	switch leaking {
	case 0:
		more += "0 leak"
	case 1:
		more += "1 leaks " + plural(sockets, "socket")
	default:
		more += fmt.Sprintf("%d leak %s", leaking, plural(sockets, "socket"))
	}
	return more + ": --top 0 shows all"
}

// fdsCell is open descriptors of the limit.
func fdsCell(p *diag.Proc) Cell {
	c := optional(p.Open)
	if p.Open >= 0 && p.SoftLimit != procfd.NoLimit && p.SoftLimit != 0 {
		c.Text += "/" + strconv.FormatUint(p.SoftLimit, 10)
	}
	return c
}
