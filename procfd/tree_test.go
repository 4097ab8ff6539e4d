package procfd

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree is a proc filesystem on disk: what each path holds. A link is "-> target", a directory has a
// slash at its end, and absent takes away what was there.
type tree map[string]string

const absent = "\x00absent"

// mount writes the tree and opens it.
func (tr tree) mount(t testing.TB) *FS {
	t.Helper()
	root := t.TempDir()
	for path, content := range tr {
		write(t, filepath.Join(root, path)+slash(path), content)
	}
	f, err := New(root)
	must(t, err)
	return f
}

// slash is what filepath.Join takes from the end of a directory.
func slash(path string) string {
	if strings.HasSuffix(path, "/") {
		return "/"
	}
	return ""
}

func write(t testing.TB, path, content string) {
	t.Helper()
	target, link := strings.CutPrefix(content, "-> ")
	if content == absent {
		return
	}
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	switch {
	case strings.HasSuffix(path, "/"):
	case link:
		must(t, os.Symlink(target, path))
	default:
		must(t, os.WriteFile(path, []byte(content), 0o644))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// with is the tree with other files, too.
func (tr tree) with(more tree) tree {
	all := maps.Clone(tr)
	maps.Copy(all, more)
	return all
}

// under moves a tree into a directory.
func (tr tree) under(dir string) tree {
	moved := tree{}
	for path, content := range tr {
		moved[filepath.Join(dir, path)+slash(path)] = content
	}
	return moved
}

// statLine is /proc/PID/stat with 7 threads and 2048 pages.
func statLine(pid int, comm string, state byte, start uint64) string {
	return fmt.Sprintf("%[1]d (%[2]s) %[3]c 1 %[1]d %[1]d 0 -1 4194560 1000 0 0 0 10 5 0 0 20 0 7 0 %[4]d 123456789 2048 "+
		"18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n", pid, comm, state, start)
}

// limitsFile is /proc/PID/limits.
func limitsFile(openFiles string) string {
	return "Limit                     Soft Limit           Hard Limit           Units     \n" +
		"Max cpu time              unlimited            unlimited            seconds   \n" +
		"Max processes             7823                 7823                 processes \n" +
		fmt.Sprintf("Max open files            %-20s 1048576              files     \n", openFiles) +
		"Max realtime timeout      unlimited            unlimited            us        \n"
}

// process42 is a process with everything: started 2500 s after boot.
func process42() tree {
	return tree{
		"42/stat":    statLine(42, "payments", 'S', 250000),
		"42/status":  "Name:\tpayments\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t42\nUid:\t1000\t1001\t1002\t1003\nGid:\t1\t1\t1\t1\n",
		"42/comm":    "payments\n",
		"42/limits":  limitsFile("1024"),
		"42/cmdline": "/srv/payments\x00--port\x008080\x00",
		"42/cgroup":  "0::/system.slice/payments.service\n",
		"42/exe":     "-> /srv/payments",
		"42/ns/net":  "-> net:[4026531840]",
		"42/fd/":     "",
		"uptime":     "3000.50 5000.00\n",
	}
}

// fds are the descriptors of process 42, numbered from 0.
func fds(targets ...string) tree {
	tr := tree{}
	for fd, target := range targets {
		tr[fmt.Sprintf("42/fd/%d", fd)] = "-> " + target
	}
	return tr
}

// read42 reads process 42 of the tree.
func (tr tree) read42(t testing.TB) *Process {
	t.Helper()
	p, err := tr.mount(t).Process(42)
	must(t, err)
	return p
}

// gapsOf are the names of the gaps.
func gapsOf(p *Process) (what []string) {
	for _, g := range p.Gaps {
		what = append(what, g.What)
	}
	return what
}
