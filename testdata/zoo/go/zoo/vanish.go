package main

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// vanished are the programs whose peers are gone without a word, as when a machine loses its power: from then on nothing
// comes from their address. Each is two namespaces and what joins them, and needs root.
var vanished = map[string]func(*zoo) truth{
	"vanished-idle":      func(z *zoo) truth { return inNewNetns(z, "vanish-idle") },
	"vanished-sending":   func(z *zoo) truth { return inNewNetns(z, "vanish-sending") },
	"vanished-unplugged": func(z *zoo) truth { return inNewNetns(z, "vanish-unplugged") },
	"vanished-probing":   func(z *zoo) truth { return inNewNetns(z, "vanish-probing") },

	"vanish-idle": func(z *zoo) truth {
		w := newWire(z)
		w.dial()
		w.lose()
		return idle(z.n, map[string]int{estab: z.n})
	},
	"vanish-sending": func(z *zoo) truth {
		w := newWire(z)
		conns := w.dial()
		w.lose()
		return sending(conns, estabResend)
	},
	"vanish-unplugged": func(z *zoo) truth {
		w := newWire(z)
		conns := w.dial()
		w.unplug()
		return sending(conns, estabResend)
	},
	"vanish-probing": func(z *zoo) truth {
		w := newWire(z)
		for _, c := range w.dial() {
			check(c.SetKeepAliveConfig(probing))
		}
		w.lose()
		return truth{Leaks: none, Held: map[string]int{estabKA: z.n}}
	},
}

// sending has something under way to who is gone.
func sending(conns []*net.TCPConn, held string) truth {
	for _, c := range conns {
		say(c)
	}
	return truth{Leaks: map[string]int{stalledRule: len(conns)}, Held: map[string]int{held: len(conns)}}
}

// inNewNetns runs another role in a network namespace of its own.
func inNewNetns(z *zoo, role string) truth {
	newNetns()
	check(unix.Exec("/proc/self/exe", []string{os.Args[0], role, strconv.Itoa(z.n), z.peer, z.host}, os.Environ()))
	panic("exec returned")
}

// wire is what joins this namespace and that of an echo server.
type wire struct {
	n      int
	peer   string
	theirs *netlink.Handle
	end    netlink.Link
	addr   *netlink.Addr
}

func newWire(z *zoo) *wire {
	runtime.LockOSThread()
	pid, server := spawn(&syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}, "peer-echo", z.n, "", "0.0.0.0")
	check(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "zoo0"}, PeerName: "zoo1", PeerNamespace: netlink.NsPid(pid)}))
	ns, err := netns.GetFromPid(pid)
	check(err)
	defer ns.Close()
	ours, err := netlink.NewHandle()
	check(err)
	defer ours.Close()
	theirs, err := netlink.NewHandleAt(ns)
	check(err)
	up(ours, "zoo0", "192.0.2.1/30")
	w := &wire{n: z.n, theirs: theirs, peer: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), netip.MustParseAddrPort(server.Listen).Port()).String()}
	w.end, w.addr = up(theirs, "zoo1", "192.0.2.2/30")
	// Their address is known for good: that nobody answers is found out by TCP, as it is behind a router.
	link, err := ours.LinkByName("zoo0")
	check(err)
	check(ours.NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP("192.0.2.2"), HardwareAddr: w.end.Attrs().HardwareAddr,
	}))
	return w
}

func up(h *netlink.Handle, name, addr string) (netlink.Link, *netlink.Addr) {
	link, err := h.LinkByName(name)
	check(err)
	a, err := netlink.ParseAddr(addr)
	check(err)
	check(h.AddrAdd(link, a))
	check(h.LinkSetUp(link))
	return link, a
}

// dial makes n connections, without keepalive, and speaks on each.
func (w *wire) dial() []*net.TCPConn {
	conns := make([]*net.TCPConn, w.n)
	for i := range conns {
		conns[i] = dialPolitely(w.peer)
		check(conns[i].SetKeepAlive(false))
	}
	<-time.After(beat) // until all is acknowledged
	return conns
}

// lose has the peer lose its address.
func (w *wire) lose() {
	check(w.theirs.AddrDel(w.end, w.addr))
	w.theirs.Close()
}

// unplug has the link of both go down.
func (w *wire) unplug() {
	check(w.theirs.LinkSetDown(w.end))
	w.theirs.Close()
}
