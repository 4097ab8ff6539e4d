//go:build linux

package pipe

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSentFIN holds that a FIN before a reset is known by the bytes, whatever error a system call happens to give.
func TestSentFIN(t *testing.T) {
	for name, fin := range map[string]bool{"FIN, then reset": true, "reset": false} {
		t.Run(name, func(t *testing.T) {
			ln := listen(t)
			from := own(t, must[net.Conn](t)(net.Dial("tcp", ln.Addr().String())))
			to := own(t, must[net.Conn](t)(ln.Accept()))
			must[int](t)(from.Write([]byte("0123456789")))
			must[int](t)(to.Read(make([]byte, 4)))
			if fin {
				check(t, from.CloseWrite())
			}
			e := &end{fd: descriptor(t, to), tcp: true}
			if got := e.sentFIN(4, unix.EPIPE); got && !fin {
				t.Error("a FIN is seen before any end")
			}
			abort(t, from)
			eventually(t, "reset", func() bool {
				return must[*unix.TCPInfo](t)(unix.GetsockoptTCPInfo(e.fd, unix.IPPROTO_TCP, unix.TCP_INFO)).State == tcpClose
			})
			for _, err := range []error{unix.EPIPE, unix.ECONNRESET} {
				if got := e.sentFIN(4, err); got != fin {
					t.Errorf("a FIN before: %v, want %v", got, fin)
				}
			}
		})
	}
}

const tcpClose = 7 // TCP_CLOSE in net/tcp_states.h
