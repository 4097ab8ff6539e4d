package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Leakscan is the view of a diagnosis.
func Leakscan(r *diag.Result) Value { return leakscan{r} }

type leakscan struct{ r *diag.Result }

func (v leakscan) document(o Options) *Document {
	r := v.r
	d := &Document{Title: titleOf("leakscan", r.Snapshot, r.Took)}
	verdict := v.verdict()
	verdict.Table = findingTable(r.Findings)
	d.Sections = append(d.Sections, verdict)
	for _, p := range r.Procs() {
		d.Sections = append(d.Sections, processSection(p))
	}
	alike := map[alikeKey]int{}
	for _, f := range r.Findings {
		k := alikeKey{f.Proc, f.Rule, f.Severity}
		d.Sections = append(d.Sections, findingSection(f, alike[k], o))
		alike[k]++
	}
	d.Sections = append(d.Sections, gapSection(r.Gaps)...)
	return d
}

func titleOf(command string, s *diag.Snapshot, took time.Duration) string {
	parts := []string{"sockleak " + command}
	if s.Host.Name != "" {
		parts = append(parts, s.Host.Name)
	}
	if s.Host.Kernel != "" {
		parts = append(parts, "Linux "+s.Host.Kernel)
	}
	parts = append(parts, s.At.UTC().Format("2006-01-02 15:04:05Z"), "took "+diag.FormatDuration(took))
	return strings.Join(parts, " · ")
}

// verdict is the answer in one line. It is clean only when everything was seen.
func (v leakscan) verdict() Section {
	sockets := map[diag.Severity]int{}
	findings := map[diag.Severity]int{}
	for _, f := range v.r.Findings {
		sockets[f.Severity] += f.Sockets
		findings[f.Severity]++
	}
	worst, _ := v.r.Worst()
	switch {
	case worst == diag.Leak:
		return Section{Tone: Alarm, Mark: "LEAK", Heading: fmt.Sprintf("%s in %s%s", plural(sockets[diag.Leak], "leaked socket"),
			plural(findings[diag.Leak], "finding"), alsoPartial(v.r))}
	case v.r.Partial() && worst == diag.Risk:
		return Section{Tone: Warning, Mark: "PARTIAL", Heading: "no leak proved, " + plural(findings[diag.Risk], "risk") + "; not everything could be seen: see the gaps"}
	case v.r.Partial():
		return Section{Tone: Warning, Mark: "PARTIAL", Heading: "no leak found, but not everything could be seen: see the gaps"}
	case worst == diag.Risk:
		return Section{Tone: Warning, Mark: "RISK", Heading: "no leak proved; " + plural(findings[diag.Risk], "risk")}
	}
	return Section{Tone: Good, Mark: "CLEAN", Heading: "nothing leaks"}
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
	return strconv.Itoa(n) + " " + one + "s"
}

// counts are what the original hunt counted of a process.
type counts struct {
	byState                  map[string]int
	estab, timer, noTimer    int
	closeWait, dark, foreign int
	timeWait                 int
}

func countsOf(p *diag.Proc) counts {
	c := counts{byState: map[string]int{}, dark: len(p.Dark), foreign: p.Foreign, timeWait: p.TimeWait}
	for i := range p.Held {
		h := &p.Held[i]
		c.byState[h.State.String()]++
		switch {
		case h.State == netlinkss.CloseWait:
			c.closeWait++
		case h.State != netlinkss.Estab:
		case h.Timer == netlinkss.TimerOff:
			c.estab++
			c.noTimer++
		default:
			c.estab++
			c.timer++
		}
	}
	return c
}

func processSection(p *diag.Proc) Section {
	return Section{
		Heading: diag.Subject(p.Process) + commandLine(p),
		Facts: []Fact{
			{"process", processFacts(p)},
			{"descriptors", descriptorFacts(p)},
			{"TCP", tcpFacts(p)},
		},
		Table: processTable(p),
	}
}

// maxArgs is how much of the arguments is shown, in bytes.
const maxArgs = 120

func commandLine(p *diag.Proc) string {
	args := strings.Join(p.Args, " ")
	if args == "" {
		return ""
	}
	if len(args) > maxArgs {
		end := maxArgs
		for end > maxArgs-utf8.UTFMax && !utf8.RuneStart(args[end]) {
			end-- // not inside a rune
		}
		args = args[:end] + "…"
	}
	return "  " + args
}

func processFacts(p *diag.Proc) string {
	parts := []string{"up " + diag.FormatDuration(p.Uptime), "uid " + strconv.Itoa(int(p.UID)), "RSS " + bytesText(p.RSS)}
	if p.Runtime != "" {
		parts = append(parts, "runtime "+p.Runtime)
	}
	if p.Cgroup != "" && p.Cgroup != "/" {
		parts = append(parts, "cgroup "+p.Cgroup)
	}
	return strings.Join(parts, " · ")
}

func descriptorFacts(p *diag.Proc) string {
	if p.Open < 0 {
		return "could not be counted"
	}
	s := strconv.Itoa(p.Open) + " open"
	switch {
	case p.SoftLimit == procfd.NoLimit:
		s += ", no limit"
	case p.SoftLimit > 0:
		s += fmt.Sprintf(" of %d (%.1f %%)", p.SoftLimit, float64(p.Open)*100/float64(p.SoftLimit))
	}
	var kinds []string
	for k, n := range p.ByKind {
		if n > 0 {
			kinds = append(kinds, fmt.Sprintf("%s %d", procfd.Kind(k), n))
		}
	}
	if len(kinds) > 0 {
		s += ": " + strings.Join(kinds, ", ")
	}
	return s
}

func tcpFacts(p *diag.Proc) string {
	c := countsOf(p)
	var parts []string
	for s := netlinkss.Estab; s <= netlinkss.BoundInactive; s++ {
		n := c.byState[s.String()]
		switch {
		case n == 0:
		case s == netlinkss.Estab:
			parts = append(parts, fmt.Sprintf("ESTAB %d (%d without a timer, %d with)", n, c.noTimer, c.timer))
		default:
			parts = append(parts, fmt.Sprintf("%s %d", s, n))
		}
	}
	if c.dark > 0 {
		parts = append(parts, fmt.Sprintf("closed but held %d", c.dark))
	}
	if c.foreign > 0 {
		parts = append(parts, fmt.Sprintf("in another namespace %d", c.foreign))
	}
	if c.timeWait > 0 {
		parts = append(parts, fmt.Sprintf("TIME-WAIT on its ports or towards its peers %d (held by nobody)", c.timeWait))
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case p.Open != 0 && p.ByKind == [procfd.NumKinds]int{}:
		return "could not be read"
	}
	return "no sockets"
}

// processTable is for programs: people have read the facts.
func processTable(p *diag.Proc) *Table {
	c := countsOf(p)
	t := &Table{Name: "process"}
	row := []Cell{}
	add := func(key string, cell Cell) {
		t.Columns = append(t.Columns, Column{Key: key, Data: true})
		row = append(row, cell)
	}
	add("pid", number(p.PID))
	add("name", text(p.Name))
	add("exe", text(p.Exe))
	add("runtime", text(p.Runtime))
	add("uid", number(p.UID))
	add("uptime_ms", duration(p.Uptime))
	add("rss_bytes", number(p.RSS))
	add("open_fds", optional(p.Open))
	limit := Cell{} // none, or not known
	if p.SoftLimit != procfd.NoLimit && p.SoftLimit != 0 {
		limit = number(p.SoftLimit)
	}
	add("fd_soft_limit", limit)
	add("estab", number(c.estab))
	add("estab_timer", number(c.timer))
	add("estab_no_timer", number(c.noTimer))
	add("close_wait", number(c.closeWait))
	add("closed_fd", number(c.dark))
	add("time_wait", number(c.timeWait))
	t.Rows = [][]Cell{row}
	return t
}

// findingTable is for programs: people read each finding's own section.
func findingTable(findings []*diag.Finding) *Table {
	t := &Table{Name: "finding", Columns: []Column{
		{Key: "rule", Data: true}, {Key: "severity", Data: true}, {Key: "pid", Data: true}, {Key: "name", Data: true},
		{Key: "peer", Data: true}, {Key: "direction", Data: true}, {Key: "local_port", Data: true},
		{Key: "sockets", Data: true}, {Key: "message", Data: true}, {Key: "advice", Data: true},
	}}
	for _, f := range findings {
		t.Rows = append(t.Rows, []Cell{
			text(f.Rule), text(f.Severity.String()), number(f.Proc.PID), text(f.Proc.Name), text(f.Peer),
			text(f.Direction.String()), number(f.LocalPort), number(f.Sockets), text(f.Message), text(f.Advice),
		})
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

// findingSection shows a finding before which so many alike were shown.
func findingSection(f *diag.Finding, before int, o Options) Section {
	s := Section{
		Tone: severityTones[f.Severity], Mark: strings.ToUpper(f.Severity.String()), Heading: f.Rule,
		Text: []string{f.Message + "."}, Table: sampleTable(f, o),
	}
	brief := f.Severity == diag.Info || before >= inFull && o.Top > 0
	if brief {
		for i := range s.Table.Columns {
			s.Table.Columns[i].Data = true
		}
	}
	if before == 0 && f.Severity != diag.Info {
		s.Facts = append(s.Facts, Fact{"why", f.Why})
	}
	if !brief {
		for _, e := range f.Evidence {
			s.Facts = append(s.Facts, Fact{"evidence", fmt.Sprintf("%s: %s (%s)", e.Field, e.Value, e.Source)})
		}
	}
	if before == 0 {
		s.Facts = append(s.Facts, Fact{"do", f.Advice})
	}
	return s
}

// sampleSorts order samples; ties go by descriptor.
var sampleSorts = map[string]func(a, b *diag.Sample) int{
	"idle":   func(a, b *diag.Sample) int { return cmp.Compare(b.Idle.D, a.Idle.D) },
	"age":    func(a, b *diag.Sample) int { return cmp.Compare(b.Age.D, a.Age.D) },
	"held":   func(a, b *diag.Sample) int { return cmp.Compare(b.Held.D, a.Held.D) },
	"fd":     func(_, _ *diag.Sample) int { return 0 },
	"recv-q": func(a, b *diag.Sample) int { return cmp.Compare(b.RecvQ, a.RecvQ) },
	"send-q": func(a, b *diag.Sample) int { return cmp.Compare(b.SendQ, a.SendQ) },
	"peer":   func(a, b *diag.Sample) int { return a.Peer.Compare(b.Peer) },
}

// SampleSorts lists the orders of samples; the first is the default.
func SampleSorts() []string { return []string{"idle", "age", "held", "fd", "recv-q", "send-q", "peer"} }

// samplesOf sorts and cuts the samples of a finding.
func samplesOf(f *diag.Finding, o Options) []diag.Sample {
	by, ok := sampleSorts[o.Sort]
	if !ok {
		by = sampleSorts["idle"]
	}
	list := slices.Clone(f.Samples)
	slices.SortFunc(list, func(a, b diag.Sample) int { return cmp.Or(by(&a, &b), cmp.Compare(a.FD, b.FD)) })
	if o.Top > 0 && len(list) > o.Top {
		list = list[:o.Top]
	}
	return list
}

func sampleTable(f *diag.Finding, o Options) *Table {
	t := &Table{Name: "socket", Columns: []Column{
		{Key: "rule", Data: true}, {Key: "severity", Data: true}, {Key: "pid", Data: true}, {Key: "name", Data: true},
		{Key: "fd", Head: "FD", Right: true},
		{Key: "local", Head: "Local Address:Port"},
		{Key: "peer", Head: "Peer Address:Port"},
		{Key: "state", Head: "State"},
		{Key: "timer", Head: "Timer"},
		{Key: "keepalive", Head: "Keepalive"},
		{Key: "recv_q", Head: "Recv-Q", Right: true},
		{Key: "send_q", Head: "Send-Q", Right: true},
		{Key: "idle_ms", Head: "Idle", Right: true},
		{Key: "age_ms", Head: "Age", Right: true},
		{Key: "age_exact", Data: true},
		{Key: "held_ms", Head: "In state", Right: true},
		{Key: "age_source", Head: "Age from", Wide: true},
		{Key: "inode", Head: "Inode", Right: true, Wide: true},
		{Key: "cookie", Head: "Cookie", Right: true, Wide: true},
		{Key: "fd_first_looked_at", Head: "FD first looked at", Wide: true},
	}}
	for _, s := range samplesOf(f, o) {
		t.Rows = append(t.Rows, sampleRow(f, s))
	}
	if rest := len(f.Samples) - len(t.Rows); rest > 0 {
		t.More = fmt.Sprintf("… and %d more: --top 0 shows all", rest)
	}
	return t
}

func sampleRow(f *diag.Finding, s diag.Sample) []Cell {
	timer := text(s.Timer)
	if s.Expires > 0 {
		timer.Text += " " + diag.FormatDuration(s.Expires)
	}
	fd := number(s.FD)
	if len(s.FDs) > 1 {
		fd.Text += fmt.Sprintf(" (+%d)", len(s.FDs)-1)
	}
	looked := Cell{Text: "-"}
	if !s.FirstLooked.IsZero() {
		looked = text(rfc3339(s.FirstLooked))
	}
	exact := Cell{}
	if s.Age.Known() {
		exact = text(strconv.FormatBool(s.Age.Exact))
	}
	return []Cell{
		text(f.Rule), text(f.Severity.String()), number(f.Proc.PID), text(f.Proc.Name),
		fd, address(s.Local), address(s.Peer), text(s.State), timer, text(s.Keepalive),
		number(s.RecvQ), number(s.SendQ), span(s.Idle), span(s.Age), exact, span(s.Held),
		text(s.Age.Source), number(s.Inode), text(fmt.Sprintf("%x", s.Cookie)), looked,
	}
}
