package scan

import (
	"os"
	"syscall"
)

// inodeOf is 0 when it is not told.
func inodeOf(st os.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Ino
	}
	return 0
}
