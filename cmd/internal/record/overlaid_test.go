//go:build overlaid

package record

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/report"
)

// looked is what was seen, and what was said of it.
type looked struct {
	name       string
	looks      []*diag.Snapshot
	thresholds diag.Thresholds
	result     *diag.Result
}

func allLooked(t *testing.T) (all []looked) {
	files, err := filepath.Glob("../../../testdata/rule/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, sifted := range []bool{false, true} {
		for _, file := range files {
			l := looked{name: fmt.Sprint(file, " sifted ", sifted)}
			l.looks, l.thresholds, l.result = diag.FixtureLooks(t, file, sifted)
			all = append(all, l)
		}
		for seed := range uint64(30) {
			l := looked{name: fmt.Sprint("seed ", seed, " sifted ", sifted)}
			l.looks, l.thresholds, l.result = diag.RandomLooks(t, seed, sifted)
			all = append(all, l)
		}
	}
	return all
}

// What is judged of looks that went through a file of their own, and through one in which they follow others, is what was judged of
// them before.
func TestOverlaidFixtures(t *testing.T) {
	all := allLooked(t)
	findings := 0
	for i, l := range all {
		findings += len(l.result.Findings)
		throughFile(t, all[i:i+1])
		if t.Failed() {
			return
		}
	}
	throughFile(t, all)
	t.Logf("%d cases with %d findings", len(all), findings)
	if findings < 100 {
		t.Errorf("only %d findings", findings)
	}
}

func throughFile(t *testing.T, all []looked) {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, Header{}, Options{Zstd: len(all) > 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		for _, s := range l.looks {
			if err := w.Write(&Sample{Snapshot: s}); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		h := &diag.History{}
		for range l.looks {
			s, err := r.Next()
			if err != nil {
				t.Fatalf("%s: %v", l.name, err)
			}
			h.Add(s.Snapshot)
		}
		sameResult(t, fmt.Sprintf("%s, of %d", l.name, len(all)), diag.Check(h, l.thresholds, diag.Rules()), l.result)
	}
}

func sameResult(t *testing.T, what string, got, want *diag.Result) {
	t.Helper()
	if a, b := diag.ResultText(got), diag.ResultText(want); a != b {
		t.Errorf("%s: %s", what, diag.FirstDifference(a, b))
	}
	for _, format := range report.Formats() {
		for _, view := range []func(*diag.Result) report.Value{report.Leakscan, report.LeakscanAll} {
			if a, b := written(t, format.Name, view(got)), written(t, format.Name, view(want)); a != b {
				t.Errorf("%s: %s: %s", what, format.Name, diag.FirstDifference(a, b))
			}
		}
	}
}

func written(t *testing.T, format string, v report.Value) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, format, v, report.Options{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
