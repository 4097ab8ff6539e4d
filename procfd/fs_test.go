package procfd

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNew(t *testing.T) {
	for _, root := range []string{filepath.Join(t.TempDir(), "none"), "/dev/null"} {
		if _, err := New(root); err == nil {
			t.Errorf("%s was opened as a proc filesystem", root)
		}
	}
}

func TestPaths(t *testing.T) {
	f := &FS{root: "/proc"}
	for _, tt := range []struct{ got, want string }{
		{f.Path(7), "/proc/7"},
		{f.Path(7, "ns", "net"), "/proc/7/ns/net"},
		{f.NetPath(7, "tcp6"), "/proc/7/net/tcp6"},
		{f.NetPath(0, "tcp6"), "/proc/net/tcp6"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
}

func TestPIDs(t *testing.T) {
	f := tree{"9/": "", "10/": "", "100/": "", "2/": "", "0/": "", "-3/": "", "self/": "", "3x/": "", "uptime": ""}.mount(t)
	got, err := f.PIDs()
	if want := []int{2, 9, 10, 100}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	f.root = filepath.Join(f.root, "none")
	if got, err := f.PIDs(); err == nil {
		t.Errorf("without a directory: %v", got)
	}
}

func TestParents(t *testing.T) {
	got, err := tree{
		"1/stat":  statWithParent(1, "init", 0),
		"7/stat":  statWithParent(7, "(sd-pam)", 1),
		"8/stat":  statWithParent(8, "x) S 99 (y", 7),
		"9/stat":  statWithParent(9, "a\n) (b) ", 8),
		"10/fd/":  "", // ended meanwhile
		"11/stat": "11 (short",
		"12/stat": "12 (short) S 5", // cut off: the number may go on
		"13/stat": "13 (a) S -1 13 ",
		"self/x":  "",
	}.mount(t).Parents()
	if want := map[int]int{1: 0, 7: 1, 8: 7, 9: 8}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if _, err := (&FS{root: filepath.Join(t.TempDir(), "none")}).Parents(); err == nil {
		t.Error("no error without a directory")
	}
}

func statWithParent(pid int, comm string, ppid int) string {
	return strings.Replace(statLine(pid, comm, 'S', 5), fmt.Sprintf("%s) S 1 ", comm), fmt.Sprintf("%s) S %d ", comm, ppid), 1)
}

func TestHost(t *testing.T) {
	f := tree{
		"sys/kernel/hostname":  "web-1\n",
		"sys/kernel/osrelease": "6.12.0-amd64\n",
		"uptime":               "350735.47 234388.90\n",
	}.mount(t)
	if got, want := f.Host(), (Host{"web-1", "6.12.0-amd64", 350735470 * time.Millisecond}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := (tree{}).mount(t).Host(); got != (Host{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestHostUptimeOutOfRange(t *testing.T) {
	for _, s := range []string{"-1", "NaN", "-Inf", "+Inf", "9.5e9", "1e300", "9223372036854775807"} {
		if up := (tree{"uptime": s + " 1.0\n"}).mount(t).Host().Uptime; up != 0 {
			t.Errorf("%s seconds: %v", s, up)
		}
	}
}

func TestNetSysctls(t *testing.T) {
	f := tree{
		"tcp_keepalive_time":  "7200\n",
		"ip_local_port_range": "32768\t60999\n",
		"tcp_max_orphans":     "65536\n",
		"tcp_max_tw_buckets":  "131072\n",
	}.under("sys/net/ipv4").mount(t)
	if got, want := f.NetSysctls(), (NetSysctls{2 * time.Hour, 32768, 60999, 65536, 131072}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	odd := tree{
		"tcp_keepalive_time":  "-1\n",
		"ip_local_port_range": "1024\n",
		"tcp_max_orphans":     "many\n",
		"tcp_max_tw_buckets":  "\n",
	}.under("sys/net/ipv4").mount(t)
	if got, want := odd.NetSysctls(), (NetSysctls{PortLow: 1024}); got != want {
		t.Errorf("of odd files: %+v, want %+v", got, want)
	}
	if got := (tree{}).mount(t).NetSysctls(); got != (NetSysctls{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

const (
	sockstat = "sockets: used 290\nTCP: inuse 12 orphan 1 tw 3 alloc 40 mem 5\nUDP: inuse 2 mem 0\n" +
		"UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n"
	sockstat6 = "TCP6: inuse 7\nUDP6: inuse 1\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n"
)

func TestSockstat(t *testing.T) {
	for _, tt := range []struct {
		name string
		tree tree
		want Sockstat
	}{
		{"both", tree{"sockstat": sockstat, "sockstat6": sockstat6}, Sockstat{12, 7, 1, 3, 40}},
		{"no IPv6", tree{"sockstat": sockstat}, Sockstat{12, -1, 1, 3, 40}},
		{"IPv6 malformed", tree{"sockstat": sockstat, "sockstat6": "TCP6\n"}, Sockstat{12, -1, 1, 3, 40}},
		{"TCP short", tree{"sockstat": "TCP: inuse 4\n"}, Sockstat{4, -1, -1, -1, -1}},
		{"no TCP", tree{"sockstat": "UDP: inuse 4\n"}, Sockstat{-1, -1, -1, -1, -1}},
	} {
		for dir, pid := range map[string]int{"net": 0, "42/net": 42} {
			got, err := tt.tree.under(dir).mount(t).Sockstat(pid)
			if err != nil || got != tt.want {
				t.Errorf("%s in %s: %+v, %v; want %+v", tt.name, dir, got, err, tt.want)
			}
		}
	}
}

// The namespace of a process is not that of the reader.
func TestSockstatOfProcess(t *testing.T) {
	f := tree{"net/sockstat": "TCP: inuse 1\n", "42/net/sockstat": "TCP: inuse 2\n"}.mount(t)
	for pid, want := range map[int]int{0: 1, 42: 2} {
		if s, err := f.Sockstat(pid); err != nil || s.InUse != want {
			t.Errorf("process %d: %+v, %v; want %d in use", pid, s, err, want)
		}
	}
}

func TestSockstatFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		tree tree
		pid  int
	}{
		{"no file", tree{"uptime": ""}, 0},
		{"no process", tree{"net/sockstat": sockstat}, 42},
		{"process without a namespace", tree{"net/sockstat": sockstat, "42/stat": ""}, 42},
		{"malformed", tree{"net/sockstat": "TCP: inuse\n"}, 0},
		{"no number", tree{"net/sockstat": "TCP: inuse many\n"}, 0},
	} {
		s, err := tt.tree.mount(t).Sockstat(tt.pid)
		if want := (Sockstat{-1, -1, -1, -1, -1}); err == nil || s != want {
			t.Errorf("%s: %+v, %v; want an error and nothing told", tt.name, s, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name      string
		tree      tree
		comm, exe string
	}{
		{"both", process42(), "payments", "/srv/payments"},
		{"deleted", process42().with(tree{"42/exe": "-> /srv/payments (deleted)"}), "payments", "/srv/payments"},
		{"no executable", process42().with(tree{"42/exe": absent}), "payments", ""},
		{"no name", process42().with(tree{"42/comm": absent}), "", "/srv/payments"},
		{"nobody", tree{"uptime": ""}, "", ""},
	} {
		if comm, exe, _ := tt.tree.mount(t).Names(42); comm != tt.comm || exe != tt.exe {
			t.Errorf("%s: %q %q, want %q %q", tt.name, comm, exe, tt.comm, tt.exe)
		}
	}
}

func TestHolders(t *testing.T) {
	f := tree{
		"7/fd/3":  "-> socket:[100]",
		"7/fd/4":  "-> socket:[100]", // twice is one holder
		"11/fd/3": "-> socket:[100]", // inherited
		"11/fd/5": "-> socket:[200]",
		"20/fd/0": "-> pipe:[300]", // another file system's number
		"20/fd/1": "-> socket:[999]",
		"30/fd/":  "",
		"40/stat": "", // ended meanwhile
		"self/fd": "",
	}.mount(t)
	for _, tt := range []struct {
		inodes  []uint64
		pids    []int
		missing int
	}{
		{[]uint64{100}, []int{7, 11}, 0},
		{[]uint64{100, 200}, []int{7, 11}, 0},
		{[]uint64{200, 300, 301}, []int{11}, 2},
		{[]uint64{300}, nil, 1},
		{nil, nil, 0},
	} {
		inodes := map[uint64]bool{}
		for _, i := range tt.inodes {
			inodes[i] = true
		}
		pids, missing, denied, err := f.Holders(inodes)
		if err != nil || !slices.Equal(pids, tt.pids) || missing != tt.missing || denied != 0 {
			t.Errorf("%v: held by %v, %d missing, %d denied, %v; want %v, %d", tt.inodes, pids, missing, denied, err, tt.pids, tt.missing)
		}
	}
	found, denied := f.Search([]int{11, 7, 20, 40, 99}, func(inode uint64) bool { return inode < 999 })
	want := []Holder{{PID: 7, FD: 3, Inode: 100}, {PID: 7, FD: 4, Inode: 100}, {PID: 11, FD: 3, Inode: 100}, {PID: 11, FD: 5, Inode: 200}}
	if !slices.Equal(found, want) || len(denied) != 0 {
		t.Errorf("found %v, denied %v; want %v", found, denied, want)
	}
	if found, denied := f.Search(nil, nil); found != nil || denied != nil {
		t.Errorf("among none: %v, %v", found, denied)
	}
	f.root = filepath.Join(f.root, "none")
	if _, _, _, err := f.Holders(nil); err == nil {
		t.Error("no error without a directory")
	}
}

func TestNetns(t *testing.T) {
	for target, want := range map[string]uint64{"net:[4026531840]": 4026531840, "mnt:[1]": 0, "net:4": 0} {
		if got := (tree{"self/ns/net": "-> " + target}).mount(t).Netns(); got != want {
			t.Errorf("%s: %d, want %d", target, got, want)
		}
	}
	if got := (tree{}).mount(t).Netns(); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}

// A number that no kernel has is not told: in seconds it would be past what a duration holds.
func TestNetSysctlsTooLarge(t *testing.T) {
	for _, text := range []string{"99999999999999999\n", "2147483648\n", "-1\n", "x\n", ""} {
		if s := (tree{"sys/net/ipv4/tcp_keepalive_time": text}).mount(t).NetSysctls(); s.KeepaliveTime != 0 {
			t.Errorf("%q: %v", text, s.KeepaliveTime)
		}
	}
}
