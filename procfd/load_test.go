package procfd

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRunning(t *testing.T) {
	for text, want := range map[string]int{
		"0.20 0.18 0.12 3/80 11206\n": 3,
		"0.20 0.18 0.12 1/80":         1,
		"0.20 0.18 0.12":              -1,
		"0.20 0.18 0.12 -2/80 1":      -1,
		"0.20 0.18 0.12 two/80 1":     -1,
		"":                            -1,
	} {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "loadavg"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fs, err := New(root)
		if err != nil {
			t.Fatal(err)
		}
		if got := fs.Running(); got != want {
			t.Errorf("%q: %d running, want %d", text, got, want)
		}
	}
	fs, err := New("/proc")
	if err != nil {
		t.Fatal(err)
	}
	if got := fs.Running(); got < 1 {
		t.Errorf("%d running on this host, of which this thread is one", got)
	}
}
