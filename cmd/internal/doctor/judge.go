package doctor

import (
	"errors"
	"fmt"
	"os"

	"github.com/sockleak/sockleak/procfd"
	"github.com/sockleak/sockleak/report"
)

// What it takes to see all of other processes, and to enter their network namespaces.
const (
	toSee   = procfd.DACReadSearch | procfd.SysPtrace
	toEnter = procfd.SysAdmin | procfd.SysPtrace

	toIterate = procfd.BPF | procfd.Perfmon
)

// Judge says what will work.
func Judge(f *Facts) *report.Exam {
	return &report.Exam{At: f.At, Took: f.Took, Host: f.Host, Checks: checks(f), Commands: []report.ExamCommand{
		f.own(), f.others("leakscan of every process (--all)"), f.options(), f.namespaces(), f.count(), f.others("tcpstat --by process"),
		f.record(), f.iterators(),
	}}
}

// own is a scan of the reader's own processes: it rests on the list of sockets alone.
func (f *Facts) own() report.ExamCommand { return f.sockets("leakscan of one's own processes") }

func (f *Facts) count() report.ExamCommand { return f.sockets("tcpstat") }

// sockets is what rests on the list of sockets.
func (f *Facts) sockets(name string) report.ExamCommand {
	c := report.ExamCommand{Name: name, State: report.ExamOK}
	switch {
	case f.SockDiag != nil && f.ProcNet != nil:
		c.State, c.Why = report.ExamNo, fmt.Sprintf("sockets cannot be listed: sock_diag: %v; /proc/net/tcp: %v", f.SockDiag, f.ProcNet)
		c.Remedy = f.diagRemedy()
	case f.SockDiag != nil:
		c.State, c.Why = report.ExamPart, fmt.Sprintf("from /proc/net/tcp, without idle times and ages, so that no leak can be dated: sock_diag: %v", f.SockDiag)
		c.Remedy = f.diagRemedy()
	case f.Mount == nil && f.Rights.Mount.PIDOnly:
		c.State, c.Why = report.ExamPart, "/proc is mounted with subset=pid: the host's uptime and settings are not there"
		c.Remedy = "mount -o remount,subset= /proc, or --proc-root with another one"
	}
	return c
}

// diagRemedy is how to get sock_diag.
func (f *Facts) diagRemedy() string {
	switch {
	case f.Modules["tcp_diag"] == File || f.Modules["inet_diag"] == File:
		return "sudo modprobe tcp_diag"
	case f.Rights.Seccomp == 2:
		return "allow socket(AF_NETLINK, …, NETLINK_SOCK_DIAG) in the seccomp profile; gVisor has none"
	}
	return "a kernel with CONFIG_INET_DIAG and CONFIG_INET_TCP_DIAG"
}

// others is what takes the descriptors of every process.
func (f *Facts) others(name string) report.ExamCommand {
	c := f.sockets(name)
	if c.State == report.ExamNo {
		return c
	}
	hidden := f.Rights.Hidden()
	switch {
	case f.Mount == nil && hidden != "":
		c.Why, c.Remedy = join(c.Why, fmt.Sprintf("/proc hides processes of others (hidepid=%d)", f.Rights.Mount.HidePID)), f.Rights.Remedy(toSee, "")
	case f.Denied > 0:
		c.Why = join(c.Why, fmt.Sprintf("the descriptors of %d of %d processes may not be read, only counted", f.Denied, f.Processes))
		c.Remedy = f.Rights.Remedy(toSee, "")
	case f.Rights.Confined.PID:
		c.Why = join(c.Why, "the processes of this PID namespace; a container sees the host's with --pid=host")
		return c
	default:
		return c
	}
	c.State = report.ExamPart
	return c
}

// options is what takes to borrow descriptors: the options of sockets, and what has become of those that are listed nowhere.
func (f *Facts) options() report.ExamCommand {
	c := report.ExamCommand{Name: "options of sockets, and dead sockets", State: report.ExamOK}
	r := &f.Rights
	switch {
	case f.Borrow != nil:
		c.State, c.Why = report.ExamNo, fmt.Sprintf("pidfd_getfd: %v", f.Borrow)
		c.Remedy = "Linux 5.6, and a seccomp profile that allows it: with CAP_SYS_PTRACE docker's does"
	case r.Yama == 3:
		c.State, c.Why, c.Remedy = report.ExamNo, "Yama's ptrace_scope is 3, which forbids it to everybody", "boot with kernel.yama.ptrace_scope below 3"
	case r.Missing(procfd.SysPtrace) == 0 && !r.Confined.User:
	case r.Yama > 0:
		c.State, c.Why = report.ExamNo, fmt.Sprintf("Yama's ptrace_scope is %d: of no process but one's own children", r.Yama)
		c.Remedy = r.Remedy(procfd.SysPtrace, "") + "; or sysctl kernel.yama.ptrace_scope=0, for one's own processes"
	default:
		c.State, c.Why, c.Remedy = report.ExamPart, "of one's own processes alone", r.Remedy(toSee, "")
	}
	return c
}

func (f *Facts) namespaces() report.ExamCommand {
	c := report.ExamCommand{Name: "other network namespaces", State: report.ExamOK}
	missing := f.Rights.Missing(toEnter)
	switch {
	case f.Namespace != nil:
		c.State, c.Why = report.ExamPart, fmt.Sprintf("they could not all be found: %v", f.Namespace)
	case missing != 0:
		c.State, c.Why = report.ExamNo, "they may not be entered; of a process in another one /proc/PID/net/tcp is read, without idle times"
		c.Remedy = f.Rights.Remedy(toEnter, "")
	case f.Foreign > 0 && f.Enter != nil:
		c.State, c.Why, c.Remedy = report.ExamNo, fmt.Sprintf("%d seen, and the first could not be entered: %v", f.Foreign, f.Enter), f.Rights.Remedy(toEnter, "")
	case f.Foreign == 0:
		c.Why = "there are none that can be seen"
	default:
		c.Why = fmt.Sprintf("%d beside this one", f.Foreign)
	}
	return c
}

func (f *Facts) record() report.ExamCommand {
	return f.others("record (of every process)")
}

// iterators are a quicker source than /proc, and no command needs them.
func (f *Facts) iterators() report.ExamCommand {
	c := report.ExamCommand{Name: "BPF iterators", State: report.ExamOK, Why: "read what processes hold where there are 10,000 sockets and more"}
	if f.Iterators == nil {
		return c
	}
	c.State, c.Why = report.ExamNote, fmt.Sprintf("not used: %v; /proc tells the same, and takes longer where there are many sockets", f.Iterators)
	if missing := f.Rights.Missing(toIterate); errors.Is(f.Iterators, os.ErrPermission) && missing != 0 {
		c.Remedy = f.Rights.Remedy(toIterate, "")
	}
	return c
}

// join is two reasons in one sentence.
func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// errorText is what an error says, or what is found without one.
func errorText(err error, found string) string {
	if err != nil {
		return err.Error()
	}
	return found
}

var errUntried = errors.New("not tried")
