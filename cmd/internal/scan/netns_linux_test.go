package scan

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/diag"
)

const elsewhereEnv = "SOCKLEAK_TEST_ELSEWHERE"

// elsewhere starts a child in a network namespace of its own, with so many connections and their listener if there are any. It ends with
// the test. Only root can.
func elsewhere(t *testing.T, connections int) (pid int) {
	t.Helper()
	child := exec.Command("/proc/self/exe", "-test.run=^TestElsewhere$")
	child.Env = append(os.Environ(), elsewhereEnv+"="+strconv.Itoa(connections))
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = child.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return child.Process.Pid
}

// TestElsewhere is that child: it is there until its stdin ends.
func TestElsewhere(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(elsewhereEnv))
	if err != nil {
		return
	}
	if n > 0 {
		if err := loopbackUp(); err != nil {
			t.Fatal(err)
		}
		crowd(t, n)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// countIn counts in some namespaces, and returns the groups by key.
func countIn(t *testing.T, s *Source, where string, by diag.GroupBy) (*diag.Stat, map[string]int) {
	t.Helper()
	c := &Count{Source: s, Where: where, By: by}
	defer c.Close()
	stat := countTest(t, c)
	groups := map[string]int{}
	for i := range stat.Groups {
		groups[stat.Tally.Key(&stat.Groups[i])] = stat.Groups[i].Sockets
	}
	return stat, groups
}

// Every namespace is counted once, also one with listeners alone and one without a socket, and each by itself gives the same number:
// whether it is named by a process, by its file or by its name.
func TestCountNetns(t *testing.T) {
	s, _, _ := openTest(t)
	s.Kind = "auto"
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	own := fmt.Sprintf("net:[%d]", s.FS.Netns())
	if stat, groups := countIn(t, s, AllNetns, diag.ByNetns); groups[own] == 0 || stat.Where == "" {
		t.Errorf("%s: %v", own, groups)
	}
	if os.Getuid() != 0 {
		return // only root can make others
	}
	const connections = 20
	busy, empty := elsewhere(t, connections), elsewhere(t, 0)
	key := func(pid int) string {
		ino, err := s.FS.NetnsOf(pid)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("net:[%d]", ino)
	}
	stat, groups := countIn(t, s, AllNetns, diag.ByNetns)
	if groups[key(busy)] != 2*connections+1 || groups[key(empty)] != 0 || groups[own] == 0 {
		t.Errorf("%v; want %d in %s", groups, 2*connections+1, key(busy))
	}
	if len(stat.Snapshot.Gaps) > 0 && !strings.HasPrefix(stat.Snapshot.Gaps[0].What, "network namespaces of processes") {
		t.Errorf("gaps %v", stat.Snapshot.Gaps)
	}
	link := filepath.Join(t.TempDir(), "ns")
	if err := os.Symlink(s.FS.Path(busy, "ns", "net"), link); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{strconv.Itoa(busy), s.FS.Path(busy, "ns", "net"), link} {
		stat, _ := countIn(t, s, where, diag.ByState)
		if n := stat.Tally.IPv4.Total(); n != 2*connections+1 || stat.Sockstat == nil || stat.Sockstat.InUse != n {
			t.Errorf("--netns %s: %d sockets, %+v; want %d", where, n, stat.Sockstat, 2*connections+1)
		}
	}
	_, groups = countIn(t, s, AllNetns, diag.ByProcess)
	for name, n := range groups {
		if strings.HasSuffix(name, fmt.Sprintf("[%d]", busy)) && n == 2*connections+1 {
			return
		}
	}
	t.Errorf("by process: %v, want %d of process %d", groups, 2*connections+1, busy)
}

// What leads to no namespace is an error, and never the reader's own.
func TestNoNetns(t *testing.T) {
	s, _, _ := openTest(t)
	s.Kind = "auto"
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"no such name", file, "/dev/null", "..", "/", "999999999", "/proc/999999999/ns/net", "-1", "\x1b[31m"} {
		if stat, err := (&Count{Source: s, Where: where}).Sample(context.Background()); err == nil {
			t.Errorf("--netns %q counted %d sockets", where, stat.Tally.IPv4.Total())
		}
	}
}

// Who asks for a namespace gets the processes that live in it, and a named one that does not is an error.
func TestWithin(t *testing.T) {
	in := []Netns{{Label: "blue", Members: []int{3, 5}}}
	s := &Scan{PIDs: []int{1, 3, 4}}
	if err := s.Within(in, []int{3}); err != nil || len(s.PIDs) != 1 || s.PIDs[0] != 3 {
		t.Errorf("%v, %v", s.PIDs, err)
	}
	for _, tt := range []struct {
		in          []Netns
		pids, named []int
	}{{in, []int{3, 4}, []int{4}}, {in, []int{1, 4}, nil}, {[]Netns{{Label: "empty"}}, nil, nil}} {
		if err := (&Scan{PIDs: tt.pids}).Within(tt.in, tt.named); err == nil {
			t.Errorf("%+v: no error", tt)
		}
	}
}
