package report

import (
	"strings"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// The answer stands in one line, and it is clean only when everything was seen.
func TestVerdict(t *testing.T) {
	gap, minor := diag.Gap{What: "dump"}, diag.Gap{What: "executable", Minor: true}
	for _, tt := range []struct {
		found []diag.Severity
		gaps  []diag.Gap
		want  string
	}{
		{nil, nil, "CLEAN  nothing leaks"},
		{[]diag.Severity{diag.Info}, []diag.Gap{minor}, "CLEAN  nothing leaks"},
		{nil, []diag.Gap{gap}, "PARTIAL  no leak found, but not everything could be seen: see the gaps"},
		{[]diag.Severity{diag.Risk}, []diag.Gap{gap}, "PARTIAL  no leak proved, 1 risk; not everything could be seen: see the gaps"},
		{[]diag.Severity{diag.Risk}, nil, "RISK  no leak proved; 1 risk"},
		{[]diag.Severity{diag.Info, diag.Risk, diag.Risk}, nil, "RISK  no leak proved; 2 risks"},
		{[]diag.Severity{diag.Leak}, nil, "LEAK  3 leaked sockets in 1 finding"},
		{[]diag.Severity{diag.Leak, diag.Risk, diag.Leak}, []diag.Gap{gap}, "LEAK  6 leaked sockets in 2 findings; not everything could be seen: see the gaps"},
	} {
		r := clean()
		r.Gaps = tt.gaps
		for _, s := range tt.found {
			r.Findings = append(r.Findings, &diag.Finding{Rule: "rule", Severity: s, Proc: r.Procs()[0], Sockets: 3})
		}
		out := string(write(t, "table", Leakscan(r), Options{}))
		if got := strings.Split(out, "\n")[2]; got != tt.want {
			t.Errorf("%v, %v: %q, want %q", tt.found, tt.gaps, got, tt.want)
		}
	}
}

// Findings that differ in the peer alone do not repeat the reason and the advice, and beyond three are a
// sentence each, unless all is asked for. Programs get all of them.
func TestFindingsAlike(t *testing.T) {
	alike := func() *diag.Result {
		r := manySamples(2)
		for range 4 {
			r.Findings = append(r.Findings, r.Findings[0])
		}
		return r
	}
	for top, tables := range map[int]int{0: 5, 10: 3} {
		out := string(write(t, "table", Leakscan(alike()), Options{Top: top}))
		for word, want := range map[string]int{"LEAK  idle-no-keepalive": 5, "  why  ": 1, "  do   ": 1, "Peer Address:Port": tables, "\n  100001  ": tables} {
			if got := strings.Count(out, word); got != want {
				t.Errorf("top %d: %q stands there %d times, want %d:\n%s", top, word, got, want, out)
			}
		}
		csv := string(write(t, "csv", Leakscan(alike()), Options{Top: top}))
		if got := strings.Count(csv, "\nsocket,"); got != 10 {
			t.Errorf("top %d: %d sockets in CSV, want 10", top, got)
		}
	}
}

func TestCommandLine(t *testing.T) {
	line := func(args ...string) string {
		return commandLine(&diag.Proc{Process: &procfd.Process{Args: args}})
	}
	fits := strings.Repeat("x", maxArgs)
	for _, tt := range []struct{ got, want string }{
		{line(), ""},
		{line(""), ""},
		{line("node", "a b"), "  node a b"},
		{line(fits), "  " + fits},
		{line(fits + "y"), "  " + fits + "…"},
		{line(fits[1:] + "é"), "  " + fits[1:] + "…"},    // not inside a rune
		{line("\xff" + fits), "  \xff" + fits[1:] + "…"}, // what is no UTF-8 is not lost,
		{line(strings.Repeat("\x80", 200)), "  " + strings.Repeat("\x80", maxArgs-4) + "…"}, // nor more than a rune
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

// What there is none of is not shown as zero.
func TestFactsOfNothing(t *testing.T) {
	space := &diag.Space{}
	space.Procs = []*diag.Proc{{Process: &procfd.Process{PID: 1, Name: "empty"}, Space: space}}
	r := &diag.Result{Snapshot: &diag.Snapshot{At: noon, Spaces: []*diag.Space{space}}}
	out := string(write(t, "table", Leakscan(r), Options{}))
	for _, want := range []string{"\nempty[1]\n", "  TCP          no sockets\n", "  descriptors  0 open\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %q:\n%s", want, out)
		}
	}
	r.Snapshot.Spaces[0].Procs[0].Open = -1
	if out := string(write(t, "table", Leakscan(r), Options{})); !strings.Contains(out, "  TCP          could not be read\n") {
		t.Errorf("sockets that could not be read are said to be none:\n%s", out)
	}
	out = string(write(t, "wide", Tcpstat(&diag.Stat{Snapshot: diag.Snapshot{At: noon}, Tally: &diag.Tally{}}), Options{}))
	if strings.Contains(out, "sockstat") || strings.Contains(out, "GAPS") || !strings.Contains(out, "0 TCP sockets") ||
		!strings.HasSuffix(out, "\nby peer\n  no socket matches\n") {
		t.Errorf("an empty count:\n%s", out)
	}
}

// Every way to group has its name over the keys.
func TestGroupHeads(t *testing.T) {
	heads := map[string]string{"peer": "Peer Address", "peer-port": "Peer Port", "local-port": "Local Port", "uid": "UID", "state": "State", "process": "Process", "netns": "Network namespace", "cgroup": "Cgroup", "container": "Container"}
	for i, name := range diag.GroupByNames() {
		tally := &diag.Tally{By: diag.GroupBy(i)}
		tally.Add(sock(netlinkss.Estab, "10.0.0.1:1", "10.0.0.2:2", netlinkss.TCPInfo{}))
		groups, distinct, err := tally.Groups("sockets", 0)
		if err != nil {
			t.Fatal(err)
		}
		out := string(write(t, "table", Tcpstat(&diag.Stat{Tally: tally, Groups: groups, Distinct: distinct}), Options{}))
		if want := "\n  " + heads[name]; heads[name] == "" || !strings.Contains(out, want) {
			t.Errorf("by %s: no head %q:\n%s", name, want, out)
		}
	}
}

// People read the name of a namespace before its number; programs get the number as the key, and the name in a field of its own.
func TestNetnsNames(t *testing.T) {
	tally := &diag.Tally{By: diag.ByNetns, Names: map[uint64]string{7: "blue"}}
	for _, netns := range []uint32{7, 8} {
		tally.Netns = netns
		tally.Add(sock(netlinkss.Estab, "10.0.0.1:1", "10.0.0.2:2", netlinkss.TCPInfo{}))
	}
	groups, distinct, err := tally.Groups("sockets", 0)
	if err != nil {
		t.Fatal(err)
	}
	stat := Tcpstat(&diag.Stat{Tally: tally, Groups: groups, Distinct: distinct, Where: "2 network namespaces"})
	for format, wants := range map[string][]string{
		"table": {"\n  blue  net:[7]  ", "\n  net:[8]  ", "  of  2 network namespaces\n"},
		"csv":   {",netns,net:[7],1,", ",blue\n"},
		"jsonl": {`"key":"net:[7]"`, `"name":"blue"`, `"name":null`, `"netns":"2 network namespaces"`},
	} {
		out := string(write(t, format, stat, Options{}))
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", format, want, out)
			}
		}
	}
}

// A word is a line, close to the next one: it has no table, and says what to do only where no other finding does.
func TestWords(t *testing.T) {
	r := manySamples(2)
	p := r.Procs()[0]
	word := func(rule, message string) *diag.Finding {
		return &diag.Finding{Rule: rule, Proc: p, Message: message, Advice: "advice of " + rule, Samples: r.Findings[0].Samples}
	}
	r.Findings = []*diag.Finding{word("half-closed-pair", "one"), word("half-closed-pair", strings.Repeat("word ", 30)+"end"), word("time-wait", "three")}
	_, out, _ := strings.Cut(string(write(t, "table", Leakscan(r), Options{Width: 80})), "  TCP          LISTEN 1\n")
	want := "\nINFO  half-closed-pair  one.\nINFO  half-closed-pair" + "  " + strings.TrimSpace(strings.Repeat("word ", 11)) +
		"\n  " + strings.TrimSpace(strings.Repeat("word ", 15)) + "\n  " + strings.Repeat("word ", 4) + "end.\n" +
		"INFO  time-wait  three.\n  do  advice of time-wait\n"
	if out != want {
		t.Errorf("%s, want\n%s", out, want)
	}
	if color := string(write(t, "table", Leakscan(r), Options{Color: true})); !strings.Contains(color, "\n\x1b[1;36mINFO\x1b[0m  \x1b[1mhalf-closed-pair\x1b[0m  one.\n") {
		t.Errorf("without its colours: %q", color)
	}
}
