package main

// The permission matrix: what each reader is told of a process that leaks and of one that is well. The reader is this test's own
// binary, run again as the program with the rights of a row. All of it is in namespaces of its own, where nobody else is seen.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What the binary does when it is run again by a test, before anything else.
const (
	rightsEnv  = "SOCKLEAK_TEST_RIGHTS" // words of [rightsOps], in their order: "drop=19 hidepid=2 uid=65534"
	targetEnv  = "SOCKLEAK_TEST_TARGET" // is a process to be looked at: leaking or healthy, and private
	insideEnv  = "SOCKLEAK_TEST_INSIDE" // in namespaces of its own
	binaryEnv  = "SOCKLEAK_TEST_BINARY" // the program to be run; "": this one
	nobodysUID = 65534
)

func init() {
	switch {
	case os.Getenv(targetEnv) != "":
		beTarget(os.Getenv(targetEnv))
	case os.Getenv(rightsEnv) != "":
		runtime.LockOSThread() // the main thread, as this is init
		panic(runWithRights(os.Getenv(rightsEnv)))
	}
}

// runWithRights becomes the program with the rights that the words say.
func runWithRights(words string) error {
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		if err := rightsOps[name](value); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
	}
	os.Unsetenv(rightsEnv)
	binary := "/proc/self/exe"
	if b := os.Getenv(binaryEnv); b != "" {
		binary = b
	}
	return unix.Exec(binary, append([]string{"sockleak"}, os.Args[1:]...), os.Environ())
}

var rightsOps = map[string]func(string) error{
	// drop takes a capability out of the bounding set: the program does not get it back.
	"drop": func(number string) error {
		n, err := strconv.Atoi(number)
		return errors.Join(err, unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0))
	},
	"uid": func(number string) error {
		n, err := strconv.Atoi(number)
		return errors.Join(err, unix.Setgroups(nil), unix.Setresgid(n, n, n), unix.Setresuid(n, n, n))
	},
	"nonewprivs": func(string) error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
	// hidepid mounts proc anew for this process alone.
	"hidepid": func(number string) error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return err
		}
		return errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, "hidepid="+number))
	},
	// pidns runs the program in a PID namespace of its own, with a proc of that; what listens and connects is the same network.
	"pidns": func(string) error {
		os.Setenv(rightsEnv, "proc")
		return runInside(unix.CLONE_NEWPID | unix.CLONE_NEWNS)
	},
	"proc": func(string) error {
		return errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, ""))
	},
	// userns runs the program as root of a user namespace, which takes a process of one thread: a child, for which this one stands.
	"userns": func(string) error {
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil { // as it is, but for the change of users
			return err
		}
		os.Unsetenv(rightsEnv)
		return runInside(unix.CLONE_NEWUSER)
	},
}

// runInside runs this binary once more in new namespaces, and ends as that does.
func runInside(namespaces uintptr) error {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = "sockleak"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if namespaces&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Run(); cmd.ProcessState == nil {
		return err
	}
	os.Exit(cmd.ProcessState.ExitCode())
	return nil
}

// beTarget holds a connection whose peer is gone, or one to itself, until its input ends.
func beTarget(how string) {
	if strings.Contains(how, "netns") {
		err := errors.Join(loopbackUp(), syscall.Setgroups(nil), syscall.Setgid(nobodysUID), syscall.Setuid(nobodysUID), unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
		if err != nil {
			panic(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		panic(err)
	}
	far, err := l.Accept()
	if err != nil {
		panic(err)
	}
	if strings.Contains(how, "leaking") {
		near.Close() // and far stays in CLOSE-WAIT
	}
	if strings.Contains(how, "private") {
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			panic(err)
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive([]any{l, near, far})
	os.Exit(0)
}

// startTarget runs a process to be looked at, of user 65534 or of root, until the test ends.
func startTarget(t *testing.T, how string) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), targetEnv+"="+how, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	switch {
	case strings.Contains(how, "netns"): // it changes its user itself, behind its last step as root
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	case !strings.Contains(how, "root") && os.Geteuid() == 0:
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodysUID, Gid: nobodysUID}}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("target: %v", err)
		}
	})
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// reader runs the program with some rights, and returns what it wrote and its exit status.
func reader(t *testing.T, rights, binary string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "sockleak"
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "COLUMNS=")
	if rights != "" {
		cmd.Env = append(cmd.Env, rightsEnv+"="+rights, binaryEnv+"="+binary)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// scanOnce has a leak proved at once.
var scanOnce = []string{"--grace", "1ms", "--settle", "0", "--idle", "1h"}

// TestRights runs its rows in namespaces of their own, where it may make them.
func TestRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have readers and processes of several users")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestRightsInside$", "-test.v")
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Skipf("needs namespaces: %v", err)
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestRightsInside")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRightsOfUser is what of the matrix an ordinary user can have: a process of his own, and one that has made itself private.
func TestRightsOfUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("TestRights has this and more")
	}
	for how, want := range map[string]int{"leaking": 1, "healthy": 0, "leaking private": 3, "healthy private": 3} {
		pid := startTarget(t, how)
		out, status := reader(t, "", "", append([]string{"leakscan", strconv.Itoa(pid)}, scanOnce...)...)
		gap := ""
		if want == 3 {
			gap = "permission denied: needs CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"
		}
		checkReport(t, out, status, want, gap, how)
	}
}

// enter finishes the namespaces that this process was started in.
func enter(t *testing.T) {
	t.Helper()
	if os.Getenv(insideEnv) == "" {
		t.Skip("is run by TestRights")
	}
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, "")); err != nil {
		t.Fatal(err)
	}
	if err := loopbackUp(); err != nil {
		t.Fatal(err)
	}
}

// loopbackUp has a new network namespace reach itself.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// rightsRow is one reader of the matrix.
type rightsRow struct {
	name, rights string
	target       string // words beside leaking and healthy
	// The exit statuses of leakscan PID for the leaking process and for the healthy one, and of leakscan --all with both.
	leaking, healthy, all int
	// What must stand in the reports on a process, and what in that of --all and of tcpstat --by process; "": nothing was left out.
	gap, allGap, ownerGap string
}

const (
	needsBoth    = "permission denied: needs CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE: run as root"
	needsRead    = "permission denied: needs CAP_SYS_PTRACE"
	needsOutside = "permission denied: needs CAP_(DAC_READ_SEARCH and CAP_)?SYS_PTRACE outside of this user namespace"
)

func rightsRows() []rightsRow {
	return []rightsRow{
		{name: "root", leaking: 1, all: 1},
		{name: "root without CAP_NET_ADMIN", rights: "drop=12", leaking: 1, all: 1},
		{
			name: "root without CAP_SYS_PTRACE", rights: "drop=19", leaking: 3, healthy: 3, all: 3,
			gap: needsRead + ", which nothing run from here can get: start the container with --cap-add=SYS_PTRACE", ownerGap: "may not be read: needs CAP_SYS_PTRACE, which",
		},
		{name: "root with neither", rights: "drop=12 drop=19", leaking: 3, healthy: 3, all: 3, gap: needsRead + ", which", ownerGap: "may not be read: needs CAP_SYS_PTRACE, which"},
		{name: "the same user", rights: "uid=65534", leaking: 1, all: 1, allGap: needsBoth},
		{
			name: "the same user, private", rights: "uid=65534", target: "private", leaking: 3, healthy: 3, all: 3,
			gap: needsBoth + ", or `sudo setcap cap_dac_read_search,cap_sys_ptrace[+]ep /", ownerGap: "may not be read: needs CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE",
		},
		{
			name: "another user", rights: "uid=65533", leaking: 3, healthy: 3, all: 3,
			gap: needsBoth + " or as the user nobody [(]uid 65534[)], or `sudo setcap cap_dac_read_search,cap_sys_ptrace[+]ep /", ownerGap: "may not be read: needs",
		},
		{name: "another user, of root", rights: "uid=65533", target: "root", leaking: 3, healthy: 3, all: 3, gap: needsBoth + ", or `sudo", ownerGap: "may not be read: needs"},
		{name: "no_new_privs", rights: "uid=65533 nonewprivs", leaking: 3, healthy: 3, all: 3, gap: needsBoth + ", from where no_new_privs is not set", ownerGap: "no_new_privs"},
		{name: "hidepid=1", rights: "hidepid=1 uid=65533", leaking: 2, healthy: 2, all: 3, gap: "is there, and may not be seen.*hidepid=1.*setcap", allGap: "[3-9] processes of others /proc is mounted with hidepid=1", ownerGap: "hidepid=1"},
		{name: "hidepid=2", rights: "hidepid=2 uid=65533", leaking: 2, healthy: 2, all: 3, gap: "is there, and may not be seen.*hidepid=2", allGap: "hidepid=2, which hides", ownerGap: "hidepid=2"},
		{name: "hidepid=4", rights: "hidepid=4 uid=65533", leaking: 2, healthy: 2, all: 3, gap: "is there, and may not be seen.*hidepid=4", allGap: "hidepid=4, which hides", ownerGap: "hidepid=4"},
		{name: "hidepid=2, the same user", rights: "hidepid=2 uid=65534", leaking: 1, all: 1, allGap: "hidepid=2, which hides"},
		{name: "hidepid=2, root", rights: "hidepid=2", leaking: 1, all: 1},
		{
			name: "hidepid=2, of its group", rights: "hidepid=2,gid=65533 uid=65533", leaking: 3, healthy: 3, all: 3,
			gap: needsBoth + " or as the user nobody", ownerGap: "may not be read: needs",
		},
		{
			name: "hidepid=4, of its group", rights: "hidepid=4,gid=65533 uid=65533", leaking: 2, healthy: 2, all: 3,
			gap: "is there, and may not be seen.*hidepid=4", allGap: "hidepid=4, which hides", ownerGap: "hidepid=4",
		},
		{
			name: "a PID namespace in the same network", rights: "pidns", leaking: 2, healthy: 2, all: 3,
			gap: "no such process.*--pid=host", allGap: "1 in CLOSE-WAIT were silent", ownerGap: "no process of this PID namespace.*--pid=host",
		},
		{name: "root of a user namespace", rights: "uid=65534 userns", leaking: 3, healthy: 3, all: 3, gap: needsOutside, ownerGap: "may not be read: needs CAP_.* outside of this user namespace"},
	}
}

func TestRightsInside(t *testing.T) {
	enter(t)
	for _, row := range rightsRows() {
		t.Run(row.name, func(t *testing.T) { row.check(t) })
	}
	t.Run("setcap", checkSetcap)
	t.Run("chosen", checkChosen)
	t.Run("another network namespace", checkForeign)
}

func (row *rightsRow) check(t *testing.T) {
	healthy := startTarget(t, "healthy "+row.target)
	leaking := startTarget(t, "leaking "+row.target)
	look := func(want int, gap string, args ...string) {
		t.Helper()
		out, status := reader(t, row.rights, "", append(args, scanOnce...)...)
		checkReport(t, out, status, want, gap, strings.Join(args, " "))
	}
	look(row.leaking, row.gap, "leakscan", strconv.Itoa(leaking))
	look(row.healthy, row.gap, "leakscan", strconv.Itoa(healthy))
	allGap := row.allGap
	if allGap == "" {
		allGap = row.gap
	}
	look(row.all, allGap, "leakscan", "--all")
	out, _ := reader(t, row.rights, "", append([]string{"leakscan", "--all"}, scanOnce...)...)
	if told := strings.Contains(out, "holders of sockets that look leaked"); told != (row.all == 3) {
		t.Errorf("that somebody leaks is told: %v:\n%s", told, out)
	}
	out, status := reader(t, row.rights, "", "tcpstat")
	checkReport(t, out, status, 0, "", "tcpstat")
	out, status = reader(t, row.rights, "", "tcpstat", "--by", "process")
	checkReport(t, out, status, 0, row.ownerGap, "tcpstat --by process")
	row.examine(t)
}

// examine has the doctor say the same: all is well where nothing was left out of --all.
func (row *rightsRow) examine(t *testing.T) {
	out, status := reader(t, row.rights, "", "doctor")
	want, worst := 0, "PART "
	if row.gap+row.allGap != "" && row.rights != "pidns" { // the doctor does not compare sockets with processes
		want, worst = 1, "OK "
	}
	every := regexp.MustCompile(`leakscan of every process \(--all\) +` + worst)
	if status != want || every.MatchString(out) || !strings.Contains(out, "leakscan of one's own processes       OK") {
		t.Errorf("doctor: status %d, want %d:\n%s", status, want, out)
	}
}

var blanks = regexp.MustCompile(`\s+`)

// checkReport compares an exit status, and looks for a gap in a report, whose lines may be broken anywhere; "": there are none.
func checkReport(t *testing.T, out string, status, want int, gap, what string) {
	t.Helper()
	flat := blanks.ReplaceAllString(out, " ")
	switch {
	case status != want:
		t.Errorf("%s: status %d, want %d:\n%s", what, status, want, out)
	case gap == "" && strings.Contains(out, "GAPS"):
		t.Errorf("%s has gaps:\n%s", what, out)
	case gap != "" && !regexp.MustCompile(gap).MatchString(flat):
		t.Errorf("%s: no %q in\n%s", what, gap, out)
	}
}

// checkSetcap applies the remedy that the program names, with which another user sees all.
func checkSetcap(t *testing.T) {
	pid := startTarget(t, "leaking")
	args := append([]string{"leakscan", strconv.Itoa(pid)}, scanOnce...)
	dir := tmpfs(t)
	binary := filepath.Join(dir, "sockleak")
	copyFile(t, "/proc/self/exe", binary)
	out, status := reader(t, "uid=65533", binary, args...)
	checkReport(t, out, status, 3, "sudo setcap cap_dac_read_search,cap_sys_ptrace[+]ep "+binary, "leakscan")
	if err := unix.Setxattr(binary, "security.capability", fileCaps(1<<2|1<<19), 0); err != nil {
		t.Skipf("a file cannot have capabilities: %v", err)
	}
	out, status = reader(t, "uid=65533", binary, args...)
	checkReport(t, out, status, 1, "", "leakscan with capabilities")
	out, status = reader(t, "uid=65533", binary, append([]string{"leakscan", "--all"}, scanOnce...)...)
	checkReport(t, out, status, 1, "", "leakscan --all with capabilities")
	out, status = reader(t, "uid=65533", binary, "tcpstat", "--by", "process")
	checkReport(t, out, status, 0, "", "tcpstat --by process with capabilities")
	out, status = reader(t, "hidepid=2 uid=65533", binary, args...)
	checkReport(t, out, status, 1, "", "leakscan with capabilities, behind hidepid=2")
	out, status = reader(t, "uid=65533 nonewprivs", binary, args...)
	checkReport(t, out, status, 3, "no_new_privs", "leakscan with capabilities that have no effect")
}

// checkChosen: of those that were asked for by name, cgroup or namespace, some are root's, and leak.
func checkChosen(t *testing.T) {
	healthy := strconv.Itoa(startTarget(t, "healthy"))
	startTarget(t, "leaking root")
	comm, err := os.ReadFile("/proc/" + healthy + "/comm")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	name, file := strings.TrimSpace(string(comm)), filepath.Base(exe)
	for _, c := range []struct {
		rights string
		status int
		gap    string
		args   []string
	}{
		{"", 1, "", []string{"--name", name}},
		{"", 1, "", []string{"--name", file}},
		{"uid=65534", 3, needsBoth, []string{"--name", name}},
		{"uid=65534", 3, "[1-9][0-9]* executables of processes that go by another name permission denied", []string{"--name", file}},
		{"uid=65533", 2, "no process is named.*[1-9] executables of processes.* permission denied", []string{"--name", file}},
		{"hidepid=2 uid=65534", 3, "hidepid=2, which hides", []string{"--name", name}},
		{"hidepid=2 uid=65534", 3, "hidepid=2, which hides", []string{"--cgroup", "/"}},
		{"hidepid=2 uid=65533", 2, "no process is named.*hidepid=2, which hides", []string{"--name", name}},
		{"uid=65534", 3, "[1-9] network namespaces of processes they may not be read", []string{"--netns", healthy}},
		{"", 1, "", []string{"--netns", healthy}},
	} {
		out, status := reader(t, c.rights, "", slices.Concat([]string{"leakscan"}, c.args, scanOnce)...)
		checkReport(t, out, status, c.status, c.gap, fmt.Sprint(c.rights, c.args))
	}
}

// checkForeign looks at a process of another network namespace, which may be read and not be entered.
func checkForeign(t *testing.T) {
	pid := startTarget(t, "leaking netns")
	args := append([]string{"leakscan", strconv.Itoa(pid)}, scanOnce...)
	out, status := reader(t, "uid=65534", "", args...)
	checkReport(t, out, status, 3, "enter network namespace: operation not permitted: needs CAP_SYS_ADMIN: run as root, or `sudo setcap cap_sys_admin[+]ep /", "leakscan")
	out, status = reader(t, "", "", args...)
	checkReport(t, out, status, 1, "", "leakscan as root")
	binary := filepath.Join(tmpfs(t), "sockleak")
	copyFile(t, "/proc/self/exe", binary)
	if err := unix.Setxattr(binary, "security.capability", fileCaps(1<<21), 0); err != nil {
		t.Skipf("a file cannot have capabilities: %v", err)
	}
	out, status = reader(t, "uid=65534", binary, args...)
	checkReport(t, out, status, 1, "", "leakscan with CAP_SYS_ADMIN")
}

// tmpfs is a directory on a file system of its own, until the test ends.
func tmpfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, 0) })
	for d := filepath.Dir(dir); d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		os.Chmod(d, 0o755) // for other users
	}
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// fileCaps is the attribute that setcap CAPS+ep writes, struct vfs_cap_data of version 2.
func fileCaps(caps uint64) []byte {
	b := make([]byte, 20)
	native := func(at int, v uint32) {
		for i := range 4 {
			b[at+i] = byte(v >> (8 * i))
		}
	}
	native(0, 0x02000001) // VFS_CAP_REVISION_2 and the effective bit
	native(4, uint32(caps))
	native(12, uint32(caps>>32))
	return b
}
