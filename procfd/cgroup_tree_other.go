//go:build !linux

package procfd

// WalkCgroups needs Linux.
func WalkCgroups(string, func(id uint64, path string)) (beside bool, err error) {
	return false, ErrNoCgroups
}
