package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// createFile makes a file for its user alone, where there is none. It goes through no link: O_EXCL follows none.
func createFile(name string) (*os.File, error) {
	if err := straight(name); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(name); err == nil {
		return nil, replaceable(name, info, false)
	}
	return makeFile(name)
}

// straight is an error where the way to a file's directory leads through a link that may have been put there for this user to follow.
func straight(name string) error {
	if link := plantedLink(name); link != "" {
		return hint(usage("%q leads through the link %q, another user's, in a directory that everybody writes to", name, link), "give a directory of your own")
	}
	return nil
}

func makeFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, existsError(name)
	}
	if err != nil {
		return nil, hint(fmt.Errorf("make %q: %w", name, errors.Unwrap(err)), "its directory has to be there, and writable")
	}
	return f, nil
}

// replaceFile is createFile, and puts one that exists aside, by the name of aside, "" when there was none. It keeps its content for whoever
// has it open, or has another name of it.
func replaceFile(name string) (f *os.File, aside string, err error) {
	if err := straight(name); err != nil {
		return nil, "", err
	}
	info, err := os.Lstat(name)
	if err == nil {
		if err := replaceable(name, info, true); err != nil {
			return nil, "", err
		}
		aside = fmt.Sprintf("%s.%d.old", name, os.Getpid())
		if _, err := os.Lstat(aside); err == nil {
			return nil, "", existsError(aside)
		}
		if err := os.Rename(name, aside); err != nil {
			return nil, "", fmt.Errorf("replace %q: %w", name, errors.Unwrap(err))
		}
	}
	if f, err = makeFile(name); err != nil {
		putBack(name, aside)
		return nil, "", err
	}
	return f, aside, nil
}

// putBack gives a file that was put aside its name again, unless another has that by now.
func putBack(name, aside string) {
	if aside == "" {
		return
	}
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		_ = os.Rename(aside, name)
	}
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
