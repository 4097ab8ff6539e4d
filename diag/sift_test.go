package diag_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/internal/raced"
	"github.com/sockleak/sockleak/report"
)

// What is counted and not kept changes nothing that is told, of any fixture, in any format. Plots say what they leave out.
func TestSiftChangesNothing(t *testing.T) {
	files, err := filepath.Glob("../testdata/rule/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		whole, sifted := diag.Sifted(t, file)
		sameReports(t, file, whole, sifted)
	}
}

// Nor of a host where there is a bit of everything.
func TestSiftChangesNothingAtRandom(t *testing.T) {
	counted, rules := 0, map[string]int{}
	if raced.On {
		t.Skip("nothing here is concurrent, and the race detector makes it several times slower")
	}
	for seed := range uint64(30) {
		whole, sifted, usual := diag.SiftedAtRandom(t, seed)
		sameReports(t, fmt.Sprint("seed ", seed), whole, sifted)
		counted += usual
		for _, f := range whole.Findings {
			rules[f.Rule]++
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d sockets were counted; findings: %v", counted, rules)
	if counted == 0 || len(rules) < 10 {
		t.Errorf("%d sockets were counted, and of the rules only these found something: %v", counted, rules)
	}
}

func sameReports(t *testing.T, what string, whole, sifted *diag.Result) {
	t.Helper()
	for _, format := range report.Formats() {
		for name, view := range map[string]func(*diag.Result) report.Value{"one": report.Leakscan, "all": report.LeakscanAll} {
			var a, b bytes.Buffer
			if err := report.Write(&a, format.Name, view(whole), report.Options{NoPlots: true}); err != nil {
				t.Fatal(err)
			}
			if err := report.Write(&b, format.Name, view(sifted), report.Options{NoPlots: true}); err != nil {
				t.Fatal(err)
			}
			if a.String() != b.String() {
				t.Errorf("%s: %s of %s differs: %s", what, format.Name, name, diag.FirstDifference(b.String(), a.String()))
			}
		}
	}
}
