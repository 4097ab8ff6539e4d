package procfd

import (
	"bytes"
	"strconv"
)

// isProcess reports whether a pidfd is of the process. The filesystem shows its own number for it.
func (f *FS) isProcess(pidfd int, p *Process) bool {
	if f.Native() {
		return true
	}
	b, err := readInto(f.SelfPath()+"/fdinfo/"+strconv.Itoa(pidfd), make([]byte, 1024))
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(lineAfter(b, "Pid:"))))
	return err == nil && pid == p.PID
}
