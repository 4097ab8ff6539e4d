package procfd

import (
	"strings"
	"testing"
)

// IDs as long as the runtimes make them.
var (
	idA = strings.Repeat("3f2a9c1b", 8)
	idB = strings.Repeat("0d4e5f60", 8)
)

const podUID = "045b1e35-7f13-11e7-ac42-0050568ffca0"

func TestParseCgroup(t *testing.T) {
	slice := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(podUID, "-", "_") + ".slice/"
	const hash = "8ebd1ab4cd3f23ba7ec0d4de3dc1cc7d"
	tests := []struct {
		path, runtime, id, pod, unit string
		nested                       bool
	}{
		{path: ""},
		{path: "/"},
		{path: "/init.scope", unit: "init.scope"},
		{path: "/system.slice/nginx.service", unit: "nginx.service"},
		{path: "/system.slice/system-getty.slice/getty@tty1.service", unit: "getty@tty1.service"},
		{path: "/system.slice/system-my\\x2dapp.slice/my\\x2dapp@1.service", unit: `my\x2dapp@1.service`},
		{path: "/system.slice/cgroup\\x0a\\x1b.service", unit: "cgroup\\x0a\\x1b.service"},
		{path: "/system.slice/_cgroup.service", unit: "cgroup.service"},
		{path: "/system.slice/x.service (deleted)", unit: "x.service"},
		{path: "/user.slice/user-1000.slice/session-3.scope", unit: "session-3.scope"},
		{path: "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-1.scope", unit: "app-gnome-firefox-1.scope"},

		{path: "/docker/" + idA, runtime: "docker", id: idA},
		{path: "/system.slice/docker-" + idA + ".scope", runtime: "docker", id: idA, unit: "docker-" + idA + ".scope"},
		{path: "/system.slice/docker-b5b6f2da8008.scope", runtime: "docker", id: "b5b6f2da8008", unit: "docker-b5b6f2da8008.scope"},
		{path: "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + idA + ".scope", runtime: "docker", id: idA, unit: "docker-" + idA + ".scope"},
		{path: "/docker/" + idA + "/docker/" + idB, runtime: "docker", id: idB, nested: true},
		{path: "/docker/" + idA + "/init", runtime: "docker", id: idA},
		{path: "/docker/" + idA + "/system.slice/ssh.service", runtime: "docker", id: idA, unit: "ssh.service"},
		{path: "/docker/buildkit/abc"},
		{path: "/system.slice/docker.service", unit: "docker.service"},
		{path: "/system.slice/docker-latest.scope", unit: "docker-latest.scope"},
		{path: "/" + idA, id: idA},
		{path: "/actions_job/" + idA, id: idA},
		{path: "/deadbeefdead"},

		{path: slice + "docker-" + idA + ".scope", runtime: "docker", id: idA, pod: podUID, unit: "docker-" + idA + ".scope"},
		{path: slice + "cri-containerd-" + idA + ".scope", runtime: "containerd", id: idA, pod: podUID, unit: "cri-containerd-" + idA + ".scope"},
		{path: slice + "cri-containerd-" + idA + ".scope/kube-proxy", runtime: "containerd", id: idA, pod: podUID, unit: "cri-containerd-" + idA + ".scope"},
		{path: slice + "crio-" + idA + ".scope/container", runtime: "cri-o", id: idA, pod: podUID, unit: "crio-" + idA + ".scope"},
		{path: slice + "crio-conmon-" + idA + ".scope", pod: podUID, unit: "crio-conmon-" + idA + ".scope"},
		{path: slice, pod: podUID},
		{path: "/kubepods/burstable/pod" + podUID + "/" + idA, id: idA, pod: podUID},
		{path: "/kubepods/burstable/pod" + podUID + "/crio-" + idA, runtime: "cri-o", id: idA, pod: podUID},
		{path: "/kubepods/pod" + podUID + "/" + idA, id: idA, pod: podUID},
		{path: "/kubepods/burstable/pod" + hash + "/" + idA, id: idA, pod: hash},
		{path: "/kubepods.slice/kubepods-pod" + hash + ".slice/crio-" + idA + ".scope", runtime: "cri-o", id: idA, pod: hash, unit: "crio-" + idA + ".scope"},
		{
			path:    "/system.slice/containerd.service/kubepods-pod" + strings.ReplaceAll(podUID, "-", "_") + ".slice:cri-containerd:" + idA,
			runtime: "containerd", id: idA, pod: podUID, unit: "containerd.service",
		},
		{
			path: "/docker/" + idA + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" +
				strings.ReplaceAll(podUID, "-", "_") + ".slice/cri-containerd-" + idB + ".scope",
			runtime: "containerd", id: idB, pod: podUID, unit: "cri-containerd-" + idB + ".scope", nested: true,
		},
		{path: "/kubepods/burstable/podnot-a-uid/" + idA, id: idA},
		{path: "/pod" + podUID + "/x"},

		{path: "/k8s.io/" + idA, runtime: "containerd", id: idA},
		{path: "/default/" + idA, runtime: "containerd", id: idA},
		{path: "/system.slice/nerdctl-" + idA + ".scope", runtime: "containerd", id: idA, unit: "nerdctl-" + idA + ".scope"},

		{path: "/machine.slice/libpod-" + idA + ".scope/container", runtime: "podman", id: idA, unit: "libpod-" + idA + ".scope"},
		{path: "/machine.slice/libpod-conmon-" + idA + ".scope", unit: "libpod-conmon-" + idA + ".scope"},
		{path: "/libpod_parent/libpod-" + idA, runtime: "podman", id: idA},
		{path: "/libpod_parent/conmon"},
		{path: "/system.slice/redis.service/libpod-payload-" + idA, runtime: "podman", id: idA, unit: "redis.service"},
		{path: "/system.slice/redis.service/runtime", unit: "redis.service"},
		{path: "/user.slice/user-1000.slice/user@1000.service/user.slice/podman-239302.scope", unit: "podman-239302.scope"},
		{
			path:    "/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_" + idB + ".slice/libpod-" + idA + ".scope/container",
			runtime: "podman", id: idA, unit: "libpod-" + idA + ".scope",
		},

		{path: "/lxc/web", runtime: "lxc", id: "web"},
		{path: "/lxc.payload.web/init.scope", runtime: "lxc", id: "web", unit: "init.scope"},
		{path: "/lxc.payload/web", runtime: "lxc", id: "web"},
		{path: "/lxc.monitor.web"},
		{path: "/machine.slice/machine-deb\\x2d12.scope/payload", runtime: "nspawn", id: "deb-12", unit: `machine-deb\x2d12.scope`},
		{path: "/machine.slice/systemd-nspawn@deb.service/payload/system.slice/cron.service", runtime: "nspawn", id: "deb", unit: "cron.service"},
		{path: "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", unit: `machine-qemu\x2d1\x2dvm.scope`},
		{path: "/ecs/" + hash + "/" + idA, runtime: "ecs", id: idA},
		{path: "/ecs/" + hash + "/" + hash + "-1234567890", runtime: "ecs", id: hash + "-1234567890"},
		{path: "/ecs/" + hash},
		{path: "/ecstasks.slice/ecstasks-" + hash + ".slice/docker-" + idA + ".scope", runtime: "docker", id: idA, unit: "docker-" + idA + ".scope"},

		{path: "/../../system.slice/docker-" + idA + ".scope", runtime: "docker", id: idA, unit: "docker-" + idA + ".scope"},
		{path: "/../" + idA, id: idA},
		{path: "/.."},
	}
	for _, test := range tests {
		p := ParseCgroup(test.path)
		got := Container{}
		if p.Container != nil {
			got = *p.Container
		}
		if got.Runtime != test.runtime || got.ID != test.id || got.Nested != test.nested || p.Pod != test.pod || p.Unit != test.unit {
			t.Errorf("%s: %+v %+v", test.path, p, got)
		}
		if p.Outside != strings.HasPrefix(test.path, "/..") {
			t.Errorf("%s: outside %t", test.path, p.Outside)
		}
	}
}

// TestParseCgroupUser: what is below the manager of a user is his.
func TestParseCgroupUser(t *testing.T) {
	for path, want := range map[string]int{
		"/user.slice/user-1000.slice/user@1000.service/app.slice/x.service": 1000,
		"/system.slice/x.service":                                 -1,
		"/docker/" + idA + "/user.slice/user@7.service/x.service": -1,
		"/user.slice/user@4294967296.service/x.service":           -1,
	} {
		if p := ParseCgroup(path); p.User != want {
			t.Errorf("%s: user %d, want %d", path, p.User, want)
		}
	}
}

func FuzzParseCgroup(f *testing.F) {
	for _, path := range []string{
		"/system.slice/my\\x2dapp.service", "/docker/" + idA, "/kubepods/burstable/pod" + podUID + "/" + idA, "/../..", "/ecs/a/" + idB,
		"/kubepods-pod" + strings.ReplaceAll(podUID, "-", "_") + ".slice:cri-containerd:" + idA, "/lxc.payload.\x1b[2J", "/machine.slice/machine-a.scope",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p := ParseCgroup(path)
		if p.Pod != "" && !isPodUID(p.Pod) {
			t.Errorf("pod %q", p.Pod)
		}
		if len(p.Unit) > len(path) || len(p.Slice) > len(path) || p.User < -1 {
			t.Errorf("%+v", p)
		}
		c := p.Container
		if c == nil {
			return
		}
		if c.ID == "" || len(c.ID) > len(path) || strings.Contains(c.ShortID(), "/") {
			t.Errorf("container %+v", c)
		}
		if named := c.Runtime == "lxc" || c.Runtime == "nspawn"; !named && !isContainerID(taskless(c.ID)) {
			t.Errorf("container %+v", c)
		}
	})
}
