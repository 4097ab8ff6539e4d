package report

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// several is a result with a process per list of severities; each finding has as many sockets as its process has findings.
func several(found ...[]diag.Severity) *diag.Result {
	space := &diag.Space{}
	r := &diag.Result{Snapshot: &diag.Snapshot{At: noon, Spaces: []*diag.Space{space}}}
	for i, list := range found {
		p := &diag.Proc{Process: &procfd.Process{PID: 100 + i, Name: "p", Open: 10 * i}, Space: space}
		space.Procs = append(space.Procs, p)
		for _, s := range list {
			r.Findings = append(r.Findings, &diag.Finding{Rule: "rule-" + s.String(), Severity: s, Proc: p, Sockets: len(list), Peer: fmt.Sprint("peer", i)})
		}
	}
	return r
}

func TestVerdictOfAll(t *testing.T) {
	type found = []diag.Severity
	gap := []diag.Gap{{What: "dump"}}
	for _, tt := range []struct {
		r    *diag.Result
		gaps []diag.Gap
		want string
	}{
		{several(), nil, "CLEAN  nothing leaks in 0 processes"},
		{several(nil), nil, "CLEAN  nothing leaks in 1 process"},
		{several(nil, found{diag.Info, diag.Info}), nil, "CLEAN  nothing leaks in 2 processes"},
		{several(nil, found{diag.Info}), []diag.Gap{{What: "exe", Minor: true}}, "CLEAN  nothing leaks in 2 processes"},
		{several(nil, nil), gap, "PARTIAL  no leak found in 2 processes, but not everything could be seen: see the gaps"},
		{several(nil, found{diag.Risk, diag.Risk}, found{diag.Risk}), nil, "RISK  no leak proved in 3 processes; 3 risks in 2 of them"},
		{several(nil, found{diag.Risk}), gap, "PARTIAL  no leak proved in 2 processes, 1 risk in 1 of them; not everything could be seen: see the gaps"},
		{several(found{diag.Leak}, nil), nil, "LEAK  1 of 2 processes leaks 1 socket in 1 finding"},
		{several(found{diag.Leak, diag.Risk, diag.Leak}, found{diag.Leak}, nil), gap,
			"LEAK  2 of 3 processes leak 7 sockets in 3 findings; not everything could be seen: see the gaps"},
	} {
		tt.r.Gaps = tt.gaps
		out := string(write(t, "table", LeakscanAll(tt.r), Options{}))
		if got := strings.Split(out, "\n")[2]; got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		leaks := strings.HasPrefix(tt.want, "LEAK") || strings.Contains(tt.want, "risk")
		if full := strings.Contains(out, "\np["); full != leaks {
			t.Errorf("%q: a process is shown in full: %v\n%s", tt.want, full, out)
		}
		if others := strings.Contains(out, "  sockleak leakscan PID shows the others in full.\n"); others != (unsound(standings(tt.r)) > 1) {
			t.Errorf("%q: that there are others is said: %v", tt.want, others)
		}
	}
}

// rows are the PID and the leaked sockets of each row of the ranking.
var rankingRow = regexp.MustCompile(`(?m)^ +(\d+)  \S+ +(\d+) +\d+  `)

// However the list is cut and sorted, the verdict counts the rows and what is said of the rest.
func TestRankingAddsUp(t *testing.T) {
	r := crowd()
	rest := regexp.MustCompile(`… and (\d+) more process(?:es)?, of which (\d+) leaks?(?: (\d+) sockets?)?: --top 0`)
	for _, by := range append(ProcessSorts(), "") {
		for _, top := range []int{0, 1, 2, 10, 315} {
			out := string(write(t, "table", LeakscanAll(r), Options{Top: top, Sort: by}))
			out, _, _ = strings.Cut(out, "\nbroker[")
			procs, leaking, sockets := 0, 0, 0
			for _, m := range rankingRow.FindAllStringSubmatch(out, -1) {
				n, _ := strconv.Atoi(m[2])
				procs++
				sockets += n
				leaking += min(n, 1)
			}
			if want := map[bool]int{true: min(top, 315), false: 315}[top > 0]; procs != want {
				t.Fatalf("%s, top %d: %d rows, want %d:\n%s", by, top, procs, want, out)
			}
			if m := rest.FindStringSubmatch(out); m != nil {
				for i, sum := range []*int{&procs, &leaking, &sockets} {
					n, _ := strconv.Atoi(m[i+1])
					*sum += n
				}
			}
			if procs != 315 || leaking != 2 || sockets != 52 || !strings.Contains(out, "2 of 315 processes leak 52 sockets") {
				t.Errorf("%s, top %d: %d processes, %d leak %d sockets:\n%s", by, top, procs, leaking, sockets, out)
			}
		}
	}
}

// A program gets every process, in the order asked for, and every finding.
func TestRankingOfPrograms(t *testing.T) {
	type process struct {
		PID, Leaked, Risks int
		FDs                struct{ Open *int }
		Sockets            struct {
			ByState map[string]int `json:"by_state"`
		}
	}
	open := func(p process) int {
		if p.FDs.Open == nil {
			return -1
		}
		return *p.FDs.Open
	}
	keys := map[string]func(process) int{
		"leaked":     func(p process) int { return -p.Leaked },
		"fds":        func(p process) int { return -open(p) },
		"estab":      func(p process) int { return -p.Sockets.ByState["ESTAB"] },
		"close-wait": func(p process) int { return -p.Sockets.ByState["CLOSE-WAIT"] },
		"pid":        func(p process) int { return p.PID },
	}
	if len(ProcessSorts()) != len(processSorts) || len(keys) != len(processSorts) {
		t.Errorf("%d orders are listed, %d there are, %d are tested", len(ProcessSorts()), len(processSorts), len(keys))
	}
	r := crowd()
	for _, by := range ProcessSorts() {
		var doc struct{ Processes []process }
		if err := json.Unmarshal(write(t, "json", LeakscanAll(r), Options{Top: 1, Sort: by}), &doc); err != nil {
			t.Fatal(err)
		}
		leaked, risks := 0, 0
		var pids []string
		for i, p := range doc.Processes {
			leaked, risks = leaked+p.Leaked, risks+p.Risks
			pids = append(pids, strconv.Itoa(p.PID))
			if i > 0 && keys[by](p) < keys[by](doc.Processes[i-1]) {
				t.Errorf("sorted by %s: process %d stands at %d", by, p.PID, i)
			}
		}
		if len(doc.Processes) != 315 || leaked != 52 || risks != 4 {
			t.Errorf("sorted by %s: %d processes, %d sockets, %d risks", by, len(doc.Processes), leaked, risks)
		}
		var of []string
		tables := map[string]int{}
		for _, row := range readCSV(t, write(t, "csv", LeakscanAll(r), Options{Top: 1, Sort: by}))[1:] {
			if tables[row[0]]++; row[0] == "process" {
				of = append(of, row[3])
			}
		}
		if !slices.Equal(of, pids) {
			t.Errorf("sorted by %s: CSV has another order than JSON", by)
		}
		if tables["finding"] != len(r.Findings) || tables["gap"] != len(r.Gaps) {
			t.Errorf("CSV has the tables %v, want %d findings and %d gaps", tables, len(r.Findings), len(r.Gaps))
		}
	}
}

// A gap that many processes have is one row with their sum; only a process's own name in full is left out of it.
func TestGapFolds(t *testing.T) {
	r := several(nil, nil, nil, nil, nil)
	procs := r.Procs()
	procs[1].Name, procs[2].Name = "a of b", "p[100]"
	of := func(what string, p *diag.Proc) string { return what + " of " + diag.Subject(p.Process) }
	for _, p := range procs[:4] {
		r.Gaps = append(r.Gaps,
			diag.Gap{What: of("descriptors", p), Why: "denied"},
			diag.Gap{What: of("kinds of things", p), Why: "denied", Count: p.PID - 99},
			diag.Gap{What: of("some", p), Why: "denied", Count: p.PID - 100},
		)
	}
	r.Gaps = append(r.Gaps, diag.Gap{What: of("descriptors", procs[4]), Why: "another reason"}, diag.Gap{What: "dump", Why: "cut"},
		diag.Gap{What: "descriptors of p[1000]", Why: "denied"}, diag.Gap{What: "dump", Why: "cut"})
	var got []string
	for _, row := range foldedGapSection(r)[0].Table.Rows {
		got = append(got, row[0].Text+" | "+row[1].Text+" | "+row[2].Text)
	}
	want := []string{
		"4 | descriptors of 4 processes | denied",
		"10 | kinds of things of 4 processes | denied",
		"≥ 6 | some of 4 processes | denied",
		"? | descriptors of p[104] | another reason",
		"? | dump | cut",
		"? | descriptors of p[1000] | denied",
		"? | dump | cut",
	}
	if !slices.Equal(got, want) {
		t.Errorf("folded:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	r.Gaps = r.Gaps[:9]
	if rows := foldedGapSection(r)[0].Table.Rows; len(rows) != 9 {
		t.Errorf("three processes are named one by one, and not in %d rows", len(rows))
	}
}
