package diag

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sockleak/sockleak/procfd"
)

// reporting is a rule that reports what a function makes of each process.
func reporting(name string, f func(p *Pass)) *Rule {
	return &Rule{Name: name, Severity: Leak, Check: f, Doc: Doc{Advice: map[string]string{"": "Mend it.", "go": "Mend it in Go."}}}
}

// The order is total: severity, the rules' order, sockets, process, peer, port.
func TestCheckOrder(t *testing.T) {
	second := func(p *Pass) {
		p.Report(&Finding{Severity: Info, Sockets: 9})
		p.Report(&Finding{Severity: Leak, Sockets: 1, Peer: "b"})
		p.Report(&Finding{Severity: Leak, Sockets: 1, Peer: "a", LocalPort: 2})
		p.Report(&Finding{Severity: Leak, Sockets: 1, Peer: "a", LocalPort: 1})
		p.Report(&Finding{Severity: Leak, Sockets: 2})
	}
	first := func(p *Pass) {
		p.Report(&Finding{Severity: Risk, Sockets: 1})
		p.Report(&Finding{Severity: Leak, Sockets: 1})
	}
	// Processes come by namespace, and within one in the order in which they were asked for.
	h := looked(NewJoin(&Space{Netns: 9}, []*procfd.Process{process(7), process(3)}).Space(), NewJoin(&Space{Netns: 4}, []*procfd.Process{process(5)}).Space())
	r := Check(h, Thresholds{}, []*Rule{reporting("first", first), reporting("second", second)})
	var got []string
	for _, f := range r.Findings {
		got = append(got, fmt.Sprintf("%v %s %d %d %s%d", f.Severity, f.Rule, f.Sockets, f.Proc.PID, f.Peer, f.LocalPort))
	}
	want := []string{
		"leak first 1 3 0", "leak first 1 5 0", "leak first 1 7 0",
		"leak second 2 3 0", "leak second 2 5 0", "leak second 2 7 0",
		"leak second 1 3 a1", "leak second 1 3 a2", "leak second 1 3 b0",
		"leak second 1 5 a1", "leak second 1 5 a2", "leak second 1 5 b0",
		"leak second 1 7 a1", "leak second 1 7 a2", "leak second 1 7 b0",
		"risk first 1 3 0", "risk first 1 5 0", "risk first 1 7 0",
		"info second 9 3 0", "info second 9 5 0", "info second 9 7 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("order:\n%s\nwant:\n%s", lines(got), lines(want))
	}
	var pids []int
	for _, p := range r.Procs() {
		pids = append(pids, p.PID)
	}
	if !slices.Equal(pids, []int{7, 3, 5}) {
		t.Errorf("processes %v, want 7, 3, 5", pids)
	}
}

func TestCheckGaps(t *testing.T) {
	p := process(1)
	p.Gaps = []procfd.Gap{{What: "descriptors", Err: fmt.Errorf("gone")}}
	space := NewJoin(&Space{Gaps: []Gap{{What: "dump"}}}, []*procfd.Process{p}).Space()
	h := &History{}
	h.Add(&Snapshot{Gaps: []Gap{{What: "look"}}, Spaces: []*Space{space}})
	rule := reporting("gap", func(p *Pass) { p.Gap(Gap{What: "rule"}) })
	for range 2 { // judging leaves no trace in what was seen
		r := Check(h, Thresholds{}, []*Rule{rule})
		wantGaps(t, r.Gaps, "0 look", "0 dump", "0 descriptors of app[1]", "0 rule")
	}
}

func TestResultVerdict(t *testing.T) {
	minor := []Gap{{What: "executable", Minor: true}}
	for _, tt := range []struct {
		found   []Severity
		gaps    []Gap
		worst   Severity
		any     bool
		partial bool
	}{
		{nil, nil, Info, false, false},
		{[]Severity{Info}, minor, Info, true, false},
		{[]Severity{Info, Risk}, append(minor, Gap{What: "dump"}), Risk, true, true},
		{[]Severity{Risk, Leak, Info}, nil, Leak, true, false},
	} {
		r := &Result{Gaps: tt.gaps}
		for _, s := range tt.found {
			r.Findings = append(r.Findings, &Finding{Severity: s})
		}
		if worst, any := r.Worst(); worst != tt.worst || any != tt.any {
			t.Errorf("%v: worst %v, %v", tt.found, worst, any)
		}
		if got := r.Partial(); got != tt.partial {
			t.Errorf("%v: partial %v", tt.gaps, got)
		}
	}
}

func TestAdviceByRuntime(t *testing.T) {
	for runtime, want := range map[string]string{"go": "Mend it in Go.", "cobol": "Mend it.", "": "Mend it."} {
		p := process(1)
		p.Runtime = runtime
		r := Check(looked(NewJoin(&Space{}, []*procfd.Process{p}).Space()), Thresholds{}, []*Rule{
			reporting("rule", func(p *Pass) {
				p.Report(&Finding{})
				p.Report(&Finding{Advice: "My own."})
			}),
		})
		if got := r.Findings[0].Advice; got != want {
			t.Errorf("%q: %q, want %q", runtime, got, want)
		}
		if got := r.Findings[1].Advice; got != "My own." {
			t.Errorf("%q: %q, want the finding's own", runtime, got)
		}
	}
}

func TestThresholds(t *testing.T) {
	for _, tt := range []struct {
		settle, grace, want time.Duration
	}{
		{3 * time.Second, time.Minute, 3 * time.Second},
		{time.Minute, 2 * time.Second, 2 * time.Second},
		{0, time.Minute, 0},
	} {
		if got := (Thresholds{Settle: tt.settle, Grace: tt.grace}).Wait(); got != tt.want {
			t.Errorf("settle %v, grace %v: wait %v, want %v", tt.settle, tt.grace, got, tt.want)
		}
	}
}

// A second look is taken for the fixtures that need one, and for no others: it costs seconds.
func TestUnsettled(t *testing.T) {
	for file, want := range map[string]bool{
		"closed-fd/never-connected":     true,
		"closed-fd/not-askable":         true,
		"closed-fd/one-descriptor":      true,
		"close-wait/keepalive-answers":  true,
		"close-wait/two-looks-short":    true,
		"close-wait/brief":              false,
		"close-wait/held":               false,
		"close-wait/half-closed-stream": false,
		"idle-no-keepalive/five-leak":   false,
		"idle-no-keepalive/masked":      false,
		"closed-fd/no-descriptor-dark":  false,
		"time-wait/crowd":               false,
		"fin-wait-2/keepalive-answers":  true,
		"fin-wait-2/held":               false,
		"fin-wait-2/brief":              false,
		"unread-data/forgotten":         true,
		"unread-data/brief":             false,
		"unread-data/no-tcp-info":       false,
		"stalled-send/window-closed":    true, // a slow reader looks the same
		"stalled-send/retransmits":      true, // 59 s in 1 of 3
		"stalled-send/slow-reader":      true,
		"stalled-send/just-written":     false,
		"connect-stuck/black-hole":      false,
		"connect-stuck/in-flight":       false, // 3 s are too short
		"connect-stuck/two-looks":       true,
		"connect-stuck/linear":          true,
	} {
		f := readFixture(t, "../testdata/rule/"+file+".txtar")
		f.looks = f.looks[:1]
		if got := Unsettled(f.history(asDumped), f.thresholds, Rules()); got != want {
			t.Errorf("%s: unsettled %v, want %v", file, got, want)
		}
	}
}

func TestHistoryLast(t *testing.T) {
	h := &History{}
	if h.Last() != nil {
		t.Error("a look before the first")
	}
	first, second := &Snapshot{}, &Snapshot{}
	h.Add(first)
	h.Add(second)
	if h.Last() != second {
		t.Error("the last look is not the youngest")
	}
}

// Only the rules that judge ask for a second look.
func TestUnsettledByRule(t *testing.T) {
	f := readFixture(t, "../testdata/rule/unread-data/forgotten.txtar")
	f.looks = f.looks[:1]
	h := f.history(asDumped)
	for _, r := range Rules() {
		if got, want := Unsettled(h, f.thresholds, []*Rule{r}), r == unreadData || r == idleNoKeepalive; got != want {
			t.Errorf("%s alone: unsettled %v, want %v", r.Name, got, want)
		}
	}
}
