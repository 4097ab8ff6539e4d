package scan

import (
	"strings"

	"github.com/sockleak/sockleak/procfd"
)

// InCgroup reports whether a process is in what a pattern names: * stands for any text and ? for one byte, and case matters. A pattern
// that begins with "/" is of a cgroup's path, or of one above it. Any other is of a systemd unit, a container's name or ID, a service of
// Docker Compose (PROJECT/SERVICE), or a pod's uid, name, NAMESPACE/NAME or NAMESPACE/NAME/CONTAINER. Four digits of an ID are enough.
func InCgroup(pattern, path string, place *procfd.Place) bool {
	if strings.HasPrefix(pattern, "/") {
		return inPath(pattern, path)
	}
	if place.Unit != "" && glob(pattern, place.Unit) || place.Pod != "" && glob(pattern, place.Pod) {
		return true
	}
	c := place.Container
	if c == nil {
		return false
	}
	const enough = 4
	if len(pattern) >= enough && strings.HasPrefix(c.ID, pattern) {
		return true
	}
	pod := c.PodSpace + "/" + c.PodName
	if c.PodName != "" && (glob(pattern, c.PodName) || glob(pattern, pod) || glob(pattern, pod+"/"+c.Name)) {
		return true
	}
	for _, name := range []string{c.ID, c.Name, c.Service} {
		if name != "" && glob(pattern, name) {
			return true
		}
	}
	return false
}

// inPath: what is below a cgroup is in it.
func inPath(pattern, path string) bool {
	if glob(pattern, path) {
		return true
	}
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' && glob(pattern, path[:i]) {
			return true
		}
	}
	return false
}

// glob matches the whole of s, in time of the product of both lengths at most.
func glob(pattern, s string) bool {
	star, from := -1, 0 // the last star, and where what it stands for ends
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
