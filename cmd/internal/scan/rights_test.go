package scan

import (
	"strings"
	"testing"

	"github.com/sockleak/sockleak/procfd"
)

// ordinary are the rights of an ordinary user of a host.
func ordinary() Rights {
	c := procfd.Credentials{UIDs: [4]uint32{1000, 1000, 1000, 1000}, GIDs: [4]uint32{100, 100, 100, 100}, Bounding: 1<<41 - 1}
	return Rights{Known: true, Credentials: c, Yama: procfd.NoYama, Binary: "/usr/bin/sockleak"}
}

func rightsWith(change func(*Rights)) *Rights {
	r := ordinary()
	change(&r)
	return &r
}

func TestRemedy(t *testing.T) {
	const all = toList | toRead
	const ptrace = procfd.SysPtrace
	for _, tt := range []struct {
		name   string
		rights *Rights
		want   procfd.Capabilities
		users  string
		remedy string
	}{
		{
			"ordinary", rightsWith(func(*Rights) {}), all, "app (uid 7)",
			"needs CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE: run as root or as the user app (uid 7), or `sudo setcap cap_dac_read_search,cap_sys_ptrace+ep /usr/bin/sockleak`",
		},
		{"only what would help", rightsWith(func(*Rights) {}), ptrace, "", "needs CAP_SYS_PTRACE: run as root, or `sudo setcap cap_sys_ptrace+ep /usr/bin/sockleak`"},
		{
			"what the file has stays", rightsWith(func(r *Rights) { r.Permitted, r.Effective = ptrace, ptrace }), all, "",
			"needs CAP_DAC_READ_SEARCH: run as root, or `sudo setcap cap_dac_read_search,cap_sys_ptrace+ep /usr/bin/sockleak`",
		},
		{"more than it", rightsWith(func(r *Rights) { r.Effective = procfd.DACOverride }), all, "", "needs CAP_SYS_PTRACE: run as root, or `sudo setcap cap_sys_ptrace+ep /usr/bin/sockleak`"},
		{"a path with blanks", rightsWith(func(r *Rights) { r.Binary = "/o pt/it's" }), ptrace, "", "needs CAP_SYS_PTRACE: run as root, or `sudo setcap cap_sys_ptrace+ep '/o pt/it'\\''s'`"},
		{"nosuid", rightsWith(func(r *Rights) { r.NoCaps = true }), ptrace, "", "needs CAP_SYS_PTRACE: run as root"},
		{
			"no new privileges", rightsWith(func(r *Rights) { r.NoNewPrivs = true }), ptrace, "app",
			"needs CAP_SYS_PTRACE: run as root, from where no_new_privs is not set (allowPrivilegeEscalation: true, of a pod)",
		},
		{
			"a container", rightsWith(func(r *Rights) { r.Bounding &^= ptrace }), all, "app",
			"needs CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, which nothing run from here can get: start the container with --cap-add=SYS_PTRACE, or the unit with CapabilityBoundingSet=CAP_SYS_PTRACE",
		},
		{
			"root of a user namespace", rightsWith(func(r *Rights) { r.Confined.User, r.Effective = true, 1<<41-1 }), ptrace, "app",
			"needs CAP_SYS_PTRACE outside of this user namespace: run on the host, as root of a namespace has none over who is not in it",
		},
		{
			"a user namespace", rightsWith(func(r *Rights) { r.Confined.User = true }), ptrace, "app",
			"needs CAP_SYS_PTRACE: run as root, and on the host where the process is outside of this user namespace",
		},
		{"a security module", rightsWith(func(r *Rights) { r.Effective = all }), all, "app", "not for want of a capability: a security module"},
		{"unknown", &Rights{}, all, "app", "run as root"},
	} {
		if got := tt.rights.Remedy(tt.want, tt.users); got != tt.remedy && (tt.name != "a security module" || !strings.HasPrefix(got, tt.remedy)) {
			t.Errorf("%s: %s\nwant %s", tt.name, got, tt.remedy)
		}
	}
}

func TestHidden(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rights *Rights
		want   string
	}{
		{"shown", rightsWith(func(*Rights) {}), ""},
		{"hidden", rightsWith(func(r *Rights) { r.Mount.HidePID = 2 }), "hidepid=2"},
		{"with a group", rightsWith(func(r *Rights) { r.Mount = procfd.ProcMount{HidePID: 1, GID: 4} }), "in the group 4"},
		{"of the group", rightsWith(func(r *Rights) { r.Mount, r.Groups = procfd.ProcMount{HidePID: 2, GID: 4}, []uint32{4} }), ""},
		{"the group has no say", rightsWith(func(r *Rights) { r.Mount, r.Groups = procfd.ProcMount{HidePID: 4, GID: 4}, []uint32{4} }), "hidepid=4"},
		{"traces all", rightsWith(func(r *Rights) { r.Mount.HidePID, r.Effective = 4, procfd.SysPtrace }), ""},
	} {
		if got := tt.rights.Hidden(); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestAttach(t *testing.T) {
	for _, tt := range []struct {
		yama int
		uid  uint32
		caps procfd.Capabilities
		want string
	}{
		{procfd.NoYama, 7, 0, "needs CAP_SYS_PTRACE: run as root or as the user app"},
		{0, 7, 0, "needs CAP_SYS_PTRACE: run as root or as the user app"},
		{1, 7, 0, "needs CAP_SYS_PTRACE: run as root, or `"}, // for it has to be an ancestor, too
		{1, 1000, 0, "ptrace_scope is 1, and with 0 the same user may"},
		{2, 1000, 0, "ptrace_scope is 2, and with 0 the same user may"},
		{1, 7, procfd.SysPtrace, "security module"},
		{3, 7, procfd.SysPtrace, "ptrace_scope is 3, which forbids it to everybody"},
	} {
		r := rightsWith(func(r *Rights) { r.Yama, r.Effective = tt.yama, tt.caps })
		if got := r.attach(tt.uid, "app"); !strings.Contains(got, tt.want) {
			t.Errorf("Yama %d, uid %d, %v: %s, want %q", tt.yama, tt.uid, tt.caps, got, tt.want)
		}
	}
}

func TestUserNamed(t *testing.T) {
	const passwd = "root:x:0:0::/root:/bin/sh\napp:x:7:70::/:/bin/sh\n$(x):x:8:8::/:\nshort:x\nodd:x:9:nine:\n"
	for uid, want := range map[uint32]string{0: "root", 7: "app", 8: "", 9: "", 10: ""} {
		if name, gid := userNamed(strings.NewReader(passwd), uid); name != want || uid == 7 && gid != 70 {
			t.Errorf("%d is %q of %d, want %q", uid, name, gid, want)
		}
	}
}
