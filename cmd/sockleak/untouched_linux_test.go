package main

// A scan changes nothing in what it looks at: a process that could notice any of it is looked at in every way, and notices nothing.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// roleUntouched is the name of the test binary as such a process.
const roleUntouched = "untouched"

func init() {
	if os.Args[0] == roleUntouched {
		newUntouched().answer()
		os.Exit(0)
	}
}

// untouched has descriptors on which it would show.
type untouched struct {
	sockets map[string]int // by what they are
	others  []int          // that are kept, and not asked
	file    int
	// Edge-triggered sets: of one the event was taken, of the other it waits.
	taken, waiting int
	blocked        atomic.Value // what the thread got that waits in recvfrom; nil: it waits
}

// records look like what TLS leaves unread behind a handshake: then a scan looks at the bytes themselves.
var records = []byte{23, 3, 3, 0, 5, 'h', 'e', 'l', 'l', 'o'}

func newUntouched() *untouched {
	u := &untouched{sockets: map[string]int{}}
	ln := u.socket()
	u.check(unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	u.check(unix.Listen(ln, 16))
	u.sockets["listener"] = ln
	here, there := u.pair(ln) // reset by the peer, who was not asked about it yet
	u.check(unix.SetsockoptLinger(there, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	u.check(unix.Close(there))
	u.sockets["reset"] = here
	u.sockets["refused"] = u.refused()
	u.sockets["unread"], there = u.pair(ln)
	u.write(there, records)
	u.sockets["peeked"], there = u.pair(ln) // whose place of peeking a peek would move
	u.check(unix.SetsockoptInt(u.sockets["peeked"], unix.SOL_SOCKET, unix.SO_PEEK_OFF, 3))
	u.write(there, records)
	u.sockets["ended"], there = u.pair(ln)
	u.write(there, records)
	u.check(unix.Shutdown(there, unix.SHUT_WR))
	u.sockets["unsent"], _ = u.pair(ln)
	u.fill(u.sockets["unsent"])
	u.sockets["slept on"], there = u.pair(ln)
	u.sockets["its peer"] = there
	go u.sleep(u.sockets["slept on"])
	u.options(u.sockets["slept on"])
	u.connect(ln) // in the accept queue
	u.sets()
	u.openFile()
	return u
}

func (u *untouched) check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "untouched:", err)
		os.Exit(1)
	}
}

func (u *untouched) socket() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	u.check(err)
	return fd
}

func (u *untouched) connect(ln int) int {
	fd := u.socket()
	at, err := unix.Getsockname(ln)
	u.check(err)
	u.check(unix.Connect(fd, at))
	return fd
}

// pair is a connection; who connected is the first.
func (u *untouched) pair(ln int) (here, there int) {
	here = u.connect(ln)
	there, _, err := unix.Accept(ln)
	u.check(err)
	u.others = append(u.others, there)
	return here, there
}

// refused is a socket that has tried to connect without waiting, and was not asked for the outcome.
func (u *untouched) refused() int {
	free := u.socket()
	u.check(unix.Bind(free, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	at, err := unix.Getsockname(free)
	u.check(err)
	fd := u.socket()
	u.check(unix.SetNonblock(fd, true))
	if err := unix.Connect(fd, at); !errors.Is(err, unix.EINPROGRESS) {
		u.check(fmt.Errorf("connect to nobody: %w", err))
	}
	u.check(unix.Close(free))
	return fd
}

func (u *untouched) write(fd int, b []byte) {
	_, err := unix.Write(fd, b)
	u.check(err)
}

// fill writes until nothing more can be.
func (u *untouched) fill(fd int) {
	for b := make([]byte, 1<<20); ; {
		if _, err := unix.SendmsgN(fd, b, nil, nil, unix.MSG_DONTWAIT); err != nil {
			return
		}
	}
}

func (u *untouched) options(fd int) {
	u.check(errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 777),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 12_345),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 2),
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 9}),
	))
}

// sleep waits for two bytes on a thread of its own.
func (u *untouched) sleep(fd int) {
	b := make([]byte, 16)
	n, _, err := unix.Recvfrom(fd, b, 0)
	u.blocked.Store(fmt.Sprintf("%q, %v", b[:max(n, 0)], err))
}

func (u *untouched) sets() {
	for _, set := range []*int{&u.taken, &u.waiting} {
		var err error
		*set, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		u.check(err)
		for _, name := range slices.Sorted(maps.Keys(u.sockets)) {
			event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(u.sockets[name])}
			u.check(unix.EpollCtl(*set, unix.EPOLL_CTL_ADD, u.sockets[name], &event))
		}
	}
	time.Sleep(100 * time.Millisecond) // what is still under way: retransmits, window updates
	u.events(u.taken)
}

// events takes those of a set, in words.
func (u *untouched) events(set int) string {
	list := make([]unix.EpollEvent, 100)
	n, err := unix.EpollWait(set, list, 0)
	u.check(err)
	var words []string
	for _, e := range list[:n] {
		words = append(words, fmt.Sprintf("%d:%#x", e.Fd, e.Events))
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

func (u *untouched) openFile() {
	f, err := os.CreateTemp("", "untouched-*")
	u.check(err)
	u.check(os.Remove(f.Name()))
	u.file, err = unix.Dup(int(f.Fd()))
	u.check(err)
	u.write(u.file, records)
	_, err = unix.Seek(u.file, 4, unix.SEEK_SET)
	u.check(errors.Join(err, f.Close()))
}

// answer does what each line of stdin asks for: look, as often as one likes, and take, once, which takes what looking leaves.
func (u *untouched) answer() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		state := map[string]string{}
		if lines.Text() == "look" {
			u.look(state)
		} else {
			u.take(state)
		}
		u.check(json.NewEncoder(os.Stdout).Encode(state))
	}
}

// look tells what can be told without changing anything.
func (u *untouched) look(state map[string]string) {
	for name, fd := range u.sockets {
		for option, key := range map[string][2]int{
			"SO_KEEPALIVE": {unix.SOL_SOCKET, unix.SO_KEEPALIVE}, "SO_PEEK_OFF": {unix.SOL_SOCKET, unix.SO_PEEK_OFF}, "SO_RCVLOWAT": {unix.SOL_SOCKET, unix.SO_RCVLOWAT},
			"SO_RCVBUF": {unix.SOL_SOCKET, unix.SO_RCVBUF}, "SO_SNDBUF": {unix.SOL_SOCKET, unix.SO_SNDBUF}, "TCP_KEEPIDLE": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
			"TCP_USER_TIMEOUT": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}, "TCP_NODELAY": {unix.IPPROTO_TCP, unix.TCP_NODELAY}, "TCP_QUICKACK": {unix.IPPROTO_TCP, unix.TCP_QUICKACK},
		} {
			v, err := unix.GetsockoptInt(fd, key[0], key[1])
			state[name+" "+option] = fmt.Sprint(v, err)
		}
		linger, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
		state[name+" SO_LINGER"] = fmt.Sprint(linger, err)
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		u.check(err)
		state[name+" state"] = fmt.Sprint(info.State, info.Data_segs_in, info.Data_segs_out)
		if name != "unsent" { // whose closed window is probed
			state[name+" segments"] = fmt.Sprint(info.Segs_in, info.Segs_out)
		}
		for queue, request := range map[string]uint{"Recv-Q": unix.SIOCINQ, "Send-Q": unix.SIOCOUTQ} {
			n, err := unix.IoctlGetInt(fd, request)
			state[name+" "+queue] = fmt.Sprint(n, err)
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		owner, _ := unix.FcntlInt(uintptr(fd), unix.F_GETOWN, 0)
		state[name+" flags"] = fmt.Sprint(flags, owner, err)
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT | unix.POLLRDHUP}}
		_, err = unix.Poll(poll, 0)
		state[name+" readiness"] = fmt.Sprint(poll[0].Revents, err)
	}
	var st unix.Stat_t
	u.check(unix.Fstat(u.file, &st))
	at, err := unix.Seek(u.file, 0, unix.SEEK_CUR)
	state["file"] = fmt.Sprint(at, err, st.Atim, st.Mtim, st.Ctim)
	state["blocked"] = fmt.Sprint(u.blocked.Load())
	links, err := filepath.Glob("/proc/self/fd/*")
	u.check(err)
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil {
			state[link] = to
		}
	}
}

// take takes what is there once: errors, edges, connections, bytes.
func (u *untouched) take(state map[string]string) {
	state["events that were taken"] = u.events(u.taken)
	state["events that wait"] = fmt.Sprint(len(strings.Fields(u.events(u.waiting))))
	for _, name := range []string{"reset", "refused", "unread", "unsent", "ended"} {
		v, err := unix.GetsockoptInt(u.sockets[name], unix.SOL_SOCKET, unix.SO_ERROR)
		state[name+" error"] = fmt.Sprint(unix.Errno(v), err)
	}
	for _, name := range []string{"unread", "peeked", "ended"} {
		b := make([]byte, 100)
		n, _, err := unix.Recvfrom(u.sockets[name], b, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		state[name+" peeked"] = fmt.Sprintf("%q, %v", b[:max(n, 0)], err)
		n, _, err = unix.Recvfrom(u.sockets[name], b, unix.MSG_DONTWAIT)
		state[name+" read"] = fmt.Sprintf("%q, %v", b[:max(n, 0)], err)
		n, _, err = unix.Recvfrom(u.sockets[name], b, unix.MSG_DONTWAIT)
		state[name+" read on"] = fmt.Sprintf("%d, %v", n, err)
	}
	_, _, err := unix.Recvfrom(u.sockets["its peer"], make([]byte, 1), unix.MSG_DONTWAIT)
	state["its peer read"] = fmt.Sprint(err)
	u.write(u.sockets["its peer"], []byte("ok"))
	for end := time.Now().Add(time.Minute); u.blocked.Load() == nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	state["blocked read"] = fmt.Sprint(u.blocked.Load())
	fd, _, err := unix.Accept4(u.sockets["listener"], unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	state["accepted"] = fmt.Sprint(fd > 0, err)
	u.check(unix.SetNonblock(u.sockets["listener"], true))
	_, _, err = unix.Accept(u.sockets["listener"])
	state["accepted more"] = fmt.Sprint(err)
	b := make([]byte, 100)
	n, err := unix.Read(u.file, b)
	state["file read"] = fmt.Sprintf("%q, %v", b[:max(n, 0)], err)
}

// all is what is there to be taken when nobody has taken any of it.
var all = map[string]string{
	"events that were taken": "", "events that wait": "8", // of nine: one is full, and has nothing to read
	"reset error": "connection reset by peer <nil>", "refused error": "connection refused <nil>",
	"unread error": "errno 0 <nil>", "unsent error": "errno 0 <nil>", "ended error": "errno 0 <nil>",
	"unread peeked": fmt.Sprintf("%q, <nil>", records), "unread read": fmt.Sprintf("%q, <nil>", records), "unread read on": "-1, resource temporarily unavailable",
	"peeked peeked": fmt.Sprintf("%q, <nil>", records[3:]), "peeked read": fmt.Sprintf("%q, <nil>", records), "peeked read on": "-1, resource temporarily unavailable",
	"ended peeked": fmt.Sprintf("%q, <nil>", records), "ended read": fmt.Sprintf("%q, <nil>", records), "ended read on": "0, <nil>",
	"its peer read": "resource temporarily unavailable", "blocked read": `"ok", <nil>`, "accepted": "true <nil>", "accepted more": "resource temporarily unavailable",
	"file read": fmt.Sprintf("%q, <nil>", records[4:]),
}

// TestUntouched has a process looked at in every way between two looks of its own.
func TestUntouched(t *testing.T) {
	pid, ask := startUntouched(t)
	ask("look") // what package os opens when it first needs it
	before := ask("look")
	brief := []string{"--idle", "50ms", "--grace", "50ms", "--settle", "50ms"}
	status, out, told := command(slices.Concat([]string{"leakscan", pid, "--deep", "-o", "json"}, brief)...)
	if status != statusLeak || !strings.Contains(out, "TCP_INFO through a pidfd") {
		t.Fatalf("the sockets were not asked: status %d, %s\n%s", status, told, out)
	}
	ways := [][]string{
		{"leakscan", pid, "-o", "wide"}, {"leakscan", pid, "--source", "proc"}, {"leakscan", pid, "--netns", "all"}, {"leakscan", "--all", "--top", "1"}, {"leakscan", pid, "--interval", "10ms", "--count", "3"},
		{"record", "-", pid},
	}
	if os.Geteuid() == 0 {
		ways = append(ways, []string{"leakscan", pid, "--source", "bpf"})
	}
	for _, args := range ways {
		if status, _, told := command(slices.Concat(args, brief)...); status == statusFailed {
			t.Errorf("%q: %s", args, told)
		}
	}
	for _, by := range []string{"process", "netns"} {
		if status, _, told := command("tcpstat", "--by", by, "-q"); status == statusFailed {
			t.Errorf("tcpstat --by %s: %s", by, told)
		}
	}
	same(t, "before and behind the scans", ask("look"), before)
	same(t, "what there was to be taken", ask("take"), all)
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for key := range maps.Keys(want) {
		if got[key] != want[key] {
			t.Errorf("%s: %s is %q, want %q", what, key, got[key], want[key])
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s is %q, and was nothing", what, key, got[key])
		}
	}
}

// startUntouched starts the process. It ends with the test.
func startUntouched(t *testing.T) (pid string, ask func(string) map[string]string) {
	t.Helper()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{roleUntouched}, Stderr: os.Stderr}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	answers := json.NewDecoder(stdout)
	return strconv.Itoa(cmd.Process.Pid), func(what string) map[string]string {
		t.Helper()
		_, err := fmt.Fprintln(stdin, what)
		must(t, err)
		var state map[string]string
		must(t, answers.Decode(&state))
		return state
	}
}
