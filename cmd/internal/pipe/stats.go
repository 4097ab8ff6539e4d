//go:build linux

package pipe

import (
	"fmt"
	"time"
)

// A Cause says what ended a connection.
type Cause int

const (
	// Finished: both sides had sent their FIN, and all bytes were passed on.
	Finished Cause = iota
	// ClientReset and ServerReset: a reset came from that side and was passed on to the other.
	ClientReset
	ServerReset
	// ClientDead and ServerDead: the kernel gave that side up, after unanswered probes or data, or an unreachable host.
	ClientDead
	ServerDead
	// Idle: no byte moved either way for [Config.IdleTimeout].
	Idle
	// HalfClosed: one side had ended, and nothing came of the other for [Config.HalfCloseTimeout].
	HalfClosed
	// Lifetime: the connection was older than [Config.Lifetime].
	Lifetime
	// ConnectFailed: no target could be reached, by a refusal or another error.
	ConnectFailed
	// ConnectTimeout: no target could be reached in time.
	ConnectTimeout
	// ClientLeft: the client went away before there was a connection to a target.
	ClientLeft
	// Cut: still open when the drain at shutdown was over.
	Cut
	// Failed: another error of a socket, or a lack of memory or descriptors.
	Failed

	numCauses
)

var causeNames = [numCauses]string{
	"finished", "client-reset", "server-reset", "client-dead", "server-dead", "idle", "half-closed", "lifetime",
	"connect-failed", "connect-timeout", "client-left", "cut", "failed",
}

// String returns the cause as logs and metrics write it, and "unknown(N)" for any other value.
func (c Cause) String() string {
	if c >= 0 && c < numCauses {
		return causeNames[c]
	}
	return fmt.Sprintf("unknown(%d)", int(c))
}

// Causes returns all causes.
func Causes() []Cause {
	all := make([]Cause, numCauses)
	for i := range all {
		all[i] = Cause(i)
	}
	return all
}

// Stats counts what a [Proxy] has done since it was made. The values are read one by one, so they need not be of the
// same instant; but Accepted is always Active + the sum of Closed.
type Stats struct {
	Accepted      uint64            // connections accepted
	Active        uint64            // of these, still open, or still connecting to a target
	Closed        [numCauses]uint64 // of these, gone, with both sockets closed, by cause
	AcceptRetries uint64            // times that accepting had to wait for descriptors or memory
	BytesUp       uint64            // payload bytes written to targets
	BytesDown     uint64            // payload bytes written to clients
	Targets       []TargetStats     // in the order of Config.Targets
}

// TotalClosed is the sum of Closed.
func (s *Stats) TotalClosed() uint64 {
	var n uint64
	for _, v := range s.Closed {
		n += v
	}
	return n
}

// TargetStats counts what a [Proxy] has done with one target.
type TargetStats struct {
	Target    string
	Active    uint64 // connections to it that are open
	Connected uint64 // connections made to it so far
	Failures  uint64 // attempts that failed
	Down      bool   // passed over because the last attempts failed
}

// A Connection is what there is to tell about one that has ended.
type Connection struct {
	ID        uint64    // counted from 1
	Client    string    // address of the client, "" if it is not to be had
	Target    string    // as in Config.Targets; "" if none was reached
	Local     string    // the proxy's own address towards the target; "" if none was reached
	Start     time.Time // when it was accepted
	Duration  time.Duration
	BytesUp   uint64 // payload written to the target
	BytesDown uint64 // payload written to the client
	Cause     Cause
	Err       error // what the kernel said, if it did
}
