package report

import (
	"fmt"
	"slices"

	"github.com/sockleak/sockleak/diag"
)

// rulesOf are the names of the rules that judged, and how many were left out. A result that lists none is one of all rules.
func rulesOf(r *diag.Result) (judged []string, left int) {
	rules := r.Rules
	if len(rules) == 0 {
		rules = diag.Rules()
	}
	for _, rule := range rules {
		judged = append(judged, rule.Name)
	}
	for _, rule := range diag.Rules() {
		if !slices.Contains(judged, rule.Name) && (r.Series != nil || !rule.Series) {
			left++
		}
	}
	return judged, left
}

// rulesLeftOut follows a verdict that is not of all rules; "" when it is.
func rulesLeftOut(r *diag.Result) string {
	_, left := rulesOf(r)
	switch left {
	case 0:
		return ""
	case 1:
		return "; 1 rule was left out"
	}
	return fmt.Sprintf("; %d rules were left out", left)
}

// byRules follows the verdict that nothing leaks, which is worth as much as the rules that judged; "" when all did.
func byRules(r *diag.Result) string {
	judged, left := rulesOf(r)
	if left == 0 {
		return ""
	}
	s := fmt.Sprintf(" by %d rules", len(judged))
	switch len(judged) {
	case 1:
		s = " by the rule " + judged[0]
	case 2:
		s = " by the rules " + judged[0] + " and " + judged[1]
	}
	if left == 1 {
		return s + " (1 other was left out)"
	}
	return fmt.Sprintf("%s (%d others were left out)", s, left)
}
