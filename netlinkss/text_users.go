package netlinkss

import "bytes"

// usersWord is the beginning of ss's list of holders.
var usersWord = []byte("users:((")

// appendUsers reads ss's list of holders, users:(("name",pid=1,fd=2),("name",pid=3,fd=4)), and returns what follows it. A process has
// chosen its name, which may hold anything but ")": a holder ends at the first ")" behind its numbers, and its name at the last quote
// before them. ok is false where the list has no end in this line.
func appendUsers(users []User, b []byte) (list []User, rest []byte, ok bool) {
	b = b[len(usersWord)-1:]
	for {
		u, n := parseUser(b, users)
		if n == 0 {
			return users[:0], nil, false
		}
		users, b = append(users, u), b[n:]
		switch {
		case bytes.HasPrefix(b, []byte(",(")):
			b = b[1:]
		case len(b) > 0 && b[0] == ')':
			return users, b[1:], true
		default:
			return users[:0], nil, false
		}
	}
}

// parseUser reads ("name",pid=1,fd=2) off the front of b; n is its length, 0 for what is none.
func parseUser(b []byte, before []User) (u User, n int) {
	if !bytes.HasPrefix(b, []byte("(\"")) {
		return u, 0
	}
	for end := 2; ; end++ {
		next := bytes.IndexByte(b[end:], ')')
		if next < 0 {
			return u, 0
		}
		end += next
		name, pid, fd, ok := cutUser(b[2:end])
		if !ok || !endsUser(b[end+1:]) {
			continue
		}
		return User{Name: nameString(name, before), PID: pid, FD: fd}, end + 1
	}
}

// endsUser: what may follow a holder.
func endsUser(b []byte) bool {
	if bytes.HasPrefix(b, []byte(",(\"")) {
		return true
	}
	return len(b) > 0 && b[0] == ')' && (len(b) == 1 || isBlank(b[1]))
}

// cutUser splits name",pid=1,fd=2, with what -T and -Z put between and behind, or the name",1,2 of old versions.
func cutUser(b []byte) (name []byte, pid, fd int, ok bool) {
	quote := bytes.LastIndex(b, []byte("\",pid="))
	if quote >= 0 {
		var digits, rest []byte
		digits, rest, _ = bytes.Cut(b[quote+len("\",pid="):], []byte(","))
		if at := bytes.LastIndex(rest, []byte("fd=")); at < 0 {
			return nil, 0, 0, false
		} else if rest = rest[at+len("fd="):]; bytes.IndexByte(rest, ',') >= 0 {
			rest, _, _ = bytes.Cut(rest, []byte(","))
		}
		return cutNumbers(b[:quote], digits, rest)
	}
	if quote = bytes.LastIndex(b, []byte("\",")); quote < 0 {
		return nil, 0, 0, false
	}
	digits, rest, _ := bytes.Cut(b[quote+len("\","):], []byte(","))
	return cutNumbers(b[:quote], digits, rest)
}

func cutNumbers(name, pid, fd []byte) ([]byte, int, int, bool) {
	p, ok := number(pid, 1<<31-1)
	f, also := number(fd, 1<<31-1)
	return name, int(p), int(f), ok && also
}

// nameString is a name as a string; the one before is often the same.
func nameString(b []byte, before []User) string {
	if n := cap(before); n > 0 {
		if last := before[:n][max(len(before)-1, 0)].Name; last == string(b) {
			return last
		}
	}
	return string(b)
}
