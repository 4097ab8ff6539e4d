package diag_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/report"
)

// What is counted and not kept changes nothing that is told, of any fixture, in any format.
func TestSiftChangesNothing(t *testing.T) {
	files, err := filepath.Glob("../testdata/rule/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		whole, sifted := diag.Sifted(t, file)
		for _, format := range report.Formats() {
			for name, view := range map[string]func(*diag.Result) report.Value{"one": report.Leakscan, "all": report.LeakscanAll} {
				var a, b bytes.Buffer
				if err := report.Write(&a, format.Name, view(whole), report.Options{}); err != nil {
					t.Fatal(err)
				}
				if err := report.Write(&b, format.Name, view(sifted), report.Options{}); err != nil {
					t.Fatal(err)
				}
				if a.String() != b.String() {
					t.Errorf("%s: %s of %s differs:\n%s\nwith everything kept:\n%s", file, format.Name, name, b.String(), a.String())
				}
			}
		}
	}
}
