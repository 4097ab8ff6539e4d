package diag

import (
	"net/netip"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Snapshot is one look at some processes and their sockets.
type Snapshot struct {
	Began  time.Time // before the first socket was read; the zero time is At
	At     time.Time // after the last
	Host   procfd.Host
	Spaces []*Space
	Gaps   []Gap // of the look as a whole
}

// Gap is something that could not be seen, and so may hide a leak.
type Gap struct {
	What  string
	Count int // how many; 0 when that is not known
	Why   string
	// Minor: it hides a name or a number of the report, but no leak.
	Minor bool
}

// Space is what was seen in one network namespace.
type Space struct {
	Netns    uint64 // inode, 0 when it may not be read
	Sysctls  procfd.NetSysctls
	TimeWait int // sockets in TIME-WAIT in the namespace
	// TimeWaitSource is where that number is from, when not from the list of sockets.
	TimeWaitSource string
	Procs          []*Proc
	Gaps           []Gap
}

// Proc is a process with its sockets.
type Proc struct {
	*procfd.Process
	Space *Space

	Held []HeldSocket // by descriptor
	Dark []DarkSocket // by descriptor

	// TimeWait counts the namespace's TIME-WAIT sockets on the ports that this process listens on, or
	// towards the peers that it is connected to. No process holds them.
	TimeWait int
	// MPTCPEnded counts MPTCP connections that the peer has closed and that are ESTAB among Held.
	MPTCPEnded int
	// Foreign counts TCP sockets of another network namespace.
	Foreign int
	Gaps    []Gap
}

// HeldSocket is a listed socket and the descriptors that one process has on it.
type HeldSocket struct {
	*netlinkss.Socket // shared by the processes that hold it
	FDs               []int
	Keepalive         Keepalive
	Asked             bool // Keepalive is from the socket itself and not from its timer
	Direction         Direction
}

// Ask takes what the socket itself says of SO_KEEPALIVE, where a timer hid it.
func (h *HeldSocket) Ask(on bool) {
	h.Asked = true
	h.Keepalive = KeepaliveOff
	if on {
		h.Keepalive = KeepaliveOn
	}
}

// FD is the lowest descriptor.
func (h *HeldSocket) FD() int { return h.FDs[0] }

// Alive is what has become of a socket that the kernel does not list.
type Alive uint8

// What a socket that is not listed is.
const (
	AliveUnknown   Alive = iota // it could not be asked
	NeverConnected              // socket() and no more, or a connect that failed
	Dead                        // ended by a reset, a time-out or an abort
)

// DarkSocket is a descriptor on a TCP socket that the kernel lists nowhere.
type DarkSocket struct {
	FD     int
	Inode  uint64
	Cookie uint64 // 0 when it could not be asked
	Alive  Alive
	Local  netip.AddrPort
	Peer   netip.AddrPort // the last, or the one that it tried; not valid when there was none
	Info   netlinkss.TCPInfo
	// Direction of the connection that it was.
	Direction Direction
}

// Listens are the ports that the process listens on.
func (p *Proc) Listens() map[uint16]bool {
	ports := map[uint16]bool{}
	for i := range p.Held {
		if p.Held[i].State == netlinkss.Listen {
			ports[p.Held[i].Local.Port()] = true
		}
	}
	return ports
}
