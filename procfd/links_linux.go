package procfd

import "golang.org/x/sys/unix"

// linksOf is how many links a directory has, 0 when that is not told: two, and one for each directory in it.
func linksOf(dir string) int {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0
	}
	return int(st.Nlink)
}
