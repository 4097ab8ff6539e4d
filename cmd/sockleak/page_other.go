//go:build !linux

package main

import "os"

// writable is an error for a directory that is not there; what else is wrong with it is told when the file is made.
func writable(dir string) error {
	_, err := os.Stat(dir)
	return err
}

// renameNew gives a file a name that none has yet.
func renameNew(from, to string) error { return linkNew(from, to) }
