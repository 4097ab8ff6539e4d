//go:build zoo

package netlinkss

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var record = flag.Bool("record", false, "record the dumps of testdata/dump anew")

// enterNetns moves the test into an empty network namespace, for good: its thread ends with it. What
// it starts by t.Run or go is not there.
func enterNetns(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	must(t, loopbackUp())
}

// ss runs the command in the test's namespace.
func ss(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ss", args...).Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("ss is not installed: it is in the package iproute2")
	}
	must(t, err)
	return string(out)
}

// TestKernelAgreesWithSS compares every socket of a namespace with what ss prints of it.
func TestKernelAgreesWithSS(t *testing.T) {
	enterNetns(t)
	for _, l := range loopbacks {
		l.specimens(t)
	}
	c := dialTest(t, nil)
	eventually(t, func() error {
		ours := map[string]bool{}
		for s, err := range c.Dump(background, Request{}) {
			if err != nil {
				return err
			}
			ours[ssLine(s)] = true
		}
		theirs := ssLines(t, ss(t, "-Htanoe"))
		return errors.Join(missing("ss", ours, theirs), missing("the dump", theirs, ours))
	})
}

// ssLine is a socket with the words of ss. The time left is not compared.
func ssLine(s *Socket) string {
	timer := "-"
	if s.Timer != TimerOff {
		timer = fmt.Sprintf("%v,%d", s.Timer, s.Retrans)
	}
	return fmt.Sprintf("%v %d %d %v %v %s uid=%d ino=%d sk=%x", s.State, s.RecvQ, s.SendQ, s.Local, s.Peer, timer, s.UID, s.Inode, s.Cookie)
}

var (
	ssTimer  = regexp.MustCompile(`timer:\((\w+),[^,]*,(\d+)\)`)
	ssUID    = regexp.MustCompile(`uid:(\d+)`)
	ssInode  = regexp.MustCompile(`ino:(\d+)`)
	ssCookie = regexp.MustCompile(`sk:([0-9a-f]+)`)
)

// ssLines brings the output of ss -Htanoe into the form of ssLine.
func ssLines(t *testing.T, out string) map[string]bool {
	t.Helper()
	lines := map[string]bool{}
	for sc := bufio.NewScanner(strings.NewReader(out)); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if len(f) < 5 {
			t.Fatalf("ss prints %q", sc.Text())
		}
		timer := "-"
		if m := ssTimer.FindStringSubmatch(sc.Text()); m != nil {
			timer = m[1] + "," + m[2]
		}
		cookie, err := strconv.ParseUint(field(ssCookie, sc.Text()), 16, 64)
		must(t, err)
		lines[fmt.Sprintf("%s %s %s %s %s %s uid=%s ino=%s sk=%x", f[0], f[1], f[2], ssAddr(f[3]), ssAddr(f[4]), timer,
			field(ssUID, sc.Text()), field(ssInode, sc.Text()), cookie)] = true
	}
	return lines
}

// ssAddr turns * into what it stands for: no port, or every address of both families.
func ssAddr(s string) string {
	if port, ok := strings.CutPrefix(s, "*:"); ok {
		s = "[::]:" + port
	}
	if addr, ok := strings.CutSuffix(s, ":*"); ok {
		s = addr + ":0"
	}
	return s
}

// field is what ss leaves out where it is 0.
func field(re *regexp.Regexp, line string) string {
	if m := re.FindStringSubmatch(line); m != nil {
		return m[1]
	}
	return "0"
}

func missing(from string, want, have map[string]bool) error {
	var errs []error
	for line := range want {
		if !have[line] {
			errs = append(errs, fmt.Errorf("not from %s: %s", from, line))
		}
	}
	return errors.Join(errs...)
}

// TestKernelRecord writes the dumps of testdata/dump; see its README.
func TestKernelRecord(t *testing.T) {
	if !*record {
		t.Skip("records only with -record")
	}
	enterNetns(t)
	var u unix.Utsname
	must(t, unix.Uname(&u))
	kernel := strings.Join(strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3)[:2], ".")
	path := func(name string) string { return filepath.Join(dumpDir, kernel+"-"+name+".nl") }
	write := func(name string, b []byte) { must(t, os.WriteFile(path(name), b, 0o644)) }

	someSockets(t)
	ss(t, "-tan", "-D", path("ss-tan"))
	ss(t, "-tanoiem", "-D", path("ss-full"))
	full := raw(t, Request{Attrs: attrsInExt})
	write("legacy-full", full)
	write("ipv6-full", raw(t, Request{Family: Inet6, Attrs: attrsInExt}))
	write("mptcp", raw(t, Request{Protocol: ProtocolMPTCP}))

	first, _, rest, err := nextMessage(full)
	must(t, err)
	end := bytes.Index(full, native.AppendUint32(nil, sizeofNlmsghdr+4)) // the length of NLMSG_DONE
	write("cut-in-record", full[:len(full)-len(rest)+first.size/2])
	write("cut-in-header", full[:len(full)-len(rest)+10])
	write("cut-before-done", full[:end])
	write("two-dumps", append(raw(t, Request{}), raw(t, Request{Family: Inet6})...))

	xs := loopbacks[0].specimens(t)
	untilAll(t, xs, func() (func(int) error, error) {
		found, err := survey(dialTest(t, nil).Dump(background, Request{States: everyState}), xs)
		return func(i int) error { return xs[i].check(found[i]) }, err
	})
	write("states", raw(t, Request{States: everyState}))
}

// someSockets are few sockets with much to tell.
func someSockets(t *testing.T) {
	t.Helper()
	for _, l := range loopbacks {
		l.need(t)
		client, server := l.pair(t, keepalive, congestion("reno"), set(unix.SOL_SOCKET, unix.SO_MARK, 42))
		client.write("hello")
		server.readAll()
		server.write("unread")
	}
	loopbacks[1].listen(t, 5, set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1))
	mptcpPair(t)
}

func mptcpPair(t *testing.T) {
	t.Helper()
	socket := func() *sock {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_MPTCP)
		must(t, err)
		return own(t, fd)
	}
	listener, client := socket(), socket()
	must(t, unix.Bind(listener.fd, loopbacks[0].sockaddr(0)))
	must(t, unix.Listen(listener.fd, 1))
	if err := unix.Connect(client.fd, loopbacks[0].sockaddr(listener.local().Port())); !errors.Is(err, unix.EINPROGRESS) {
		must(t, err)
	}
	client.wait(unix.POLLOUT)
	listener.accept()
}

// raw is a dump as it came from the kernel.
func raw(t *testing.T, r Request) (b []byte) {
	t.Helper()
	c := dialTest(t, nil)
	recv := c.recv
	c.recv = func(buf []byte) (int, error) {
		n, err := recv(buf)
		b = append(b, buf[:max(n, 0)]...)
		return n, err
	}
	_, err := inodes(c, r)
	must(t, err)
	return b
}
