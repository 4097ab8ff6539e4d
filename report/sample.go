package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
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
	order := make([]*diag.Sample, len(f.Samples)) // they are large, and most are cut
	for i := range f.Samples {
		order[i] = &f.Samples[i]
	}
	slices.SortFunc(order, func(a, b *diag.Sample) int { return cmp.Or(by(a, b), cmp.Compare(a.FD, b.FD)) })
	if o.Top > 0 && len(order) > o.Top {
		order = order[:o.Top]
	}
	list := make([]diag.Sample, 0, len(order))
	for _, s := range order {
		list = append(list, *s)
	}
	return list
}

func sampleTable(f *diag.Finding, o Options) *Table {
	t := socketTable(f, samplesOf(f, o))
	if rest := len(f.Samples) - len(t.Rows); rest > 0 {
		t.More = fmt.Sprintf("… and %d more: %s--top 0 shows all", rest, o.allBy)
	}
	return t
}

// socketTable has a row for each of the samples, in their order.
func socketTable(f *diag.Finding, samples []diag.Sample) *Table {
	alien := slices.ContainsFunc(samples, func(s diag.Sample) bool { return holderPID(f, s) != f.Proc.PID })
	t := &Table{Name: "socket", Columns: sampleColumns(alien)}
	for _, s := range samples {
		t.keepQueue("recv_q", s.RecvQ)
		t.keepQueue("send_q", s.SendQ)
		t.Rows = append(t.Rows, sampleRow(f, s))
	}
	return t
}

// spareQueue is what a queue is worth that something is in: more than who else has the socket, less than its times.
const spareQueue = 8

func (t *Table) keepQueue(key string, n uint32) {
	if n == 0 {
		return
	}
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Key == key })
	t.Columns[i].Spare = spareQueue
}

// sampleColumns are the columns of samples; alien: some are of another process than the finding's. A narrow terminal keeps where
// a socket leads, what state it is in and for how long; who is at the other end, and what is off or 0, goes before that.
func sampleColumns(alien bool) []Column {
	return []Column{
		{Key: "rule", Data: true}, {Key: "severity", Data: true}, {Key: "pid", Data: true}, {Key: "name", Data: true},
		{Key: "holder_pid", Head: "PID", Right: true, Data: !alien},
		{Key: "task", Head: "Thread", Right: true},
		{Key: "fd", Head: "FD", Right: true},
		{Key: "local", Head: "Local Address:Port", Spare: 11},
		{Key: "peer", Head: "Peer Address:Port", Spare: 14},
		{Key: "state", Head: "State", Spare: 12},
		{Key: "timer", Head: "Timer", Spare: 2},
		{Key: "keepalive", Head: "Keepalive", Spare: 1},
		{Key: "recv_q", Head: "Recv-Q", Right: true, Spare: 4},
		{Key: "send_q", Head: "Send-Q", Right: true, Spare: 3},
		{Key: "idle_ms", Head: "Idle", Right: true, Spare: 13},
		{Key: "age_ms", Head: "Age", Right: true, Spare: 9},
		{Key: "age_exact", Data: true},
		{Key: "held_ms", Head: "In state", Right: true, Spare: 10},
		{Key: "watch", Head: "Watched", Spare: 5},
		{Key: "others", Head: "Also held by", Spare: 6},
		{Key: "end_holders", Head: "Other end", Spare: 7},
		{Key: "end_state", Data: true}, {Key: "end_recv_q", Data: true}, {Key: "end_send_q", Data: true},
		{Key: "age_source", Head: "Age from", Wide: true},
		{Key: "inode", Head: "Inode", Right: true, Wide: true},
		{Key: "cookie", Head: "Cookie", Right: true, Wide: true},
		{Key: "keep_idle_ms", Head: "Probes after", Right: true, Wide: true},
		{Key: "keep_interval_ms", Head: "every", Right: true, Wide: true},
		{Key: "keep_count", Head: "times", Right: true, Wide: true},
		{Key: "user_timeout_ms", Head: "User time-out", Right: true, Wide: true},
		{Key: "receive_timeout_ms", Head: "Receive time-out", Right: true, Wide: true},
		{Key: "send_timeout_ms", Head: "Send time-out", Right: true, Wide: true},
		{Key: "linger_ms", Head: "Linger", Right: true, Wide: true},
		{Key: "fd_first_looked_at", Head: "FD first looked at", Wide: true},
	}
}

// holderPID is the process whose descriptor a sample is.
func holderPID(f *diag.Finding, s diag.Sample) int {
	if s.PID == 0 {
		return f.Proc.PID
	}
	return s.PID
}

func sampleRow(f *diag.Finding, s diag.Sample) []Cell {
	timer := text(s.Timer)
	if s.Expires > 0 {
		timer.Text += " " + diag.FormatDuration(s.Expires)
	}
	task := Cell{Text: "-"}
	if s.Task != 0 {
		task = number(s.Task)
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
	return slices.Concat(
		[]Cell{
			text(f.Rule), text(f.Severity.String()), number(f.Proc.PID), text(f.Proc.Name),
			number(holderPID(f, s)), task, fd, address(s.Local), address(s.Peer), text(s.State), timer, text(s.Keepalive),
			number(s.RecvQ), number(s.SendQ), span(s.Idle), span(s.Age), exact, span(s.Held), watchCell(s.Watch),
			{Text: briefly(s.Others, "-"), Raw: listed(s.Others)},
		},
		endCells(s.End),
		[]Cell{text(s.Age.Source), number(s.Inode), text(fmt.Sprintf("%x", s.Cookie))},
		optionCells(s.Options),
		[]Cell{looked},
	)
}

func watchCell(w procfd.Watch) Cell {
	c := Cell{Text: "-", Raw: w.String()}
	switch w {
	case procfd.Watched:
		c.Text = "yes"
	case procfd.Abandoned:
		c.Text = "no"
	}
	return c
}

// briefly names the first of some holders and counts the others.
func briefly(holders []diag.Holder, none string) string {
	switch len(holders) {
	case 0:
		return none
	case 1:
		return holders[0].String()
	}
	return fmt.Sprintf("%s (+%d)", holders[0], len(holders)-1)
}

// listed are all holders, for programs.
func listed(holders []diag.Holder) string {
	names := make([]string, len(holders))
	for i, h := range holders {
		names[i] = h.String()
	}
	return strings.Join(names, "; ")
}

// Who holds an end when no holder is known: no process has it, or one that was not found.
const (
	nobody = "nobody"
	unseen = "not found"
)

// endCells are the other end: for people in words, for programs its holders, state and queues.
func endCells(e *diag.EndSample) []Cell {
	if e == nil {
		return unknown(4)
	}
	sep, none := " ", nobody
	if len(e.Holders) == 0 {
		sep = ", "
	}
	if e.Unseen {
		none = unseen
	}
	s := briefly(e.Holders, none) + sep + e.State
	if e.RecvQ > 0 {
		s += fmt.Sprintf(", Recv-Q %d", e.RecvQ)
	}
	if e.SendQ > 0 {
		s += fmt.Sprintf(", Send-Q %d", e.SendQ)
	}
	return []Cell{{Text: s, Raw: listed(e.Holders)}, text(e.State), number(e.RecvQ), number(e.SendQ)}
}

// optionCells are the options of a socket; where keepalive is off, its times are for programs alone.
func optionCells(o *diag.Options) []Cell {
	if o == nil {
		return unknown(7)
	}
	idle, interval, count := duration(o.KeepIdle), duration(o.KeepInterval), number(o.KeepCount)
	if !o.KeepAlive {
		idle.Text, interval.Text, count.Text = "-", "-", "-"
	}
	linger := Cell{Text: "off"}
	if o.Linger >= 0 {
		linger = duration(o.Linger)
	}
	return []Cell{idle, interval, count, timeout(o.UserTimeout), timeout(o.ReceiveTimeout), timeout(o.SendTimeout), linger}
}

// timeout is a time after which the kernel gives up; 0 is never.
func timeout(d time.Duration) Cell {
	c := duration(d)
	if d == 0 {
		c.Text = "none"
	}
	return c
}
