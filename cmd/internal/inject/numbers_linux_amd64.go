package inject

import "golang.org/x/sys/unix"

const sysFstatat = unix.SYS_NEWFSTATAT

func init() {
	// What newer systems do by calls with more arguments.
	Numbers["arch_prctl"], Numbers["poll"], Numbers["readlink"], Numbers["access"] = unix.SYS_ARCH_PRCTL, unix.SYS_POLL, unix.SYS_READLINK, unix.SYS_ACCESS
}
