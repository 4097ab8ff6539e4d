package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// createFile makes a file for its user alone. It writes over one that exists only with force, and through no link: O_EXCL follows none.
func createFile(name string, force bool) (*os.File, error) {
	info, err := os.Lstat(name)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, hint(usage("%q is no file", name), "give the name of a file that is to be made")
	case err == nil && !force:
		return nil, existsError(name)
	case err == nil:
		if err := os.Remove(name); err != nil {
			return nil, err
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
