package diag

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
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
	// Source is where the sockets were listed, and with whom they were joined by; "": sock_diag, and /proc.
	Source string
	// TimeWaitSource is where that number is from, when not from the list of sockets.
	TimeWaitSource string
	// Took is how long the reading of the sockets took: their rows are of different moments, so much apart at the most.
	Took time.Duration
	// Ended is the host's uptime behind the last of them; 0: not known.
	Ended time.Duration
	// Late is how much later the last of those sockets was read that were looked up by themselves, or listed elsewhere.
	Late time.Duration
	// Orphans counts the sockets of the host that no process holds and that wait for their end; negative: not known.
	Orphans int
	Procs   []*Proc
	Gaps    []Gap

	listens map[uint16]bool // ports that anybody listens on
}

// Source names where the sockets of a process were listed.
func (p *Proc) Source() string {
	if p.Unlike {
		return sockDiag
	}
	return cmp.Or(p.Space.Source, sockDiag)
}

// joined names that, and how they were put to their holders.
func (p *Proc) joined() string {
	if p.Source() == SourceIterators {
		return "BPF iterator over the descriptors of every process"
	}
	return p.Source() + ", joined to /proc/PID/fd by inode"
}

const sockDiag = "sock_diag"

// SourceIterators is the name of a source that lists descriptors and their sockets together.
const SourceIterators = "BPF iterators"

// Proc is a process with its sockets.
type Proc struct {
	*procfd.Process
	Space *Space

	Held []HeldSocket // by descriptor, but for those that are usual
	Dark []DarkSocket // by descriptor
	// Usual are those of its sockets that were counted and not kept.
	Usual Usual

	// TimeWait counts the namespace's TIME-WAIT sockets on the ports that this process listens on, or
	// towards the peers that it is connected to. No process holds them.
	TimeWait int
	// Orphans counts nobody's sockets in FIN-WAIT, LAST-ACK and CLOSING there.
	Orphans int
	// Queues are the accept queues of its listeners that are not empty.
	Queues []AcceptQueue
	// Destinations are the peers towards which much of the local ports is taken, by whomever.
	Destinations []Destination
	// Kin are the descendants that were looked at with it. They are judged for what they inherited alone.
	Kin []*Proc
	// Parent is the executable of the process's parent, "" when it is not known.
	Parent string
	// EventLoop: it has epoll sets, and is told through them alone of what happens to a socket.
	EventLoop bool
	// Alone: every process that could be seen was asked for the sockets of this one, so nobody else holds those without
	// [HeldSocket.Others].
	Alone bool
	// Unlike: it was read from /proc, although the space's source is the iterators: they do not tell of every process.
	Unlike bool
	// MPTCPEnded counts MPTCP connections that the peer has closed and that are ESTAB among Held.
	MPTCPEnded int
	// Foreign counts TCP sockets of another network namespace that could not be read.
	Foreign int
	Gaps    []Gap

	passed map[toward]int // of its usual sockets, how many go where much of the local ports does
	again  *again         // nil unless its connections were read a second time
}

// HeldSocket is a listed socket and the descriptors that one process has on it.
type HeldSocket struct {
	*netlinkss.Socket // shared by the processes that hold it
	FDs               []int
	Task              int // the thread in whose own table FDs are; 0: the process's
	Keepalive         Keepalive
	Asked             bool // Keepalive is from the socket itself and not from its timer
	Direction         Direction

	// Tickets: what is unread on it are whole records of TLS, few and small, as a server sends them behind the handshake.
	Tickets bool
	// CloseOnExec is of the first descriptor: without it, a program that the process starts gets the socket, too.
	CloseOnExec Flag
	// Others are the descriptors that other processes have on it, as far as they were looked for.
	Others []Holder
	// End is the other end of the connection, when it is in the same namespace and was looked up.
	End *End
	// Watch is whether anything in the process waits for it.
	Watch procfd.Watch
	// Options are what the socket says of itself, nil when it was not asked.
	Options *Options
	// Space is the namespace that it belongs to, nil for the process's own.
	Space *Space
	// readFrom is the host's uptime when it was read, at the earliest; 0: not known.
	readFrom time.Duration
	// late: it was read behind the end of the dump, by [Space.Late] at the most.
	late bool
	// Passing: the process was forked off one that holds it just now, and may be about to become another program, without it: nothing
	// is said of the process for it.
	Passing bool
	// Counted: it is one of [Proc.Usual] as well, and was found to matter later.
	Counted bool
}

// Flag is a setting that may not be known.
type Flag uint8

// What can be known of a setting.
const (
	FlagUnknown Flag = iota
	FlagOff
	FlagOn
)

// String is unknown, off or on.
func (f Flag) String() string { return [...]string{"unknown", "off", "on"}[f%3] }

// Holder is a descriptor that a process has on a socket.
type Holder struct {
	PID, FD int
	Task    int    // the thread in whose own table FD is; 0: the process's
	Name    string // comm of the process
}

// String is name[pid] fd N.
func (h Holder) String() string {
	if h.Task != 0 {
		return fmt.Sprintf("%s[%d] thread %d fd %d", h.Name, h.PID, h.Task, h.FD)
	}
	return fmt.Sprintf("%s[%d] fd %d", h.Name, h.PID, h.FD)
}

// End is the other end of a connection. It may have no holder: an orphan, or one that nobody accepted.
type End struct {
	*netlinkss.Socket
	Holders []Holder
}

// unseen: it has an inode, so somebody holds it, who was not found: he may not be read, or was not looked for.
func (e *End) unseen() bool { return len(e.Holders) == 0 && e.Inode != 0 }

// Options are settings of a socket that bear on leaks.
type Options struct {
	KeepAlive                   bool
	KeepIdle, KeepInterval      time.Duration
	KeepCount                   int
	UserTimeout                 time.Duration // 0: none
	ReceiveTimeout, SendTimeout time.Duration // 0: none
	Linger                      time.Duration // negative: off
}

// AcceptQueue are connections that are complete and that nobody has accepted.
type AcceptQueue struct {
	Listener *HeldSocket
	Waiting  []*netlinkss.Socket // those on the listener's address and port, in ESTAB or CLOSE-WAIT
	// Others is how many of Waiting may be in the queues of other listeners on the same address and port (SO_REUSEPORT), or on
	// every address.
	Others int
}

// Destination is where local ports go.
type Destination struct {
	Local     netip.Addr
	Peer      netip.AddrPort
	Used      int // local ports of the range that are taken towards Peer, in any state
	TimeWait  int // of them in TIME-WAIT
	Low, High int // the range, both ends included
}

// SortDestinations puts the busiest first.
func SortDestinations(list []Destination) {
	slices.SortFunc(list, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(b.Used, a.Used), a.Peer.Compare(b.Peer), a.Local.Compare(b.Local))
	})
}

// Size is how many ports the range has.
func (d Destination) Size() int { return d.High - d.Low + 1 }

// Ask takes what the socket itself says of SO_KEEPALIVE, where a timer hid it.
func (h *HeldSocket) Ask(on bool) {
	h.Asked = true
	h.Keepalive = KeepaliveOff
	if on {
		h.Keepalive = KeepaliveOn
	}
}

// FD is the first descriptor: the lowest in the table of the process, or of the first thread with one of its own.
func (h *HeldSocket) FD() int { return h.FDs[0] }

// SocketFD is the first descriptor, as procfd asks after it.
func (h *HeldSocket) SocketFD() procfd.SocketFD {
	return procfd.SocketFD{FD: h.FD(), Inode: uint64(h.Inode), Task: h.Task}
}

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
	Task   int // as in [HeldSocket]
	Inode  uint64
	Cookie uint64 // 0 when it could not be asked
	Alive  Alive
	Local  netip.AddrPort
	Peer   netip.AddrPort // the last, or the one that it tried; not valid when there was none
	Info   netlinkss.TCPInfo
	Asked  time.Time // when Info was; the zero time: not known
	// Direction of the connection that it was.
	Direction Direction
	// Told: a BPF iterator told it, and not the socket itself.
	Told bool
	// Err is the error that waits for the process to ask for it; 0: none, or not told. Only an iterator can see it and leave it.
	Err syscall.Errno
}

// unread: its descriptors could not be read, so what it holds is not known.
func (p *Proc) unread() bool {
	return len(p.Held)+len(p.Sockets) == 0 && (p.Open < 0 || p.Open > 0 && p.ByKind == [procfd.NumKinds]int{})
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
