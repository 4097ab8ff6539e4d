package procfd

import (
	"bytes"
	"encoding/json"
	"path"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// Runtimes names containers from the files that their runtimes keep on this host. It asks no daemon. Whatever is not there or not what
// it should be names nothing, and is no error. Safe for several goroutines.
type Runtimes struct {
	read func(path string, owner int) []byte // a file below the host's root; nil when it is not to be had
	list func(path string) []string          // the names in a directory

	mu     sync.Mutex
	found  map[string]*Container // by user and ID
	podman map[string]map[string]string
	pods   map[string]podName
	homes  map[int]string
}

type podName struct{ space, name string }

// Bounds of what is read.
const (
	mostRuntimeFile = 8 << 20
	mostContainers  = 1 << 14 // that are remembered
	mostNameLen     = 253     // the longest that Kubernetes has
)

// anyOwner: the file may be anybody's, as only root can write where it is.
const anyOwner = -1

// NewRuntimes looks below root, which is "/" for the reader's own host.
func NewRuntimes(root string) *Runtimes {
	r := &Runtimes{
		read: func(name string, owner int) []byte { return readBelow(root, name, owner, mostRuntimeFile) },
		list: func(name string) []string { return listBelow(root, name) },
	}
	r.Refresh()
	return r
}

// Refresh forgets what was not found, for another look.
func (r *Runtimes) Refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, c := range r.found {
		if c == nil {
			delete(r.found, key)
		}
	}
	if r.found == nil || len(r.found) >= mostContainers {
		r.found = map[string]*Container{}
	}
	r.podman, r.pods, r.homes = map[string]map[string]string{}, nil, nil
}

// Name adds to the container of a place what files tell of it. Of one that is in another container, or in a unit that may have made its
// cgroup itself, no file of the host tells.
func (r *Runtimes) Name(p *Place) {
	c := p.Container
	if c == nil || c.Nested || !isContainerID(c.ID) || p.User < 0 && c.under && c.Runtime != "podman" && p.Unit != "containerd.service" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := strconv.Itoa(p.User) + " " + c.Runtime + " " + p.Pod + " " + c.ID
	known, ok := r.found[key]
	if !ok && len(r.found) < mostContainers {
		known = r.look(p)
		r.found[key] = known
	}
	if known != nil {
		c.Runtime, c.Name, c.Service = known.Runtime, known.Name, known.Service
		c.PodName, c.PodSpace = known.PodName, known.PodSpace
	}
}

// look is nil when nothing is told.
func (r *Runtimes) look(p *Place) *Container {
	c := &Container{Runtime: p.Container.Runtime, ID: p.Container.ID, Namespace: p.Container.Namespace}
	switch c.Runtime {
	case "docker":
		r.docker(c, p.User)
	case "podman":
		r.libpod(c, p.User)
	case "containerd":
		r.containerd(c)
	case "cri-o":
		r.crio(c)
	case "":
		switch { // their cgroups are called alike, and the IDs are random
		case r.docker(c, p.User):
			c.Runtime = "docker"
		case r.containerd(c):
			c.Runtime = "containerd"
		}
	}
	if p.Pod != "" && c.PodName == "" {
		pod := r.pod(p.Pod)
		c.PodSpace, c.PodName = pod.space, pod.name
	}
	if c.Name == "" && c.PodName == "" {
		return nil
	}
	return c
}

// The labels and annotations by which Kubernetes' runtimes, nerdctl and Compose tell names.
const (
	kubeContainer = "io.kubernetes.container.name"
	kubePod       = "io.kubernetes.pod.name"
	kubeSpace     = "io.kubernetes.pod.namespace"
	criContainer  = "io.kubernetes.cri.container-name"
	criType       = "io.kubernetes.cri.container-type"
	criPod        = "io.kubernetes.cri.sandbox-name"
	criSpace      = "io.kubernetes.cri.sandbox-namespace"
	nerdctlName   = "nerdctl/name"
	composeWhole  = "com.docker.compose.project"
	composePart   = "com.docker.compose.service"
)

// docker reads the state that the daemon keeps.
func (r *Runtimes) docker(c *Container, user int) bool {
	base := r.storage(user, "/var/lib/docker", ".local/share/docker")
	var state struct {
		Name   string
		Config struct{ Labels map[string]string }
	}
	if base == "" || !r.json(path.Join(base, "containers", c.ID, "config.v2.json"), user, &state) {
		return false
	}
	labels := state.Config.Labels
	c.Name = name(strings.TrimPrefix(state.Name, "/"))
	if kube := name(labels[kubeContainer]); kube != "" {
		c.Name = kube
	}
	c.PodName, c.PodSpace = name(labels[kubePod]), name(labels[kubeSpace])
	if whole, part := name(labels[composeWhole]), name(labels[composePart]); whole != "" && part != "" {
		c.Service = whole + "/" + part
	}
	return true
}

// containerdRoots are where its tasks are, of the distributions of Kubernetes that have one of their own, too.
var containerdRoots = []string{"/run/containerd", "/run/k3s/containerd", "/var/snap/microk8s/common/run/containerd"}

// containerd reads the configuration with which the container was started.
func (r *Runtimes) containerd(c *Container) bool {
	spaces := []string{c.Namespace}
	if c.Namespace == "" {
		spaces = []string{"k8s.io", "default", "moby"}
	}
	for _, root := range containerdRoots {
		for _, space := range spaces {
			if r.annotated(c, path.Join(root, "io.containerd.runtime.v2.task", space, c.ID, "config.json")) {
				return true
			}
		}
	}
	return false
}

func (r *Runtimes) crio(c *Container) bool {
	return r.annotated(c, path.Join("/run/containers/storage/overlay-containers", c.ID, "userdata/config.json")) ||
		r.annotated(c, path.Join("/var/lib/containers/storage/overlay-containers", c.ID, "userdata/config.json"))
}

// annotated reads the annotations of an OCI configuration.
func (r *Runtimes) annotated(c *Container, file string) bool {
	var config struct {
		Annotations map[string]string `json:"annotations"`
	}
	if !r.json(file, anyOwner, &config) {
		return false
	}
	first := func(keys ...string) string {
		for _, key := range keys {
			if s := name(config.Annotations[key]); s != "" {
				return s
			}
		}
		return ""
	}
	c.Name = first(criContainer, kubeContainer, nerdctlName)
	if c.Name == "" && config.Annotations[criType] == "sandbox" {
		c.Name = "sandbox" // the pod's own, which holds its namespaces
	}
	c.PodName, c.PodSpace = first(criPod, kubePod), first(criSpace, kubeSpace)
	return true
}

// libpod reads the lists of Podman, of which one is of containers that go when they end.
func (r *Runtimes) libpod(c *Container, user int) bool {
	lists := []string{"/var/lib/containers/storage/overlay-containers/containers.json", "/run/containers/storage/overlay-containers/volatile-containers.json"}
	if user >= 0 {
		run := "/run/user/" + strconv.Itoa(user) + "/containers/overlay-containers/volatile-containers.json"
		lists = []string{run}
		if base := r.storage(user, "", ".local/share/containers/storage"); base != "" {
			lists = append(lists, path.Join(base, "overlay-containers/containers.json"), path.Join(base, "overlay-containers/volatile-containers.json"))
		}
	}
	for _, list := range lists {
		if c.Name = r.podmanList(list, user)[c.ID]; c.Name != "" {
			return true
		}
	}
	return false
}

// podmanList is the first name of each container of a list, by ID.
func (r *Runtimes) podmanList(file string, user int) map[string]string {
	if names, ok := r.podman[file]; ok {
		return names
	}
	var list []struct {
		ID    string   `json:"id"`
		Names []string `json:"names"`
	}
	names := map[string]string{}
	if r.json(file, user, &list) {
		for _, c := range list {
			if len(c.Names) > 0 && isContainerID(c.ID) {
				names[c.ID] = name(c.Names[0])
			}
		}
	}
	r.podman[file] = names
	return names
}

// pod finds the directory of a pod's logs, NAMESPACE_NAME_UID.
func (r *Runtimes) pod(uid string) podName {
	if r.pods == nil {
		r.pods = map[string]podName{}
		for _, dir := range r.list("/var/log/pods") {
			if parts := strings.Split(dir, "_"); len(parts) == 3 && isPodUID(parts[2]) {
				r.pods[parts[2]] = podName{name(parts[0]), name(parts[1])}
			}
		}
	}
	return r.pods[uid]
}

// storage is where a runtime keeps its files: at home when it is a user's own; "" when his home is not known.
func (r *Runtimes) storage(user int, system, home string) string {
	if user < 0 {
		return system
	}
	if r.homes == nil {
		r.homes = homes(r.read("/etc/passwd", anyOwner))
	}
	if dir := r.homes[user]; dir != "" {
		return path.Join(dir, home)
	}
	return ""
}

// homes reads the lines NAME:PASSWORD:UID:GID:COMMENT:HOME:SHELL of a list of users.
func homes(passwd []byte) map[int]string {
	list := map[int]string{}
	for line := range bytes.Lines(passwd) {
		fields := strings.Split(strings.TrimSpace(string(line)), ":")
		if len(fields) != 7 || !path.IsAbs(fields[5]) {
			continue
		}
		if uid, err := strconv.ParseUint(fields[2], 10, 31); err == nil && list[int(uid)] == "" {
			list[int(uid)] = fields[5]
		}
	}
	return list
}

// json reads a file into v, if it is one of the owner's.
func (r *Runtimes) json(file string, owner int, v any) bool {
	b := r.read(file, owner)
	return b != nil && json.Unmarshal(b, v) == nil
}

// name is a name of a length that can be one.
func name(s string) string {
	if len(s) <= mostNameLen {
		return s
	}
	end := mostNameLen
	for end > mostNameLen-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end-- // not inside a rune
	}
	return s[:end] + "…"
}
