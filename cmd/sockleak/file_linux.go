package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// planted reports whether an existing file may have been put there for this user to write to: it is another's, in a directory that
// several users write to and where each keeps his own (/tmp), and that is not its owner's. It is what the kernel's
// fs.protected_regular refuses to open, whatever that is set to.
func planted(name string, info fs.FileInfo) bool {
	file, ok := info.Sys().(*syscall.Stat_t)
	dir, err := os.Stat(filepath.Dir(name))
	if err != nil || !ok || dir.Mode()&os.ModeSticky == 0 || dir.Mode().Perm()&0o022 == 0 {
		return false
	}
	owner, ok := dir.Sys().(*syscall.Stat_t)
	return ok && file.Uid != uint32(os.Geteuid()) && file.Uid != owner.Uid
}

// unlink takes a file's name away, and never a directory's.
func unlink(name string) error { return syscall.Unlink(name) }
