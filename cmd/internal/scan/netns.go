package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// AllNetns are all network namespaces, where one is asked for.
const AllNetns = "all"

// Netns is a network namespace with what people call it.
type Netns struct {
	Place
	Label   string
	Members []int // the processes of which a thread lives in it, in the order of their numbers
}

// Netns finds the network namespaces that are meant: [AllNetns], or one by its name, the path of its file, or a process or thread in
// it. What could not be seen of all of them is a gap.
func (s *Source) Netns(ctx context.Context, where string) ([]Netns, []diag.Gap, error) {
	found, err := s.FS.Namespaces(ctx)
	if err != nil {
		return nil, nil, err
	}
	s.containers().Refresh()
	list, own := make([]Netns, len(found.List)), s.FS.Netns()
	for i := range found.List {
		list[i] = s.describe(&found.List[i], own)
	}
	if where == AllNetns {
		return list, s.netnsGaps(found), nil
	}
	one, err := s.oneNetns(list, where)
	if err != nil {
		return nil, nil, err
	}
	return []Netns{*one}, s.netnsGaps(found), nil
}

// Within keeps those of the processes of which a thread lives in one of the namespaces. A process that was named and does not is an error.
func (s *Scan) Within(in []Netns, named []int) error {
	unseen := ""
	for _, gap := range s.Gaps {
		if gap.What == gapNetnsOf {
			unseen = fmt.Sprintf(" that may be seen: of %s it may not be read where they live", processes(gap.Count))
		}
	}
	lives := map[int]bool{}
	for i := range in {
		for _, pid := range in[i].Members {
			lives[pid] = true
		}
	}
	if len(lives) == 0 {
		return hint.Add(fmt.Errorf("no process lives in the network namespace %s%s", in[0].String(), unseen), "sockleak tcpstat --netns counts its sockets")
	}
	for _, pid := range named {
		if !lives[pid] {
			return hint.Add(fmt.Errorf("process %d does not live in the network namespace %s", pid, in[0].String()), "a process is looked at in its own network namespace: leave out --netns")
		}
	}
	found := len(s.PIDs)
	if s.PIDs = slices.DeleteFunc(s.PIDs, func(pid int) bool { return !lives[pid] }); found > 0 && len(s.PIDs) == 0 {
		return hint.Add(fmt.Errorf("none of these processes lives in the network namespace %s", in[0].String()), "without --netns, processes of every network namespace are found")
	}
	return nil
}

// describe names a namespace: as `ip netns` does, or after the host, or else after what runs in it.
func (s *Source) describe(n *procfd.Namespace, own uint64) Netns {
	at := Netns{Place: Place{Netns: n.Inode, Path: n.Path, PID: n.PID}, Members: n.Members}
	if n.Task != n.PID {
		at.PID = n.Task // a thread has the files of a process
	}
	if n.Inode == own {
		at.Path, at.PID = "", 0
	}
	switch {
	case s.hasKernel(n):
		at.Label = "host"
	case n.Name() != "":
		at.Label = n.Name()
	case n.Inode == own:
		at.Label = "this one"
	case n.PID != 0:
		name, _, _ := s.FS.Names(n.PID)
		_, place := s.FS.Place(n.PID)
		s.containers().Name(&place)
		at.Label = cmp.Or(diag.ContainerText(&place), diag.UnitText(&place), fmt.Sprintf("%s[%d]", name, n.PID))
	}
	return at
}

// hasKernel: the threads of the kernel live in the first namespace of the host. The first process may be that of a container.
func (s *Source) hasKernel(n *procfd.Namespace) bool {
	const kthreadd = 2
	if !slices.Contains(n.Members[:min(len(n.Members), kthreadd)], kthreadd) {
		return false
	}
	p, err := s.FS.Identify(kthreadd)
	return err == nil && p.Kernel
}

// gapOneNetns is the gap where [procfd.FS.OneNetns].
var gapOneNetns = diag.Gap{What: "network namespaces", Why: "this kernel does not tell in which one a process is: all are taken to be in the same"}

// gapNetnsOf is of processes that may live in the namespace that is meant.
const gapNetnsOf = "network namespaces of processes"

func (s *Source) netnsGaps(n *procfd.Namespaces) (gaps []diag.Gap) {
	if n.Denied > 0 {
		gaps = append(gaps, diag.Gap{What: gapNetnsOf, Count: n.Denied, Why: "they may not be read, so some may be missing: " + RightsOf(s.FS).Remedy(procfd.SysPtrace, "")})
	}
	if n.Unread > 0 {
		gaps = append(gaps, diag.Gap{What: "network namespaces that are mounted", Why: fmt.Sprintf("the mounts of %s could not be read, or not in full", processes(n.Unread))})
	}
	return gaps
}

// oneNetns finds the one that is meant. Its file need not be among those that were found.
func (s *Source) oneNetns(list []Netns, where string) (*Netns, error) {
	inode, at, err := s.netnsFile(where)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if n := &list[i]; inode != 0 && n.Netns == inode || inode == 0 && n.Label == where {
			return n, nil
		}
	}
	if inode == 0 {
		return nil, hint.Add(fmt.Errorf("no network namespace is called %q", where), "%s", netnsHint(list))
	}
	if err := netlinkss.InNetns(at, func() error { return nil }); errors.Is(err, netlinkss.ErrNotNetns) || errors.Is(err, syscall.EINVAL) {
		return nil, hint.Add(fmt.Errorf("%q is no network namespace", where), "--netns takes a name of `ip netns`, the path of a namespace's file, a process, or %s", AllNetns)
	}
	return &Netns{Place: Place{Netns: inode, Path: at}, Label: where}, nil
}

// netnsFile is the file that is meant by a path, a process or a name of `ip netns`, and its inode. 0: it is none of these.
func (s *Source) netnsFile(where string) (inode uint64, at string, err error) {
	if pid, err := strconv.Atoi(where); err == nil && pid > 0 {
		inode, err := s.FS.NetnsOf(pid)
		if errors.Is(err, fs.ErrPermission) {
			err = hint.Add(err, "to see the network namespace of that process needs CAP_SYS_PTRACE, or root")
		}
		return inode, s.FS.Path(pid, "ns", "net"), goneHint(err)
	}
	files := []string{where}
	if !strings.Contains(where, "/") {
		files = []string{path.Join(s.FS.HostRoot(), "run/netns", where), path.Join(s.FS.HostRoot(), "var/run/netns", where)}
	}
	for _, at = range files {
		info, statErr := os.Stat(at)
		if statErr == nil {
			return inodeOf(info), at, nil
		}
		if !errors.Is(statErr, fs.ErrNotExist) || strings.Contains(where, "/") {
			err = hint.Add(fmt.Errorf("network namespace: %w", statErr), "--netns takes a name of `ip netns`, the path of a namespace's file, a process, or %s", AllNetns)
		}
	}
	return 0, "", err
}

// netnsHint lists some that have names.
func netnsHint(list []Netns) string {
	const some = 8
	var names []string
	for _, n := range list {
		if n.Label != "" && !strings.HasSuffix(n.Label, "]") && !slices.Contains(names, n.Label) {
			names = append(names, n.Label)
		}
	}
	slices.Sort(names)
	if len(names) > some {
		names = append(names[:some], "…")
	}
	if len(names) == 0 {
		return fmt.Sprintf("--netns takes a process in it, the path of its file, or %s; none here has a name", AllNetns)
	}
	return fmt.Sprintf("--netns takes a process in it, the path of its file, %s, or a name; the names here are %s", AllNetns, strings.Join(names, ", "))
}
