package doctor

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Read looks at the host, until the context ends: what was not read by then is not known. It makes some sockets of its own on the loopback
// address, and nothing that it does changes what is another's. The kernel may load the modules of sock_diag for its asking, as it does
// for ss.
func Read(ctx context.Context, proc *procfd.FS) *Facts {
	start := time.Now()
	f := &Facts{At: start, Host: proc.Host(), Rights: *scan.RightsOf(proc), Counts: proc.CountDescriptors(os.Getpid()) > 0}
	_, f.Mount = proc.Mount()
	f.Soft, f.Hard, _ = proc.Limits()
	f.UIDMap = proc.UIDMap()
	f.ProcNet = readable(proc.NetPath(0, "tcp"))
	f.probe(ctx, proc)
	f.Iterators = scan.TryIterators(proc)
	f.host()
	f.namespacesOf(ctx, proc)
	f.Took = time.Since(start)
	return f
}

// readable tries to read the beginning of a file.
func readable(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Read(make([]byte, 64)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// firstLine is the first line of a small file, "" when it cannot be read.
func firstLine(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	line, _ := bufio.NewReader(io.LimitReader(file, 256)).ReadString('\n')
	return strings.TrimSpace(line)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// host reads what bears on the kernel's other ways, and on where the program runs.
func (f *Facts) host() {
	f.BTF = exists("/sys/kernel/btf/vmlinux")
	if _, mode, ok := strings.Cut(firstLine("/sys/kernel/security/lockdown"), "["); ok {
		f.Lockdown, _, _ = strings.Cut(mode, "]")
	}
	f.Unpriv = firstLine("/proc/sys/kernel/unprivileged_bpf_disabled")
	f.Modules = map[string]Module{"inet_diag": Absent, "tcp_diag": Absent}
	for name := range f.Modules {
		f.Modules[name] = f.moduleOf(name)
	}
	f.MayLoad = firstLine("/proc/sys/kernel/modules_disabled") != "1" && firstLine("/proc/sys/kernel/modprobe") != ""
	f.Container = containerOf()
	if f.Rights.Binary != "" {
		n, err := unix.Getxattr(f.Rights.Binary, "security.capability", nil)
		f.FileCaps = err == nil && n > 0
	}
	f.Cgroup = cgroups()
}

// moduleOf looks in the list of those that are loaded, and in those of the kernel's files.
func (f *Facts) moduleOf(name string) Module {
	files := path.Join("/lib/modules", path.Base(f.Host.Kernel))
	switch {
	case hasLine("/proc/modules", func(line string) bool { return strings.HasPrefix(line, name+" ") }):
		return Loaded
	case hasLine(path.Join(files, "modules.builtin"), func(line string) bool { return strings.HasSuffix(line, "/"+name+".ko") }):
		return BuiltIn
	case hasLine(path.Join(files, "modules.dep"), func(line string) bool { return strings.Contains(line, "/"+name+".ko") }):
		return File
	}
	return Absent
}

// hasLine reports whether one of a file's lines is as it should be, of the first megabytes.
func hasLine(path string, is func(line string) bool) bool {
	const most = 16 << 20
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	lines := bufio.NewScanner(io.LimitReader(file, most))
	for lines.Scan() {
		if is(lines.Text()) {
			return true
		}
	}
	return false
}

// containerOf is what kind of container this seems to be, "" for none.
func containerOf() string {
	switch kind := os.Getenv("container"); {
	case os.Getenv("KUBERNETES_SERVICE_HOST") != "":
		return "of a Kubernetes pod"
	case exists("/.dockerenv"):
		return "docker, as it seems"
	case exists("/run/.containerenv"):
		return "podman, as it seems"
	case kind != "":
		return kind
	}
	return ""
}

// cgroups is what versions are mounted at the usual place.
func cgroups() string {
	var st unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup", &st) != nil {
		return "none"
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return "v2"
	}
	if unix.Statfs("/sys/fs/cgroup/unified", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
		return "v1, and v2 beside it"
	}
	if old, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs"); len(old) > 0 {
		return "v1"
	}
	return "none"
}

// namespacesOf looks for other network namespaces, and tries to enter one.
func (f *Facts) namespacesOf(ctx context.Context, proc *procfd.FS) {
	f.Enter = errUntried
	f.processes(ctx, proc)
	found, err := proc.Namespaces(ctx)
	if f.Namespace = err; found == nil {
		return
	}
	own := proc.Netns()
	for _, n := range found.List {
		if n.Inode == own {
			continue
		}
		if f.Foreign++; f.Foreign == 1 && ctx.Err() == nil {
			f.Enter = enter(n)
		}
	}
}

// processes counts those that are seen, threads of the kernel left out, and of them those that may not be read.
func (f *Facts) processes(ctx context.Context, proc *procfd.FS) {
	pids, _ := proc.PIDs()
	for _, pid := range pids {
		if ctx.Err() != nil {
			return
		}
		p, err := proc.Identify(pid)
		switch {
		case errors.Is(err, fs.ErrPermission):
			f.Denied++
		case err != nil || p.Kernel || p.Ended():
			continue
		case slices.ContainsFunc(p.Gaps, procfd.Gap.Denied) && proc.SameProcess(p): // of one that ends, the link is denied, too
			f.Denied++
		}
		f.Processes++
	}
}

// enter opens sock_diag in a namespace, as a scan would.
func enter(n procfd.Namespace) error {
	conn, err := netlinkss.Dial(&netlinkss.Config{Netns: n.Path, Inode: n.Inode})
	if err != nil {
		return err
	}
	return conn.Close()
}
