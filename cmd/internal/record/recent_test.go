package record

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The last samples are the same whether all are read or what follows a key.
func TestRecent(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		b, _ := recording(t, Options{Zstd: compressed}, 40, true)
		path := filepath.Join(t.TempDir(), "recording")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 2, 7, 40, 41} {
			file, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			stream, err := NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			got, err := file.Recent(n)
			if err != nil {
				t.Fatal(err)
			}
			want, err := stream.Recent(n)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != min(n, 40) || len(want) != len(got) {
				t.Fatalf("%d of %d samples: %d in a file, %d in a stream", n, 40, len(got), len(want))
			}
			for i := range got {
				if !got[i].Snapshot.At.Equal(want[i].Snapshot.At) {
					t.Errorf("%d of %d: of %s in a file, of %s in a stream", i, n, got[i].Snapshot.At, want[i].Snapshot.At)
				}
			}
		}
	}
}
