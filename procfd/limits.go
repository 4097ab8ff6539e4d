package procfd

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Limits are how many descriptors the reader may have open, soft and hard; [NoLimit] without one.
func (f *FS) Limits() (soft, hard uint64, err error) {
	err = f.ownFile("limits", func(b []byte) error {
		soft, hard, err = parseLimits(b)
		return err
	})
	return soft, hard, err
}

// parseLimits reads the line "Max open files  1024  1048576  files" of /proc/PID/limits: the soft limit and the hard one.
func parseLimits(b []byte) (soft, hard uint64, err error) {
	values := bytes.Fields(lineAfter(b, "Max open files "))
	if len(values) != 3 {
		return 0, 0, errors.New("limits: no line of open files")
	}
	if soft, err = parseLimit(values[0]); err != nil {
		return 0, 0, err
	}
	if hard, err = parseLimit(values[1]); err != nil {
		return 0, 0, err
	}
	return soft, hard, nil
}

func parseLimit(value []byte) (uint64, error) {
	if string(value) == "unlimited" {
		return NoLimit, nil
	}
	n, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("limits: %w", err)
	}
	return n, nil
}
