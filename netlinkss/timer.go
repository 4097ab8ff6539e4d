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

var timerNames = [...]string{"off", "on", "keepalive", "timewait", "persist", "delack"}

// String is the name that ss prints, off for none, or unknown(N).
func (t Timer) String() string {
	if int(t) < len(timerNames) {
		return timerNames[t]
	}
	return fmt.Sprintf("unknown(%d)", uint8(t))
}
