package procfd

import "errors"

// ErrNoCgroups: there is no unified hierarchy of cgroups where it is looked for.
var ErrNoCgroups = errors.New("no cgroup2 filesystem is mounted on /sys/fs/cgroup")

// ErrManyCgroups: there are more than are read.
var ErrManyCgroups = errors.New("there are more than 131,072 cgroups")

// RootCgroup is the id of the first of all cgroups.
const RootCgroup = 1
