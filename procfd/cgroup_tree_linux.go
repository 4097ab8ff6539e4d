package procfd

import (
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

const mostCgroups = 1 << 17

// WalkCgroups hands over every cgroup of the unified hierarchy that is mounted below root: its id, as sock_diag tells it of a socket,
// and its path from the mount on. "/" is what is mounted: where its id is not [RootCgroup], all is below one that is not told. Those
// that come and go meanwhile may be missed. Beside: it is mounted beside the hierarchies of old, which may be all that a runtime uses.
// The error is [ErrNoCgroups], [ErrManyCgroups] or that of the system.
func WalkCgroups(root string, visit func(id uint64, path string)) (beside bool, err error) {
	top, beside, err := openCgroups(root)
	if err != nil {
		return false, err
	}
	defer top.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(top.Fd()), &st); err != nil {
		return beside, fmt.Errorf("stat cgroups: %w", err)
	}
	visit(st.Ino, "/")
	w := &cgroupWalk{top: int(top.Fd()), dev: st.Dev, visit: visit, todo: []string{"."}}
	for len(w.todo) > 0 {
		dir := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		if err := w.children(dir); err != nil {
			return beside, err
		}
	}
	return beside, nil
}

// openCgroups finds the mount.
func openCgroups(root string) (top *os.File, beside bool, err error) {
	for i, name := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
		at, err := openBelow(root, name, unix.O_DIRECTORY)
		if err != nil {
			continue
		}
		var fs unix.Statfs_t
		if unix.Fstatfs(at, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			f := reopen(at, unix.S_IFDIR, anyOwner)
			unix.Close(at)
			if f != nil {
				return f, i > 0, nil
			}
			continue
		}
		unix.Close(at)
	}
	return nil, false, ErrNoCgroups
}

// cgroupWalk is a walk; what is mounted over a cgroup is not entered.
type cgroupWalk struct {
	top   int
	dev   uint64
	seen  int
	visit func(id uint64, path string)
	todo  []string
}

// children visits those of one directory. One that has ended, or may not be read, has none.
func (w *cgroupWalk) children(dir string) error {
	fd, err := unix.Openat(w.top, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	entries, _ := f.ReadDir(-1)
	for _, e := range entries {
		var st unix.Stat_t
		if !e.IsDir() || unix.Fstatat(fd, e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Dev != w.dev {
			continue
		}
		if w.seen++; w.seen > mostCgroups {
			return ErrManyCgroups
		}
		name := path.Join(dir, e.Name())
		w.visit(st.Ino, "/"+name)
		if st.Nlink > 2 { // there are some below
			w.todo = append(w.todo, name)
		}
	}
	return nil
}
