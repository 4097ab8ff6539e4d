package record

import (
	"encoding/json"
	"github.com/sockleak/sockleak/internal/raced"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFixtures has the fixtures of diag's rules go through a recording. Their reader is in diag's own tests, which no other package may
// import: for the run of one more go test they are laid over that package as if they were part of it.
func TestFixtures(t *testing.T) {
	if testing.Short() || raced.On {
		t.Skip("it builds another test, without the race detector")
	}
	dir, err := filepath.Abs("../../../diag")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests of diag: %v", err)
	}
	over := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\npackage diag\n") || strings.HasPrefix(string(text), "package diag\n") {
			over[strings.TrimSuffix(file, "_test.go")+"_overlaid.go"] = file
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": over})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-tags", "overlaid", "-overlay", path, "-count", "1", "-v", "-run", "^TestOverlaid", ".")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestOverlaidFixtures") {
		t.Errorf("%v: %v\n%s", cmd, err, out)
	}
}
