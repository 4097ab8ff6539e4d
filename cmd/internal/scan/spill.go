package scan

import "os"

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
	err := s.file.Close()
	if !removesOpen {
		_ = os.Remove(s.file.Name())
	}
	return err
}

// named makes a file and takes its name away, where a system lets an open one go; else [Spill.Close] does.
func named(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "sockleak-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil && removesOpen {
		f.Close()
		return nil, err
	}
	return f, nil
}
