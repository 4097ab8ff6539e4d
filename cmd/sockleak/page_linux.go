package main

import (
	"errors"

	"golang.org/x/sys/unix"
)

// writable is an error for a directory in which no file can be made.
func writable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

// renameNew gives a file a name that none has yet.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a filesystem or a kernel that cannot
		return linkNew(from, to)
	}
	return err
}
