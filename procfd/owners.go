package procfd

// Inodes tells the inodes of the sockets on which a process has descriptors, in all of its tables, with most descriptors at the most, 0:
// not known. alone tells that no other process is as large that is still to be read. It may tell some more than once, and from several
// goroutines at a time. With an
// error, what it told before holds.
type Inodes func(pid, most int, alone bool, take func(inode uint64)) error

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
