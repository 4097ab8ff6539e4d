package procfd

// Holder is one descriptor on a socket.
type Holder struct {
	PID   int
	FD    int
	Task  int // as in [SocketFD]
	Inode uint64
}

// Holders finds the processes that have a descriptor on one of the sockets with these inodes. missing is how
// many of them nobody was seen to hold, denied how many processes could not be read.
func (f *FS) Holders(inodes map[uint64]bool) (pids []int, missing, denied int, err error) {
	all, err := f.PIDs()
	if err != nil {
		return nil, 0, 0, err
	}
	found, refused := f.Search(all, func(inode uint64) bool { return inodes[inode] })
	held := map[uint64]bool{}
	for _, h := range found {
		held[h.Inode] = true
		if len(pids) == 0 || pids[len(pids)-1] != h.PID {
			pids = append(pids, h.PID)
		}
	}
	return pids, len(inodes) - len(held), len(refused), nil
}
