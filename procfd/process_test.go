package procfd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestProcess(t *testing.T) {
	got := process42().with(fds("/dev/null", "socket:[501]", "socket:[502]", "pipe:[9]")).read42(t)
	slices.SortFunc(got.Sockets, func(a, b SocketFD) int { return a.FD - b.FD })
	want := &Process{
		PID: 42, PPID: 1, TGID: 42, Start: 250000, FDTask: 42, NetTask: 42,
		Name: "payments", Exe: "/srv/payments", Args: []string{"/srv/payments", "--port", "8080"},
		UID: 1001, Uptime: 500*time.Second + 500*time.Millisecond, Cgroup: "/system.slice/payments.service",
		Place: Place{Unit: "payments.service", Slice: "system.slice", User: -1},
		RSS:   2048 * uint64(os.Getpagesize()), CPU: 150 * time.Millisecond, Threads: 7, State: 'S', Netns: 4026531840,
		Open: 4, SoftLimit: 1024, Sockets: []SocketFD{{FD: 1, Inode: 501}, {FD: 2, Inode: 502}},
	}
	want.ByKind[KindDevice], want.ByKind[KindSocket], want.ByKind[KindPipe] = 1, 2, 1
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v, want\n%+v", got, want)
	}
}

func TestProcessFDKinds(t *testing.T) {
	targets := make([]string, 0, len(linkTests))
	var want [NumKinds]int
	for _, tt := range linkTests {
		if tt.target == "" || tt.target == "\xff\x00\n" {
			continue // no link can be that
		}
		targets = append(targets, tt.target)
		want[tt.kind]++
	}
	p := process42().with(fds(targets...)).read42(t)
	if p.ByKind != want || p.Open != len(targets) || len(p.Gaps) != 0 {
		t.Errorf("kinds %v of %d descriptors, gaps %v; want %v of %d", p.ByKind, p.Open, p.Gaps, want, len(targets))
	}
}

// Names in /proc/PID/fd that are no numbers are no descriptors, and an entry that is no link is one
// that could not be read.
func TestProcessOddEntries(t *testing.T) {
	p := process42().with(tree{
		"42/fd/3":          "-> socket:[9]",
		"42/fd/x":          "-> socket:[10]",
		"42/fd/-1":         "-> socket:[11]",
		"42/fd/9999999999": "-> socket:[12]",
		"42/fd/4":          "not a link",
	}).read42(t)
	if want := []SocketFD{{FD: 3, Inode: 9}}; !slices.Equal(p.Sockets, want) || p.Open != 2 {
		t.Errorf("%d descriptors, sockets %v; want 2, %v", p.Open, p.Sockets, want)
	}
	if len(p.Gaps) != 1 || p.Gaps[0].What != "descriptors" || p.Gaps[0].Count != 1 || p.Gaps[0].Denied() {
		t.Errorf("gaps %+v, want one descriptor, not for want of privilege", p.Gaps)
	}
}

// A path that is longer than any buffer is still the path of a file.
func TestProcessLongTarget(t *testing.T) {
	long := "/srv"
	for len(long) < 3000 {
		long += "/a-directory-with-a-name"
	}
	p := process42().with(fds(long, "socket:[1]", long+" (deleted)")).read42(t)
	if p.ByKind[KindFile] != 2 || p.ByKind[KindSocket] != 1 {
		t.Errorf("kinds %v", p.ByKind)
	}
}

// A process chooses its own name. Whatever that is, the fields after it are read.
func TestProcessHostileName(t *testing.T) {
	for _, comm := range []string{
		"", " ", "(", ")", "()", "((sd-pam))", "a) R 1 1 1 1", "x)\n9 (y) Z", "two words", "line\nline", "\t", "\x1b[31m", "\xff\xfe",
	} {
		p := process42().with(tree{"42/stat": statLine(42, comm, 'D', 7)}).read42(t)
		if p.Name != comm || p.State != 'D' || p.Start != 7 || p.Threads != 7 {
			t.Errorf("%q: name %q, state %c, start %d, %d threads", comm, p.Name, p.State, p.Start, p.Threads)
		}
	}
}

func TestProcessArgs(t *testing.T) {
	for _, tt := range []struct {
		cmdline string
		want    []string
	}{
		{"", []string{}}, // a kernel thread
		{"a\x00", []string{"a"}},
		{"a", []string{"a"}}, // the process wrote over the end
		{"a\x00\x00b\x00", []string{"a", "", "b"}},
		{"a b\nc\x00--x=\x1b[0m\xff\x00", []string{"a b\nc", "--x=\x1b[0m\xff"}},
	} {
		p := process42().with(tree{"42/cmdline": tt.cmdline}).read42(t)
		if !slices.Equal(p.Args, tt.want) {
			t.Errorf("%q: %q, want %q", tt.cmdline, p.Args, tt.want)
		}
	}
}

func TestProcessExeDeleted(t *testing.T) {
	p := process42().with(tree{"42/exe": "-> /usr/bin/node (deleted)"}).read42(t)
	if p.Exe != "/usr/bin/node" || p.Runtime != "node" {
		t.Errorf("executable %q, runtime %q", p.Exe, p.Runtime)
	}
}

func TestProcessCgroup(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"unified", "0::/user.slice/user-0.slice\n", "/user.slice/user-0.slice"},
		{"unified root", "0::/\n", "/"},
		{"colons", "0::/a:b:c\n", "/a:b:c"},
		{"old", "12:cpu,cpuacct:/other\n1:name=systemd:/system.slice/x.service\n", "/system.slice/x.service"},
		{"both", "1:name=systemd:/old\n0::/new\n", "/new"},
		{"old without systemd", "4:memory:/docker/abc\n", ""},
		{"empty", "", ""},
		{"malformed", "no colon\n", ""},
		{"missing", absent, ""},
	} {
		if p := process42().with(tree{"42/cgroup": tt.file}).read42(t); p.Cgroup != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, p.Cgroup, tt.want)
		}
	}
}

func TestProcessSoftLimit(t *testing.T) {
	for _, tt := range []struct {
		file string
		want uint64
	}{{"unlimited", NoLimit}, {"0", 0}, {"1048576", 1 << 20}} {
		if p := process42().with(tree{"42/limits": limitsFile(tt.file)}).read42(t); p.SoftLimit != tt.want || len(p.Gaps) != 0 {
			t.Errorf("%s: %d, gaps %v", tt.file, p.SoftLimit, p.Gaps)
		}
	}
}

func TestProcessUptime(t *testing.T) {
	for _, tt := range []struct {
		file string
		want time.Duration
	}{
		{"2500.01 9.9\n", 10 * time.Millisecond},
		{"2500.00 9.9\n", 0},
		{"1.00 1.00\n", 0}, // before the process began: never negative
		{"", 0},
		{"soon\n", 0},
		{"NaN 1.0\n", 0},
		{"1e300 1.0\n", 0},
		{absent, 0},
	} {
		if p := process42().with(tree{"uptime": tt.file}).read42(t); p.Uptime != tt.want {
			t.Errorf("%q: %v, want %v", tt.file, p.Uptime, tt.want)
		}
	}
}

// What is missing is said, and everything else is read.
func TestProcessGaps(t *testing.T) {
	for _, tt := range []struct {
		missing, gap string
	}{
		{"42/status", "status"},
		{"42/limits", "limits"},
		{"42/ns/net", "network namespace"},
		{"42/exe", ""}, // a kernel thread has none
	} {
		p := process42().with(fds("socket:[5]")).with(tree{tt.missing: absent}).read42(t)
		var want []string
		if tt.gap != "" {
			want = []string{tt.gap}
		}
		if got := gapsOf(p); !slices.Equal(got, want) {
			t.Errorf("without %s: gaps %q, want %q", tt.missing, got, want)
		}
		if p.Name != "payments" || len(p.Sockets) != 1 || p.Open != 1 {
			t.Errorf("without %s: %+v", tt.missing, p)
		}
		for _, g := range p.Gaps {
			if g.Denied() || !errors.Is(g.Err, fs.ErrNotExist) {
				t.Errorf("without %s: gap %+v, want one that no privilege closes", tt.missing, g)
			}
		}
	}
}

func TestProcessUnparsable(t *testing.T) {
	for _, tt := range []struct{ path, content, gap string }{
		{"42/status", "Uid:\t0\tx\t0\t0\n", "status"},
		{"42/limits", "header\nMax open files many many files\n", "limits"},
		{"42/limits", limitsFile("many"), "limits"},
		{"42/ns/net", "-> mnt:[1]", "network namespace"},
		{"42/ns/net", "-> net:[1", "network namespace"},
		{"42/ns/net", "-> net:[]", "network namespace"},
		{"42/ns/net", "-> net:[-1]", "network namespace"},
	} {
		p := process42().with(tree{tt.path: tt.content}).read42(t)
		if got := gapsOf(p); !slices.Equal(got, []string{tt.gap}) || p.Netns != 0 && tt.gap == "network namespace" {
			t.Errorf("%s %q: gaps %q, network namespace %d", tt.path, tt.content, got, p.Netns)
		}
	}
}

// A stat file that cannot be read whole tells no start time, and without one nothing is certain.
func TestProcessBadStat(t *testing.T) {
	for _, stat := range []string{"", "\n", "42\n", "42 (a) S 1\n", "42 (a)\n"} {
		f := process42().with(tree{"42/stat": stat}).mount(t)
		if p, err := f.Process(42); err == nil || errors.Is(err, ErrGone) {
			t.Errorf("%q: %+v, %v; want an error that is not %v", stat, p, err, ErrGone)
		}
	}
}

func TestProcessGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		tree tree
	}{
		{"no directory", tree{"uptime": "1 1\n"}},
		{"ended before its stat was read", process42().with(tree{"42/stat": absent})},
		{"ended before its descriptors were read", process42().with(tree{"42/fd/": absent})},
	} {
		f := tt.tree.mount(t)
		if p, err := f.Process(42); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %+v, %v", tt.name, p, err)
		}
	}
}

// The identity of a process is its number and its start: another with the same number is another.
func TestSameProcess(t *testing.T) {
	f := process42().mount(t)
	p, err := f.Process(42)
	must(t, err)
	if !f.SameProcess(p) {
		t.Error("not the same, and nothing has changed")
	}
	stat := filepath.Join(f.root, "42", "stat")
	write(t, stat, statLine(42, "renamed", 'R', p.Start))
	if !f.SameProcess(p) {
		t.Error("not the same, after a change of name")
	}
	write(t, stat, statLine(42, "payments", 'S', p.Start+1))
	if f.SameProcess(p) {
		t.Error("the same, with another start")
	}
	must(t, os.RemoveAll(filepath.Dir(stat)))
	if f.SameProcess(p) {
		t.Error("the same, and gone")
	}
}

// The main thread has exited, and its directory lists nothing: the descriptors are under another.
func TestProcessLeaderExited(t *testing.T) {
	zombie := process42().with(tree{
		"42/stat":            statLine(42, "payments", 'Z', 250000),
		"42/task/42/fd/":     "",
		"42/task/43/fd/":     "", // exits, too
		"42/task/44/fd/5":    "-> socket:[77]",
		"42/task/44/fd/6":    "-> pipe:[1]",
		"42/task/x/fd/7":     "-> socket:[78]",
		"42/task/45/comm":    "no descriptors here\n",
		"42/task/44/comment": "",
	})
	f := zombie.mount(t)
	p, err := f.Process(42)
	must(t, err)
	if want := []SocketFD{{FD: 5, Inode: 77}}; p.FDTask != 44 || !slices.Equal(p.Sockets, want) || p.Open != 2 || len(p.Gaps) != 0 {
		t.Errorf("read through %d: %v of %d, gaps %v", p.FDTask, p.Sockets, p.Open, p.Gaps)
	}
	if inode, ok := f.SocketInode(p, SocketFD{FD: 5}); !ok || inode != 77 {
		t.Errorf("descriptor 5 is now on %d %v", inode, ok)
	}

	// With nothing to be found, silence would say that nothing leaks.
	none := zombie.with(tree{"42/task/44/fd/5": absent, "42/task/44/fd/6": absent})
	if p := none.read42(t); !slices.Equal(gapsOf(p), []string{"descriptors"}) || p.FDTask != 42 {
		t.Errorf("no thread to read through: gaps %v, read through %d", p.Gaps, p.FDTask)
	}
}

func TestPairs(t *testing.T) {
	for _, tt := range []struct {
		pipes []uint64
		want  int
	}{
		{nil, 0}, {[]uint64{1}, 0}, {[]uint64{1, 2, 3}, 0}, {[]uint64{2, 1, 2}, 1},
		{[]uint64{1, 1, 1, 1}, 1}, {[]uint64{3, 1, 3, 1, 3, 2}, 2},
	} {
		if got := pairs(slices.Clone(tt.pipes)); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.pipes, got, tt.want)
		}
	}
}

func TestSocketInode(t *testing.T) {
	f := process42().with(fds("socket:[88]", "pipe:[88]")).mount(t)
	p, err := f.Process(42)
	must(t, err)
	if inode, ok := f.SocketInode(p, SocketFD{}); !ok || inode != 88 {
		t.Errorf("a socket: %d %v", inode, ok)
	}
	for _, fd := range []int{1, 2, -1} {
		if inode, ok := f.SocketInode(p, SocketFD{FD: fd}); ok {
			t.Errorf("descriptor %d is on socket %d", fd, inode)
		}
	}
}
