package scan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// containers names the containers of the host whose processes are read.
func (s *Source) containers() *procfd.Runtimes {
	if s.runtimes == nil {
		s.runtimes = procfd.NewRuntimes(s.FS.HostRoot())
	}
	return s.runtimes
}

// nameContainers names those of the processes that are in one.
func (s *Source) nameContainers(byNetns map[uint64][]*procfd.Process) {
	s.containers().Refresh()
	for _, procs := range byNetns {
		for _, p := range procs {
			s.containers().Name(&p.Place)
		}
	}
}

// ByCgroup finds the processes in what the patterns name, as [InCgroup] takes them.
func (s *Scan) ByCgroup(patterns []string) error {
	pids, err := s.Source.FS.PIDs()
	if err != nil {
		return err
	}
	self, runtimes := selfPID(s.Source.FS), s.Source.containers()
	pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == self })
	paths, places := make([]string, len(pids)), make([]procfd.Place, len(pids))
	beside(len(pids), func(i int) {
		paths[i], places[i] = s.Source.FS.Place(pids[i])
		runtimes.Name(&places[i])
	})
	s.sought = true
	before := len(s.PIDs)
	for i, pid := range pids {
		if slices.ContainsFunc(patterns, func(p string) bool { return InCgroup(p, paths[i], &places[i]) }) {
			s.PIDs = append(s.PIDs, pid)
		}
	}
	if len(s.PIDs) == before {
		return hint.Add(fmt.Errorf("no process is in a cgroup, container, pod or unit that matches %q", strings.Join(patterns, ", ")), "%s", s.unmatched(diag.Gap{}, someOf(places)))
	}
	return nil
}

// someOf lists some of what there is to be named.
func someOf(places []procfd.Place) string {
	const most = 8
	var list []string
	for i := range places {
		name := cmp.Or(diag.ContainerText(&places[i]), diag.UnitText(&places[i]))
		if name != "" && !slices.Contains(list, name) {
			list = append(list, name)
		}
		if len(list) > most {
			break
		}
	}
	switch {
	case len(list) == 0:
		return "no process that can be seen is in a container or a unit; a pattern that begins with / is of the cgroup's path"
	case len(list) > most:
		list[most] = "…"
	}
	return "there are " + strings.Join(list, ", ")
}

// hostNetns is the network namespace that stands for the host: the reader's own, or that of the first process of another proc filesystem;
// then there is no path to it when both are the same.
func (s *Source) hostNetns() Place {
	if s.From != "" || !s.FS.Foreign() {
		return Place{Netns: s.FS.Netns()}
	}
	if s.FS.InNetnsOf(1) {
		return Place{PID: 1}
	}
	inode, _ := s.FS.NetnsOf(1) // 0 is whichever
	return Place{Netns: inode, Path: s.FS.Path(1, "ns", "net"), PID: 1}
}
