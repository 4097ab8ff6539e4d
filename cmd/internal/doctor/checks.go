package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
	"github.com/sockleak/sockleak/report"
)

// checks are the facts, one a line.
func checks(f *Facts) []report.ExamCheck {
	return slices.Concat(f.kernel(), f.reader(), f.proc())
}

func check(area, name string, ok bool, yes, no, note string) report.ExamCheck {
	if ok {
		return report.ExamCheck{Area: area, Name: name, State: report.ExamOK, Value: yes}
	}
	return report.ExamCheck{Area: area, Name: name, State: report.ExamNo, Value: no, Note: note}
}

func note(area, name, value, remark string) report.ExamCheck {
	return report.ExamCheck{Area: area, Name: name, Value: value, Note: remark}
}

func (f *Facts) kernel() []report.ExamCheck {
	const area = "kernel"
	list := []report.ExamCheck{
		check(area, "sock_diag", f.SockDiag == nil, "lists sockets", errorText(f.SockDiag, ""), "sockets come from /proc/net/tcp, without idle times"),
		check(area, "/proc/net/tcp", f.ProcNet == nil, "can be read", errorText(f.ProcNet, ""), "there is nothing to fall back to"),
		check(area, "borrowing (pidfd_getfd)", f.Borrow == nil, "works", errorText(f.Borrow, ""), "options and dead sockets are not told"),
		check(area, "descriptors counted by stat", f.Counts, "yes", "no", "of those that may not be listed the number is not known (Linux 6.2)"),
	}
	if f.SockDiag == nil {
		list = append(list, f.features()...)
	}
	for _, name := range []string{"inet_diag", "tcp_diag"} {
		list = append(list, f.module(name))
	}
	bpf := "no BTF"
	if f.BTF {
		bpf = "BTF is there"
	}
	return append(list, note(area, "BPF", fmt.Sprintf("%s; lockdown %s; unprivileged_bpf_disabled %s", bpf, orUnknown(f.Lockdown), orUnknown(f.Unpriv)), ""))
}

// features are those of sock_diag.
func (f *Facts) features() []report.ExamCheck {
	const area = "kernel"
	families := "IPv4 and IPv6"
	if !f.IPv6 {
		families = "IPv4"
	}
	return []report.ExamCheck{
		note(area, "families", families, ""),
		check(area, "look-up of one socket", f.Lookup == nil, "works", errorText(f.Lookup, ""), "that a socket is gone is confirmed by a second look alone"),
		check(area, "TCP_INFO", f.InfoLen >= netlinkss.InfoHasClocks, fmt.Sprintf("%d bytes", f.InfoLen), fmt.Sprintf("%d bytes", f.InfoLen), "without the clocks nothing can be dated"),
		check(area, "CGROUP_ID", f.CgroupID, "yes", "no", "sockets are not told by cgroup (Linux 5.9)"),
		check(area, "bound sockets listed", f.Bound, "yes", "no", "whether a closed socket is bound is not told (Linux 6.8)"),
		check(area, "ports compared by the kernel", f.Filter, "yes", "no", "all sockets are listed for a few ports"),
		check(area, "SO_NETNS_COOKIE", f.Cookie == nil, "yes", errorText(f.Cookie, ""), "sockets of other namespaces are not told from dead ones (Linux 5.14)"),
	}
}

// module: where sock_diag works, it does not matter where it is.
func (f *Facts) module(name string) report.ExamCheck {
	where := f.Modules[name]
	c := report.ExamCheck{Area: "kernel", Name: "module " + name, State: report.ExamOK, Value: string(where)}
	switch {
	case where == Loaded || where == BuiltIn:
	case f.SockDiag == nil:
		c.Value = "works, so it is built in, or was loaded for the asking"
	case where == File && !f.MayLoad:
		c.State, c.Note = report.ExamNo, "the kernel loads none for the asking"
	case where == File:
		c.State, c.Note = report.ExamPart, "modprobe "+name
	default:
		c.State = report.ExamNo
	}
	return c
}

func (f *Facts) reader() []report.ExamCheck {
	const area = "who runs it"
	r := &f.Rights
	if !r.Known {
		return []report.ExamCheck{{Area: area, Name: "rights", State: report.ExamNo, Value: "/proc/self/status cannot be read"}}
	}
	user, pid := "the host's first", "the host's first"
	if r.Confined.User {
		user = "another than the host's first: users " + orUnknown(f.UIDMap)
	}
	if r.Confined.PID {
		pid = "another than the host's first"
	}
	list := []report.ExamCheck{
		note(area, "user", fmt.Sprintf("uid %d, gid %d", r.UIDs[1], r.GIDs[1]), ""),
		note(area, "capabilities", f.capabilities(), ""),
		note(area, "user namespace", user, ""),
		note(area, "PID namespace", pid, ""),
		note(area, "seccomp", seccompWords(r.Seccomp), ""),
		note(area, "no_new_privs", yesNo(r.NoNewPrivs), ""),
		note(area, "container", orNone(f.Container), ""),
	}
	binary := "without file capabilities"
	if f.FileCaps {
		binary = "with file capabilities"
	}
	remark := ""
	if r.NoCaps {
		remark = "its file system is mounted with nosuid, so file capabilities have no effect"
	}
	return append(list, note(area, "binary", orUnknown(r.Binary)+", "+binary, remark))
}

// capabilities are those that matter here by their names, and how many others there are.
func (f *Facts) capabilities() string {
	const matter = procfd.DACOverride | toSee | toEnter | procfd.NetAdmin | procfd.BPF | procfd.Perfmon
	have := f.Rights.Effective & matter
	others := len((f.Rights.Effective &^ matter).Names())
	if others == 0 {
		return have.String()
	}
	return fmt.Sprintf("%s, and %d others", have, others)
}

func (f *Facts) proc() []report.ExamCheck {
	const area = "/proc and limits"
	m := &f.Rights.Mount
	mount := fmt.Sprintf("hidepid=%d", m.HidePID)
	if m.GID != 0 {
		mount += fmt.Sprintf(", gid=%d", m.GID)
	}
	if m.PIDOnly {
		mount += ", subset=pid"
	}
	if f.Mount != nil {
		mount = f.Mount.Error()
	}
	masked := strings.Join(m.Masked, ", ")
	if len(m.Masked) == procfd.MaxMounts {
		masked += ", …"
	}
	yama := "none"
	if f.Rights.Yama != procfd.NoYama {
		yama = fmt.Sprintf("ptrace_scope %d", f.Rights.Yama)
	}
	spaces := fmt.Sprintf("%d beside this one", f.Foreign)
	if f.Foreign > 0 && !errors.Is(f.Enter, errUntried) {
		spaces += ": " + errorText(f.Enter, "the first was entered")
	}
	return []report.ExamCheck{
		note(area, "mounted with", mount, ""),
		note(area, "masked", orNone(masked), ""),
		note(area, "processes", fmt.Sprintf("%d seen, of which %d may not be read", f.Processes, f.Denied), ""),
		note(area, "Yama", yama, ""),
		note(area, "RLIMIT_NOFILE", limitText(f.Soft)+" of at most "+limitText(f.Hard), ""),
		note(area, "cgroups", f.Cgroup, ""),
		note(area, "network namespaces", spaces, ""),
	}
}

func limitText(n uint64) string {
	switch n {
	case 0:
		return "unknown"
	case procfd.NoLimit:
		return "no limit"
	}
	return fmt.Sprint(n)
}

func seccompWords(mode int) string {
	switch mode {
	case 0:
		return "no filter"
	case 1:
		return "strict"
	case 2:
		return "a filter"
	}
	return "unknown"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
