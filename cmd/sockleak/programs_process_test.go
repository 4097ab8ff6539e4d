package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// zooProcess is a running program.
type zooProcess struct {
	pid   int
	truth zooTruth
}

// all are the processes that the truth is about.
func (p *zooProcess) all() []int {
	all := append([]int{p.pid}, p.truth.Children...)
	if p.truth.Family {
		all = append(all, descendants(p.pid)...)
	}
	all = append(all, p.truth.Unscanned...)
	slices.Sort(all)
	return slices.Compact(all)
}

// pids are those of them that are scanned.
func (p *zooProcess) pids() []int {
	return slices.DeleteFunc(p.all(), func(pid int) bool { return slices.Contains(p.truth.Unscanned, pid) })
}

// descendants are the children of a process, and theirs.
func descendants(pid int) (all []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for f := range strings.FieldsSeq(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}

// startZoo starts a program and returns when its sockets are in place. It ends with the test.
func startZoo(t *testing.T, args ...string) *zooProcess {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1") // a test leaves no files
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		stdin.Close()
		if err := cmd.Wait(); err != nil || !kill.Stop() {
			t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, &stderr)
		}
	})
	p := &zooProcess{pid: cmd.Process.Pid}
	must(t, stdout.(*os.File).SetReadDeadline(time.Now().Add(zooPatience)))
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.truth)
	}
	if err != nil || !p.truth.Ready {
		t.Fatalf("%s is not ready: %q, %v", strings.Join(args, " "), line, err)
	}
	return p
}

// eventually repeats f until it is content: what the kernel does on its own time is waited for.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(zooPatience); ; time.Sleep(10 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still: %v", err)
		}
	}
}

// verify compares what the program says that it holds with /proc.
func (p *zooProcess) verify() error {
	if p.truth.Held == nil {
		return nil
	}
	got := map[string]int{}
	for _, pid := range p.all() {
		if err := zooHeld(pid, got); err != nil {
			return err
		}
	}
	if !maps.Equal(got, p.truth.Held) {
		return fmt.Errorf("/proc shows %v, the program says %v", got, p.truth.Held)
	}
	return nil
}

// The words of Held that are no states.
const (
	unreadCloseWait = "CLOSE-WAIT unread" // with a Recv-Q: not even the end was read
	unreadEstab     = "ESTAB unread"
	unaccepted      = "unaccepted"
)

// zooFD is a descriptor and what it is of.
type zooFD struct {
	fd int
	to string
}

// zooFDs are the descriptors of a process. A thread may have some of its own, and the first one may have ended and show
// none.
func zooFDs(pid int) map[zooFD]bool {
	all := map[zooFD]bool{}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/fd/*", pid))
	for _, link := range links {
		fd, _ := strconv.Atoi(filepath.Base(link))
		if to, err := os.Readlink(link); err == nil {
			all[zooFD{fd, to}] = true
		}
	}
	return all
}

// zooHeld counts the descriptors of a process by the state of their TCP sockets, from /proc alone. A socket that is in
// no list of the kernel is "unlisted"; of an ESTAB socket the timer is told, and of ESTAB and CLOSE-WAIT whether
// something is unread. What waits at the ports of the process's listeners is "unaccepted".
func zooHeld(pid int, count map[string]int) error {
	lists, err := readLists(pid)
	if err != nil {
		return err
	}
	listens := map[string]bool{}
	for fd := range zooFDs(pid) {
		inode, isSocket := strings.CutPrefix(fd.to, "socket:[")
		if !isSocket {
			continue
		}
		switch s, ok := lists.held[strings.TrimSuffix(inode, "]")]; {
		case !ok:
			count["unlisted"]++
		case s.state != notTCP:
			count[s.state]++
			listens[s.port] = listens[s.port] || s.state == "LISTEN"
		}
	}
	for _, s := range lists.nobodys {
		switch {
		case !listens[s.port]:
		case strings.HasPrefix(s.state, "ESTAB"):
			count[unaccepted]++
		case strings.HasPrefix(s.state, "CLOSE-WAIT"):
			count[unaccepted+" CLOSE-WAIT"]++
		}
	}
	return nil
}

const notTCP = "not TCP"

// zooSocket is a line of a list; of UNIX sockets and the like it is only known that they are that.
type zooSocket struct{ state, port string }

// zooLists are the sockets of the network namespaces that the threads of a process are in.
type zooLists struct {
	held    map[string]zooSocket // by inode
	nobodys []zooSocket          // without one
}

// readLists reads the lists of every namespace once.
func readLists(pid int) (*zooLists, error) {
	l := &zooLists{held: map[string]zooSocket{}}
	seen := map[string]bool{}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, task := range tasks {
		ns, err := os.Readlink(task + "/ns/net")
		if err != nil || seen[ns] { // a thread that has ended is in none
			continue
		}
		seen[ns] = true
		if err := l.read(task + "/net"); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *zooLists) read(dir string) error {
	// The column that has the inode.
	lists := map[string]int{"udp": 9, "udp6": 9, "raw": 9, "raw6": 9, "unix": 6, "netlink": 9, "packet": 8, "tcp": 9, "tcp6": 9}
	for list, column := range lists {
		b, err := os.ReadFile(filepath.Join(dir, list))
		if os.IsNotExist(err) && list != "tcp" {
			continue
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			switch {
			case len(f) <= column:
			case !strings.HasPrefix(list, "tcp"):
				l.held[f[column]] = zooSocket{state: notTCP}
			case f[column] == "0":
				l.nobodys = append(l.nobodys, tcpLine(f))
			default:
				l.held[f[column]] = tcpLine(f)
			}
		}
	}
	return nil
}

var (
	tcpStates = map[string]string{
		"01": "ESTAB", "02": "SYN-SENT", "03": "SYN-RECV", "04": "FIN-WAIT-1", "05": "FIN-WAIT-2", "06": "TIME-WAIT",
		"07": "UNCONN", "08": "CLOSE-WAIT", "09": "LAST-ACK", "0A": "LISTEN", "0B": "CLOSING",
	}
	tcpTimers = map[string]string{"00": "", "01": " on", "02": " keepalive", "03": " timewait", "04": " persist"}
)

// tcpLine reads a line of /proc/net/tcp: sl local rem st tx:rx tr:when …
func tcpLine(f []string) zooSocket {
	state := tcpStates[f[3]]
	_, received, _ := strings.Cut(f[4], ":")
	switch isUnread := strings.Trim(received, "0") != ""; {
	case state == "ESTAB" && isUnread:
		state = unreadEstab
	case state == "ESTAB":
		timer, _, _ := strings.Cut(f[5], ":")
		state += tcpTimers[timer]
	case state == "CLOSE-WAIT" && isUnread:
		state = unreadCloseWait
	}
	return zooSocket{state: state, port: f[1][strings.LastIndexByte(f[1], ':')+1:]}
}

// zooReport is what a test reads of a report.
type zooReport struct {
	status   int
	Findings []struct {
		Rule     string `json:"rule"`
		Severity string `json:"severity"`
		PID      int    `json:"pid"`
		Sockets  int    `json:"sockets"`
		Message  string `json:"message"`
		Evidence []struct {
			Field string `json:"field"`
			Value string `json:"value"`
		} `json:"evidence"`
		Samples []zooSample `json:"samples"`
	} `json:"findings"`
	Gaps []zooGap `json:"gaps"`
}

type zooGap struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// ofTheHost reports whether a gap is one of the whole namespace, in which other tests open and close connections.
func (g zooGap) ofTheHost() bool { return g.What == "sockets that the kernel passed over" }

type zooSample struct {
	FD        int    `json:"fd"`
	Local     string `json:"local"`
	Peer      string `json:"peer"`
	State     string `json:"state"`
	Keepalive string `json:"keepalive"`
	Timer     string `json:"timer"`
	RecvQ     int    `json:"recv_q"`
	SendQ     int    `json:"send_q"`
	Inode     uint64 `json:"inode"`
}

// scan runs the command as it is typed.
func (z *zooBins) scan(t *testing.T, c *zooCase, p *zooProcess, flags ...string) *zooReport {
	t.Helper()
	args := append([]string{"leakscan", "--json", "--top", "0"}, flags...)
	for _, pid := range p.pids() {
		args = append(args, strconv.Itoa(pid))
	}
	cmd := exec.Command(z.sockleak, args...)
	if c.as != nil {
		c.as(cmd)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	r := &zooReport{status: cmd.ProcessState.ExitCode()}
	d := json.NewDecoder(&stdout)
	if err := d.Decode(r); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	if _, err := d.Token(); err != io.EOF || stderr.Len() > 0 {
		t.Fatalf("%s writes more than the report: %v\n%s", cmd, err, &stderr)
	}
	r.Gaps = slices.DeleteFunc(r.Gaps, zooGap.ofTheHost)
	return r
}

// sums counts the sockets of a severity by rule.
func (r *zooReport) sums(severity string) map[string]int {
	sums := map[string]int{}
	for _, f := range r.Findings {
		if f.Severity == severity {
			sums[f.Rule] += f.Sockets
		}
	}
	return sums
}

// unread counts the sockets behind close-wait that have a Recv-Q.
func (r *zooReport) unread() (n int) {
	for _, f := range r.Findings {
		for _, s := range f.Samples {
			if f.Rule == "close-wait" && s.RecvQ > 0 {
				n++
			}
		}
	}
	return n
}

// fates adds up what has become of the descriptors of closed-fd.
func (r *zooReport) fates() map[string]int {
	fates := map[string]int{}
	for _, f := range r.Findings {
		for _, e := range f.Evidence {
			if n, err := strconv.Atoi(e.Value); f.Rule == "closed-fd" && err == nil && n > 0 && e.Field != "descriptors" && e.Field != "further peers" {
				fates[e.Field] += n
			}
		}
	}
	return fates
}

// differs tells what of a report is not the truth.
func (r *zooReport) differs(t zooTruth) error {
	switch {
	case !maps.Equal(r.sums("leak"), t.Leaks):
		return fmt.Errorf("leaks %v, the truth is %v%s", r.sums("leak"), t.Leaks, r.words())
	case !maps.Equal(r.sums("risk"), t.Risks):
		return fmt.Errorf("risks %v, the truth is %v%s", r.sums("risk"), t.Risks, r.words())
	case t.Gaps != (len(r.Gaps) > 0):
		return fmt.Errorf("gaps %v, there is one: %t", r.Gaps, t.Gaps)
	case r.status != t.status():
		return fmt.Errorf("exit status %d, want %d", r.status, t.status())
	}
	for rule, n := range t.Infos {
		if got := r.sums("info")[rule]; got != n {
			return fmt.Errorf("%s is told of %d sockets, the truth is %d", rule, got, n)
		}
	}
	return nil
}

// exceeds tells what a report claims and is not so, whatever the thresholds: a false alarm, were it only for a moment.
func (r *zooReport) exceeds(t zooTruth) error {
	for rule, n := range r.sums("leak") {
		if n > t.Leaks[rule] {
			return fmt.Errorf("false alarm: %s of %d sockets, the truth is %d%s", rule, n, t.Leaks[rule], r.words())
		}
	}
	return nil
}

func (r *zooReport) words() string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n\t%s %s: %s", f.Severity, f.Rule, f.Message)
	}
	return b.String()
}
