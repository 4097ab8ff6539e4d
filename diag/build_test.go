package diag

import (
	"net/netip"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// sock is a socket with a whole tcp_info that says it was accepted, carried payload both ways, and has
// been quiet for a minute.
func sock(state netlinkss.State, local, peer string) *netlinkss.Socket {
	s := &netlinkss.Socket{
		Family: netlinkss.Inet, State: state, Local: netip.MustParseAddrPort(local), Peer: netip.MustParseAddrPort(peer),
	}
	if s.Local.Addr().Is6() {
		s.Family = netlinkss.Inet6
	}
	setInfo(s, quietFor(withTraffic(netlinkss.TCPInfo{}, false), time.Minute), wholeInfo)
	return s
}

// estab is an established socket with an inode, and the cookie that goes with it.
func estab(inode uint32, local, peer string) *netlinkss.Socket {
	s := sock(netlinkss.Estab, local, peer)
	s.Inode, s.Cookie = inode, uint64(inode)
	return s
}

// quietFor sets the three clocks.
func quietFor(t netlinkss.TCPInfo, d time.Duration) netlinkss.TCPInfo {
	ms := uint32(d / time.Millisecond)
	t.LastDataSent, t.LastDataRecv, t.LastAckRecv = ms, ms, ms
	return t
}

// process has descriptors from 10 on, one for each inode.
func process(pid int, inodes ...uint64) *procfd.Process {
	p := &procfd.Process{PID: pid, Start: 1, Name: "app", SoftLimit: 1024, Open: len(inodes)}
	for i, inode := range inodes {
		p.Sockets = append(p.Sockets, procfd.SocketFD{FD: 10 + i, Inode: inode})
	}
	return p
}

// looked is a history of one look at these spaces.
func looked(spaces ...*Space) *History {
	h := &History{}
	h.Add(&Snapshot{
		At:   time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Host: procfd.Host{Uptime: 10 * 24 * time.Hour}, Spaces: spaces,
	})
	return h
}
