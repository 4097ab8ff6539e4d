//go:build linux && !amd64

package inject

import "golang.org/x/sys/unix"

const sysFstatat = unix.SYS_FSTATAT
