//go:build !linux

package scan

import (
	"os"
	"runtime"
)

// removesOpen: the name of an open file can be taken away.
const removesOpen = runtime.GOOS != "windows"

// unnamed makes a file that only its descriptor leads to.
func unnamed(dir string) (*os.File, error) { return named(dir) }
