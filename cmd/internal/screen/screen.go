// Package screen is the live screen of leakscan --watch and tcpstat --watch: numbers with their plots, the findings as they appear
// and clear, and the sockets behind each.
//
// It has two halves. The model takes looks and keys and makes lines; it knows no terminal and no clock. [Run] gives it both, and
// gives the terminal back as it was, however it ends.
package screen

import (
	"context"
	"os"
	"time"

	"github.com/sockleak/sockleak/diag"
)

// Frame is one look.
type Frame struct {
	// Result is the diagnosis, nil for a count of a host. It must not change after the look.
	Result *diag.Result
	// Stat is the count of a host. Its memory may be used again by the next look.
	Stat *diag.Stat
	// Series is what was measured so far; nil: no numbers over time. The next look may add to it.
	Series *diag.Series
	Took   time.Duration
}

// Options are what a user wishes, and what the caller can do.
type Options struct {
	Title    string        // what is watched: shown before the first look, and where it is not one process
	Interval time.Duration // between the beginnings of two looks
	Color    bool
	ASCII    bool // the terminal cannot show UTF-8; see [IsASCII]

	// Save writes a look to a file, whose path it returns. It is called between two looks, with the last. nil: there is no key for it.
	Save func(*Frame) (path string, err error)

	// Groupings and Orders are what the groups of a [Frame.Stat] can be grouped and sorted by, and Arrange has the next looks do
	// that: the screen has some of the groups only and cannot. It is called between two looks. nil: there are no keys for it.
	Groupings, Orders []string
	Arrange           func(by, order string)
}

// Sample takes a look. It is never called twice at once. ctx ends with the screen.
type Sample func(ctx context.Context) (*Frame, error)

// Run shows what sample sees, again and again, on the terminal out, until a user quits it or ctx ends; then it waits for the look
// that is under way. Keys are read from in, when that is a terminal. The error is that of a look, or of the terminal: to be told to
// end, by a signal or because the terminal is closed, is none.
func Run(ctx context.Context, in, out *os.File, o Options, sample Sample) error {
	return run(ctx, in, out, o, sample)
}

// IsASCII reports whether the locale that getenv tells of has no UTF-8.
func IsASCII(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := getenv(name); v != "" {
			return !isUTF8(v)
		}
	}
	return true
}
