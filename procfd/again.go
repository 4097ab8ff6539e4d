package procfd

import "slices"

// ReadDescriptorsAgain is [FS.ReadDescriptors] of a process that was read before, at a quarter of the cost: a descriptor that
// was open on a socket at that time, is still listed, and whose socket lives, is taken to be open on that socket yet, without asking for
// its link, which is most of the work. living tells of an inode whether a socket has it that had it then.
//
// It can be wrong where the process has closed a descriptor of a socket that another process holds as well, and opened the
// same number on something else: so every few times all are to be read in full.
func (f *FS) ReadDescriptorsAgain(p, before *Process, living func(inode uint64) bool) error {
	if before.PID != p.PID || before.Start != p.Start || before.FDTask != p.PID {
		return f.ReadDescriptors(p, nil)
	}
	p.Sockets = before.Sockets // about as many as there will be
	return f.readDescriptors(p, nil, knownFDs(before.Sockets, living))
}

// knownFDs tells of descriptors, in rising order, which socket they are taken to be open on; 0: it is to be asked.
func knownFDs(sockets []SocketFD, living func(inode uint64) bool) func(fd int) uint64 {
	own, _ := slices.BinarySearchFunc(sockets, 1, func(s SocketFD, task int) int { return s.Task - task })
	sockets = sockets[:own] // of the process's own table, in the order of the descriptors
	return func(fd int) uint64 {
		for len(sockets) > 0 && sockets[0].FD < fd {
			sockets = sockets[1:]
		}
		if len(sockets) == 0 || sockets[0].FD != fd || !living(sockets[0].Inode) {
			return 0
		}
		return sockets[0].Inode
	}
}
