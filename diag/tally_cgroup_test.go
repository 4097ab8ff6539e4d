package diag

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

var (
	containerA = strings.Repeat("3f2a9c1b", 8)
	containerB = strings.Repeat("0d4e5f60", 8)
)

// cgroupsByID are two containers, of which one has two cgroups, two units, of which one has two, the root and one that has ended.
func cgroupsByID() (known map[uint64]Cgroup, byCgroup, byContainer map[uint64]string) {
	known, byCgroup, byContainer = map[uint64]Cgroup{}, map[uint64]string{0: "not told", 8: "cgroup 8"}, map[uint64]string{0: "not told", 8: "cgroup 8"}
	add := func(id uint64, path, name, key string) {
		c := Cgroup{ID: id, Path: path, Place: procfd.ParseCgroup(path)}
		if c.Place.Container != nil {
			c.Place.Container.Name = name
		}
		known[id], byCgroup[id], byContainer[id] = c, path, key
	}
	add(1, "/", "", "host")
	add(2, "/system.slice/docker-"+containerA+".scope", "web", "docker web (3f2a9c1b3f2a)")
	add(3, "/system.slice/docker-"+containerA+".scope/init", "web", "docker web (3f2a9c1b3f2a)")
	add(4, "/kubepods/pod045b1e35-7f13-11e7-ac42-0050568ffca0/"+containerB, "", "container 0d4e5f600d4e, pod 045b1e35-7f13-11e7-ac42-0050568ffca0")
	add(5, "/system.slice/nginx.service", "", "nginx.service")
	add(6, "/system.slice/nginx.service/worker", "", "nginx.service")
	add(7, "/user.slice/user-7.slice/user@7.service/app.slice/nginx.service", "", "nginx.service of user 7")
	add(1<<40, "/x", "", "host")
	return known, byCgroup, byContainer
}

// TestTallyByCgroup: sockets count as they would with the name of the group in each of them.
func TestTallyByCgroup(t *testing.T) {
	known, byCgroup, byContainer := cgroupsByID()
	ids := []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 1 << 40}
	r := rand.New(rand.NewPCG(1, 2))
	for by, keys := range map[GroupBy]map[uint64]string{ByCgroup: byCgroup, ByContainer: byContainer} {
		tallies := [2]*Tally{{By: by, Idle: true}, {By: by, Idle: true}}
		want, untold := map[string]*Group{}, 0
		for range 5000 {
			s := randomSocket(r)
			s.CgroupID = ids[r.IntN(len(ids))]
			tallies[r.IntN(2)].Add(s)
			key := keys[s.CgroupID]
			if s.CgroupID == 0 && (s.Timer == netlinkss.TimerTimeWait || s.State == netlinkss.TimeWait || s.State == netlinkss.SynRecv) {
				key = "no cgroup"
			} else if s.CgroupID == 0 {
				untold++
			}
			naive(want, key, s)
		}
		m := tallies[0]
		m.Merge(tallies[1])
		seen := map[uint64]bool{0: true}
		if n, err := m.Cgroups(func(id uint64) { seen[id] = true }); err != nil || n != untold || len(seen) != len(ids) {
			t.Errorf("%s: %d untold, want %d; %v, %v", by, n, untold, seen, err)
		}
		m.NameCgroups(known)
		groups := allGroups(t, m, "sockets")
		for _, g := range groups {
			key := m.Key(&g)
			g.key = groupKey{}
			if w := want[key]; w == nil || fmt.Sprint(g) != fmt.Sprint(*w) {
				t.Errorf("%s: %s\n%+v\nwant\n%+v", by, key, g, w)
			}
		}
		if len(groups) != len(want) {
			t.Errorf("%s: %d groups, want %d", by, len(groups), len(want))
		}
	}
}

// TestTallyCgroupAllocates: what is counted costs no allocation a socket.
func TestTallyCgroupAllocates(t *testing.T) {
	tally := &Tally{By: ByContainer}
	s := &netlinkss.Socket{State: netlinkss.Estab, CgroupID: 5}
	tally.Add(s)
	if n := testing.AllocsPerRun(100, func() { tally.Add(s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestContainerText(t *testing.T) {
	named := procfd.ParseCgroup("/kubepods/pod045b1e35-7f13-11e7-ac42-0050568ffca0/crio-" + containerA)
	named.Container.Name, named.Container.PodName, named.Container.PodSpace = "app", "web-7d9", "shop"
	unnamed := named
	c := *named.Container
	c.Name = ""
	unnamed.Container = &c
	tests := []struct {
		place           procfd.Place
		container, unit string
	}{
		{named, "cri-o shop/web-7d9/app (3f2a9c1b3f2a)", ""},
		{unnamed, "cri-o shop/web-7d9 (3f2a9c1b3f2a)", ""},
		{procfd.ParseCgroup("/docker/" + containerA + "/docker/" + containerB), "docker 0d4e5f600d4e, in another container", ""},
		{procfd.ParseCgroup("/system.slice/docker-" + containerA + ".scope"), "docker 3f2a9c1b3f2a", ""},
		{procfd.ParseCgroup("/system.slice/web.service/libpod-payload-" + containerA), "podman 3f2a9c1b3f2a", "web.service"},
		{procfd.ParseCgroup("/lxc.payload.web"), "lxc web", ""},
		{procfd.ParseCgroup("/kubepods/pod045b1e35-7f13-11e7-ac42-0050568ffca0"), "pod 045b1e35-7f13-11e7-ac42-0050568ffca0", ""},
		{procfd.ParseCgroup("/"), "", ""},
	}
	for _, test := range tests {
		if container, unit := ContainerText(&test.place), UnitText(&test.place); container != test.container || unit != test.unit {
			t.Errorf("%q, %q; want %q, %q", container, unit, test.container, test.unit)
		}
	}
}
