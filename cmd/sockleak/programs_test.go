package main

// Real programs that leak, and real programs that only look like it, in processes of their own. Each says what is true
// of it, /proc is asked whether that is so, and then the command as it is built has to say the same.
//
// A case is one row of a table and one program. The program is started as PROGRAM N PEER HOST; when its sockets are in
// place it writes one line of JSON (see zooTruth) to its stdout, and it ends when its stdin does.

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/scan"
)

// zooCase is one program and what is around it.
type zooCase struct {
	name string
	// run is the program: a role of the zoo, or an interpreter with a file below testdata/zoo and first arguments.
	run   []string
	n     int    // of connections, as a rule
	peer  string // role of the zoo that the program connects to
	guest string // role of the zoo that connects to the program
	on    string // the address family: "" for IPv4, "IPv6", or "v4-mapped"
	// peerOn is what the peer listens on, when not on the loopback address of the family.
	peerOn string
	// as is who scans, when not the user of the test.
	as func(*exec.Cmd)
	// need says why the case cannot be run here.
	need func() (why string)
	// server starts what is no program of the zoo, and clients of it, in place of all the above.
	server func(*testing.T) *zooProcess
}

// short are thresholds that a test can wait for.
var short = []string{"--idle", "1s", "--grace", "1s", "--settle", "1s"}

// zooAtOnce is how many programs run at a time. They wait for clocks most of the time, not for a processor, so that
// this does not follow -parallel.
const zooAtOnce = 16

func TestPrograms(t *testing.T) {
	z := newZoo(t)
	slots := make(chan struct{}, zooAtOnce)
	var wg sync.WaitGroup
	for _, c := range slices.Concat(goPrograms, otherPrograms) {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(c.name, func(t *testing.T) { z.run(t, &c) })
		})
	}
	wg.Wait()
}

// zooDir is where the programs are.
const zooDir = "../../testdata/zoo"

// zooBins are the built binaries.
type zooBins struct {
	sockleak, zoo string
	iterators     bool // the kernel's may be used
}

func newZoo(t *testing.T) *zooBins {
	t.Helper()
	dir := t.TempDir()
	// A part of the test is another user.
	for d := dir; d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o755))
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", ".", zooDir+"/go/zoo")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	z := &zooBins{sockleak: filepath.Join(dir, "sockleak"), zoo: filepath.Join(dir, "zoo")}
	out, err := exec.Command(z.sockleak, "leakscan", strconv.Itoa(os.Getpid()), "--settle", "0", "--source", scan.SourceBPF).CombinedOutput()
	if z.iterators = err == nil || !bytes.Contains(out, []byte("BPF: ")); !z.iterators {
		if os.Geteuid() == 0 {
			t.Errorf("root may not use the kernel's iterators: %s", out)
		}
		t.Logf("without the kernel's iterators: %s", out)
	}
	return z
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs one case: the peer, the program, the guests; the truth by /proc; the command, twice.
func (z *zooBins) run(t *testing.T, c *zooCase) {
	if c.need != nil {
		if why := c.need(); why != "" {
			t.Skip(why)
		}
	}
	p := z.open(t, c)
	if c.as != nil { // it sees nothing: no leak, and no health
		p.truth.Leaks, p.truth.Gaps = map[string]int{}, true
	}
	eventually(t, p.verify)

	if err := z.judge(t, c, p); err != nil {
		t.Error(err)
	}
	eventually(t, p.verify) // it has stayed as it was, but for the moment in which something arrives
}

// judge scans with the thresholds that a user has, when next to nothing can have leaked yet, and with short ones until
// the report is the truth, and these have passed.
func (z *zooBins) judge(t *testing.T, c *zooCase, p *zooProcess) error {
	if p.truth.Risks["inherited-fd"] > 0 {
		time.Sleep(zooForked)
	}
	begin := time.Now()
	if err := z.scan(t, c, p).differs(p.truth.young()); err != nil {
		return fmt.Errorf("with the thresholds of a user: %w", err)
	}
	if err := z.scan(t, c, p, sifting...).differs(p.truth.young()); err != nil {
		return fmt.Errorf("with the thresholds of a user, and few sockets kept: %w", err)
	}
	for {
		age := time.Since(begin)
		r := z.scan(t, c, p, short...)
		err := r.differs(p.truth)
		if err == nil && age > zooPast {
			if err := z.confirm(t, p, r); err != nil { // at once, before anything changes
				return err
			}
			if err := z.scan(t, c, p, append(sifting, short...)...).differs(p.truth); err != nil {
				return fmt.Errorf("with few sockets kept: %w", err)
			}
			return z.byIterators(t, c, p, r)
		}
		if over := r.exceeds(p.truth); over != nil {
			return over
		}
		if err != nil && age > zooPatience {
			return fmt.Errorf("with %s: %w", strings.Join(short, " "), err)
		}
		time.Sleep(zooPoll) // as often as there is news, and not a processor's worth
	}
}

// sifting has a scan do with few sockets what it does with many.
var sifting = []string{"--sift-from", "1"}

const (
	// zooPast is when the short thresholds have passed, from when all was in place.
	zooPast     = 1200 * time.Millisecond
	zooPatience = 20 * time.Second
	// zooForked is when a child has what it has for good.
	zooForked = 400 * time.Millisecond
	zooPoll   = 100 * time.Millisecond
)

// confirm compares what stands behind the findings with what others see.
func (z *zooBins) confirm(t *testing.T, p *zooProcess, r *zooReport) error {
	holders := map[zooFD]bool{}
	for _, pid := range p.all() {
		for fd := range zooFDs(pid) {
			holders[fd] = true
		}
	}
	for _, f := range r.Findings {
		if f.Severity != "leak" {
			continue
		}
		// Of a pair, the leg that has ended may be shown beside the one that is counted.
		if n := len(f.Samples); n < f.Sockets || n > f.Sockets && f.Rule != "half-closed-pair" {
			return fmt.Errorf("%s counts %d sockets and shows %d", f.Rule, f.Sockets, n)
		}
		for _, s := range f.Samples {
			switch inQueue := f.Rule == "accept-queue"; {
			case inQueue && s.Inode != 0:
				return fmt.Errorf("accept-queue shows inode %d: somebody has accepted it", s.Inode)
			case !inQueue && !holders[zooFD{s.FD, fmt.Sprintf("socket:[%d]", s.Inode)}]:
				return fmt.Errorf("%s says that descriptor %d is inode %d; nobody has that", f.Rule, s.FD, s.Inode)
			}
		}
	}
	if got, want := r.unread(), p.truth.Held[unreadCloseWait]; p.truth.Leaks["close-wait"] > 0 && p.truth.Held != nil && got != want {
		return fmt.Errorf("close-wait shows %d sockets with a Recv-Q, there are %d", got, want)
	}
	if fates := r.fates(); p.truth.Leaks["closed-fd"] > 0 && !maps.Equal(fates, p.truth.Fates) {
		return fmt.Errorf("closed-fd says %v, the truth is %v%s", fates, p.truth.Fates, r.words())
	}
	return confirmByTools(t, p, r)
}

// goPrograms run in every test: they need nothing but Go and the kernel.
var goPrograms = []zooCase{
	{name: "leak/pipe", run: []string{"leaky-pipe"}, n: 3, peer: "peer-echo", guest: "guest-caller"},
	{name: "leak/pipe, IPv6", run: []string{"leaky-pipe"}, n: 3, peer: "peer-echo", guest: "guest-caller", on: "IPv6"},
	{name: "leak/pipe, v4-mapped", run: []string{"leaky-pipe"}, n: 3, peer: "peer-echo", guest: "guest-mute", on: "v4-mapped"},
	{name: "leak/response bodies", run: []string{"response-bodies"}, n: 3, peer: "peer-http-closing"},
	{name: "leak/never closed", run: []string{"never-closed"}, n: 3, peer: "peer-hangup"},
	{name: "leak/never closed, IPv6", run: []string{"never-closed"}, n: 3, peer: "peer-hangup", on: "IPv6"},
	{name: "leak/never closed, v4-mapped", run: []string{"never-closed"}, n: 3, peer: "peer-hangup", on: "v4-mapped"},
	{name: "leak/forgotten", run: []string{"forgotten"}, n: 6, peer: "peer-echo"},
	{name: "leak/forgotten, v4-mapped", run: []string{"forgotten"}, n: 6, peer: "peer-echo", on: "v4-mapped"},
	{name: "leak/forgotten by many peers", run: []string{"forgotten-peers"}, n: 30, peer: "peer-echo", peerOn: "0.0.0.0"},
	{name: "leak/refused", run: []string{"refused"}, n: 3},
	{name: "leak/refused, IPv6", run: []string{"refused"}, n: 3, on: "IPv6"},
	{name: "leak/refused, v4-mapped", run: []string{"refused"}, n: 3, on: "v4-mapped"},
	{name: "leak/refused without blocking", run: []string{"refused-nonblock"}, n: 3},
	{name: "leak/refused without blocking, IPv6", run: []string{"refused-nonblock"}, n: 3, on: "IPv6"},
	{name: "leak/refused from a chosen port", run: []string{"refused-bound"}, n: 3},
	{name: "leak/refused from a port of its own", run: []string{"refused-chosen"}, n: 3},
	{name: "leak/never connected", run: []string{"never-connected"}, n: 3},
	{name: "leak/never connected, IPv6", run: []string{"never-connected"}, n: 3, on: "IPv6"},
	{name: "leak/reset by the peer", run: []string{"reset-connected"}, n: 3, peer: "peer-reset"},
	{name: "leak/reset by the peer, v4-mapped", run: []string{"reset-connected"}, n: 3, peer: "peer-reset", on: "v4-mapped"},
	{name: "leak/reset by a guest", run: []string{"reset-accepted"}, n: 3, guest: "guest-reset"},
	{name: "leak/reset by a guest, v4-mapped", run: []string{"reset-accepted"}, n: 3, guest: "guest-reset", on: "v4-mapped"},
	{name: "leak/accepted and never read", run: []string{"unread-accepted"}, n: 3, guest: "guest-leaver"},
	{name: "leak/accepted and never read, IPv6", run: []string{"unread-accepted"}, n: 3, guest: "guest-leaver", on: "IPv6"},
	{name: "leak/shut down and not closed", run: []string{"shut-not-closed"}, n: 3, peer: "peer-hangup"},
	{name: "leak/duplicated descriptors", run: []string{"duplicated"}, n: 3, peer: "peer-hangup"},
	{name: "leak/keepalive is answered", run: []string{"keepalive-probing"}, n: 3, peer: "peer-half"},
	{name: "leak/odd name", run: []string{"odd-name"}, n: 3, peer: "peer-hangup"},
	{name: "leak/first thread is gone", run: []string{"leader-gone"}, n: 3, peer: "peer-hangup"},
	{name: "leak/all at once", run: []string{"all-at-once"}, n: 5},
	{name: "leak/in a network namespace", run: []string{"netns"}, n: 5, need: namespaces},

	{name: "leak/thread with descriptors of its own", run: []string{"own-files"}, n: 3, peer: "peer-hangup"},
	{name: "leak/sockets of another namespace", run: []string{"other-netns"}, n: 3, need: namespaces},

	{name: "leak/shut down and kept", run: []string{"shut-and-kept"}, n: 3, peer: "peer-deaf"},
	{name: "leak/shut down and kept, IPv6", run: []string{"shut-and-kept"}, n: 3, peer: "peer-deaf", on: "IPv6"},
	{name: "leak/shut down and kept, v4-mapped", run: []string{"shut-and-kept"}, n: 3, peer: "peer-deaf", on: "v4-mapped"},
	{name: "leak/shut down and kept, keepalive", run: []string{"shut-and-kept-ka"}, n: 3, peer: "peer-deaf"},
	{name: "leak/shut down and kept, keepalive is answered", run: []string{"shut-and-probing"}, n: 3, peer: "peer-deaf"},
	{name: "leak/shut down and kept, the answer too", run: []string{"shut-and-kept"}, n: 3, peer: "peer-push"},
	{name: "leak/proxy that half forgets", run: []string{"half-forgetful"}, n: 4, peer: "peer-answer", guest: "guest-asker"},
	{name: "leak/proxy that half forgets, v4-mapped", run: []string{"half-forgetful"}, n: 4, peer: "peer-answer", guest: "guest-asker", on: "v4-mapped"},
	{name: "leak/proxy that half forgets who reset", run: []string{"half-forgetful-rst"}, n: 4, peer: "peer-answer", guest: "guest-asker-reset"},

	{name: "leak/answers that nobody reads", run: []string{"unread-bodies"}, n: 3, peer: "peer-http-large"},
	{name: "leak/reader is elsewhere", run: []string{"unread-pushed"}, n: 3, peer: "peer-push"},
	{name: "leak/reader is elsewhere, IPv6", run: []string{"unread-pushed"}, n: 6, peer: "peer-push", on: "IPv6"},
	{name: "leak/backpressure without end", run: []string{"backpressure"}, n: 6, peer: "peer-deaf"},
	{name: "leak/backpressure without end, keepalive", run: []string{"backpressure-ka"}, n: 6, peer: "peer-deaf"},
	{name: "leak/backpressure and goodbye", run: []string{"stalled-shut"}, n: 3, peer: "peer-deaf"},
	{name: "leak/backpressure by who has left", run: []string{"stalled-ended"}, n: 3, peer: "peer-half-deaf"},
	{name: "leak/backpressure, and both have left", run: []string{"stalled-both"}, n: 3, peer: "peer-half-deaf"},
	{name: "leak/peer vanished, idle", run: []string{"vanished-idle"}, n: 6, need: namespaces},
	{name: "leak/peer vanished, data under way", run: []string{"vanished-sending"}, n: 3, need: namespaces},
	{name: "leak/link down, data under way", run: []string{"vanished-unplugged"}, n: 3, need: namespaces},

	{name: "leak/accept queue", run: []string{"accept-queue"}, n: 10},
	{name: "leak/accept queue, IPv6", run: []string{"accept-queue"}, n: 10, on: "IPv6"},
	{name: "leak/accept queue, both families", run: []string{"accept-queue"}, n: 10, on: "v4-mapped"},
	{name: "leak/accept queue of others", run: []string{"never-accepted"}, n: 3, guest: "guest-mute"},
	{name: "leak/accept queue of who has left", run: []string{"unaccepted-ended"}, n: 3, guest: "guest-leaver"},
	{name: "leak/accept queues of one port", run: []string{"never-accepted-2"}, n: 12, guest: "guest-mute"},
	{name: "leak/accept queue is full", run: []string{"queue-full"}, n: 4},

	{name: "leak/inherited", run: []string{"inherited"}, n: 3},
	{name: "leak/inherited, never used", run: []string{"inherited-mute"}, n: 3},
	{name: "leak/inherited, many", run: []string{"inherited-mute"}, n: 6},
	{name: "leak/inherited, the parent asked", run: []string{"inherited-parent"}, n: 3},
	{name: "leak/inherited, the child asked", run: []string{"inherited-child"}, n: 3},
	{name: "leak/inherited, dialed", run: []string{"inherited-dialed"}, n: 3, peer: "peer-echo"},

	{name: "risk/few forgotten", run: []string{"forgotten"}, n: 4, peer: "peer-echo"},
	{name: "risk/few descriptors left", run: []string{"fd-limit"}},
	{name: "risk/connecting", run: []string{"connecting"}, n: 3, peer: "peer-full"},
	{name: "risk/shared with a child", run: []string{"shared"}, n: 3},
	{name: "risk/descriptor kept beside the connection", run: []string{"duplicate"}, n: 3, peer: "peer-echo"},
	{name: "gap/descriptors under way", run: []string{"passed-to-nobody"}, n: 3, peer: "peer-echo", need: inFlight},
	{name: "gap/MPTCP, ended by the peer", run: []string{"mptcp-never-closed"}, n: 6, peer: "peer-mptcp", need: mptcp},
	{name: "gap/process of another user", run: []string{"never-closed"}, n: 3, peer: "peer-hangup", as: asNobody, need: root},

	{name: "healthy/pool", run: []string{"pool"}, n: 8, peer: "peer-echo"},
	{name: "healthy/pool, v4-mapped", run: []string{"pool"}, n: 8, peer: "peer-echo", on: "v4-mapped"},
	{name: "healthy/pings", run: []string{"pings"}, n: 8, peer: "peer-echo"},
	{name: "healthy/pinged", run: []string{"echo"}, n: 8, guest: "guest-ping"},
	{name: "healthy/hears only", run: []string{"hears-only"}, n: 8, peer: "peer-drip"},
	{name: "healthy/half-closed server", run: []string{"half-closed-server"}, n: 3, guest: "guest-half"},
	{name: "healthy/half-closed client", run: []string{"half-closed-client"}, n: 3, peer: "peer-drip"},
	{name: "healthy/preforked", run: []string{"preforked"}, n: 3},
	{name: "healthy/slow to close", run: []string{"slow-to-close"}, n: 5, guest: "guest-churn"},
	{name: "healthy/TIME-WAIT", run: []string{"time-wait"}, n: 150},
	{name: "healthy/shut down and closed", run: []string{"shut-and-closed"}, n: 6, peer: "peer-deaf"},
	{name: "healthy/connects", run: []string{"connects"}, n: 3, peer: "peer-hangup"},
	{name: "healthy/slow to accept", run: []string{"slow-to-accept"}, n: 4, guest: "guest-churn"},
	{name: "healthy/between socket and connect", run: []string{"between"}, n: 3, peer: "peer-hangup"},
	{name: "healthy/refused and closed", run: []string{"retries"}, n: 3},
	{name: "healthy/refused and tried again", run: []string{"retries-same"}, n: 3},
	{name: "healthy/bound", run: []string{"bound"}, n: 3},
	{name: "healthy/bound, IPv6", run: []string{"bound"}, n: 3, on: "IPv6"},
	{name: "healthy/not TCP", run: []string{"not-tcp"}, n: 3},
	{name: "healthy/http server", run: []string{"http-server"}, n: 8, guest: "guest-http"},
	{name: "healthy/http server, v4-mapped", run: []string{"http-server"}, n: 8, guest: "guest-http", on: "v4-mapped"},
	{name: "healthy/MPTCP server", run: []string{"mptcp-server"}, n: 6, guest: "guest-caller"},
	{name: "healthy/MPTCP server and guests", run: []string{"mptcp-server"}, n: 6, guest: "guest-mptcp", need: mptcp},
	{name: "healthy/pipe", run: []string{"pipe"}, n: 4, peer: "peer-echo", guest: "guest-caller"},
	{name: "healthy/pipe, guests leave", run: []string{"pipe-emptied"}, n: 4, peer: "peer-answer", guest: "guest-asker"},
	{name: "healthy/pipe, guests have said all", run: []string{"pipe-half"}, n: 4, peer: "peer-drip", guest: "guest-half"},
	{name: "healthy/slow reader", run: []string{"slow-reader"}, n: 6, peer: "peer-flood"},
	{name: "healthy/busy reader", run: []string{"busy-reader"}, n: 3, peer: "peer-stream"},
	{name: "healthy/backpressure, peer sips", run: []string{"sipped"}, n: 6, peer: "peer-sip"},
	{name: "healthy/backpressure, peer gulps", run: []string{"sipped"}, n: 3, peer: "peer-gulp"},
	{name: "healthy/peer vanished, probing", run: []string{"vanished-probing"}, n: 6, need: namespaces},
	{name: "healthy/child per connection", run: []string{"fork-per-connect"}, n: 3},
	{name: "healthy/inetd", run: []string{"inetd"}, n: 3},
	{name: "healthy/passed to a child", run: []string{"passed"}, n: 6},
}

// namespaces says why no network namespace can be made.
func namespaces() string {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		return fmt.Sprintf("a new network namespace needs root: %v", err)
	}
	return ""
}

func root() string {
	if os.Geteuid() != 0 {
		return "becoming another user needs root"
	}
	return ""
}

// inFlight says why nobody can know that a descriptor is under way from one process to another.
func inFlight() string {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err.Error()
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	if b, _ := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fds[0])); !strings.Contains(string(b), "scm_fds:") {
		return "this kernel does not tell what is under way in a socket (scm_fds in /proc/PID/fdinfo)"
	}
	return ""
}

func mptcp() string {
	if b, _ := os.ReadFile("/proc/sys/net/mptcp/enabled"); strings.TrimSpace(string(b)) != "1" {
		return "MPTCP is not enabled (net.mptcp.enabled)"
	}
	return ""
}

// family is how the parts of a case find each other.
type family struct {
	host string // that servers listen on
	dial func(addr string) string
}

func (c *zooCase) family(t *testing.T) family {
	t.Helper()
	same := func(addr string) string { return addr }
	if c.on == "" {
		return family{"127.0.0.1", same}
	}
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	ln.Close()
	if c.on == "IPv6" {
		return family{"::1", same}
	}
	return family{"::", func(addr string) string {
		a := netip.MustParseAddrPort(addr)
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port()).String()
	}}
}

// open starts the program and what is around it.
func (z *zooBins) open(t *testing.T, c *zooCase) *zooProcess {
	t.Helper()
	if c.server != nil {
		return c.server(t)
	}
	f := c.family(t)
	peer := ""
	if c.peer != "" {
		peer = f.dial(startZoo(t, z.zoo, c.peer, fmt.Sprint(c.n), "", cmp.Or(c.peerOn, f.host)).truth.Listen)
	}
	args := slices.Concat(z.program(t, c), []string{fmt.Sprint(c.n), peer, f.host})
	p := startZoo(t, args...)
	if c.guest != "" {
		startZoo(t, z.zoo, c.guest, fmt.Sprint(c.n), p.truth.Listen, "")
	}
	return p
}

// interpreters are the programs that run others, the folders of these, and the Debian packages that have them.
var interpreters = map[string]struct{ dir, debian string }{
	"node":    {"node", "nodejs"},
	"python3": {"python", "python3"},
	"java":    {"java", "default-jdk-headless"},
	"cc":      {"c", "gcc"},
}

// program is the command line of a case, but for the arguments that all have.
func (z *zooBins) program(t *testing.T, c *zooCase) []string {
	t.Helper()
	interpreter, ok := interpreters[c.run[0]]
	if !ok {
		return []string{z.zoo, c.run[0]}
	}
	needTool(t, c.run[0], interpreter.debian)
	if c.run[0] == "cc" {
		return slices.Concat([]string{compiled(t, filepath.Join(zooDir, interpreter.dir, c.run[1]))}, c.run[2:])
	}
	return slices.Concat([]string{c.run[0], filepath.Join(zooDir, interpreter.dir, c.run[1])}, c.run[2:])
}

// compiled is the binary of a program in C.
func compiled(t *testing.T, source string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("cc", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread", "-o", bin, source).CombinedOutput(); err != nil {
		t.Fatalf("%s: apt-get install gcc libc6-dev? %v\n%s", source, err, out)
	}
	return bin
}

// needTool fails: who asks for the whole zoo wants all of it.
func needTool(t *testing.T, name, debian string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is missing: apt-get install %s (%v)", name, debian, err)
	}
}

func asNobody(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// zooTruth is what a program says of itself, and what a scan must say of it.
type zooTruth struct {
	Ready    bool           `json:"ready"`
	Listen   string         `json:"listen"`
	Leaks    map[string]int `json:"truth"` // rule → sockets; descriptors for closed-fd
	Risks    map[string]int `json:"risks"`
	Infos    map[string]int `json:"infos"`
	Gaps     bool           `json:"gaps"`
	Fates    map[string]int `json:"fates"` // of the descriptors of closed-fd
	Held     map[string]int `json:"held"`  // state → descriptors, as zooHeld counts; nil when they never stand still
	Children []int          `json:"children"`
	// Family has everybody scanned who descends from the program.
	Family bool `json:"family"`
	// Unscanned belong to Held, and are not scanned.
	Unscanned []int `json:"unscanned"`
	// Early are the risks of rules that tell leaks once the thresholds have passed.
	Early map[string]int `json:"early"`
}

// young is the truth before any threshold has passed: only what needs none.
func (t zooTruth) young() zooTruth {
	leaks, risks := map[string]int{}, maps.Clone(t.Early)
	if risks == nil {
		risks = map[string]int{}
	}
	for rule, n := range t.Leaks {
		if rule == "closed-fd" {
			leaks[rule] = n
		}
	}
	for rule, n := range t.Risks {
		if rule != "idle-no-keepalive" && rule != "connect-stuck" && rule != "unread-data" {
			risks[rule] = n
		}
	}
	t.Leaks, t.Risks = leaks, risks
	return t
}

func (t zooTruth) status() int {
	switch {
	case len(t.Leaks) > 0:
		return statusLeak
	case t.Gaps:
		return statusPartial
	}
	return statusOK
}
