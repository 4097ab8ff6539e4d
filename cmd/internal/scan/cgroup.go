package scan

import (
	"errors"
	"fmt"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// nameCgroups finds out what the cgroups are that were counted, and says what is not known of them.
func (c *Count) nameCgroups(t *diag.Tally) ([]diag.Gap, error) {
	known := map[uint64]diag.Cgroup{}
	untold, err := t.Cgroups(func(id uint64) { known[id] = diag.Cgroup{ID: id, Place: procfd.Place{User: -1}} })
	if err != nil {
		return nil, fmt.Errorf("read groups back: %w", err)
	}
	var gaps []diag.Gap
	if untold > 0 {
		gaps = append(gaps, diag.Gap{
			What: "cgroups of sockets", Count: untold,
			Why: "the list came without them: sock_diag of Linux 5.7 and later has them, /proc/net/tcp and text have not",
		})
	}
	if len(known) == 0 {
		return gaps, nil
	}
	if c.Source.From != "" {
		return append(gaps, diag.Gap{What: "names of cgroups", Count: len(known), Minor: true, Why: "a file has their ids alone"}), nil
	}
	names := &cgroupNames{known: known, runtimes: c.Source.containers(), containers: c.By == diag.ByContainer}
	names.runtimes.Refresh()
	root := c.Source.FS.HostRoot()
	err = names.walk(root)
	if errors.Is(err, procfd.ErrNoCgroups) && root != "/" { // an id is the same for all, whatever they have mounted
		err = names.walk("/")
	}
	t.NameCgroups(known)
	return append(gaps, names.gaps(err)...), nil
}

// cgroupNames looks up the cgroups that are wanted.
type cgroupNames struct {
	known      map[uint64]diag.Cgroup
	runtimes   *procfd.Runtimes
	containers bool
	top        uint64 // the id of what is mounted
	beside     bool   // as [procfd.WalkCgroups] has it
}

func (n *cgroupNames) walk(root string) (err error) {
	n.beside, err = procfd.WalkCgroups(root, func(id uint64, path string) {
		if path == "/" {
			n.top = id
		}
		if c, ok := n.known[id]; ok {
			c.Path, c.Place = path, procfd.ParseCgroup(path)
			n.runtimes.Name(&c.Place)
			n.known[id] = c
		}
	})
	// What is in no cgroup of the unified hierarchy may be in one of another; and what is mounted may be a container's own.
	if c, ok := n.known[n.top]; ok && n.containers && (n.beside || n.top != procfd.RootCgroup) {
		n.known[n.top] = diag.Cgroup{ID: c.ID, Place: procfd.Place{User: -1}}
	}
	return err
}

// gaps says why some have no name.
func (n *cgroupNames) gaps(err error) []diag.Gap {
	unnamed := 0
	for _, c := range n.known {
		if c.Path == "" {
			unnamed++
		}
	}
	if unnamed == 0 {
		return nil
	}
	gap := diag.Gap{What: "names of cgroups", Count: unnamed, Minor: true}
	_, top := n.known[n.top]
	switch {
	case err != nil:
		gap.Why = err.Error() + ": ids are of the unified hierarchy (cgroup v2), of this host"
	case n.beside && top && n.containers:
		gap.Why = "the unified hierarchy is mounted beside those of old, and a runtime may use these alone: who is in its root may be in a container; --by process tells"
	case n.top != procfd.RootCgroup:
		gap.Why = "only those below the reader's own cgroup namespace can be seen: --cgroupns=host, or the host's /sys/fs/cgroup beside --proc-root"
	default:
		gap.Why = "they have ended: a socket outlives the cgroup in which it was made"
	}
	return []diag.Gap{gap}
}
