package diag

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sockleak/sockleak/procfd"
)

// Severity is how sure and how bad a finding is.
type Severity uint8

// The severities, the least first.
const (
	Info Severity = iota // normal, and worth a word
	Risk                 // may leak, or is about to fail
	Leak                 // leaks, proved
)

// String is info, risk or leak.
func (s Severity) String() string { return [...]string{"info", "risk", "leak"}[s%3] }

// Finding is what a rule found in one process.
type Finding struct {
	Rule     string
	Severity Severity
	Proc     *Proc
	// Peer is the other side: an address for accepted connections, address:port for connected ones, ""
	// when there is not one peer.
	Peer      string
	Direction Direction
	LocalPort uint16 // of accepted connections; 0 otherwise
	Sockets   int
	Message   string
	Why       string // why the kernel keeps it
	Evidence  []Evidence
	Advice    string
	Onset     *Onset   // nil when it cannot be told
	Samples   []Sample // every socket of the finding
}

// Evidence is one fact and where it comes from.
type Evidence struct {
	Field  string
	Value  string
	Source string
}

// Sample is one socket behind a finding, as a report shows it. A dark one has a socket's state, but
// the kernel lists nothing else of it.
type Sample struct {
	FD        int
	FDs       []int // all of them when there are several
	Task      int   // thread in whose own table FD is; 0: in the process's
	Local     netip.AddrPort
	Peer      netip.AddrPort
	State     string
	Timer     string
	Expires   time.Duration
	Keepalive string
	RecvQ     uint32
	SendQ     uint32
	Idle      Span
	Age       Span
	Held      Span // time in the state
	Cookie    uint64
	Inode     uint64
	PID       int // of the holder; it is the finding's process but for what a descendant has inherited
	Others    []Holder
	End       *EndSample
	Watch     procfd.Watch
	Options   *Options
	// FirstLooked is the date of the descriptor's entry in /proc: when somebody first looked at that
	// number, not the date of the socket. Zero unless it was asked for.
	FirstLooked time.Time
}

// EndSample is the other end of a connection, on this host.
type EndSample struct {
	State        string
	RecvQ, SendQ uint32
	Holders      []Holder
	Unseen       bool // somebody holds it, and was not found: Holders is empty
}

// SocketFD is the descriptor, as procfd asks after it.
func (s *Sample) SocketFD() procfd.SocketFD {
	return procfd.SocketFD{FD: s.FD, Inode: s.Inode, Task: s.Task}
}

func sampleOf(h *HeldSocket, uptime time.Duration) Sample {
	s := Sample{
		FD: h.FD(), Task: h.Task, Local: h.Local, Peer: h.Peer, State: h.State.String(), Timer: h.Timer.String(),
		Expires: h.Expires, Keepalive: h.Keepalive.String(), RecvQ: h.RecvQ, SendQ: h.SendQ,
		Idle: Idle(h.Socket, uptime), Age: Age(h.Socket, uptime), Held: Held(h.Socket, uptime),
		Cookie: h.Cookie, Inode: uint64(h.Inode),
		Others: h.Others, Watch: h.Watch, Options: h.Options,
	}
	if len(h.FDs) > 1 {
		s.FDs = h.FDs
	}
	if h.End != nil {
		s.End = &EndSample{State: h.End.State.String(), RecvQ: h.End.RecvQ, SendQ: h.End.SendQ, Holders: h.End.Holders, Unseen: h.End.unseen()}
	}
	return s
}

// DarkState is the state of a sample that the kernel does not list. It is not a TCP state.
const DarkState = "closed"

func darkSample(d *DarkSocket) Sample {
	return Sample{
		FD: d.FD, Task: d.Task, Local: d.Local, Peer: d.Peer, State: DarkState, Timer: "off",
		Keepalive: KeepaliveUnknown.String(), Cookie: d.Cookie, Inode: d.Inode,
	}
}

// Subject names a process in a sentence: node[4242].
func Subject(p *procfd.Process) string { return fmt.Sprintf("%s[%d]", p.Name, p.PID) }
