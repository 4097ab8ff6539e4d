package diag

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/netlinkss"
)

// TestRules runs every fixture through the join and all rules. What comes out must be wanted, what is
// wanted must come out, and every rule must have both a case in which it holds and one in which it does
// not.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("../testdata/rule/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	holds, fails := map[string]int{}, map[string]int{}
	for _, file := range files {
		rule := filepath.Base(filepath.Dir(file))
		if RuleNamed(rule) == nil {
			t.Errorf("%s: there is no rule %q", file, rule)
		}
		f := readFixture(t, file)
		if slices.ContainsFunc(f.want, func(w wantedFinding) bool { return strings.HasPrefix(w.line, rule+" ") }) {
			holds[rule]++
		} else {
			fails[rule]++
		}
		t.Run(rule+"/"+strings.TrimSuffix(filepath.Base(file), ".txtar"), f.test)
	}
	for _, r := range Rules() {
		if holds[r.Name] == 0 || fails[r.Name] == 0 {
			t.Errorf("rule %s: %d cases in which it holds and %d in which it does not, want some of each", r.Name, holds[r.Name], fails[r.Name])
		}
	}
}

// asDumped is the order in which a fixture lists its sockets.
func asDumped([]*netlinkss.Socket) {}

func (f *fixture) test(t *testing.T) {
	h := f.history(asDumped)
	r := Check(h, f.thresholds, Rules())
	f.checkWanted(t, r)
	if got := sampleLines(r); !slices.Equal(got, f.marks()) {
		t.Errorf("sockets of findings:\n%s\nmarked:\n%s", lines(got), lines(f.marks()))
	}
	if got := gapLines(r.Gaps); !slices.Equal(got, f.gaps) {
		t.Errorf("gaps:\n%s\nwant:\n%s", lines(got), lines(f.gaps))
	}
	for _, found := range r.Findings {
		checkFinding(t, found)
	}
	text := resultText(r)
	if again := resultText(Check(h, f.thresholds, Rules())); again != text {
		t.Errorf("the same history, judged again, gives another result:\n%s\nfirst:\n%s", again, text)
	}
	shuffled := f.history(func(s []*netlinkss.Socket) {
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(s), func(i, k int) { s[i], s[k] = s[k], s[i] })
	})
	if other := resultText(Check(shuffled, f.thresholds, Rules())); other != text {
		t.Errorf("another order of the dump gives another result:\n%s\nfirst:\n%s", other, text)
	}
}

// checkWanted compares the findings with the section want, in order.
func (f *fixture) checkWanted(t *testing.T, r *Result) {
	t.Helper()
	var got, want []string
	for _, found := range r.Findings {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %v %d %s", found.Rule, found.Severity, found.Sockets, found.Peer)))
	}
	for _, w := range f.want {
		want = append(want, w.line)
	}
	if !slices.Equal(got, want) {
		t.Errorf("findings:\n%s\nwant:\n%s", lines(got), lines(want))
		return
	}
	for i, w := range f.want {
		said := append([]string{r.Findings[i].Message, r.Findings[i].Advice}, evidenceLines(r.Findings[i])...)
		for _, words := range w.says {
			if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, words) }) {
				t.Errorf("%s: nothing says %q:\n%s", w.line, words, lines(said))
			}
		}
	}
}

// checkFinding holds what is true of every finding of every rule.
func checkFinding(t *testing.T, f *Finding) {
	t.Helper()
	for what, s := range map[string]string{"message": f.Message, "why": f.Why, "advice": f.Advice} {
		if s == "" || strings.Contains(s, "%!") || strings.Contains(s, "  ") {
			t.Errorf("%s: %s %q", f.Rule, what, s)
		}
	}
	if !strings.Contains(f.Message, Subject(f.Proc.Process)) {
		t.Errorf("%s: the message does not name %s: %q", f.Rule, Subject(f.Proc.Process), f.Message)
	}
	if f.Severity > RuleNamed(f.Rule).Severity {
		t.Errorf("%s: severity %v is over the rule's own", f.Rule, f.Severity)
	}
	if len(f.Evidence) == 0 {
		t.Errorf("%s: no evidence", f.Rule)
	}
	for _, e := range f.Evidence {
		if e.Field == "" || e.Value == "" || e.Source == "" {
			t.Errorf("%s: evidence without a field, a value or a source: %+v", f.Rule, e)
		}
	}
	if n := len(f.Samples); n > 0 && n != f.Sockets {
		t.Errorf("%s: %d sockets and %d samples", f.Rule, f.Sockets, n)
	}
	if loose := numbersWithoutEvidence(f); len(loose) > 0 {
		t.Errorf("%s: %q of the message stand in no evidence: %q\n%s", f.Rule, loose, f.Message, lines(evidenceLines(f)))
	}
}

// A number in a sentence, with what clings to it: 12, 3h20m, 0.5s.
var numberPattern = regexp.MustCompile(`[0-9][0-9a-z.]*`)

// numbersWithoutEvidence lists the numbers of a message that are neither in a value of the evidence nor
// part of a name: of the process, the state, the peer or the port.
func numbersWithoutEvidence(f *Finding) (loose []string) {
	message := strings.ReplaceAll(f.Message, Subject(f.Proc.Process), "")
	message = strings.NewReplacer(netlinkss.FinWait1.String(), "", netlinkss.FinWait2.String(), "").Replace(message)
	if f.Peer != "" {
		message = strings.ReplaceAll(message, f.Peer, "")
	}
	if f.LocalPort != 0 {
		message = strings.ReplaceAll(message, fmt.Sprintf("on its port %d", f.LocalPort), "")
	}
	proved := map[string]bool{}
	for _, e := range f.Evidence {
		for _, n := range numberPattern.FindAllString(e.Value, -1) {
			proved[n] = true
		}
	}
	for _, n := range numberPattern.FindAllString(message, -1) {
		if !proved[strings.TrimRight(n, ".")] {
			loose = append(loose, n)
		}
	}
	return loose
}

// sampleLines are the sockets of all findings, in the form of the marks.
func sampleLines(r *Result) (list []string) {
	for _, f := range r.Findings {
		for _, s := range f.Samples {
			list = append(list, fmt.Sprintf("%d %d %v %s", s.PID, s.FD, f.Severity, f.Rule))
		}
	}
	slices.Sort(list)
	return list
}

func evidenceLines(f *Finding) (list []string) {
	for _, e := range f.Evidence {
		list = append(list, fmt.Sprintf("%s: %s (%s)", e.Field, e.Value, e.Source))
	}
	return list
}

func gapLines(gaps []Gap) (list []string) {
	for _, g := range gaps {
		list = append(list, fmt.Sprintf("%d %s", g.Count, g.What))
	}
	return list
}

// resultText is all that a result says.
func resultText(r *Result) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %v %d %q %v %d\n%s\n%s\n%s\n%v\n%+v\n", f.Rule, f.Severity, f.Sockets, f.Peer, f.Direction, f.LocalPort,
			f.Message, f.Why, f.Advice, f.Evidence, f.Onset)
		for _, s := range f.Samples {
			fmt.Fprintf(&b, "  %+v %+v\n", s.End, s.Options)
			s.End, s.Options = nil, nil // pointers, which differ
			fmt.Fprintf(&b, "  %+v\n", s)
		}
	}
	fmt.Fprintf(&b, "%+v\n", r.Gaps)
	return b.String()
}

func lines(list []string) string {
	if len(list) == 0 {
		return "  (none)"
	}
	return "  " + strings.Join(list, "\n  ")
}

// A rule explains itself, and gives its advice for programs of every kind.
func TestRuleDocs(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules() {
		d := r.Doc
		for what, s := range map[string]string{"title": r.Title, "means": d.Means, "proof": d.Proof, "imitates": d.Imitates, "todo": d.Todo} {
			if s == "" {
				t.Errorf("%s: no %s", r.Name, what)
			}
		}
		if d.Advice[""] == "" {
			t.Errorf("%s: no advice for programs of an unknown runtime", r.Name)
		}
		for runtime, advice := range d.Advice {
			if !strings.HasSuffix(advice, ".") {
				t.Errorf("%s: the advice for %q is no sentence: %q", r.Name, runtime, advice)
			}
		}
		if seen[r.Name] || RuleNamed(r.Name) != r {
			t.Errorf("%s: the name is not its own", r.Name)
		}
		seen[r.Name] = true
	}
	if r := RuleNamed("no-such-rule"); r != nil {
		t.Errorf("RuleNamed of an unknown name = %v", r.Name)
	}
}
