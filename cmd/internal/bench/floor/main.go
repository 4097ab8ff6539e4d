//go:build linux

// Command floor is the least that any lister of sockets must have the kernel do: one dump of every TCP socket, thrown
// away. It imports nothing that starts slowly, and decodes nothing.
package main

import (
	"os"
	"syscall"
)

func main() {
	if _, err := dump(); err != nil {
		_, _ = os.Stderr.WriteString("floor: error: " + err.Error() + "\n")
		os.Exit(2)
	}
}

// The request: struct nlmsghdr, then struct inet_diag_req, which lists both families in one walk.
const (
	sizeofHeader = syscall.SizeofNlMsghdr
	sizeofReq    = 4 + 48 + 4 + 4
	tcpDiag      = 18    // TCPDIAG_GETSOCK
	allStates    = 0xfff // without BOUND-INACTIVE, for which the kernel would walk another table
	netlinkDiag  = 4     // NETLINK_SOCK_DIAG
)

func request() []byte {
	b := make([]byte, sizeofHeader+sizeofReq)
	native.PutUint32(b, uint32(len(b)))
	native.PutUint16(b[4:], tcpDiag)
	native.PutUint16(b[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	native.PutUint32(b[8:], 1)
	native.PutUint32(b[sizeofHeader+4+48:], allStates)
	return b
}

// dump makes one dump and returns how many bytes the kernel sent. The receives are raw: the kernel makes the data inside of
// them and never waits, and so the scheduler need not know.
func dump() (int, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkDiag)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(fd)
	if err := syscall.Sendto(fd, request(), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return 0, err
	}
	buf := make([]byte, 32<<10) // the kernel builds no larger messages
	for total := 0; ; {
		n, errno := receive(fd, buf)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno != 0:
			return total, errno
		}
		total += n
		if done, err := ends(buf[:n]); done || err != nil {
			return total, err
		}
	}
}

// ends reports whether the last message of a datagram is NLMSG_DONE, which may stand behind records. It looks from the
// end: to walk over the records would be a decoder's work.
func ends(b []byte) (bool, error) {
	const sizeofDone = sizeofHeader + 4
	if len(b) < sizeofDone {
		return false, syscall.EBADMSG
	}
	if native.Uint16(b[4:]) == syscall.NLMSG_ERROR {
		return false, syscall.Errno(-int32(native.Uint32(b[sizeofHeader:])))
	}
	d := b[len(b)-sizeofDone:]
	if native.Uint32(d) != sizeofDone || native.Uint16(d[4:]) != syscall.NLMSG_DONE || native.Uint32(d[8:]) != 1 {
		return false, nil
	}
	if code := int32(native.Uint32(d[sizeofHeader:])); code < 0 {
		return false, syscall.Errno(-code)
	}
	return true, nil
}
