// Package procfd reads processes and what they hold open from a proc filesystem.
//
// A process is read whole by [FS.Process]: its name, limits and memory, and its descriptors counted
// by kind, with the inode of each socket among them. The inode is what joins a descriptor to the
// kernel's list of sockets.
//
//	fs, err := procfd.New("/proc")
//	if err != nil { … }
//	p, err := fs.Process(4242)
//	if err != nil { … }
//	for _, s := range p.Sockets {
//		fmt.Println(s.FD, s.Inode)
//	}
//
// What /proc does not tell about a socket, the socket itself does: [Asker] borrows a descriptor
// through a pidfd, reads options and addresses, and gives it back at once.
//
// Permissions (proc(5), ptrace(2)): listing another user's descriptors needs CAP_DAC_READ_SEARCH,
// reading their links CAP_SYS_PTRACE. What could not be read is in [Process.Gaps], never silent.
package procfd
