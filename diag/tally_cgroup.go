package diag

import (
	"strconv"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// A dump tells the id of the cgroup in which a socket was made. What that is called is known once the cgroups were read: sockets are
// counted by id, and the groups are named, and put together to containers, afterwards.

// Cgroup is what an id stands for.
type Cgroup struct {
	ID    uint64
	Path  string // "" when it is not known: it has ended, or cannot be seen
	Place procfd.Place
}

// Keys of sockets without one. A record of a connection that is over, or not yet there, has none; of others it was not told.
var (
	noCgroupKey     = groupKey{hi: 1}
	untoldCgroupKey = groupKey{hi: 1, lo: 1}
)

func (b GroupBy) byCgroups() bool { return b == ByCgroup || b == ByContainer }

func cgroupKey(s *netlinkss.Socket) groupKey {
	switch {
	case s.CgroupID != 0:
		return groupKey{lo: s.CgroupID}
	case s.Timer == netlinkss.TimerTimeWait || s.State == netlinkss.TimeWait || s.State == netlinkss.SynRecv:
		return noCgroupKey
	}
	return untoldCgroupKey
}

// Cgroups hands over the id of each cgroup that was counted, and how many sockets came without one that should have one. It is for
// [ByCgroup] and [ByContainer], after the last Add and Merge. The error is that of [Tally.Groups].
func (t *Tally) Cgroups(visit func(id uint64)) (untold int, err error) {
	err = t.eachKey(func(s *sum) {
		switch s.key {
		case noCgroupKey:
		case untoldCgroupKey:
			untold += s.Sockets
		default:
			visit(s.key.lo)
		}
	})
	return untold, err
}

// NameCgroups takes what the ids are. It comes before [Tally.Groups].
func (t *Tally) NameCgroups(known map[uint64]Cgroup) { t.cgroups = known }

// Cgroup is the cgroup of a group by it, or the first one of a group by container; ok is false for sockets without one.
func (t *Tally) Cgroup(g *Group) (c Cgroup, ok bool) {
	if !t.By.byCgroups() || g.key.hi != 0 {
		return c, false
	}
	c, ok = t.cgroups[g.key.lo]
	if !ok {
		c = Cgroup{ID: g.key.lo, Place: procfd.Place{User: -1}}
	}
	return c, true
}

// cgroupName names a group by cgroup or by container.
func (t *Tally) cgroupName(g *Group) string {
	c, ok := t.Cgroup(g)
	switch {
	case g.key == noCgroupKey:
		return "no cgroup"
	case !ok:
		return "not told"
	case c.Path == "":
		return "cgroup " + strconv.FormatUint(c.ID, 10)
	case t.By == ByCgroup:
		return c.Path
	}
	for _, text := range []string{ContainerText(&c.Place), UnitText(&c.Place)} {
		if text != "" {
			return text
		}
	}
	return "host"
}

// together is what cgroups share that are one group by container.
type together struct {
	runtime, id, pod, unit string
	user                   int
	unknown                uint64
}

func (c Cgroup) together() together {
	p := c.Place
	switch {
	case c.Path == "":
		return together{unknown: c.ID}
	case p.Container != nil:
		return together{runtime: p.Container.Runtime, id: p.Container.ID, pod: p.Pod}
	case p.Pod != "":
		return together{pod: p.Pod}
	}
	return together{unit: p.Unit, user: p.User}
}

// eachContainer puts the groups of cgroups together; each has the key of the first of them.
func (t *Tally) eachContainer(yield func(s *sum)) error {
	groups := map[together]*sum{}
	var order []*sum
	var bare []sum
	err := t.eachKey(func(s *sum) {
		c, ok := t.Cgroup(&s.Group)
		if !ok {
			bare = append(bare, *s)
			return
		}
		if known := groups[c.together()]; known != nil {
			known.join(s)
			return
		}
		first := *s
		groups[c.together()] = &first
		order = append(order, &first)
	})
	if err != nil {
		return err
	}
	for _, s := range order {
		yield(s)
	}
	for i := range bare {
		yield(&bare[i])
	}
	return nil
}

// join adds another group's sums.
func (s *sum) join(o *sum) {
	s.Sockets += o.Sockets
	s.Estab += o.Estab
	s.EstabTimer += o.EstabTimer
	s.EstabNoTimer += o.EstabNoTimer
	s.CloseWait += o.CloseWait
	s.RecvQ += o.RecvQ
	s.SendQ += o.SendQ
	s.idle = max(s.idle, o.idle)
}
