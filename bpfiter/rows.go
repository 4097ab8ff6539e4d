//go:build linux

package bpfiter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// The kinds of iter.c.
const (
	kindSocket = iota
	kindPipe
	kindAnon
	kindPidfd
	kindDevice
	kindFile
	kindMemfd
	kindOther
	kindTCP
	kindUsual
)

const (
	sizeFD     = int(unsafe.Sizeof(iterFdRow{}))
	sizeAnon   = int(unsafe.Sizeof(iterAnonRow{}))
	sizeOwner  = int(unsafe.Sizeof(iterOwnerRow{}))
	sizeTCP    = int(unsafe.Sizeof(iterSockRow{}))
	sizeUsual  = int(unsafe.Sizeof(iterUsualRow{}))
	sizeUsual4 = sizeUsual + 2*4
	sizeUsual6 = sizeUsual + 2*16
	// UsualBytes is how many bytes the row of a usual connection has, with IPv4.
	UsualBytes = sizeUsual4
)

// Rows are descriptors of one process, as the kernel wrote them.
type Rows []byte

// Row is one of them. It shares their memory.
type Row struct{ b []byte }

// All goes through them. It ends at what no program of this package writes.
func (r Rows) All() iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for b := []byte(r); len(b) >= sizeFD; {
			n := Row{b}.size()
			if len(b) < n || !yield(Row{b[:n:n]}) {
				return
			}
			b = b[n:]
		}
	}
}

func (r Row) fd() *iterFdRow { return (*iterFdRow)(unsafe.Pointer(&r.b[0])) }

func (r Row) size() int {
	switch fd := r.fd(); {
	case fd.Kind == kindAnon, fd.Kind == kindMemfd:
		return sizeAnon
	case fd.Kind == kindTCP:
		return sizeTCP
	case fd.Kind == kindUsual && netlinkss.Family(fd.Family) == netlinkss.Inet6:
		return sizeUsual6
	case fd.Kind == kindUsual:
		return sizeUsual4
	}
	return sizeFD
}

// Sieve says which connections are told in short. The zero value: none.
type Sieve struct {
	Idle  time.Duration // those on which something has moved since
	Grace time.Duration // and since then, or since their process began
}

// roundings is more than the clocks that /proc shows are rounded by.
const roundings = 20 * time.Millisecond

// Choose sets the sieve of all that is read from now on.
func (s *Source) Choose(v Sieve) error {
	for name, value := range map[string]uint64{
		"sieve": uint64(min(v.Idle, 1)), "idle_from": s.jiffies(v.Idle), "still": s.jiffies(v.Grace), "later": s.jiffies(roundings) + 2, "tick_ns": uint64(time.Second) / s.hz,
	} {
		if err := s.variables[name].Set(uint32(value)); err != nil {
			return fmt.Errorf("BPF: %s: %w", name, err)
		}
	}
	return nil
}

func (s *Source) jiffies(d time.Duration) uint64 {
	return min(uint64(max(d, 0).Seconds()*float64(s.hz)), 1<<31)
}

// ErrNone: no descriptor was shown. The process has ended, or has none, or a security module hides them: another source is to be asked.
var ErrNone = errors.New("BPF: the iterator shows no descriptor")

// Descriptors are the rows of a process, in the order of their descriptors; halves come in two pieces. Those of threads with tables of their
// own are behind the others, or in both pieces.
func (s *Source) Descriptors(ctx context.Context, t Table) ([]Rows, error) {
	var pieces [2]Rows
	err := s.halves(t, func(part int, from, to uint32) error {
		most := t.Most
		if to != allDescriptors || from > 0 {
			most /= 2
		}
		rows := make(Rows, 0, (most+8)*UsualBytes)
		looked := 0 // at so many bytes
		err := s.read(ctx, descriptors, t.PID, func(b []byte) bool {
			rows = append(rows, b...)
			if to == allDescriptors {
				return true
			}
			for row := range rows[looked:].All() {
				if row.beyond(to) {
					rows = rows[:looked]
					return false
				}
				looked += len(row.b)
			}
			return true
		})
		pieces[part] = rows.behind(from)
		return err
	})
	if err == nil && len(pieces[0])+len(pieces[1]) == 0 {
		err = ErrNone
	}
	return pieces[:], err
}

// beyond reports whether it is of the process's own table and not below a number.
func (r Row) beyond(fd uint32) bool { return r.fd().Own == 0 && r.fd().Fd >= fd }

// behind leaves out what is below a number.
func (r Rows) behind(fd uint32) Rows {
	if fd == 0 {
		return r
	}
	below := 0
	for row := range r.All() {
		if row.Own() || row.beyond(fd) {
			break
		}
		below += len(row.b)
	}
	return r[below:]
}

// Inodes tells the inodes of the sockets that a process has descriptors on, some more than once. Of halves two goroutines call take.
// The error is [ErrNone] where not one descriptor was shown, whatever it is on.
func (s *Source) Inodes(ctx context.Context, t Table, take func(inode uint64)) error {
	var shown [2]bool
	err := s.halves(t, func(part int, _, to uint32) error {
		var rest []byte // of a row that is cut
		return s.read(ctx, owners, t.PID, func(b []byte) bool {
			if len(rest) > 0 {
				b = append(rest, b...)
			}
			for ; len(b) >= sizeOwner; b = b[sizeOwner:] {
				fd, inode := binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:])
				if to != allDescriptors && fd >= to {
					return false
				}
				shown[part] = true
				if inode != 0 {
					take(uint64(inode))
				}
			}
			rest = append(rest[:0], b...)
			return true
		})
	})
	if err == nil && !shown[0] && !shown[1] {
		err = ErrNone
	}
	return err
}

var plainKinds = [...]procfd.Kind{
	kindSocket: procfd.KindSocket, kindPipe: procfd.KindPipe, kindAnon: procfd.KindOther, kindPidfd: procfd.KindPidfd,
	kindDevice: procfd.KindDevice, kindFile: procfd.KindFile, kindMemfd: procfd.KindFile, kindOther: procfd.KindOther,
	kindTCP: procfd.KindSocket, kindUsual: procfd.KindSocket,
}

// anonNames are how the names of anonymous inodes begin, cut as the row cuts them.
var anonNames = []struct {
	name string
	kind procfd.Kind
}{
	{"eventpo", procfd.KindEpoll}, {"eventfd", procfd.KindEventfd}, {"timerfd", procfd.KindTimerfd}, {"signalf", procfd.KindSignalfd},
	{"inotify", procfd.KindInotify}, {"io_urin", procfd.KindIOUring}, {"pidfd", procfd.KindPidfd},
}

// Own reports whether the descriptor is in the table of a thread that has its own.
func (r Row) Own() bool { return r.fd().Own != 0 }

// Descriptor is what is open.
func (r Row) Descriptor() procfd.Descriptor {
	fd := r.fd()
	d := procfd.Descriptor{FD: int(fd.Fd), Kind: procfd.KindOther}
	if int(fd.Kind) < len(plainKinds) {
		d.Kind = plainKinds[fd.Kind]
	}
	switch d.Kind {
	case procfd.KindSocket:
		d.Inode, d.Proto = uint64(fd.Inode), r.Proto()
	case procfd.KindPipe:
		d.Inode = uint64(fd.Inode)
	}
	switch fd.Kind {
	case kindMemfd:
		if strings.HasPrefix(r.name(), "memfd:") {
			d.Kind = procfd.KindMemfd
		}
	case kindAnon:
		text := strings.TrimPrefix(r.name(), "[")
		for _, a := range anonNames {
			if strings.HasPrefix(a.name, text) && len(text) >= 5 {
				d.Kind = a.kind
			}
		}
	}
	return d
}

func (r Row) name() string {
	name, _, _ := bytes.Cut(r.b[sizeFD:], []byte{0})
	return string(name)
}

// Proto is what a socket speaks.
func (r Row) Proto() procfd.Proto {
	fd := r.fd()
	inet := fd.Family == unix.AF_INET || fd.Family == unix.AF_INET6
	switch {
	case fd.Kind == kindTCP || fd.Kind == kindUsual:
		return procfd.ProtoTCP
	case inet && fd.Protocol == netlinkss.ProtocolMPTCP:
		return procfd.ProtoMPTCP
	case inet && fd.Protocol == unix.IPPROTO_UDP:
		return procfd.ProtoUDP
	case fd.Family == unix.AF_UNIX:
		return procfd.ProtoUnix
	case fd.Family == unix.AF_NETLINK:
		return procfd.ProtoNetlink
	}
	return procfd.ProtoOther
}

// Inode is that of a socket or a pipe.
func (r Row) Inode() uint64 { return uint64(r.fd().Inode) }

// IsSocket: it is a socket of any kind.
func (r Row) IsSocket() bool {
	k := r.fd().Kind
	return k == kindSocket || k == kindTCP || k == kindUsual
}

// IsTCP: it is a TCP socket that is told in full.
func (r Row) IsTCP() bool { return r.fd().Kind == kindTCP }

// IsUsual: it is a connection that is told in short.
func (r Row) IsUsual() bool { return r.fd().Kind == kindUsual }

// Usual is a connection, ESTAB with nothing in its queues, on which something has moved lately and that nobody else has.
type Usual struct {
	Family      netlinkss.Family
	Inode       uint32
	Cookie      uint64
	Local, Peer netip.AddrPort
	Idle        time.Duration
	Timer       bool // one is running
	Connected   bool // as its counters say, and not accepted
}

// Usual is what a row that [Row.IsUsual] tells.
func (s *Source) Usual(row Row) Usual {
	r := (*iterUsualRow)(unsafe.Pointer(&row.b[0]))
	u := Usual{
		Family: netlinkss.Family(r.Fd.Family), Inode: r.Fd.Inode, Cookie: r.Cookie, Idle: s.duration(uint64(r.Idle)),
		Timer: r.Timer != 0, Connected: r.Sent == 1,
	}
	addrs := row.b[sizeUsual:]
	if u.Family == netlinkss.Inet6 {
		u.Local = netip.AddrPortFrom(netip.AddrFrom16([16]byte(addrs)), r.Sport)
		u.Peer = addrPort(netip.AddrFrom16([16]byte(addrs[16:])), r.Dport)
	} else {
		u.Local = netip.AddrPortFrom(netip.AddrFrom4([4]byte(addrs)), r.Sport)
		u.Peer = addrPort(netip.AddrFrom4([4]byte(addrs[4:])), r.Dport)
	}
	return u
}

// Socket is a TCP socket, with what a list of the kernel does not have.
type Socket struct {
	netlinkss.Socket
	Netns uint64 // inode

	KeepIdle, KeepInterval time.Duration // 0: the namespace's
	KeepCount              int           // 0: the namespace's
	UserTimeout            time.Duration
	Err                    syscall.Errno // pending, and left so
}

// keepOpen is SOCK_KEEPOPEN, a bit of sk_flags.
const keepOpen = 1 << 3

// whole is how many bytes of struct tcp_info the rows have.
const whole = int(unsafe.Offsetof(netlinkss.TCPInfo{}.Rehash))

// Socket is what a row that [Row.IsTCP] tells.
func (s *Source) Socket(row Row, to *Socket) {
	r := (*iterSockRow)(unsafe.Pointer(&row.b[0]))
	*to = Socket{
		Netns: uint64(r.Netns), KeepIdle: s.duration(uint64(r.KeepIdle)), KeepInterval: s.duration(uint64(r.KeepInterval)), KeepCount: int(r.KeepCount),
		UserTimeout: time.Duration(r.UserTimeout) * time.Millisecond, Err: syscall.Errno(r.Err),
	}
	k := &to.Socket
	k.Family, k.State, k.Timer, k.Retrans = netlinkss.Family(r.Family), netlinkss.State(r.State), netlinkss.Timer(r.Timer), r.Retrans
	k.Local, k.Peer = addrPort(addr(r.Family, &r.Src), r.Sport), addrPort(addr(r.Family, &r.Dst), r.Dport)
	k.Interface, k.Cookie, k.Inode, k.UID, k.RecvQ, k.SendQ = r.Ifindex, r.Cookie, r.Inode, r.Uid, r.Rqueue, r.Wqueue
	k.Expires = time.Duration(max(r.Expires, 0)) * time.Second / time.Duration(s.hz)
	k.Shutdown, k.CgroupID = r.Shutdown, r.Cgroup
	attrs := netlinkss.AttrInfo | netlinkss.AttrShutdown
	if r.Cgroup != 0 {
		attrs |= netlinkss.AttrCgroupID
	}
	k.SetPresence(attrs|netlinkss.AttrKeepAlive, whole)
	k.KeepAlive = r.Flags&keepOpen != 0
	if k.State == netlinkss.Listen { // all that the kernel tells then: the queue and the backlog among it
		k.Info = netlinkss.TCPInfo{State: r.State, Unacked: r.Rqueue, Sacked: r.Wqueue, SndCwnd: r.SndCwnd, Reordering: r.Reordering}
		return
	}
	k.Info = netlinkss.TCPInfo{
		State: r.State, Retransmits: r.Retransmits, Probes: r.Probes, Backoff: r.Backoff,
		RTO: uint32(uint64(r.Rto) * 1_000_000 / s.hz), SndMSS: r.SndMss, RcvMSS: r.RcvMss,
		Unacked: r.Unacked, Sacked: r.Sacked, Lost: r.Lost, Retrans: r.RetransOut,
		LastDataSent: s.ms(r.LastDataSent), LastDataRecv: s.ms(r.LastDataRecv), LastAckRecv: s.ms(r.LastAckRecv),
		RTT: r.Srtt, RTTVar: r.Mdev, SndSSThresh: r.SndSsthresh, SndCwnd: r.SndCwnd, AdvMSS: r.Advmss, Reordering: r.Reordering,
		RcvSSThresh: r.RcvSsthresh, TotalRetrans: r.TotalRetrans, BytesAcked: r.BytesAcked, BytesReceived: r.BytesReceived,
		SegsOut: r.SegsOut, SegsIn: r.SegsIn, NotSentBytes: r.Notsent, DataSegsIn: r.DataSegsIn, DataSegsOut: r.DataSegsOut,
		Delivered: r.Delivered, DeliveredCE: r.DeliveredCe, BytesSent: r.BytesSent, BytesRetrans: r.BytesRetrans, SndWnd: r.SndWnd, RcvWnd: r.RcvWnd,
	}
}

func (s *Source) ms(jiffies uint32) uint32 { return uint32(uint64(jiffies) * 1000 / s.hz) }

func (s *Source) duration(jiffies uint64) time.Duration {
	return time.Duration(jiffies) * time.Second / time.Duration(s.hz)
}

func addr(family uint8, words *[4]uint32) netip.Addr {
	b := (*[16]byte)(unsafe.Pointer(words))
	if family == uint8(netlinkss.Inet6) {
		return netip.AddrFrom16(*b)
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}

// addrPort: the port is in the order of the network, and was read as a number of this machine.
func addrPort(a netip.Addr, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, port)))
}
