package netlinkss

import (
	"fmt"
	"strings"
)

// State is a TCP state with the kernel's own number (include/net/tcp_states.h).
type State uint8

// The states, in the kernel's order.
const (
	Estab State = iota + 1
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Unconn
	CloseWait
	LastAck
	Listen
	Closing
	NewSynRecv // internal to the kernel: a dump shows such a request as SYN-RECV
	BoundInactive
)

// stateNames are the spellings of ss; the kernel's number is the index.
var stateNames = [...]string{
	Estab:         "ESTAB",
	SynSent:       "SYN-SENT",
	SynRecv:       "SYN-RECV",
	FinWait1:      "FIN-WAIT-1",
	FinWait2:      "FIN-WAIT-2",
	TimeWait:      "TIME-WAIT",
	Unconn:        "UNCONN",
	CloseWait:     "CLOSE-WAIT",
	LastAck:       "LAST-ACK",
	Listen:        "LISTEN",
	Closing:       "CLOSING",
	NewSynRecv:    "NEW-SYN-RECV",
	BoundInactive: "BOUND-INACTIVE",
}

// String is the name that ss prints, or unknown(N).
func (s State) String() string {
	if int(s) < len(stateNames) && stateNames[s] != "" {
		return stateNames[s]
	}
	return fmt.Sprintf("unknown(%d)", uint8(s))
}

// Mask is the set with this state alone; empty for a number that no set can hold.
func (s State) Mask() States {
	if s > 31 {
		return 0
	}
	return 1 << s
}

// States is a set of states: bit N is the state with the number N, as idiag_states has it.
type States uint32

// AllStates are the states that a dump walks at no extra cost. BOUND-INACTIVE is not among them:
// it makes the kernel walk the bind table too, so it is asked for by name.
const AllStates States = 0xffe

// Has reports whether the set holds s.
func (m States) Has(s State) bool { return m&s.Mask() != 0 }

// stateWords are the words of ss's filter language (ss(8), STATE-FILTER), which differ from what
// ss prints.
var stateWords = map[string]States{
	"established":    Estab.Mask(),
	"syn-sent":       SynSent.Mask(),
	"syn-recv":       SynRecv.Mask(),
	"fin-wait-1":     FinWait1.Mask(),
	"fin-wait-2":     FinWait2.Mask(),
	"time-wait":      TimeWait.Mask(),
	"closed":         Unconn.Mask(),
	"close-wait":     CloseWait.Mask(),
	"last-ack":       LastAck.Mask(),
	"listening":      Listen.Mask(),
	"closing":        Closing.Mask(),
	"bound-inactive": BoundInactive.Mask(),
	"all":            AllStates,
	"connected":      AllStates &^ (Unconn.Mask() | Listen.Mask()),
	"synchronized":   AllStates &^ (Unconn.Mask() | Listen.Mask() | SynSent.Mask()),
	"bucket":         SynRecv.Mask() | TimeWait.Mask(),
	"big":            AllStates &^ (SynRecv.Mask() | TimeWait.Mask()),
}

// StateWords lists what [ParseStates] takes, in the kernel's order, for help texts.
func StateWords() []string {
	return []string{
		"established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait", "closed",
		"close-wait", "last-ack", "listening", "closing", "bound-inactive",
		"all", "connected", "synchronized", "bucket", "big",
	}
}

// ParseStates reads a state in either spelling of ss, in any case: what it prints (ESTAB) or what
// its filters take (established), and its groups (connected, synchronized, bucket, big, all).
func ParseStates(word string) (States, error) {
	lower := strings.ToLower(word)
	if m, ok := stateWords[lower]; ok {
		return m, nil
	}
	for n, name := range stateNames {
		if name != "" && strings.EqualFold(name, word) && State(n) != NewSynRecv {
			return State(n).Mask(), nil
		}
	}
	return 0, fmt.Errorf("unknown state %q", word)
}
