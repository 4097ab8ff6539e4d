//go:build !linux

package scan

import (
	"errors"

	"github.com/sockleak/sockleak/procfd"
)

var errNoIterators = errors.New("BPF iterators are Linux's")

func openIterators(*procfd.FS) (iterators, error) { return nil, errNoIterators }

func openOwners(*procfd.FS) (inodesOf, error) { return nil, errNoIterators }

// TryIterators is refused.
func TryIterators(*procfd.FS) error { return errNoIterators }
