package procfd

import "golang.org/x/sys/unix"

// oldPolls are calls that younger architectures do not have.
var oldPolls = [...]uint64{unix.SYS_POLL, unix.SYS_SELECT}
