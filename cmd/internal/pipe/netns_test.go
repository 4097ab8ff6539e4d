//go:build linux

package pipe

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The main thread outlives a goroutine that is locked to it, so no test may come to run there and leave it in another
// namespace.
func init() { runtime.LockOSThread() }

// A host is a thread in a network namespace of its own.
type host struct {
	tid int
	run chan func()
}

// newHost makes a namespace with its loopback device up. It ends with the test and the sockets in it.
func newHost(tb testing.TB) *host {
	tb.Helper()
	h := &host{run: make(chan func())}
	ready := make(chan error)
	go h.serve(ready)
	err := <-ready
	if os.IsPermission(err) {
		tb.Skipf("needs CAP_SYS_ADMIN, for network namespaces: %v", err)
	}
	check(tb, err)
	tb.Cleanup(func() { close(h.run) })
	h.do(tb, func() error { return up("lo") })
	return h
}

// serve never unlocks its thread, so the thread ends with it, and the namespace with that.
func (h *host) serve(ready chan<- error) {
	runtime.LockOSThread()
	h.tid = unix.Gettid()
	err := unix.Unshare(unix.CLONE_NEWNET)
	ready <- os.NewSyscallError("unshare", err)
	if err != nil {
		return
	}
	for f := range h.run {
		f()
	}
}

// do runs f on the host's thread.
func (h *host) do(tb testing.TB, f func() error) {
	tb.Helper()
	done := make(chan error, 1)
	h.run <- func() { done <- f() }
	check(tb, <-done)
}

// launch starts cmd on the host.
func (h *host) launch(tb testing.TB) func(*exec.Cmd) error {
	return func(cmd *exec.Cmd) error {
		h.do(tb, cmd.Start)
		return nil
	}
}

func up(device string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// cut takes a device down, and all that goes through it is lost.
func (h *host) cut(tb testing.TB, device string) {
	tb.Helper()
	h.do(tb, func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(link)
	})
}

// A network is three hosts in a row: the one in the middle has a proxy, and is the way for those who go without it.
type network struct{ client, middle, server *host }

// The devices are named after whom they lead to.
const (
	clientAddr, clientSide = "10.77.1.2", "10.77.1.1" // the client, and the middle towards it
	serverAddr, serverSide = "10.77.2.2", "10.77.2.1"
	toMiddle               = "middle"
)

func newNetwork(tb testing.TB) *network {
	tb.Helper()
	n := &network{client: newHost(tb), middle: newHost(tb), server: newHost(tb)}
	n.cable(tb, n.client, "client", clientAddr, clientSide)
	n.cable(tb, n.server, "server", serverAddr, serverSide)
	n.middle.do(tb, func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
	})
	return n
}

// cable joins a host to the middle and gives it its way out.
func (n *network) cable(tb testing.TB, h *host, name, addr, gateway string) {
	tb.Helper()
	n.middle.do(tb, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: toMiddle, PeerNamespace: netlink.NsPid(h.tid)}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return address(name, gateway)
	})
	h.do(tb, func() error {
		if err := address(toMiddle, addr); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)})
	})
}

func address(device, addr string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr + "/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, a); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// listen listens on the server's host.
func (n *network) listen(tb testing.TB) (ln *net.TCPListener) {
	tb.Helper()
	n.server.do(tb, func() error {
		l, err := net.Listen("tcp4", serverAddr+":0")
		if err == nil {
			ln = l.(*net.TCPListener)
		}
		return err
	})
	tb.Cleanup(func() { _ = ln.Close() })
	return ln
}

// dial connects from the client's host.
func (n *network) dial(tb testing.TB, addr string) (conn *net.TCPConn) {
	tb.Helper()
	n.client.do(tb, func() error {
		c, err := net.Dial("tcp4", addr)
		if err == nil {
			conn = c.(*net.TCPConn)
		}
		return err
	})
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}
