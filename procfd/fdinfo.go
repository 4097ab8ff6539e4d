package procfd

// FDInfo is what the kernel says of a descriptor itself.
type FDInfo struct {
	CloseOnExec bool
	NonBlock    bool
	// SCMFDs is how many descriptors are on their way in the queue of a unix socket, open and in no table; -1: not
	// told, as by Linux 6.1, and of anything else.
	SCMFDs int
	// UringFiles is how many files are registered with a ring, which keeps them open without a descriptor; -1: not
	// told, as of anything else, and of a ring that was busy. UringSockets are the inodes of the sockets among them;
	// older kernels do not name them.
	UringFiles   int
	UringSockets []uint64
}
