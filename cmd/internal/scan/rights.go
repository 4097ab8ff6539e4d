package scan

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// What a reader needs, beside being of the same user: to list descriptors, and to read what they are on or to borrow them.
const (
	toList = procfd.DACReadSearch
	toRead = procfd.SysPtrace
)

// Rights are what the reader may do, from which follows what would let it see more.
type Rights struct {
	procfd.Credentials
	Confined procfd.Confined
	Mount    procfd.ProcMount
	Yama     int // as in [procfd.FS.Yama]
	// Binary is the program's file, "" when it is not known. NoCaps: file capabilities have no effect on it, since its file system is
	// mounted with nosuid.
	Binary string
	NoCaps bool
	// Known: the credentials could be read. Else no remedy is but root.
	Known bool
}

// RightsOf reads the rights of this program. What cannot be read is taken for what has no bearing.
func RightsOf(proc *procfd.FS) *Rights {
	r := &Rights{Confined: proc.Confined(), Yama: proc.Yama()}
	var err error
	r.Credentials, err = proc.Credentials(0)
	r.Known = err == nil
	r.Mount, _ = proc.Mount() // a copy of one hides nobody
	if exe, err := os.Executable(); err == nil {
		r.Binary, r.NoCaps = exe, nosuid(exe)
	}
	return r
}

// Missing are those of some capabilities that the reader does not have. CAP_DAC_OVERRIDE is more than CAP_DAC_READ_SEARCH.
func (r *Rights) Missing(want procfd.Capabilities) procfd.Capabilities {
	have := r.Effective
	if have.Has(procfd.DACOverride) {
		have |= procfd.DACReadSearch
	}
	return want &^ have
}

// Remedy says which capabilities are missing and how to get them; users are those as whom it can do without, "" for none.
func (r *Rights) Remedy(want procfd.Capabilities, users string) string {
	missing := r.Missing(want)
	switch {
	case !r.Known:
		return "run as root"
	case missing == 0 && r.Confined.User:
		return fmt.Sprintf("needs %s outside of this user namespace: run on the host, as root of a namespace has none over who is not in it", want)
	case missing == 0:
		return "not for want of a capability: a security module (AppArmor, SELinux) or a seccomp filter forbids it"
	case r.Confined.User:
		return fmt.Sprintf("needs %s: run as root, and on the host where the process is outside of this user namespace", missing)
	case !r.Bounding.Has(missing):
		lacks := missing &^ r.Bounding
		return fmt.Sprintf("needs %s, which nothing run from here can get: start the container with %s, or the unit with CapabilityBoundingSet=%s",
			missing, capAdd(lacks), lacks)
	}
	return fmt.Sprintf("needs %s: %s", missing, r.ways(missing, users))
}

// capAdd is how a container gets capabilities.
func capAdd(c procfd.Capabilities) string {
	names := c.Names()
	for i, name := range names {
		names[i] = "--cap-add=" + strings.ToUpper(strings.TrimPrefix(name, "cap_"))
	}
	return strings.Join(names, " ")
}

// ways are those to get what is missing, the first of which is root.
func (r *Rights) ways(missing procfd.Capabilities, users string) string {
	if r.NoNewPrivs { // neither sudo nor a file's capabilities give any
		return "run as root, from where no_new_privs is not set (allowPrivilegeEscalation: true, of a pod)"
	}
	ways := "run as root"
	if r.UIDs[1] == 0 {
		ways = "run as root with all of its capabilities"
	}
	if users != "" {
		ways += " or as the user " + users
	}
	if line := r.Setcap(missing); line != "" {
		ways += ", or `" + line + "`"
	}
	return ways
}

// Setcap is the command that gives the program's file some capabilities, beside those that it has; "" where that has no effect.
func (r *Rights) Setcap(missing procfd.Capabilities) string {
	if r.Binary == "" || r.NoCaps || r.NoNewPrivs || r.Confined.User || !r.Bounding.Has(missing) {
		return ""
	}
	all := missing
	if r.UIDs[1] != 0 {
		all |= r.Permitted
	}
	return fmt.Sprintf("sudo setcap %s+ep %s", strings.Join(all.Names(), ","), shellWord(r.Binary))
}

// shellWord quotes what a shell would not take as it is.
func shellWord(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("/._-+", c)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Hidden says why processes of others are not shown, "" when they are.
func (r *Rights) Hidden() string {
	if r.Mount.HidePID == 0 || !r.Known || r.Effective.Has(procfd.SysPtrace) {
		return ""
	}
	group := ""
	if r.Mount.HidePID < 4 && r.Mount.GID != 0 {
		if gid := uint32(r.Mount.GID); r.GIDs[3] == gid || slices.Contains(r.Groups, gid) {
			return ""
		}
		group = fmt.Sprintf("; who is in the group %d (gid= of the mount) sees that they are there, and not what they hold", r.Mount.GID)
	}
	return fmt.Sprintf("/proc is mounted with hidepid=%d, which hides processes of others: %s%s", r.Mount.HidePID, r.Remedy(toList|toRead, ""), group)
}

// unowned says why nobody was seen to hold sockets, and what would show who does; denied processes could not be read, for which
// that is needed. "": nothing hides any.
func (r *Rights) unowned(denied int, needed procfd.Capabilities) string {
	if hidden := r.Hidden(); hidden != "" {
		return hidden
	}
	switch {
	case denied > 0:
		return fmt.Sprintf("the descriptors of %s may not be read: %s", processes(denied), r.Remedy(needed, ""))
	case r.Confined.PID:
		return "no process of this PID namespace has a descriptor on them, and those outside of it are not seen: a container sees them with --pid=host"
	}
	return ""
}

// hidden is a gap for the processes that were not shown, where all were wanted.
func (s *Scan) hidden() []diag.Gap {
	if s.Source.From != "" || !s.everybody && !s.sought && s.barred == 0 {
		return nil
	}
	why := RightsOf(s.Source.FS).Hidden()
	switch {
	case why != "":
		return []diag.Gap{{What: "processes of others", Count: s.barred, Why: why}}
	case s.barred > 0:
		return []diag.Gap{{What: "processes", Count: s.barred, Why: "permission denied: nothing of them may be read"}}
	}
	return nil
}

// unseen adds to the error of a process that cannot be looked at whether it is hidden, and what would show it.
func (s *Scan) unseen(pid int, err error) error {
	if hint.Of(err) != "" || s.Source.FS.SelfPath() != "/proc/self" {
		return goneHint(err)
	}
	gone, denied := errors.Is(err, procfd.ErrGone), errors.Is(err, fs.ErrPermission)
	if !gone && !denied {
		return err
	}
	r := RightsOf(s.Source.FS)
	switch why := r.Hidden(); {
	case gone && !exists(pid):
	case gone && why == "":
		return goneHint(err)
	case why != "":
		return hint.Add(fmt.Errorf("process %d is there, and may not be seen", pid), "%s", why)
	default:
		return hint.Add(err, "%s", r.Remedy(toList|toRead, ""))
	}
	if r.Confined.PID {
		return hint.Add(err, "this is a PID namespace of its own, as containers have: the numbers of the host are seen with --pid=host, or --proc-root /host/proc")
	}
	return goneHint(err)
}

// notEntered is why sock_diag of a namespace is not to be had, and what would let it be entered.
func (s *Source) notEntered(netns string, err error) string {
	if netns == "" || !errors.Is(err, fs.ErrPermission) {
		return err.Error()
	}
	return fmt.Sprintf("%v: %s", err, RightsOf(s.FS).Remedy(procfd.SysAdmin, ""))
}

// explain says of each process that may not be read what would let it be.
func explain(proc *procfd.FS, procs []*procfd.Process) {
	var r *Rights
	for _, p := range procs {
		if !slices.ContainsFunc(p.Gaps, procfd.Gap.Denied) {
			continue
		}
		if r == nil {
			r = RightsOf(proc)
		}
		remedy := r.Remedy(needs(p), r.users(proc, p))
		for i := range p.Gaps {
			if p.Gaps[i].Denied() {
				p.Gaps[i].Remedy = remedy
			}
		}
	}
}

// needs is what it takes to see all of a process: a refusal to open the directory is one to list it.
func needs(p *procfd.Process) procfd.Capabilities {
	for _, g := range p.Gaps {
		var refused *fs.PathError
		if g.Denied() && strings.HasPrefix(g.What, "descriptors") && errors.As(g.Err, &refused) {
			return toList | toRead
		}
	}
	return toRead
}

// users is as whom a process can be read without a capability, "" when nobody can: it has to be one user and one group in all of its
// parts, without capabilities, not to have made itself private, and another one than the reader's. Of root's processes root is told.
func (r *Rights) users(proc *procfd.FS, p *procfd.Process) string {
	c, err := proc.Credentials(p.PID)
	if err != nil || p.UID == 0 || p.UID == r.UIDs[3] || !c.Uniform() || c.UIDs[0] != p.UID || c.Permitted != 0 || proc.FDOwner(p.PID) != int(p.UID) {
		return ""
	}
	file, err := os.Open("/etc/passwd")
	if err != nil {
		return ""
	}
	defer file.Close()
	name, gid := userNamed(file, p.UID)
	if name == "" || gid != c.GIDs[0] {
		return "" // who becomes that user has another group
	}
	return fmt.Sprintf("%s (uid %d)", name, p.UID)
}

// userNamed finds a user's name and group in /etc/passwd; "" when he has none, or one that is not for a command line.
func userNamed(passwd io.Reader, uid uint32) (name string, gid uint32) {
	const most = 1 << 20
	lines := bufio.NewScanner(io.LimitReader(passwd, most))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 4 || fields[2] != strconv.FormatUint(uint64(uid), 10) {
			continue
		}
		group, err := strconv.ParseUint(fields[3], 10, 32)
		if err != nil || shellWord(fields[0]) != fields[0] {
			return "", 0
		}
		return fields[0], uint32(group)
	}
	return "", 0
}

// unreadable says why something of a process could not be read.
func (s *Scan) unreadable(p *diag.Proc, err error) string {
	if !errors.Is(err, fs.ErrPermission) {
		return fmt.Sprint(err)
	}
	r := RightsOf(s.Source.FS)
	return "permission denied: " + r.Remedy(toRead, r.users(s.Source.FS, p.Process))
}

// unasked says why sockets or threads of a process could not be asked, which takes more than to read it.
func (s *Scan) unasked(p *diag.Proc, err error) string {
	switch {
	case errors.Is(err, syscall.ENOSYS):
		return "the kernel, or a filter of system calls, has no pidfd_getfd (Linux 5.6)"
	case !errors.Is(err, fs.ErrPermission):
		return fmt.Sprint(err)
	}
	r := RightsOf(s.Source.FS)
	return "permission denied: " + r.attach(p.UID, r.users(s.Source.FS, p.Process))
}

// attach is the remedy where a process of a user may not be attached to, on which Yama has a say; users as in [Rights.Remedy].
func (r *Rights) attach(uid uint32, users string) string {
	switch {
	case r.Yama == 3:
		return "Yama's ptrace_scope is 3, which forbids it to everybody until the host is booted with another"
	case r.Yama <= 0:
		return r.Remedy(toRead, users)
	case uid == r.UIDs[3] && r.Missing(toRead) != 0:
		return fmt.Sprintf("Yama's ptrace_scope is %d, and with 0 the same user may (sysctl kernel.yama.ptrace_scope=0); else it %s", r.Yama, r.Remedy(toRead, ""))
	}
	return r.Remedy(toRead, "") // to be of the same user is not enough
}
