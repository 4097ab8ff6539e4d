package netlinkss

// recentSize is how far apart two records of one socket are noticed. A walk that goes on in a bucket repeats as many records as sockets
// have come into that bucket since: few, even where a bucket has hundreds.
const recentSize = 1024

// recent are the cookies of the last sockets, each in the place of its low bits: the kernel gives them out by counting, so those of a
// dump take each another place, or nearly so.
type recent [recentSize]uint64

// has reports whether a socket was seen shortly before, and notes it. Without a cookie it cannot be known again.
func (r *recent) has(cookie uint64) bool {
	at := &r[cookie%recentSize]
	if *at == cookie && cookie != 0 {
		return true
	}
	*at = cookie
	return false
}
