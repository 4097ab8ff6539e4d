package procfd

import "golang.org/x/sys/unix"

// These are calls that younger architectures do not have.
var (
	oldPolls   = [...]uint64{unix.SYS_POLL}
	oldSelects = [...]uint64{unix.SYS_SELECT}
)
