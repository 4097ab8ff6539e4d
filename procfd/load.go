package procfd

import (
	"fmt"
	"strings"
)

// Running is how many threads of the host run or wait for a processor in this moment, the caller's own among them: the fourth
// field of /proc/loadavg. -1 when it cannot be read.
func (f *FS) Running() int {
	return parseRunning(f.line("loadavg"))
}

func parseRunning(line string) int {
	fields := strings.Fields(line)
	running, all := -1, 0
	if len(fields) < 4 {
		return -1
	}
	if n, _ := fmt.Sscanf(fields[3], "%d/%d", &running, &all); n != 2 || running < 0 {
		return -1
	}
	return running
}
