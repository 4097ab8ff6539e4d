package procfd

import "strconv"

// Watch is whether a process will be told of what happens to a socket.
type Watch uint8

// What can be known of it.
const (
	WatchUnknown Watch = iota
	Watched            // it is in an epoll set, or a thread sleeps in a call on it
	Abandoned          // neither is so, and nothing else could tell the process
)

// String is the name in lower case.
func (w Watch) String() string {
	switch w {
	case WatchUnknown:
		return "unknown"
	case Watched:
		return "watched"
	case Abandoned:
		return "abandoned"
	}
	return "unknown(" + strconv.Itoa(int(w)) + ")"
}

// Waits is what a process will be told of, at one moment. A thread that serves one connection at a time is told of
// nothing while it works, so that Abandoned weighs where there is an event loop: where Sets is not 0. Signal-driven
// I/O (O_ASYNC) is not looked for.
type Waits struct {
	Sets int // epoll sets that were read
	// Blind is why nothing may be called abandoned: something was not read, or a thread or a ring waits for sockets
	// that cannot be told. Nil: everything was seen.
	Blind error

	// The sockets that the process held when its descriptors were read, by inode. A socket is one open file, whatever
	// numbers it has and had, and an entry in a set lives as long as that.
	sockets map[uint64]awaited
}

// awaited is how a process waits for a socket.
type awaited struct {
	told   bool
	events uint32 // of all sets
}

// Watched reports whether the process will be told of what happens to a socket.
func (w *Waits) Watched(s SocketFD) Watch {
	known, ok := w.sockets[s.Inode]
	switch {
	case known.told:
		return Watched
	case !ok || w.Blind != nil:
		return WatchUnknown
	}
	return Abandoned
}

// Events are those that the epoll sets ask for of a socket, EPOLL…; 0: it is in none. Errors and hang-ups (0x18) are
// in every set's; a set without EPOLLIN (1) and EPOLLRDHUP (0x2000) is not told that the peer has closed.
func (w *Waits) Events(s SocketFD) uint32 { return w.sockets[s.Inode].events }

// tell notes that somebody waits for an inode, if that is one of the process's sockets.
func (w *Waits) tell(inode uint64, events uint32) {
	if known, ok := w.sockets[inode]; ok {
		w.sockets[inode] = awaited{told: true, events: known.events | events}
	}
}

// blind keeps the first reason.
func (w *Waits) blind(err error) {
	if w.Blind == nil {
		w.Blind = err
	}
}
