package procfd

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseMountinfo(t *testing.T) {
	const blue = "36 35 0:4 net:[4026532177] /run/netns/blue rw shared:1 - nsfs nsfs rw\n"
	for name, tt := range map[string]struct {
		file string
		want []string
		bad  bool
	}{
		"named":              {file: blue, want: []string{"4026532177 /run/netns/blue"}},
		"without a newline":  {file: strings.TrimSpace(blue), want: []string{"4026532177 /run/netns/blue"}},
		"no optional fields": {file: strings.Replace(blue, "shared:1 ", "", 1), want: []string{"4026532177 /run/netns/blue"}},
		"a blank in it":      {file: strings.Replace(blue, "blue", `b\040\134\012`, 1), want: []string{"4026532177 /run/netns/b \\\n"}},
		"no octal digits":    {file: strings.Replace(blue, "blue", `b\09\4`, 1), want: []string{`4026532177 /run/netns/b\09\4`}},
		"a path that says it": {
			file: "1 2 0:4 / /tmp/net:[1] rw - tmpfs tmpfs rw\n1 2 0:4 net:[1] /x rw - tmpfs nsfs rw\n1 2 0:4 mnt:[1] /x/net:[1] rw - nsfs nsfs rw\n" + blue,
			want: []string{"4026532177 /run/netns/blue"},
		},
		"cut":             {file: "36 35 0:4 net:[4026532177] /run/netns/blue rw shared:1 -\n36 35 0:4 net:[4026\n36 35 0:4 net:[4026] x - nsfs nsfs rw"},
		"a line too long": {file: strings.Repeat("x", 3*mostMountLine) + " net:[1]\n" + blue, want: []string{"4026532177 /run/netns/blue"}, bad: true},
		"too many":        {file: strings.Repeat("\n", mostMounts) + blue, bad: true},
		"nothing":         {},
	} {
		var got []string
		err := parseMountinfo(strings.NewReader(tt.file), func(inode uint64, at string) {
			got = append(got, fmt.Sprintf("%d %s", inode, at))
		})
		if !reflect.DeepEqual(got, tt.want) || (err != nil) != tt.bad {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tt.want)
		}
	}
}

func FuzzParseMountinfo(f *testing.F) {
	f.Add([]byte("36 35 0:4 net:[4026532177] /run/netns/b\\040lue rw shared:1 - nsfs nsfs rw\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = parseMountinfo(strings.NewReader(string(b)), func(_ uint64, at string) {
			if !strings.HasPrefix(at, "/") || len(at) > len(b) || !strings.Contains(string(b), "net:[") {
				t.Errorf("%q: %q", b, at)
			}
		})
	})
}

// BenchmarkParseMountinfo reads the mounts of a host with containers: each has some, and few are of namespaces.
func BenchmarkParseMountinfo(b *testing.B) {
	const lines, every = 10_000, 100
	file := strings.Repeat(strings.Repeat("1 2 0:4 / /var/lib/containers/overlay/0123456789abcdef/merged rw,relatime shared:1 - overlay overlay rw,lowerdir=/l\n", every-1)+
		"36 35 0:4 net:[4026532177] /run/netns/b\\040lue rw shared:1 - nsfs nsfs rw\n", lines/every)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		found := 0
		if err := parseMountinfo(strings.NewReader(file), func(uint64, string) { found++ }); err != nil || found != lines/every {
			b.Fatalf("%d namespaces, %v", found, err)
		}
	}
}

// A namespace is entered through the leader of the first process that lives in it; a mount leads to one in which nobody does. Its
// name is that of `ip netns`. Processes that may not be read are counted.
func TestNamespaces(t *testing.T) {
	tr := tree{
		"self/ns/mnt": "-> mnt:[1]",
		"7/ns/net":    "-> net:[100]", "7/ns/mnt": "-> mnt:[2]", "7/task/7/": "",
		"7/mountinfo": "1 2 0:4 net:[300] /run/netns/red rw - nsfs nsfs rw\n1 2 0:4 net:[300] /x rw - nsfs nsfs rw\n",
		"8/ns/net":    "-> net:[200]", "8/ns/mnt": "-> mnt:[1]", "8/task/8/": "", "8/task/9/ns/net": "-> net:[100]", "8/task/10/ns/net": "-> net:[400]",
		"8/mountinfo": "1 2 0:4 net:[200] /run/docker/netns/default rw - nsfs nsfs rw\n1 2 0:4 net:[500] /var/run/netns/blue rw - nsfs nsfs rw\n",
		"11/stat":     "", "12/ns/net": "-> nonsense", "13/ns/net": "-> net:[200]",
	}
	f := tr.mount(t)
	got, err := f.Namespaces(context.Background())
	must(t, err)
	at := func(path string) string { return f.root + path }
	want := []Namespace{
		{Inode: 100, Path: at("/7/ns/net"), PID: 7, Task: 7, Members: []int{7, 8}},
		{Inode: 200, Path: at("/8/ns/net"), PID: 8, Task: 8, Members: []int{8, 13}, Mounts: []string{"/run/docker/netns/default"}},
		{Inode: 300, Path: at("/7/root/run/netns/red"), Mounts: []string{"/run/netns/red", "/x"}},
		{Inode: 400, Path: at("/8/task/10/ns/net"), PID: 8, Task: 10, Members: []int{8}},
		{Inode: 500, Path: "/var/run/netns/blue", Mounts: []string{"/var/run/netns/blue"}},
	}
	if !reflect.DeepEqual(got.List, want) || got.Denied != 0 || got.Unread != 0 {
		t.Errorf("%+v", got)
	}
	for i, name := range []string{"", "", "red", "", "blue"} {
		if got.List[i].Name() != name {
			t.Errorf("%d is named %q, want %q", got.List[i].Inode, got.List[i].Name(), name)
		}
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Namespaces(stopped); err == nil {
		t.Error("a search that was called off ends without an error")
	}
}
