package netlinkss

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// recvSize is the most that the kernel puts into one message of a dump (SKB_WITH_OVERHEAD(32768)),
// whatever the buffer.
const recvSize = 32 << 10

// Conn is a sock_diag socket. It keeps to the namespace that it was dialled in. Not safe for use by
// several goroutines at once.
type Conn struct {
	sock    *nl.NetlinkSocket
	seq     uint32
	buf     []byte
	running bool // an answer was left unread
	tap     func([]byte)
	recent  recent // of a dump
	repeats int    // of all

	// Tests put their own answers here.
	send func([]byte) error
	recv func([]byte) (int, error)
}

// Dial opens a sock_diag socket. The error wraps [ErrNotSupported] where the kernel or a sandbox has
// none. A nil config is the zero one.
func Dial(cfg *Config) (*Conn, error) {
	sock, err := dial(cfg)
	if err != nil {
		return nil, err
	}
	c := &Conn{sock: sock, buf: make([]byte, recvSize)}
	c.send = c.sendKernel
	c.recv = c.recvKernel
	return c, nil
}

// dial makes the socket on a thread of the namespace. The library's own switch (GetNetlinkSocketAt
// with a handle) drops the cause of a refusal.
func dial(cfg *Config) (sock *nl.NetlinkSocket, err error) {
	if cfg == nil {
		cfg = &Config{}
	}
	err = inNetnsOf(cfg.Netns, cfg.Inode, func() error {
		var err error
		sock, err = nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_INET_DIAG)
		if err != nil {
			return opError("open netlink socket", fmt.Errorf("%w: %w", ErrNotSupported, err))
		}
		return nil
	})
	return sock, err
}

// Close frees the socket. A dump in progress ends with an error.
func (c *Conn) Close() error {
	if c.sock != nil {
		c.sock.Close()
		c.sock = nil
	}
	return nil
}

// fd is -1 after Close, which every call refuses (EBADF).
func (c *Conn) fd() int {
	if c.sock == nil {
		return -1
	}
	return c.sock.GetFd()
}

// Tap has f see the bytes of every answer, netlink messages as `ss -D` writes them, before they are decoded; f must not keep them.
// Nil: nobody does.
func (c *Conn) Tap(f func(b []byte)) { c.tap = f }

// NetnsCookie identifies the network namespace of the connection (SO_NETNS_COOKIE, Linux 5.14).
func (c *Conn) NetnsCookie() (uint64, error) {
	v, err := unix.GetsockoptUint64(c.fd(), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return v, opError("read SO_NETNS_COOKIE", err)
}

// Dump lists sockets, each once. The *Socket is valid until the next step: [Socket.Clone] keeps it. A non-nil
// error ends the sequence; what came before it stands, but the list is not whole. Nor is it where [Conn.Repeats] grows.
func (c *Conn) Dump(ctx context.Context, r Request) iter.Seq2[*Socket, error] {
	return func(yield func(*Socket, error) bool) {
		d := dump{c: c, ctx: ctx, yield: yield, decode: Decode, recent: &c.recent}
		if r.Attrs == 0 {
			d.decode = decodeFixed
		}
		*d.recent = recent{}
		c.seq++
		err := d.each(r.steps(c.seq))
		if refused(err) && d.rows == 0 && r.Part.side == 0 && len(r.Ports) > 0 {
			r.Ports = nil // a kernel that cannot compare ports lists all
			err = d.each(r.steps(c.seq))
		}
		if refused(err) && d.rows == 0 && r.Family == 0 && r.protocol() == protocolTCP {
			err = d.each(r.eachFamily(c.seq))
		}
		if err != nil && !errors.Is(err, errStopped) {
			if d.rows == 0 {
				err = notSupported(err)
			}
			yield(nil, opError("dump sockets", err))
		}
	}
}

// Repeats is how many sockets the kernel listed twice, in all dumps so far. It walks over a bucket of its table in pieces, and finds its
// place again by counting: a socket that came meanwhile has it repeat another one, and one that went has it pass one over. Where as
// many come as go, so many were passed over as were repeated.
func (c *Conn) Repeats() int { return c.repeats }

// sample is how many sockets [Conn.Split] looks at. The cut is then within some hundredths of the middle.
const sample = 1024

// Split cuts a request in two that list about as many sockets each and together each one once, so that two connections can work
// side by side. Both walk the whole table, so it pays where many sockets are listed and a core is idle. It looks at the first
// thousand sockets, which the kernel's tables have mixed. ok is false when these do not allow for it: they are too few, or cannot
// be told apart by their ports. After that, the connection is of no use for another dump.
func (c *Conn) Split(ctx context.Context, r Request) (low, high Request, ok bool, err error) {
	asked := r
	asked.States, asked.Attrs = r.states()&^Listen.Mask(), 0 // the table of listeners comes first, and is not mixed with the others
	_, asked.Part, _ = halves(1, 1)                          // nearly all, in the words of what is to come: who refuses them refuses now
	ports := make([][2]uint16, 0, sample)
	for s, err := range c.Dump(ctx, asked) {
		if refused(err) {
			return r, r, false, nil
		}
		if err != nil {
			return r, r, false, err
		}
		if ports = append(ports, [2]uint16{s.Local.Port(), s.Peer.Port()}); len(ports) == sample {
			break
		}
	}
	low, high = r, r
	if len(ports) == sample {
		low.Part, high.Part, ok = middle(ports)
	}
	return low, high, ok, nil
}

// refused tells that the kernel does not know the request, rather than that it failed.
func refused(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) ||
		errors.Is(err, unix.EPROTONOSUPPORT)
}

func notSupported(err error) error {
	if refused(err) {
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return err
}

// errStopped: the caller left the loop.
var errStopped = errors.New("stopped")

// dump is one walk through the answer.
type dump struct {
	c           *Conn
	ctx         context.Context
	yield       func(*Socket, error) bool
	decode      func([]byte, *Socket) error // into a Socket that has been decoded into before, or the zero one
	sock        Socket
	recent      *recent // nil: what is listed twice is no matter
	rows        int
	interrupted bool
}

func (d *dump) each(requests [][]byte) error {
	for i, req := range requests {
		err := d.one(req)
		if i > 0 && errors.Is(err, unix.ENOENT) {
			continue // nobody answers for IPv6 in a kernel without it
		}
		if err != nil {
			return err
		}
	}
	if d.interrupted {
		return ErrInterrupted
	}
	return nil
}

func (d *dump) one(req []byte) error {
	if err := d.c.drain(); err != nil {
		return err
	}
	if err := d.c.send(req); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	d.c.running = true
	seq := native.Uint32(req[8:])
	for {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		n, err := d.c.recv(d.c.buf)
		if err != nil {
			d.c.running = false
			return fmt.Errorf("receive: %w", err)
		}
		if n > len(d.c.buf) {
			return fmt.Errorf("receive: %w: %d bytes, the buffer has %d", ErrTruncated, n, len(d.c.buf))
		}
		if d.c.tap != nil {
			d.c.tap(d.c.buf[:n])
		}
		if done, err := d.datagram(d.c.buf[:n], seq); done || err != nil {
			return err
		}
	}
}

// datagram yields the records of one receive, and reports whether the dump is done.
func (d *dump) datagram(b []byte, seq uint32) (done bool, err error) {
	for len(b) > 0 {
		h, payload, rest, err := nextMessage(b)
		if err != nil {
			return false, err
		}
		b = rest
		if h.seq != seq {
			continue
		}
		if h.flags&nlmFDumpIntr != 0 {
			d.interrupted = true
		}
		switch h.typ {
		case msgTCPDiag, msgByFamily:
			if err := d.decode(payload, &d.sock); err != nil {
				return false, err
			}
			d.rows++
			if d.recent != nil && d.recent.has(d.sock.Cookie) {
				d.c.repeats++
				continue
			}
			if !d.yield(&d.sock, nil) {
				return false, errStopped
			}
		case msgDone, msgError:
			d.c.running = false
			return true, errnoOf(payload)
		}
	}
	return false, nil
}

// drain reads what an abandoned dump left: the kernel refuses a second one beside it (EBUSY).
func (c *Conn) drain() error {
	for c.running {
		n, err := c.recv(c.buf)
		if errors.Is(err, unix.EAGAIN) {
			c.running = false // the end stood behind the record that the caller left at
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		for b := c.buf[:min(n, len(c.buf))]; len(b) > 0; {
			h, _, rest, err := nextMessage(b)
			if err != nil {
				return err
			}
			if h.typ == msgDone || h.typ == msgError {
				c.running = false
			}
			b = rest
		}
	}
	return nil
}

// Lookup finds one socket by its addresses, and by its cookie unless that is 0. It returns
// [ErrNotFound] when the kernel lists no such socket; a listener on the same port, which the kernel
// answers with instead, does not count.
func (c *Conn) Lookup(ctx context.Context, r Request, f Family, local, peer netip.AddrPort, iface uint32, cookie uint64) (*Socket, error) {
	anyCookie := cookie == 0
	if anyCookie {
		cookie = ^uint64(0) // INET_DIAG_NOCOOKIE, both halves
	}
	c.seq++
	var found *Socket
	d := dump{c: c, ctx: ctx, decode: Decode, yield: func(s *Socket, _ error) bool {
		found = s.Clone()
		return false
	}}
	err := d.one(r.lookup(c.seq, f, local, peer, iface, cookie))
	c.running = false // one record, or one error: nothing follows
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE):
		return nil, ErrNotFound
	case err != nil && !errors.Is(err, errStopped):
		return nil, opError("look up socket", err)
	case found == nil || found.Local.Port() != local.Port() || Unmap(found.Peer) != Unmap(peer):
		return nil, ErrNotFound
	}
	return found, nil
}

func (c *Conn) sendKernel(b []byte) error {
	return unix.Sendto(c.fd(), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// recvKernel makes the kernel fill one message of the dump, inside the call. That takes up to 0.3 ms
// and never waits (MSG_DONTWAIT: what is not there will not come), so the raw system call is safe,
// and it spares a hand-over of the scheduler's thread each time. Only the kernel can send to a socket of this
// protocol whose port it chose, so the sender is not asked for.
func (c *Conn) recvKernel(b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(c.fd()),
			uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
