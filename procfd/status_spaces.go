package procfd

import (
	"bytes"
	"strings"
)

// Inodes of the first user and PID namespace of a host, which the kernel has given fixed numbers (include/linux/proc_ns.h).
const (
	firstUserNS = 0xEFFFFFFD
	firstPIDNS  = 0xEFFFFFFC
)

// Confined says which of a host's namespaces the reader is in, other than the first.
type Confined struct {
	// User: it has capabilities over what belongs to its own user namespace alone.
	User bool
	// PID: it has numbers, and sees processes, of its own PID namespace alone, unless the proc filesystem is one of another.
	PID bool
}

// Confined reads the reader's namespaces. What cannot be read is the host's own.
func (f *FS) Confined() Confined {
	user, err1 := nsInode(f.SelfPath()+"/ns/user", "user")
	pid, err2 := nsInode(f.SelfPath()+"/ns/pid", "pid")
	return Confined{User: err1 == nil && user != firstUserNS, PID: err2 == nil && pid != firstPIDNS}
}

// UIDMap is the reader's map of users, "0 1000 1" and the like, lines joined by commas; "" when it cannot be read.
func (f *FS) UIDMap() string {
	text := ""
	_ = f.ownFile("uid_map", func(b []byte) error {
		var lines []string
		for line := range bytes.Lines(b) {
			lines = append(lines, strings.Join(strings.Fields(string(line)), " "))
		}
		text = strings.Join(lines, ", ")
		return nil
	})
	return text
}
