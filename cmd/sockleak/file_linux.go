package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// plantedLink is the first link on the way to the directory of a file that is planted, "": there is none. Links are followed as the kernel
// does, and as far.
func plantedLink(name string) string {
	const most = 40 // MAXSYMLINKS
	way := strings.Split(name, "/")
	links, rest, at := 0, way[:len(way)-1], "."
	if filepath.IsAbs(name) {
		at = "/"
	}
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		if err != nil {
			return "" // there is no such directory, which is told with the file
		}
		if info.Mode()&os.ModeSymlink == 0 {
			at = next
			continue
		}
		if planted(next, info) {
			return next
		}
		to, err := os.Readlink(next)
		if links++; err != nil || links > most {
			return ""
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return ""
}

// unlink takes a file's name away, and never a directory's.
func unlink(name string) error { return syscall.Unlink(name) }
