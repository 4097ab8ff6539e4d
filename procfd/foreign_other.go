//go:build !linux

package procfd

// Foreign needs Linux.
func (f *FS) Foreign() bool { return false }

// InNetnsOf needs Linux.
func (f *FS) InNetnsOf(int) bool { return false }

// OneNetns needs Linux.
func (f *FS) OneNetns() bool { return false }

func hasNoSpaces(string) bool { return false }
