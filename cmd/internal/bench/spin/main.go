//go:build linux

// Command spin keeps one processor busy until its stdin ends.
package main

import (
	"io"
	"os"
)

func main() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for turns := 0; ; turns++ {
		_ = turns
	}
}
