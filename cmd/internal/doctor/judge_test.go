package doctor

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/procfd"
	"github.com/sockleak/sockleak/report"
)

// root are the facts of a host where root sees everything.
func root() *Facts {
	return &Facts{
		Rights:  scan.Rights{Known: true, Yama: procfd.NoYama, Binary: "/usr/bin/sockleak", Credentials: procfd.Credentials{Effective: 1<<41 - 1, Bounding: 1<<41 - 1}},
		InfoLen: 248, CgroupID: true, Filter: true, Bound: true, IPv6: true, Counts: true, BTF: true, Processes: 90, Foreign: 2,
		Modules: map[string]Module{"inet_diag": Loaded, "tcp_diag": BuiltIn}, Soft: 1024, Hard: procfd.NoLimit, Cgroup: "v2",
	}
}

// user are those of an ordinary user.
func user(f *Facts) {
	f.Rights.Effective, f.Rights.UIDs, f.Denied, f.Foreign, f.Enter = 0, [4]uint32{7, 7, 7, 7}, 80, 0, errUntried
}

func TestJudge(t *testing.T) {
	const all, options, spaces, count, by = "leakscan of every process (--all)", "options of sockets, and dead sockets", "other network namespaces", "tcpstat", "tcpstat --by process"
	for _, tt := range []struct {
		name    string
		change  func(*Facts)
		command string
		state   report.ExamState
		why     string // what stands in the reason or the remedy
	}{
		{"root", func(*Facts) {}, all, report.ExamOK, ""},
		{"root", func(*Facts) {}, options, report.ExamOK, ""},
		{"root", func(*Facts) {}, spaces, report.ExamOK, "2 beside this one"},
		{"a user", user, "leakscan of one's own processes", report.ExamOK, ""},
		{"a user", user, count, report.ExamOK, ""},
		{"a user", user, all, report.ExamPart, "80 of 90 processes may not be read"},
		{"a user", user, by, report.ExamPart, "sudo setcap cap_dac_read_search,cap_sys_ptrace+ep /usr/bin/sockleak"},
		{"a user", user, options, report.ExamPart, "of one's own processes alone"},
		{"a user", user, spaces, report.ExamNo, "needs CAP_SYS_PTRACE and CAP_SYS_ADMIN"},
		{"hidepid", func(f *Facts) { user(f); f.Denied = 0; f.Rights.Mount.HidePID = 2 }, all, report.ExamPart, "hidepid=2"},
		{"a PID namespace", func(f *Facts) { f.Rights.Confined.PID = true }, all, report.ExamOK, "--pid=host"},
		{"Yama 1", func(f *Facts) { user(f); f.Rights.Yama = 1 }, options, report.ExamNo, "kernel.yama.ptrace_scope=0"},
		{"Yama 1, root", func(f *Facts) { f.Rights.Yama = 1 }, options, report.ExamOK, ""},
		{"Yama 3, root", func(f *Facts) { f.Rights.Yama = 3 }, options, report.ExamNo, "forbids it to everybody"},
		{"seccomp", func(f *Facts) { f.Borrow = errors.New("operation not permitted") }, options, report.ExamNo, "pidfd_getfd: operation not permitted"},
		{"no sock_diag", func(f *Facts) { f.SockDiag = errors.New("no such file") }, count, report.ExamPart, "from /proc/net/tcp, without idle times"},
		{"no sock_diag, a module", func(f *Facts) { f.SockDiag, f.Modules["tcp_diag"] = errors.New("no such file"), File }, count, report.ExamPart, "modprobe tcp_diag"},
		{"gVisor", func(f *Facts) { f.SockDiag, f.Rights.Seccomp = errors.New("not supported"), 2 }, all, report.ExamPart, "seccomp profile"},
		{"nothing", func(f *Facts) { f.SockDiag, f.ProcNet = errors.New("a"), errors.New("b") }, by, report.ExamNo, "sock_diag: a; /proc/net/tcp: b"},
		{"subset=pid", func(f *Facts) { f.Rights.Mount.PIDOnly = true }, count, report.ExamPart, "subset=pid"},
		{"a namespace that bars", func(f *Facts) { f.Enter = errors.New("barred") }, spaces, report.ExamNo, "could not be entered: barred"},
		{"BPF", func(*Facts) {}, "BPF iterators", report.ExamOK, "10,000 sockets"},
		{"no BPF", func(f *Facts) { f.Iterators = errors.New("BPF: no BTF") }, "BPF iterators", report.ExamNote, "not used: BPF: no BTF"},
	} {
		f := root()
		tt.change(f)
		exam := Judge(f)
		i := slices.IndexFunc(exam.Commands, func(c report.ExamCommand) bool { return c.Name == tt.command })
		c := exam.Commands[i]
		if c.State != tt.state || !strings.Contains(c.Why+" "+c.Remedy, tt.why) || tt.why == "" && c.Why+c.Remedy != "" {
			t.Errorf("%s, %s: %d %q %q, want %d %q", tt.name, tt.command, c.State, c.Why, c.Remedy, tt.state, tt.why)
		}
	}
	if !Judge(root()).Works() {
		t.Error("not everything works for root")
	}
}

func TestChecks(t *testing.T) {
	f := root()
	for _, c := range Judge(f).Checks {
		if c.State != report.ExamOK && c.State != report.ExamNote || c.Value == "" {
			t.Errorf("of root: %+v", c)
		}
	}
	f.InfoLen, f.Bound, f.Counts, f.Borrow = 40, false, false, errors.New("function not implemented")
	f.Rights.Seccomp, f.Rights.NoCaps, f.Container = 2, true, "docker"
	found := map[string]report.ExamCheck{}
	for _, c := range Judge(f).Checks {
		found[c.Name] = c
	}
	for name, want := range map[string]string{
		"TCP_INFO": "nothing can be dated", "bound sockets listed": "Linux 6.8", "descriptors counted by stat": "Linux 6.2", "borrowing (pidfd_getfd)": "not implemented",
		"seccomp": "a filter", "binary": "nosuid", "container": "docker", "RLIMIT_NOFILE": "1024 of at most no limit",
	} {
		if c := found[name]; !strings.Contains(c.Value+" "+c.Note, want) {
			t.Errorf("%s: %+v, want %q", name, c, want)
		}
	}
}
