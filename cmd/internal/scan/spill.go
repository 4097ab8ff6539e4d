package scan

import (
	"os"

	"golang.org/x/sys/unix"
)

// Spill is a [diag.Spill] in a temporary file without a name, which is made when it is first written to.
type Spill struct {
	// Detail is told, once, that nothing can be written, and so groups are kept in memory.
	Detail func(format string, args ...any)

	file *os.File
	err  error
}

// WriteAt writes to the file. After an error, what was written can still be read and nothing more is written.
func (s *Spill) WriteAt(b []byte, off int64) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.file == nil {
		if s.file, s.err = unnamed(os.TempDir()); s.err != nil {
			return 0, s.failed()
		}
	}
	n, err := s.file.WriteAt(b, off)
	if err != nil {
		s.err = err
		return n, s.failed()
	}
	return n, nil
}

func (s *Spill) failed() error {
	s.Detail("groups are kept in memory: %v", s.err)
	return s.err
}

// ReadAt reads what was written.
func (s *Spill) ReadAt(b []byte, off int64) (int, error) { return s.file.ReadAt(b, off) }

// Close gives up the file.
func (s *Spill) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// unnamed makes a file that only its descriptor leads to. Not every filesystem can do it at once.
func unnamed(dir string) (*os.File, error) {
	if f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600); err == nil {
		return f, nil
	}
	return named(dir)
}

func named(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "sockleak-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
