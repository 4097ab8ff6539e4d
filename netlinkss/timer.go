package netlinkss

import "fmt"

// Timer is idiag_timer: the one timer that the kernel shows of a socket, in its order of
// precedence. A retransmit or persist timer hides a keepalive timer behind it, so only off, delack
// and keepalive tell whether SO_KEEPALIVE is set.
type Timer uint8

// The timers (include/uapi/linux/inet_diag.h).
const (
	TimerOff       Timer = iota
	TimerOn              // retransmission, tail loss probe or reordering
	TimerKeepalive       // keepalive, or the FIN-WAIT-2 timer of an orphan (inode 0)
	TimerTimeWait
	TimerPersist // probe of a zero window, or of a local send failure
	TimerDelack  // delayed acknowledgement; kernels after 6.18
)

// TimerUnknown is no number of the kernel's: the source does not tell whether a timer runs, and which.
const TimerUnknown Timer = 255

var timerNames = [...]string{"off", "on", "keepalive", "timewait", "persist", "delack"}

// String is the name that ss prints, off for none, unknown for [TimerUnknown], or unknown(N).
func (t Timer) String() string {
	if t == TimerUnknown {
		return "unknown"
	}
	if int(t) < len(timerNames) {
		return timerNames[t]
	}
	return fmt.Sprintf("unknown(%d)", uint8(t))
}
