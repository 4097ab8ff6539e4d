//go:build !linux

package scan

import "os"

// inodeOf is not asked for: there are no namespaces.
func inodeOf(os.FileInfo) uint64 { return 0 }
