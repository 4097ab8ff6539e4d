//go:build linux

package lab

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Kernel is the release of the kernel, "" when it does not tell.
func Kernel() string {
	name := unix.Utsname{}
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// ProcField is a number in a file of lines that begin with a name: the one at this place of the line. It is -1 when it is not
// there.
func ProcField(file, line string, place int) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return -1
	}
	for l := range strings.Lines(string(b)) {
		fields := strings.Fields(l)
		if len(fields) > place && fields[0] == line {
			if n, err := strconv.ParseInt(fields[place], 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// FirstLine is the first line of what a program said.
func FirstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
