package procfd

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// Place is what a cgroup's path says of who runs in it. Whoever may make cgroups chooses their names, so it is what it says, and not
// proved: inside a container, or below the manager of a user, anything can be called like a container of another.
type Place struct {
	// Unit is the innermost service or scope of systemd, with its escapes undone; "" when there is none.
	Unit string
	// Slice is the innermost slice, "" when there is none.
	Slice string
	// User is the user whose own systemd runs it; -1: the system's.
	User int
	// Outside: the path begins outside of the reader's cgroup namespace ("/.."), so what it hangs from is not known.
	Outside bool
	// Container is the innermost container, nil when there is none.
	Container *Container
	// Pod is the uid of the Kubernetes pod, "" when there is none.
	Pod string
}

// Container is a container as its cgroup names it, and as the files of its runtime do.
type Container struct {
	// Runtime is docker, containerd, cri-o, podman, lxc, nspawn or ecs; "" when the path does not tell.
	Runtime string
	// ID is as the runtime gave it, 12 to 64 hexadecimal digits; the name where the runtime has no other (lxc, nspawn).
	ID string
	// Namespace is that of containerd, "" when it is not told.
	Namespace string
	// Nested: it is in another container, whose runtime is not the host's.
	Nested bool
	// under: it is below a service or a scope, which may have made it. Of the runtimes only some put theirs there.
	under bool

	// From files, "" when they do not tell. The runtime's users choose them.
	Name string
	// Service is a service of Docker Compose, "project/service".
	Service           string
	PodName, PodSpace string
}

// ShortID is the first twelve digits of an ID, as the runtimes show it.
func (c *Container) ShortID() string {
	const short = 12
	if isHex(c.ID) && len(c.ID) > short {
		return c.ID[:short]
	}
	return c.ID
}

// InUnit reports whether a unit is but the cgroup that the runtime made for the container.
func (c *Container) InUnit(unit string) bool {
	name, isScope := strings.CutSuffix(unit, ".scope")
	return isScope && strings.HasSuffix(name, c.ID)
}

// scopes are what runtimes write before the ID of a container. Their monitors (crio-conmon-ID, libpod-conmon-ID) are none: what follows
// the prefix there is no ID.
var scopes = []struct{ prefix, runtime, namespace string }{
	{"docker-", "docker", ""},
	{"cri-containerd-", "containerd", "k8s.io"},
	{"nerdctl-", "containerd", "default"},
	{"containerd-", "containerd", ""},
	{"crio-", "cri-o", ""},
	{"libpod-payload-", "podman", ""},
	{"libpod-", "podman", ""},
}

// ParseCgroup reads a path as /proc/PID/cgroup has it, or as it is below the mount of the hierarchy.
func ParseCgroup(path string) Place {
	p := cgroupParser{Place: Place{User: -1}}
	path, _ = strings.CutSuffix(path, " (deleted)")
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "", ".":
		case "..":
			p.Outside = p.Outside || p.parent == ""
		default:
			p.segment(segment)
			p.before, p.parent = p.parent, segment
		}
	}
	return p.Place
}

// cgroupParser goes down a path.
type cgroupParser struct {
	Place
	parent, before string // the segments above the one at hand
	kube           bool   // there was one of Kubernetes' above
	under          bool   // there was a unit above
}

func (p *cgroupParser) segment(s string) {
	p.kube = p.kube || strings.Contains(s, "kubepods")
	// systemd's name for a path that was meant for no systemd: SLICE:PREFIX:ID.
	if slice, rest, ok := strings.Cut(s, ":"); ok && strings.HasSuffix(slice, ".slice") {
		p.slice(slice)
		prefix, id, _ := strings.Cut(rest, ":")
		p.scope(prefix + "-" + id)
		return
	}
	name, unit := s, ""
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		name, unit = s[:i], s[i+1:]
	}
	switch unit {
	case "slice":
		p.slice(s)
	case "service", "scope", "socket", "mount", "swap":
		p.unit(s, name)
		p.under = true
	default:
		p.plain(s)
	}
}

// slice takes one, which may be a pod's.
func (p *cgroupParser) slice(s string) {
	p.Slice = unprefixed(s)
	name, _ := strings.CutSuffix(s, ".slice")
	if i := strings.LastIndex(name, "-pod"); i >= 0 && p.kube {
		p.pod(strings.ReplaceAll(name[i+len("-pod"):], "_", "-"))
	}
}

func (p *cgroupParser) pod(uid string) {
	if isPodUID(uid) {
		p.Pod = uid
	}
}

// unit takes a service or a scope.
func (p *cgroupParser) unit(s, name string) {
	p.Unit = unprefixed(s)
	if p.scope(name) {
		return
	}
	if uid, ok := strings.CutPrefix(name, "user@"); ok {
		if n, err := strconv.ParseUint(uid, 10, 32); err == nil && p.Container == nil {
			p.User = int(n)
		}
		return
	}
	machine, ok := strings.CutPrefix(name, "systemd-nspawn@")
	if !ok && p.parent == "machine.slice" {
		machine, ok = strings.CutPrefix(name, "machine-")
	}
	machine = unescapeUnit(machine)
	// libvirt's are called so, too: qemu-1-NAME and lxc-1-NAME, virtual machines as a rule.
	if ok && machine != "" && !strings.HasPrefix(machine, "qemu-") && !strings.HasPrefix(machine, "lxc-") {
		p.container("nspawn", machine, "")
	}
}

// scope reports whether the name is a prefix of a runtime and an ID.
func (p *cgroupParser) scope(name string) bool {
	for _, known := range scopes {
		if id, ok := strings.CutPrefix(name, known.prefix); ok && isContainerID(id) {
			p.container(known.runtime, id, known.namespace)
			return true
		}
	}
	return false
}

// plain takes what is no unit of systemd.
func (p *cgroupParser) plain(s string) {
	if uid, ok := strings.CutPrefix(s, "pod"); ok && p.kube {
		p.pod(uid)
	}
	if name, ok := strings.CutPrefix(s, "lxc.payload."); ok && name != "" {
		p.container("lxc", name, "")
		return
	}
	switch {
	case p.scope(s):
	case p.parent == "lxc" || p.parent == "lxc.payload":
		p.container("lxc", s, "")
	case p.parent == "docker" && isContainerID(s):
		p.container("docker", s, "")
	case (p.parent == "ecs" || p.before == "ecs") && isContainerID(taskless(s)) && (p.before == "ecs" || taskless(s) != s):
		p.container("ecs", s, "")
	case !isFullID(s):
	case p.parent == "k8s.io":
		p.container("containerd", s, "k8s.io")
	case p.parent == "default": // nerdctl's, and ctr's
		p.container("containerd", s, "default")
	default:
		p.container("", s, "")
	}
}

// taskless cuts the number behind the task's ID from a container's of Fargate, TASK-NUMBER.
func taskless(id string) string {
	if task, number, ok := strings.Cut(id, "-"); ok && len(task) == 32 {
		if _, err := strconv.ParseUint(number, 10, 64); err == nil {
			return task
		}
	}
	return id
}

func (p *cgroupParser) container(runtime, id, namespace string) {
	p.Container = &Container{Runtime: runtime, ID: id, Namespace: namespace, Nested: p.Container != nil, under: p.under}
}

// unprefixed is a unit's name as systemctl has it, of that of its cgroup: a _ keeps it apart from a file of the kernel's.
func unprefixed(s string) string {
	if len(s) > 1 && s[0] == '_' {
		return s[1:]
	}
	return s
}

// unescapeUnit undoes the escapes of systemd, \x2d for a hyphen, as far as something comes of it that can be shown, and the underscore
// before what would be a file of the hierarchy.
func unescapeUnit(s string) string {
	s = unprefixed(s)
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+4 <= len(s) && s[i] == '\\' && s[i+1] == 'x' {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil && c > ' ' && c < 0x7f {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// isContainerID: what else is in a path is never made part of another.
func isContainerID(s string) bool { return len(s) >= 12 && len(s) <= 64 && isHex(s) }

// isFullID: without anything that says so, only a whole ID is taken for one.
func isFullID(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isPodUID: a UUID, or the hash that the kubelet gives to a pod that it has from a file.
func isPodUID(s string) bool {
	if len(s) == 32 {
		return isHex(s)
	}
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if hyphen := i == 8 || i == 13 || i == 18 || i == 23; hyphen != (s[i] == '-') {
			return false
		}
	}
	return isHex(strings.ReplaceAll(s, "-", ""))
}

// cgroupOf reads where a process is.
func cgroupOf(proc procfs.Proc) (path string, place Place) {
	groups, err := proc.Cgroups()
	if err != nil {
		return "", Place{User: -1}
	}
	return chooseCgroup(groups)
}

// chooseCgroup prefers the unified hierarchy, and of the old ones the one that systemd keeps. Where both are mounted, a runtime may use
// the old ones alone: then one of these tells the container.
func chooseCgroup(groups []procfs.Cgroup) (path string, place Place) {
	unified := false
	for _, g := range groups {
		if g.HierarchyID == 0 {
			path, unified = g.Path, true
		} else if !unified && slices.Contains(g.Controllers, "name=systemd") {
			path = g.Path
		}
	}
	place = ParseCgroup(path)
	for _, g := range groups {
		if place.Container != nil {
			break
		}
		if other := ParseCgroup(g.Path); other.Container != nil {
			path, place = g.Path, other
		}
	}
	return path, place
}

// Place reads where a process is, and no more of it.
func (f *FS) Place(pid int) (path string, place Place) {
	proc, err := f.proc.Proc(pid)
	if err != nil {
		return "", Place{User: -1}
	}
	return cgroupOf(proc)
}

// HostRoot is where the files of the host are whose processes are read: "/" for the reader's own, and beside the proc filesystem for
// another, as /host is for /host/proc.
func (f *FS) HostRoot() string {
	if f.root == liveRoot {
		return "/"
	}
	return filepath.Dir(f.root)
}
