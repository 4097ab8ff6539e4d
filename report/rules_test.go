package report

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/diag"
)

// A verdict that is not of all rules says so, whatever it is.
func TestVerdictOfSomeRules(t *testing.T) {
	all := diag.Rules()
	gap := []diag.Gap{{What: "dump"}}
	leak, risk := []diag.Severity{diag.Leak}, []diag.Severity{diag.Risk}
	for _, tt := range []struct {
		rules       []*diag.Rule
		found       []diag.Severity
		gaps        []diag.Gap
		want, ofAll string
	}{
		{all, nil, nil, "CLEAN  nothing leaks", "CLEAN  nothing leaks in 1 process"},
		{[]*diag.Rule{}, nil, nil, "CLEAN  nothing leaks", "CLEAN  nothing leaks in 1 process"},
		{[]*diag.Rule{diag.RuleNamed("half-closed-pair")}, nil, nil, "CLEAN  nothing leaks by the rule half-closed-pair (14 others were left out)",
			"CLEAN  nothing leaks in 1 process by the rule half-closed-pair (14 others were left out)"},
		{all[:2], nil, nil, "CLEAN  nothing leaks by the rules close-wait and fin-wait-2 (13 others were left out)",
			"CLEAN  nothing leaks in 1 process by the rules close-wait and fin-wait-2 (13 others were left out)"},
		{all[1:], nil, nil, "CLEAN  nothing leaks by 15 rules (1 other was left out)", "CLEAN  nothing leaks in 1 process by 15 rules (1 other was left out)"},
		{all[3:], leak, nil, "LEAK  1 leaked socket in 1 finding; 3 rules were left out", "LEAK  1 of 1 process leaks 1 socket in 1 finding; 3 rules were left out"},
		{all[1:], risk, nil, "RISK  no leak proved; 1 risk; 1 rule was left out", "RISK  no leak proved in 1 process; 1 risk in 1 of them; 1 rule was left out"},
		{all[1:], nil, gap, "PARTIAL  no leak found, but not everything could be seen: see the gaps; 1 rule was left out",
			"PARTIAL  no leak found in 1 process, but not everything could be seen: see the gaps; 1 rule was left out"},
		{all[1:], risk, gap, "PARTIAL  no leak proved, 1 risk; not everything could be seen: see the gaps; 1 rule was left out",
			"PARTIAL  no leak proved in 1 process, 1 risk in 1 of them; not everything could be seen: see the gaps; 1 rule was left out"},
	} {
		r := several(tt.found)
		r.Rules, r.Gaps = tt.rules, tt.gaps
		if got := strings.Split(string(write(t, "table", Leakscan(r), Options{})), "\n")[2]; got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		if got := strings.Split(string(write(t, "table", LeakscanAll(r), Options{})), "\n")[2]; got != tt.ofAll {
			t.Errorf("%q, want %q", got, tt.ofAll)
		}
		var want []string
		for _, rule := range tt.rules {
			want = append(want, rule.Name)
		}
		if len(want) == 0 {
			for _, rule := range all {
				want = append(want, rule.Name)
			}
		}
		var doc struct{ Rules []string }
		if err := json.Unmarshal(write(t, "json", Leakscan(r), Options{}), &doc); err != nil || !slices.Equal(doc.Rules, want) {
			t.Errorf("%v, %v, want %v", doc.Rules, err, want)
		}
	}
}
