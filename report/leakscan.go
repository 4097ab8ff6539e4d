package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockleak/sockleak/diag"
)

// Leakscan is the view of a diagnosis.
func Leakscan(r *diag.Result) Value { return leakscan{r} }

type leakscan struct{ r *diag.Result }

func (v leakscan) document(o Options) *Document { return v.documentOf(standings(v.r), o) }

// documentOf has the processes in the order of the list.
func (v leakscan) documentOf(procs []*standing, o Options) *Document {
	r := v.r
	d := &Document{Title: titleOf("leakscan", r.Snapshot, r.Took)}
	verdict := v.verdict()
	verdict.Table = findingTable(r.Findings)
	d.Sections = append(d.Sections, verdict)
	for _, s := range procs {
		d.Sections = append(d.Sections, v.plotted(s))
	}
	d.Sections = append(d.Sections, findingSections(r.Findings, o)...)
	if o.data { // the columns are the same whatever was found
		d.Sections = append(d.Sections, Section{Table: &Table{Name: "socket", Columns: sampleColumns(false)}}, Section{Table: gapTable()}, Section{Table: plotTable(nil)})
	}
	d.Sections = append(d.Sections, gapSection(r.Gaps)...)
	return d
}

// plotted is a process with its plots: what was measured over time, if it was, and what the last look counted.
func (v leakscan) plotted(s *standing) Section {
	section := processSection(s)
	if v.r.Series != nil {
		if t := v.r.Series.Track(s.proc.PID, s.proc.Start); t != nil {
			section.Plots = trackPlots(v.r.Series, t)
		}
	}
	section.Plots = append(section.Plots, processPlots(v.r, s.proc)...)
	return section
}

func findingSections(findings []*diag.Finding, o Options) []Section {
	var list []Section
	alike := map[alikeKey]int{}
	for _, f := range findings {
		k := alikeKey{f.Proc, f.Rule, f.Severity}
		list = append(list, findingSection(f, alike[k], o))
		alike[k]++
	}
	return list
}

func titleOf(command string, s *diag.Snapshot, took time.Duration) string {
	return titleAt(command, s) + " · took " + diag.FormatDuration(took) + sourceOf(s)
}

// sourceOf names the iterators where they told of the sockets. That it is /proc/net/tcp is a gap.
func sourceOf(s *diag.Snapshot) string {
	for _, space := range s.Spaces {
		if space.Source == diag.SourceIterators {
			return " · by " + diag.SourceIterators
		}
	}
	return ""
}

// titleAt says where and when.
func titleAt(command string, s *diag.Snapshot) string {
	parts := []string{"sockleak " + command}
	if s.Host.Name != "" {
		parts = append(parts, s.Host.Name)
	}
	if s.Host.Kernel != "" {
		parts = append(parts, "Linux "+s.Host.Kernel)
	}
	if !s.At.IsZero() {
		parts = append(parts, s.At.UTC().Format("2006-01-02 15:04:05Z"))
	}
	return strings.Join(parts, " · ")
}

// verdict is the answer in one line. It is clean only when everything was seen, and says when not all rules judged.
func (v leakscan) verdict() Section {
	sockets := map[diag.Severity]int{}
	findings := map[diag.Severity]int{}
	for _, f := range v.r.Findings {
		sockets[f.Severity] += f.Sockets
		findings[f.Severity]++
	}
	worst, _ := v.r.Worst()
	risks := plural(findings[diag.Risk], "risk")
	s := Section{Tone: Warning}
	switch {
	case worst == diag.Leak:
		s.Tone, s.Mark = Alarm, "LEAK"
		s.Heading = fmt.Sprintf("%s in %s%s", plural(sockets[diag.Leak], "leaked socket"), plural(findings[diag.Leak], "finding"), alsoPartial(v.r))
	case v.r.Partial() && worst == diag.Risk:
		s.Mark, s.Heading = "PARTIAL", "no leak proved, "+risks+alsoPartial(v.r)
	case v.r.Partial():
		s.Mark, s.Heading = "PARTIAL", "no leak found, but not everything could be seen: see the gaps"
	case worst == diag.Risk:
		s.Mark, s.Heading = "RISK", "no leak proved; "+risks
	default:
		return Section{Tone: Good, Mark: "CLEAN", Heading: "nothing leaks" + byRules(v.r)}
	}
	s.Heading += rulesLeftOut(v.r)
	return s
}

func alsoPartial(r *diag.Result) string {
	if r.Partial() {
		return "; not everything could be seen: see the gaps"
	}
	return ""
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "s") {
		one += "e"
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// findingTable is for programs: people read each finding's own section.
func findingTable(findings []*diag.Finding) *Table {
	t := &Table{Name: "finding", Columns: []Column{
		{Key: "rule", Data: true}, {Key: "severity", Data: true}, {Key: "pid", Data: true}, {Key: "name", Data: true},
		{Key: "peer", Data: true}, {Key: "direction", Data: true}, {Key: "local_port", Data: true},
		{Key: "sockets", Data: true}, {Key: "message", Data: true}, {Key: "advice", Data: true},
		{Key: "onset_oldest_ms", Data: true}, {Key: "onset_youngest_ms", Data: true}, {Key: "onset_per_minute", Data: true},
		{Key: "onset_ongoing", Data: true},
	}}
	for _, f := range findings {
		t.Rows = append(t.Rows, slices.Concat([]Cell{
			text(f.Rule), text(f.Severity.String()), number(f.Proc.PID), text(f.Proc.Name), text(f.Peer),
			text(f.Direction.String()), number(f.LocalPort), number(f.Sockets), text(f.Message), text(f.Advice),
		}, onsetCells(f.Onset)))
	}
	return t
}

var severityTones = map[diag.Severity]Tone{diag.Leak: Alarm, diag.Risk: Warning, diag.Info: Note}

// alikeKey is what findings share that differ in the peer alone: the reason and the advice.
type alikeKey struct {
	proc     *diag.Proc
	rule     string
	severity diag.Severity
}

// inFull is how many findings that are alike are shown with evidence and samples. The others are a sentence each,
// unless all rows are wanted; JSON and CSV have all of them.
const inFull = 3

// normalChurn is the rule whose word says what to do of itself. Another word stands beside the finding that it is about.
const normalChurn = "time-wait"

// adviceFact is the name of what to do about a finding.
const adviceFact = "do"

// findingSection shows a finding before which so many alike were shown.
func findingSection(f *diag.Finding, before int, o Options) Section {
	s := Section{
		Tone: severityTones[f.Severity], Mark: strings.ToUpper(f.Severity.String()), Heading: f.Rule,
		Text: []string{f.Message + "."}, Table: sampleTable(f, o),
	}
	s.Brief = f.Severity == diag.Info
	if !s.Brief {
		s.Plots = onsetPlot(f)
	}
	brief := s.Brief || before >= inFull && o.Top > 0
	if brief {
		for i := range s.Table.Columns {
			s.Table.Columns[i].Data = true
		}
	}
	if before == 0 && f.Severity != diag.Info {
		s.Facts = append(s.Facts, Fact{"why", f.Why})
	}
	if !brief && f.Onset != nil {
		s.Facts = append(s.Facts, Fact{"began", began(f.Onset)})
	}
	if !brief {
		for _, e := range f.Evidence {
			s.Facts = append(s.Facts, Fact{"evidence", fmt.Sprintf("%s: %s (%s)", e.Field, e.Value, e.Source)})
		}
	}
	if before == 0 && (!s.Brief || f.Rule == normalChurn) {
		s.Facts = append(s.Facts, Fact{adviceFact, f.Advice})
	}
	return s
}
