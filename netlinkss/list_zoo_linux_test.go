//go:build zoo

package netlinkss

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// everyAttr is what ss can print, and some more.
const everyAttr = AttrMemInfo | AttrInfo | AttrCong | AttrTOS | AttrTClass | AttrSkMem | AttrShutdown

// who is a socket of a list without cookies.
type who struct {
	local, peer netip.AddrPort
	listen      bool
}

func whoOf(s *Socket) who { return who{s.Local, s.Peer, s.State == Listen} }

func dumpWho(t *testing.T, c *Conn) map[who]*Socket {
	t.Helper()
	found := map[who]*Socket{}
	for s, err := range c.Dump(background, Request{Attrs: everyAttr}) {
		must(t, err)
		found[whoOf(s)] = s.Clone()
	}
	return found
}

// TestKernelListsAgree reads what ss and netstat print of a quiet namespace, between two dumps of it: all that a text tells is as the dumps
// have it, and clocks and timers lie between theirs.
func TestKernelListsAgree(t *testing.T) {
	enterNetns(t)
	for _, l := range loopbacks {
		l.specimens(t)
	}
	someSockets(t)
	c := dialTest(t, nil)
	for _, command := range []string{
		"ss -tn", "ss -tan", "ss -tano", "ss -tane", "ss -tanp", "ss -tani", "ss -tanm", "ss -tanoiepm", "ss -tanoiepmO", "ss -HtanoiepmO", "ss -Htanoie",
		"ss -aoen", "ss -aoein", "ss -tanp4", "ss -tanie6", "ss -tanoieT", "ss -tanoie --tos --cgroup --inet-sockopt",
		"netstat -ant", "netstat -antp", "netstat -anto", "netstat -antoe", "netstat -antoeep", "netstat -antW", "netstat -anp", "netstat -aeen",
		"cat /proc/self/net/tcp /proc/self/net/tcp6",
	} {
		// The kernel moves some of the sockets now and then: those are looked at again.
		eventually(t, func() error {
			before := dumpWho(t, c)
			out := commandOutput(t, command)
			after := dumpWho(t, c)
			return compareList(t, command, out, before, after)
		})
	}
}

func commandOutput(t *testing.T, command string) []byte {
	t.Helper()
	words := strings.Fields(command)
	cmd := exec.Command(words[0], words[1:]...)
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%s is not installed: it is in the package %s", words[0], map[string]string{"ss": "iproute2", "netstat": "net-tools"}[words[0]])
	}
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out
}

func compareList(t *testing.T, command string, out []byte, before, after map[who]*Socket) error {
	l := ReadList(bytes.NewReader(out))
	var errs []error
	seen := 0
	for s, err := range l.Sockets() {
		if err != nil {
			t.Fatalf("%s: %v in\n%s", command, err, out)
		}
		a, b := before[whoOf(s)], after[whoOf(s)]
		if a == nil || b == nil {
			errs = append(errs, fmt.Errorf("%s: no dump has %s", command, text(s)))
			continue
		}
		seen++
		for _, d := range differences(s, l.Lack(), a, b) {
			errs = append(errs, fmt.Errorf("%s: %s: %s\ndump %s", command, d, text(s), text(a)))
		}
		for _, u := range l.Users() {
			if u.PID != os.Getpid() {
				errs = append(errs, fmt.Errorf("%s: held by %+v", command, u))
			}
		}
	}
	for _, loss := range l.Losses() {
		if loss.What == LossUnread || loss.What == LossCut || loss.What == LossAddresses || loss.What == LossStateless {
			t.Fatalf("%s: %+v in\n%s", command, loss, out)
		}
	}
	for key, s := range before {
		if wanted(command, s) && after[key] != nil {
			seen--
		}
	}
	if seen != 0 {
		errs = append(errs, fmt.Errorf("%s: %d sockets more than the dumps have, in\n%s", command, seen, out))
	}
	return errors.Join(errs...)
}

// wanted: the command lists it.
func wanted(command string, s *Socket) bool {
	switch {
	case strings.HasSuffix(command, "4"):
		return s.Family == Inet
	case strings.HasSuffix(command, "e6"):
		return s.Family == Inet6
	case command == "ss -tn":
		return s.State != Listen && s.State != SynRecv && s.State != TimeWait
	}
	return true
}

// difference collects what a row tells otherwise than the kernel told before and after.
type difference struct{ list []string }

func (d *difference) check(what string, got, a, b any) {
	if got != a && got != b {
		d.list = append(d.list, fmt.Sprintf("%s %v, dumps %v and %v", what, got, a, b))
	}
}

func (d *difference) between(what string, got, a, b uint64) {
	if got < min(a, b) || got > max(a, b) {
		d.list = append(d.list, fmt.Sprintf("%s %d, dumps %d and %d", what, got, a, b))
	}
}

func differences(s *Socket, lack Lack, before, after *Socket) []string {
	var d difference
	d.check("family", s.Family, before.Family, after.Family)
	d.check("state", s.State, before.State, after.State)
	if s.State != Listen { // /proc has no backlog
		d.check("recv-q", s.RecvQ, before.RecvQ, after.RecvQ)
		d.check("send-q", s.SendQ, before.SendQ, after.SendQ)
	}
	d.check("interface", s.Interface, before.Interface, after.Interface)
	if lack&LackTimer == 0 {
		d.timer(s, before, after)
	}
	if lack&LackUID == 0 {
		d.check("uid", s.UID, before.UID, after.UID)
	}
	if lack&LackInode == 0 {
		d.check("inode", s.Inode, before.Inode, after.Inode)
	}
	if lack&LackCookie == 0 {
		d.check("cookie", s.Cookie, before.Cookie, after.Cookie)
	}
	if s.Has(AttrShutdown) {
		d.check("shutdown", s.Shutdown, before.Shutdown, after.Shutdown)
	}
	if s.Has(AttrSkMem) {
		d.check("skmem", s.SkMem, before.SkMem, after.SkMem)
	}
	if s.Has(AttrCong) {
		d.check("congestion", s.Congestion, before.Congestion, after.Congestion)
	}
	if s.State != Listen && s.InfoLen() > 0 {
		d.info(s, lack, before, after)
	}
	return d.list
}

func (d *difference) timer(s, before, after *Socket) {
	d.check("timer", s.Timer, before.Timer, after.Timer)
	if s.State != SynRecv { // /proc/net/tcp counts time-outs there, and sock_diag what was sent again, which a full queue forbids
		d.check("retrans", s.Retrans, before.Retrans, after.Retrans)
	}
	if s.Timer != before.Timer || s.Timer != after.Timer || before.Expires < after.Expires || s.Timer == TimerPersist {
		return
	}
	if s.Expires > before.Expires || s.Expires < after.Expires-time.Minute {
		d.check("expires", s.Expires, before.Expires, after.Expires)
	}
}

func (d *difference) info(s *Socket, lack Lack, before, after *Socket) {
	if s.InfoLen() > before.InfoLen() {
		d.list = append(d.list, fmt.Sprintf("%d bytes of tcp_info, the kernel has %d", s.InfoLen(), before.InfoLen()))
	}
	for name, w := range infoWords {
		if int(w.offset)+int(w.size) <= s.InfoLen() {
			d.between(name, infoField(s, w), infoField(before, w), infoField(after, w))
		}
	}
	if s.Info.RTO != 0 {
		d.between("rto", uint64(s.Info.RTO), uint64(before.Info.RTO), uint64(after.Info.RTO))
	}
	if lack&LackTimer == 0 && s.Timer == TimerOn {
		d.between("retransmits", uint64(s.Info.Retransmits), uint64(before.Info.Retransmits), uint64(after.Info.Retransmits))
	}
	if s.InfoLen() > InfoHasDataSegs {
		d.between("total retrans", uint64(s.Info.TotalRetrans), uint64(before.Info.TotalRetrans), uint64(after.Info.TotalRetrans))
	}
}

func infoField(s *Socket, w infoWord) uint64 {
	b := s.Info.bytes()[w.offset:]
	switch w.size {
	case 1:
		return uint64(b[0])
	case 4:
		return uint64(native.Uint32(b))
	}
	return native.Uint64(b)
}

// TestKernelRecordTexts writes the texts of testdata/text; see its README.
func TestKernelRecordTexts(t *testing.T) {
	if !*record {
		t.Skip("records only with -record")
	}
	enterNetns(t)
	loopbacks[0].specimens(t)
	someSockets(t)
	http := loopbacks[0].socket(t)
	must(t, unix.Bind(http.fd, loopbacks[0].sockaddr(80)))
	must(t, unix.Listen(http.fd, 1))
	for name, command := range map[string]string{
		"ss-tanoie": "ss -tanoie", "ss-aoen": "ss -aoen", "ss-tanp": "ss -tanp", "ss-tn": "ss -tn", "ss-names": "ss -ta",
		"ss-tanoiepmO-no-header": "ss -HtanoiepmO", "ss-close-wait": "ss -tanp state close-wait", "ss-one-state-no-command": "ss -tan state close-wait",
		"netstat-ant": "netstat -ant", "netstat-antp": "netstat -antp", "netstat-anto": "netstat -anto",
		"netstat-antoeep": "netstat -antoeep", "netstat-names": "netstat -at", "netstat-an": "netstat -an",
		"proc-net-tcp": "cat /proc/self/net/tcp /proc/self/net/tcp6",
	} {
		out := commandOutput(t, command)
		if name == "ss-close-wait" {
			out = append([]byte("root@host:~# "+command+"\n"), append(out, "root@host:~# \n"...)...)
		}
		must(t, os.WriteFile(filepath.Join(textDir, name+".txt"), out, 0o644))
	}
}
