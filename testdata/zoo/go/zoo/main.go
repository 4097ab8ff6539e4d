// Command zoo is a collection of small programs that treat their sockets well or badly, each on purpose and each
// knowing which. One of them runs in a process:
//
//	zoo ROLE N PEER HOST
//
// ROLE names it, N is how many connections it is about, PEER the address of the other side ("" when it needs none), HOST
// the address that it listens on. When its own sockets are in place it writes one line of JSON, the truth about them,
// and it ends when its stdin does, so that nothing of it can stay behind.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// zoo is how a role was called.
type zoo struct {
	n    int
	peer string
	host string
}

// truth is what a role says of itself. The numbers are sockets, and descriptors for closed-fd.
type truth struct {
	Ready  bool           `json:"ready"`
	Listen string         `json:"listen,omitempty"` // where guests are welcome
	Leaks  map[string]int `json:"truth"`            // rule → what leaks by it, once the thresholds have passed
	Risks  map[string]int `json:"risks,omitempty"`
	Infos  map[string]int `json:"infos,omitempty"`
	// Fates is what has become of the descriptors of closed-fd.
	Fates map[string]int `json:"fates,omitempty"`
	Gaps  bool           `json:"gaps,omitempty"` // something of it cannot be seen from where a scan stands
	// Held is what /proc has to show of the process and its children when all is in place, guests included. Nil for
	// what never stands still.
	Held     map[string]int `json:"held"`
	Children []int          `json:"children,omitempty"` // to be scanned too
	// Unscanned are processes, this one or a child, that belong to Held and are not scanned.
	Unscanned []int `json:"unscanned,omitempty"`
	// Early are risks before the thresholds have passed; later they are among the leaks.
	Early map[string]int `json:"early,omitempty"`
}

// The words of Held, besides the states.
const (
	estab        = "ESTAB"
	estabKA      = "ESTAB keepalive"
	estabPersist = "ESTAB persist" // it asks for room
	estabResend  = "ESTAB on"      // it sends again
	estabUnread  = "ESTAB unread"  // with a Recv-Q, whatever the timer
	closeWait    = "CLOSE-WAIT"
	unread       = "CLOSE-WAIT unread" // with a Recv-Q: the end was not read
	listening    = "LISTEN"
	unlisted     = "unlisted" // an open socket that is in no list of /proc/PID/net
	finWait1     = "FIN-WAIT-1"
	lastAck      = "LAST-ACK"
	finWait2     = "FIN-WAIT-2"
	synSent      = "SYN-SENT"
	queued       = "unaccepted" // at a port that the process listens on, and nobody's
	queuedEnded  = "unaccepted CLOSE-WAIT"
)

// The words of Fates.
const (
	neverConnected = "never connected"
	dead           = "dead"
)

const (
	closeWaitRule = "close-wait"
	finWait2Rule  = "fin-wait-2"
	closedRule    = "closed-fd"
	inheritedRule = "inherited-fd"
	queueRule     = "accept-queue"
	unreadRule    = "unread-data"
	stalledRule   = "stalled-send"
	pairRule      = "half-closed-pair"
	idleRule      = "idle-no-keepalive"
	connectRule   = "connect-stuck"
	duplicateRule = "duplicate-fd"
	fdRule        = "fd-limit"
	timeWaitRule  = "time-wait"
)

var none = map[string]int{}

// kept holds on to what a role does not close: Go closes what nothing refers to.
var kept []any

func keep(v any) { kept = append(kept, v) }

var roles = map[string]func(*zoo) truth{}

func main() {
	runtime.LockOSThread() // to the first thread; one role is about it
	// Where Yama lets only a parent look into a process, this one may be looked into.
	_ = unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0)
	if len(os.Args) != 5 {
		fail(errors.New("usage: zoo ROLE N PEER HOST"))
	}
	n, err := strconv.Atoi(os.Args[2])
	check(err)
	for _, set := range []map[string]func(*zoo) truth{leaking, healthy, queues, halves, families, vanished, growing, others} {
		for name, role := range set {
			roles[name] = role
		}
	}
	role := roles[os.Args[1]]
	if role == nil {
		fail(fmt.Errorf("unknown role %q", os.Args[1]))
	}
	tell(role(&zoo{n: n, peer: os.Args[3], host: os.Args[4]}))
	untilEOF()
}

func tell(t truth) {
	t.Ready = true
	check(json.NewEncoder(os.Stdout).Encode(t))
}

// untilEOF ends the process with its stdin.
func untilEOF() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "zoo:", err)
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

// idle is the truth about n connections that nothing moves on and nothing watches over: a few are a risk.
func idle(n int, held map[string]int) truth {
	if n < 5 {
		return truth{Leaks: map[string]int{}, Risks: map[string]int{idleRule: n}, Held: held}
	}
	return truth{Leaks: map[string]int{idleRule: n}, Held: held}
}

// closedFD is the truth about descriptors that are good for nothing but close, and other sockets that are in no list.
func closedFD(n int, fate string, besides int) truth {
	return truth{
		Leaks: map[string]int{closedRule: n}, Fates: map[string]int{fate: n},
		Held: map[string]int{unlisted: n + besides},
	}
}

// address is where a listener can be reached: on a listener of both families, by IPv4.
func address(ln net.Listener) string {
	a := ln.Addr().(*net.TCPAddr)
	if a.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
	}
	return a.String()
}
