//go:build linux

package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	p := programsIn("/nowhere")
	rows := choose(p, compared(p, 77), "", regexp.MustCompile("PID|^nothing$"))
	var names []string
	for _, r := range rows {
		names = append(names, r.Name)
		if r.Name != floorName && (slices.Contains(r.Args, pidWord) || !slices.Contains(r.Args, "77")) {
			t.Errorf("%s runs %q", r.Name, r.Args)
		}
	}
	if want := []string{floorName, "sockleak leakscan PID", "lsof -nP -p PID"}; !slices.Equal(names, want) {
		t.Errorf("chosen %q, want %q", names, want)
	}
	if rows := choose(p, ofEmpty(p), "empty ", regexp.MustCompile("^sockleak")); rows != nil {
		t.Errorf("%d rows, and none matches", len(rows))
	}
}

func TestWhatIsNotInstalledIsLeftOut(t *testing.T) {
	for _, r := range []*row{
		newRow(failsAbove0, []string{"/nowhere/none"}),
		newRow(failsAbove0, []string{"sh", "-c", "none"}, "/nowhere/none"),
	} {
		if r.LeftOut != "/nowhere/none is not installed" {
			t.Errorf("%q: left out: %q", r.Name, r.LeftOut)
		}
	}
}

func TestSlowRowsHaveALimit(t *testing.T) {
	p := programsIn("/nowhere")
	for _, r := range compared(p, 1) {
		r.LeftOut = ""
		leaveOut([]*row{r}, 1000, 1000)
		if r.LeftOut != "" {
			t.Errorf("%s is left out at the limit", r.Name)
		}
		leaveOut([]*row{r}, 1002, 1000)
		slow := r.Name == "ss -tanp" || r.Name == "lsof -nP -iTCP"
		if strings.HasPrefix(r.LeftOut, "slow") != slow {
			t.Errorf("%s above the limit: left out: %q", r.Name, r.LeftOut)
		}
	}
}
