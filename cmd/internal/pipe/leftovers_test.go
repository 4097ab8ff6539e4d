//go:build linux

package pipe

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/netlinkss"
)

// holdings counts what this process has: goroutines, and descriptors by kind.
func holdings() map[string]int {
	n := map[string]int{"goroutine": runtime.NumGoroutine()}
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		to, err := os.Readlink(name)
		if err != nil {
			continue // the one that lists the directory
		}
		if kind, _, ok := strings.Cut(to, ":["); ok {
			to = kind
		}
		if strings.HasPrefix(to, "/") {
			to = "file"
		}
		n[to]++
	}
	return n
}

// wantHoldings waits until this process has no more than before.
func wantHoldings(tb testing.TB, before map[string]int) {
	tb.Helper()
	var now map[string]int
	ok := within(patience, func() bool {
		now = holdings()
		for kind, n := range now {
			if n > before[kind] {
				return false
			}
		}
		return true
	})
	if !ok {
		tb.Errorf("before: %v, after: %v", before, now)
	}
}

// wantNoSockets waits until the kernel has no connection with one of the ports, be it of a process or an orphan. Those in
// TIME-WAIT are as it should be.
func wantNoSockets(tb testing.TB, ports ...uint16) {
	tb.Helper()
	conn := must[*netlinkss.Conn](tb)(netlinkss.Dial(nil))
	defer func() { _ = conn.Close() }()
	states := netlinkss.AllStates &^ (1<<netlinkss.Listen | 1<<netlinkss.TimeWait)
	var left []string
	ok := within(patience, func() bool {
		left = nil
		for s, err := range conn.Dump(tb.Context(), netlinkss.Request{States: states, Ports: ports}) {
			if err != nil {
				left = append(left, err.Error())
				break
			}
			left = append(left, s.State.String()+" "+s.Local.String()+" "+s.Peer.String())
		}
		return len(left) == 0
	})
	if !ok {
		tb.Errorf("left in the kernel: %q", left)
	}
}

func portOf(tb testing.TB, addr string) uint16 {
	tb.Helper()
	_, port, err := net.SplitHostPort(addr)
	check(tb, err)
	return uint16(must[uint64](tb)(strconv.ParseUint(port, 10, 16)))
}

// tcpState returns the state of a TCP connection.
func tcpState(tb testing.TB, c net.Conn) netlinkss.State {
	tb.Helper()
	raw := must[syscall.RawConn](tb)(c.(*net.TCPConn).SyscallConn())
	var info *unix.TCPInfo
	var err error
	check(tb, raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }))
	check(tb, err)
	return netlinkss.State(info.State)
}
