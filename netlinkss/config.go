package netlinkss

// Config says where to dial. The zero value is the caller's network namespace.
type Config struct {
	// Netns is a namespace file (/proc/PID/ns/net, /run/netns/NAME). Needs CAP_SYS_ADMIN.
	Netns string
	// Inode is that of the namespace to which the file must lead; 0: whichever.
	Inode uint64
}
