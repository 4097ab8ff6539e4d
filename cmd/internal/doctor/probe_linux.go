package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// probe asks sock_diag after sockets of its own: two that listen, and one that is bound and no more.
func (f *Facts) probe(ctx context.Context, proc *procfd.FS) {
	f.Lookup, f.Cookie, f.Borrow = errUntried, errUntried, errUntried
	var own [3]ownSocket
	for i := range own {
		if own[i].open(i < 2) {
			defer unix.Close(own[i].fd)
		}
	}
	if six, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
		f.IPv6 = true
		unix.Close(six)
	}
	f.borrow(proc, own[0])
	conn, err := netlinkss.Dial(nil)
	if f.SockDiag = err; err != nil {
		return
	}
	defer conn.Close()
	_, f.Cookie = conn.NetnsCookie()
	f.SockDiag = f.listen(ctx, conn, own)
	f.bound(ctx, conn, own[2])
}

// ownSocket is one of the reader's on the loopback address.
type ownSocket struct {
	fd    int
	local netip.AddrPort
}

// open reports whether there is one; else the fields stay zero.
func (s *ownSocket) open(listens bool) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	loopback := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err = unix.Bind(fd, loopback); err == nil && listens {
		err = unix.Listen(fd, 1)
	}
	name, nameErr := unix.Getsockname(fd)
	at, ok := name.(*unix.SockaddrInet4)
	if err != nil || nameErr != nil || !ok {
		unix.Close(fd)
		return false
	}
	s.fd, s.local = fd, netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port))
	return true
}

// listen lists those that listen on the port of the first one. The error is that of sock_diag.
func (f *Facts) listen(ctx context.Context, conn *netlinkss.Conn, own [3]ownSocket) error {
	request := netlinkss.Request{Attrs: netlinkss.AttrInfo, States: netlinkss.Listen.Mask(), Ports: []uint16{own[0].local.Port()}}
	var first *netlinkss.Socket
	f.Filter = own[0].fd != 0 && own[1].fd != 0
	for s, err := range conn.Dump(ctx, request) {
		if err != nil {
			return err
		}
		switch s.Local {
		case own[0].local:
			first = s.Clone()
		case own[1].local:
			f.Filter = false
		}
	}
	if own[0].fd == 0 {
		return nil
	}
	if first == nil {
		return fmt.Errorf("a socket that listens is not in the list")
	}
	f.InfoLen, f.CgroupID = first.InfoLen(), first.Has(netlinkss.AttrCgroupID)
	nobody := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	_, f.Lookup = conn.Lookup(ctx, netlinkss.Request{}, netlinkss.Inet, first.Local, nobody, 0, first.Cookie)
	return nil
}

// bound reports whether the socket that is bound and no more is listed.
func (f *Facts) bound(ctx context.Context, conn *netlinkss.Conn, own ownSocket) {
	for s, err := range conn.Dump(ctx, netlinkss.Request{States: netlinkss.BoundInactive.Mask()}) {
		if err != nil {
			return
		}
		f.Bound = f.Bound || own.fd != 0 && s.Local == own.local
	}
}

// borrow borrows a socket of the reader's own, for which no right is needed.
func (f *Facts) borrow(proc *procfd.FS, own ownSocket) {
	if own.fd == 0 {
		return
	}
	self, err := proc.Identify(os.Getpid())
	if f.Borrow = err; err != nil {
		return
	}
	asker, err := proc.Ask(self)
	if f.Borrow = err; err != nil {
		return
	}
	defer asker.Close()
	inode, _ := proc.SocketInode(self, procfd.SocketFD{FD: own.fd})
	_, f.Borrow = asker.Socket(procfd.SocketFD{FD: own.fd, Inode: inode})
}
