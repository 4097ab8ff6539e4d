package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/sockleak/sockleak/diag"
)

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
		{Key: "local", Head: "Local Address:Port", Spare: 6},
		{Key: "peer", Head: "Peer Address:Port"},
		{Key: "state", Head: "State"},
		{Key: "timer", Head: "Timer", Spare: 2},
		{Key: "keepalive", Head: "Keepalive", Spare: 1},
		{Key: "recv_q", Head: "Recv-Q", Right: true, Spare: 4},
		{Key: "send_q", Head: "Send-Q", Right: true, Spare: 3},
		{Key: "idle_ms", Head: "Idle", Right: true},
		{Key: "age_ms", Head: "Age", Right: true, Spare: 5},
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
