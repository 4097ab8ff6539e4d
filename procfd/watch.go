package procfd

// Watch is whether a process will be told when something happens on a descriptor.
type Watch uint8

// What can be told of that.
const (
	WatchUnknown Watch = iota
	Watched            // in an epoll set, or a thread sleeps on it
	Abandoned          // in no epoll set, and no thread sleeps on it
)

// String is unknown, watched or abandoned.
func (w Watch) String() string { return [...]string{"unknown", "watched", "abandoned"}[w%3] }
