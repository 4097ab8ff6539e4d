package procfd

import (
	"path"
	"strings"
)

// Unit is what runs a process, from the last part of its cgroup: nginx.service, say. "" where that is not told.
func (f *FS) Unit(pid int) string {
	proc, err := f.proc.Proc(pid)
	if err != nil {
		return ""
	}
	group := cgroupPath(proc)
	if group == "" || group == "/" {
		return ""
	}
	return strings.TrimSuffix(path.Base(group), ".scope")
}
