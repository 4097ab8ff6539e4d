//go:build !linux

package screen

import (
	"context"
	"errors"
	"os"
)

// run is for where there is something to look at.
func run(context.Context, *os.File, *os.File, Options, Sample) error {
	return errors.New("a screen of what changes works on Linux only")
}
