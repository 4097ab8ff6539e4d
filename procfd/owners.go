package procfd

// Owner is a process that owns sockets that were wanted.
type Owner struct {
	PID   int
	Start uint64 // as in [Process]
	Name  string // comm, at most 15 bytes, chosen by the process itself
	UID   uint32 // effective
}

// Owned is what [FS.Owners] found.
type Owned struct {
	// Processes are those that own a socket, the one that had the most descriptors first.
	Processes []Owner
	// Missing is how many sockets nobody was seen to hold. Unread are the processes that may: what they hold could not be
	// read, or not in full. When nothing is missing, there are none.
	Missing int
	Unread  []Unread
}

// Unread is a process of which not all descriptors could be read.
type Unread struct {
	PID  int
	Open int // its descriptors, -1: not known
	// Descriptors is how many were seen to be there and not on what, 0 when none could be listed.
	Descriptors int
	Err         error
}
