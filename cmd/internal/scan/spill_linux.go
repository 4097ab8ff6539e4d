package scan

import (
	"os"

	"golang.org/x/sys/unix"
)

// removesOpen: the name of an open file can be taken away.
const removesOpen = true

// unnamed makes a file that only its descriptor leads to. Not every filesystem can do it at once.
func unnamed(dir string) (*os.File, error) {
	if f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600); err == nil {
		return f, nil
	}
	return named(dir)
}
