package scan

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// The file is made when it is needed, for its owner alone, and has no name; also where it must have one first.
func TestSpill(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := &Spill{Detail: func(format string, args ...any) { t.Errorf(format, args...) }}
	if err := s.Close(); err != nil || s.file != nil {
		t.Fatalf("not used: %v, %v", s.file, err)
	}
	if n, err := s.WriteAt([]byte("later"), 5); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.WriteAt([]byte("first"), 0); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	b := make([]byte, 7)
	if n, err := s.ReadAt(b, 2); n != 7 || err != nil || string(b) != "rstlate" {
		t.Errorf("%q, %v", b[:n], err)
	}
	st, err := s.file.Stat()
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if names, err := filepath.Glob(dir + "/*"); err != nil || len(names) > 0 {
		t.Errorf("%q, %v", names, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSpillNamed(t *testing.T) {
	dir := t.TempDir()
	f, err := named(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Mode() != fs.FileMode(0o600) {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// What cannot be written is told once, and nothing more is tried.
func TestSpillFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	t.Setenv("TMPDIR", dir)
	var said []string
	s := &Spill{Detail: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
	for range 3 {
		if n, err := s.WriteAt([]byte("x"), 0); n != 0 || err == nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if len(said) != 1 {
		t.Errorf("said %q", said)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}

	full := &Spill{Detail: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
	f, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	full.file = f
	defer full.Close()
	for range 2 {
		if _, err := full.WriteAt([]byte("x"), 0); err == nil {
			t.Error("/dev/full takes bytes")
		}
	}
	if len(said) != 2 {
		t.Errorf("said %q", said)
	}
}
