package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confined runs the command in a sandbox that forbids sock_diag: with the errno of the first argument in the call of the second, socket
// or sendto. The others are the command's.
func confined() error {
	errno, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	if err := forbid(uint32(errno), os.Args[2]); err != nil {
		return err
	}
	os.Unsetenv(churnPart)
	return unix.Exec("/proc/self/exe", append([]string{"sockleak"}, os.Args[3:]...), os.Environ())
}

// forbid has a call fail in this process, and in what it executes: socket for the protocol of sock_diag alone.
func forbid(errno uint32, call string) error {
	const (
		load, jumpEq, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
		number, domain    = 0, 16
		protocol          = 32
	)
	fails, allows := uint32(unix.SECCOMP_RET_ERRNO)|errno, uint32(unix.SECCOMP_RET_ALLOW)
	filter := []unix.SockFilter{
		{Code: load, K: number},
		{Code: jumpEq, K: unix.SYS_SENDTO, Jf: 1},
		{Code: ret, K: fails},
		{Code: ret, K: allows},
	}
	if call == "socket" {
		filter = []unix.SockFilter{
			{Code: load, K: number},
			{Code: jumpEq, K: unix.SYS_SOCKET, Jf: 5},
			{Code: load, K: domain},
			{Code: jumpEq, K: unix.AF_NETLINK, Jf: 3},
			{Code: load, K: protocol},
			{Code: jumpEq, K: unix.NETLINK_INET_DIAG, Jf: 1},
			{Code: ret, K: fails},
			{Code: ret, K: allows},
		}
	}
	if nativeBig() {
		return unix.ENOTSUP // the low halves of the arguments stand elsewhere
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		return e
	}
	return nil
}

func nativeBig() bool {
	one := uint16(1)
	return *(*byte)(unsafe.Pointer(&one)) == 0
}

// What the holder holds: connections with keepalive, without, and such that the peer has closed. The peers are of another process.
const (
	heldKeepalive = 5
	heldPlain     = 3
	heldCloseWait = 4
)

// churnHolder holds its sockets and does nothing; the server, its child, has the other ends.
func churnHolder() error {
	for i := range heldKeepalive + heldPlain + heldCloseWait {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if i < heldKeepalive {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
				return err
			}
		}
		if err := unix.Connect(fd, toServer()); err != nil {
			return err
		}
		if i >= heldKeepalive+heldPlain {
			_, _ = unix.Write(fd, []byte("f")) // it closes
			_, _ = unix.Read(fd, make([]byte, 1))
		}
	}
	ready("")
	forEver(0, nil)
	return nil
}

// churnPeer accepts what comes, and closes where it is asked to.
func churnPeer() error {
	ln, at, err := listenTCP()
	if err != nil {
		return err
	}
	ready(at.Port)
	forEver(1, func(int) {
		fd, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		go func() {
			if n, _ := unix.Read(fd, make([]byte, 1)); n > 0 {
				unix.Close(fd)
			}
		}()
	})
	return nil
}

// Where sock_diag is forbidden, in whatever way, /proc/net/tcp is read: the numbers are right, keepalive is told by the timer, what is
// lost is told, and that nothing was found is no all-clear.
func TestConfined(t *testing.T) {
	if nativeBig() {
		t.Skip("the filter is for little-endian machines")
	}
	s := &stage{}
	defer s.end()
	port, err := s.play("peer")
	must(t, err)
	_, err = s.play("holder", port)
	must(t, err)
	holder := strconv.Itoa(s.pids[1])
	for _, errno := range []unix.Errno{unix.EPERM, unix.EACCES, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.ENOSYS} {
		for _, call := range []string{"socket", "sendto"} {
			t.Run(call+" "+errno.Error(), func(t *testing.T) {
				run := func(args ...string) (out []byte, status int) {
					cmd := playing("confined", append([]string{strconv.Itoa(int(errno)), call}, args...)...)
					out, err := cmd.Output()
					if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
						return out, exit.ExitCode()
					}
					must(t, err)
					return out, 0
				}
				wantHolder(t, run, holder)
				wantCounted(t, run, port)
				file := filepath.Join(t.TempDir(), "r")
				if out, status := run("record", "-q", "--settle", "0", file, holder); status != 0 {
					t.Errorf("record: exit %d, %s", status, out)
				}
				wantHolder(t, run, "--from", file, holder)
			})
		}
	}
}

func wantHolder(t *testing.T, run func(...string) ([]byte, int), which ...string) {
	t.Helper()
	out, status := run(append([]string{"leakscan", "--json", "--grace", "1s", "--settle", "0"}, which...)...)
	var r struct {
		Processes []struct {
			Sockets struct {
				ByState map[string]int `json:"by_state"`
				Timer   int            `json:"estab_timer"`
				NoTimer int            `json:"estab_no_timer"`
			}
		}
		Findings []struct{ Severity string }
		Gaps     []struct{ What, Why string }
	}
	must(t, json.Unmarshal(out, &r))
	sockets := r.Processes[0].Sockets
	if sockets.ByState["ESTAB"] != heldKeepalive+heldPlain || sockets.ByState["CLOSE-WAIT"] != heldCloseWait ||
		sockets.Timer != heldKeepalive || sockets.NoTimer != heldPlain {
		t.Errorf("found %+v", sockets)
	}
	told := slices.ContainsFunc(r.Gaps, func(g struct{ What, Why string }) bool {
		return strings.Contains(g.Why, "/proc/net/tcp") && strings.Contains(g.Why, "sock_diag: ")
	})
	if status != 3 || !told {
		t.Errorf("exit %d with the gaps %+v and the findings %+v", status, r.Gaps, r.Findings)
	}
}

func wantCounted(t *testing.T, run func(...string) ([]byte, int), port string) {
	t.Helper()
	out, status := run("tcpstat", "--json", "--port", port)
	var r struct {
		Source string
		Gaps   []struct{ Why string }
	}
	must(t, json.Unmarshal(out, &r))
	if status != 0 || r.Source != "/proc/net/tcp" || len(r.Gaps) == 0 {
		t.Errorf("tcpstat: exit %d, %s", status, out)
	}
}
