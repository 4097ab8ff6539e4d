package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// createFile makes a file for its user alone. It writes over one that exists only with force, and through no link: O_EXCL follows none.
// With force, what was there keeps its content for whoever has it open, or has another name of it.
func createFile(name string, force bool) (*os.File, error) {
	info, err := os.Lstat(name)
	if err == nil {
		if err := replaceable(name, info, force); err != nil {
			return nil, err
		}
		if err := unlink(name); err != nil {
			return nil, fmt.Errorf("replace %q: %w", name, err)
		}
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, existsError(name)
	}
	if err != nil {
		return nil, hint(fmt.Errorf("make %q: %w", name, errors.Unwrap(err)), "its directory has to be there, and writable")
	}
	return f, nil
}

// replaceable is an error for what a new file is not to take the place of.
func replaceable(name string, info fs.FileInfo, force bool) error {
	switch {
	case !info.Mode().IsRegular():
		return hint(usage("%q is no file", name), "give the name of a file that is to be made")
	case !force:
		return existsError(name)
	case planted(name, info):
		return plantedError(name)
	}
	return nil
}

func plantedError(name string) error {
	return hint(usage("%q is another user's, in a directory that everybody writes to", name), "give a name that no file has, or a directory of your own")
}

// removeMade takes a file away again that was made, unless its name leads elsewhere by now. The next one may have its number, but
// that one is no loss: who put it there may put it there again.
func removeMade(name string, made fs.FileInfo) {
	if there, err := os.Lstat(name); err == nil && made != nil && os.SameFile(made, there) {
		_ = unlink(name)
	}
}
