package procfd

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hostRoot is a host's filesystem with these files.
func hostRoot(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const kubePath = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod045b1e35_7f13_11e7_ac42_0050568ffca0.slice/"

func TestRuntimesName(t *testing.T) {
	me := strconv.Itoa(os.Getuid())
	user := "/user.slice/user-" + me + ".slice/user@" + me + ".service/user.slice/"
	tests := []struct {
		title, path, file, text string
		want                    Container // beside what the path tells
	}{
		{
			"docker", "/system.slice/docker-" + idA + ".scope", "var/lib/docker/containers/" + idA + "/config.v2.json",
			`{"ID":"` + idA + `","Name":"/web-1","Config":{"Image":"nginx","Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web"}}}`,
			Container{Runtime: "docker", Name: "web-1", Service: "shop/web"},
		},
		{
			"docker of Kubernetes", "/kubepods/pod" + podUID + "/" + idA, "var/lib/docker/containers/" + idA + "/config.v2.json",
			`{"Name":"/k8s_app_web-7d9_shop_x_0","Config":{"Labels":{"io.kubernetes.container.name":"app","io.kubernetes.pod.name":"web-7d9","io.kubernetes.pod.namespace":"shop"}}}`,
			Container{Runtime: "docker", Name: "app", PodName: "web-7d9", PodSpace: "shop"},
		},
		{
			"rootless docker", user + "docker-" + idA + ".scope", "home/me/.local/share/docker/containers/" + idA + "/config.v2.json",
			`{"Name":"/mine"}`, Container{Runtime: "docker", Name: "mine"},
		},
		{
			"containerd", kubePath + "cri-containerd-" + idA + ".scope", "run/containerd/io.containerd.runtime.v2.task/k8s.io/" + idA + "/config.json",
			`{"ociVersion":"1.1","annotations":{"io.kubernetes.cri.container-name":"app","io.kubernetes.cri.sandbox-name":"web-7d9","io.kubernetes.cri.sandbox-namespace":"shop"}}`,
			Container{Runtime: "containerd", Name: "app", PodName: "web-7d9", PodSpace: "shop"},
		},
		{
			"the sandbox of a pod, k3s", "/kubepods/pod" + podUID + "/" + idA, "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/" + idA + "/config.json",
			`{"annotations":{"io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-name":"web-7d9","io.kubernetes.cri.sandbox-namespace":"shop"}}`,
			Container{Runtime: "containerd", Name: "sandbox", PodName: "web-7d9", PodSpace: "shop"},
		},
		{
			"nerdctl", "/default/" + idA, "run/containerd/io.containerd.runtime.v2.task/default/" + idA + "/config.json",
			`{"annotations":{"nerdctl/name":"web"}}`, Container{Runtime: "containerd", Name: "web"},
		},
		{
			"cri-o", kubePath + "crio-" + idA + ".scope/container", "run/containers/storage/overlay-containers/" + idA + "/userdata/config.json",
			`{"annotations":{"io.kubernetes.container.name":"app","io.kubernetes.pod.name":"web-7d9","io.kubernetes.pod.namespace":"shop"}}`,
			Container{Runtime: "cri-o", Name: "app", PodName: "web-7d9", PodSpace: "shop"},
		},
		{
			"podman", "/machine.slice/libpod-" + idA + ".scope/container", "var/lib/containers/storage/overlay-containers/containers.json",
			`[{"id":"` + idB + `","names":["other"]},{"id":"` + idA + `","names":["web"]}]`, Container{Runtime: "podman", Name: "web"},
		},
		{
			"podman run --rm in a unit", "/system.slice/web.service/libpod-payload-" + idA, "run/containers/storage/overlay-containers/volatile-containers.json",
			`[{"id":"` + idA + `","names":["web"]}]`, Container{Runtime: "podman", Name: "web"},
		},
		{
			"rootless podman", user + "libpod-" + idA + ".scope/container", "home/me/.local/share/containers/storage/overlay-containers/containers.json",
			`[{"id":"` + idA + `","names":["mine"]}]`, Container{Runtime: "podman", Name: "mine"},
		},
		{
			"the directory of a pod's logs", kubePath + "cri-containerd-" + idA + ".scope", "var/log/pods/shop_web-7d9_" + podUID + "/app/0.log", "",
			Container{Runtime: "containerd", PodName: "web-7d9", PodSpace: "shop"},
		},

		// What names nothing.
		{"not there", "/docker/" + idA, "x", "", Container{Runtime: "docker"}},
		{"not JSON", "/docker/" + idA, "var/lib/docker/containers/" + idA + "/config.v2.json", `{"Name":"/web-1"`, Container{Runtime: "docker"}},
		{
			"a container in a container is not the host's", "/docker/" + idB + "/docker/" + idA, "var/lib/docker/containers/" + idA + "/config.v2.json",
			`{"Name":"/another"}`, Container{Runtime: "docker"},
		},
		{
			"a user's container is not the system's", user + "docker-" + idA + ".scope", "var/lib/docker/containers/" + idA + "/config.v2.json",
			`{"Name":"/another"}`, Container{Runtime: "docker"},
		},
		{
			"a service makes what cgroups it likes", "/system.slice/x.service/docker-" + idA + ".scope", "var/lib/docker/containers/" + idA + "/config.v2.json",
			`{"Name":"/another"}`, Container{Runtime: "docker"},
		},
	}
	for _, test := range tests {
		root := hostRoot(t, map[string]string{test.file: test.text, "etc/passwd": "root:x:0:0::/nobody:/bin/sh\nme:x:" + me + ":0::/home/me:/bin/sh\n"})
		if os.Getuid() == 0 { // the first line of a user counts
			_ = os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("me:x:0:0::/home/me:/bin/sh\n"), 0o600)
		}
		p := ParseCgroup(test.path)
		NewRuntimes(root).Name(&p)
		got := *p.Container
		if got.ID != idA {
			t.Errorf("%s: %s", test.title, got.ID)
		}
		if got.Runtime != test.want.Runtime || got.Name != test.want.Name || got.Service != test.want.Service ||
			got.PodName != test.want.PodName || got.PodSpace != test.want.PodSpace {
			t.Errorf("%s: %+v", test.title, got)
		}
	}
}

// TestRuntimesHostile: pipes are not waited for, links do not lead out of the root, nothing large is read, and nobody's file is taken
// for a user's own.
func TestRuntimesHostile(t *testing.T) {
	outside := hostRoot(t, map[string]string{"config.v2.json": `{"Name":"/outside"}`})
	file := "var/lib/docker/containers/" + idA + "/config.v2.json"
	tests := map[string]func(t *testing.T, file string){
		"pipe":       func(t *testing.T, file string) { try(t, unix.Mkfifo(file, 0o644)) },
		"link out":   func(t *testing.T, file string) { try(t, os.Symlink(filepath.Join(outside, "config.v2.json"), file)) },
		"magic link": func(t *testing.T, file string) { try(t, os.Symlink("/proc/self/exe", file)) },
		"directory":  func(t *testing.T, file string) { try(t, os.Mkdir(file, 0o755)) },
		"large": func(t *testing.T, file string) {
			try(t, os.WriteFile(file, []byte(`{"Name":"/`+strings.Repeat("x", mostRuntimeFile)+`"}`), 0o644))
		},
	}
	for title, make := range tests {
		root := hostRoot(t, map[string]string{filepath.Dir(file) + "/hostconfig.json": ""})
		make(t, filepath.Join(root, file))
		p := ParseCgroup("/docker/" + idA)
		NewRuntimes(root).Name(&p)
		if p.Container.Name != "" {
			t.Errorf("%s: %q", title, p.Container.Name)
		}
	}
	root := hostRoot(t, map[string]string{"f": "x"})
	if b := readBelow(root, "f", os.Getuid()+1, 10); b != nil {
		t.Errorf("another's file: %q", b)
	}
	if b := readBelow(root, "f", os.Getuid(), 10); string(b) != "x" {
		t.Errorf("%q", b)
	}
}

// TestOpenEach: without openat2, no link is followed, and nothing above is reached.
func TestOpenEach(t *testing.T) {
	root := hostRoot(t, map[string]string{"a/b/c": "x"})
	try(t, os.Symlink("b", filepath.Join(root, "a/link")))
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	try(t, err)
	defer unix.Close(dir)
	for name, want := range map[string]bool{"a/b/c": true, "a/link/c": false, "a/../a/b/c": false, "a/x": false} {
		fd, err := openEach(dir, name, unix.O_PATH)
		if err == nil {
			unix.Close(fd)
		}
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRuntimesRefresh(t *testing.T) {
	root := hostRoot(t, map[string]string{"x": ""})
	r := NewRuntimes(root)
	named := func() string {
		p := ParseCgroup("/docker/" + idA)
		r.Name(&p)
		return p.Container.Name
	}
	if s := named(); s != "" {
		t.Error(s)
	}
	file := filepath.Join(root, "var/lib/docker/containers", idA, "config.v2.json")
	try(t, os.MkdirAll(filepath.Dir(file), 0o755))
	try(t, os.WriteFile(file, []byte(`{"Name":"/late"}`), 0o644))
	if s := named(); s != "" {
		t.Errorf("%q, without a refresh", s)
	}
	if r.Refresh(); named() != "late" {
		t.Errorf("%q, want late", named())
	}
}

func FuzzHomes(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for uid, home := range homes(b) {
			if uid < 0 || !filepath.IsAbs(home) {
				t.Errorf("%d: %q", uid, home)
			}
		}
	})
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
