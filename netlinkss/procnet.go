package netlinkss

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
	"iter"
	"net/netip"
	"strconv"
	"time"
)

// ProcNetLosses names what /proc/net/tcp does not tell, for a gap's text.
const ProcNetLosses = "no idle times, ages, byte counts, cookies or cgroups, and no sockets that are bound and neither listen nor connect"

// WhyNoTimers is why [ReadProcNet] may yield [TimerUnknown], for a gap's text.
const WhyNoTimers = "whether a timer runs is not told: the kernel that wrote /proc/net/tcp fills in none, as gVisor"

// clockTick is a tick of the times in /proc/net/tcp (USER_HZ is 100 on every architecture of Linux
// that Go runs on).
const clockTick = 10 * time.Millisecond

// ReadProcNet reads the text of /proc/net/tcp ([Inet]) or /proc/net/tcp6 ([Inet6]): the way that is
// left where sock_diag is not to be had. Records have no cookie, no attributes and no interface; see
// [ProcNetLosses]. Some kernels tell of no timer: it is [TimerUnknown] then. The *Socket is valid until the next step; a non-nil error ends the sequence.
func ReadProcNet(r io.Reader, f Family) iter.Seq2[*Socket, error] {
	return func(yield func(*Socket, error) bool) {
		sc := bufio.NewScanner(r)
		var s Socket
		for line := 1; sc.Scan(); line++ {
			if line == 1 {
				continue // the column names
			}
			if err := decodeProcNet(sc.Bytes(), f, &s); err != nil {
				yield(nil, opError("read /proc/net/tcp line "+strconv.Itoa(line), err))
				return
			}
			if !yield(&s, nil) {
				return
			}
		}
		if err := sc.Err(); err != nil {
			yield(nil, opError("read /proc/net/tcp", err))
		}
	}
}

// Columns of /proc/net/tcp (get_tcp4_sock in net/ipv4/tcp_ipv4.c).
const (
	colLocal = 1 + iota
	colPeer
	colState
	colQueues // tx:rx
	colTimer  // tr:tm->when
	colRetrans
	colUID
	colProbes
	colInode
	numCols
)

func decodeProcNet(line []byte, f Family, s *Socket) error {
	*s = Socket{}
	var col [numCols][]byte
	rest := line
	for i := range col {
		rest = bytes.TrimLeft(rest, " ")
		end := bytes.IndexByte(rest, ' ')
		if end < 0 {
			end = len(rest)
		}
		col[i], rest = rest[:end], rest[end:]
	}
	p := hexReader{}
	s.Family = f
	s.Local, s.Peer = p.addrPort(col[colLocal], f), p.addrPort(col[colPeer], f)
	s.State = State(p.number(col[colState], 16, 8))
	tx, rx, _ := bytes.Cut(col[colQueues], []byte(":"))
	s.SendQ, s.RecvQ = uint32(p.number(tx, 16, 32)), uint32(p.number(rx, 16, 32))
	tr, when, _ := bytes.Cut(col[colTimer], []byte(":"))
	s.Timer = Timer(p.number(tr, 16, 8))
	if s.Timer == TimerUnknown && p.bad == nil {
		p.bad = tr // no kernel's
	}
	s.Expires = time.Duration(p.number(when, 16, 32)) * clockTick
	s.Retrans = uint8(min(p.number(col[colRetrans], 16, 32), 255))
	if s.Timer == TimerKeepalive || s.Timer == TimerPersist {
		s.Retrans = uint8(min(p.number(col[colProbes], 10, 32), 255))
	}
	if s.Timer == TimerOff && tellsNoTimer(rest) {
		s.Timer, s.Expires, s.Retrans = TimerUnknown, 0, 0
	}
	s.UID = uint32(p.number(col[colUID], 10, 32))
	s.Inode = uint32(p.number(col[colInode], 10, 64))
	if p.bad != nil {
		err := malformed("%.200q", line)
		*s = Socket{}
		return err
	}
	return nil
}

// tellsNoTimer reports whether a row, of which this is what follows the inode, is of a kernel that fills these columns with zeros: gVisor.
// The congestion window, which only full sockets have, is never 0 in Linux.
func tellsNoTimer(rest []byte) bool {
	const window = 5 // behind the references, the address, and the times of retransmission and acknowledgement
	var col []byte
	for range window + 1 {
		rest = bytes.TrimLeft(rest, " ")
		end := bytes.IndexByte(rest, ' ')
		if end < 0 {
			return false // cut
		}
		col, rest = rest[:end], rest[end:]
	}
	return len(col) == 1 && col[0] == '0'
}

// hexReader keeps the first field that did not parse.
type hexReader struct{ bad []byte }

func (p *hexReader) number(b []byte, base, bits int) uint64 {
	n, err := strconv.ParseUint(string(b), base, bits)
	if err != nil && p.bad == nil {
		p.bad = append([]byte{}, b...)
	}
	return n
}

// addrPort reads an address as the kernel prints it: 32-bit words in the machine's byte order, in
// hex, then the port.
func (p *hexReader) addrPort(b []byte, f Family) netip.AddrPort {
	want := 4
	if f == Inet6 {
		want = 16
	}
	addr, port, _ := bytes.Cut(b, []byte(":"))
	var raw [16]byte
	if len(addr) != 2*want {
		p.bad = append([]byte{}, b...)
		return netip.AddrPort{}
	}
	if _, err := hex.Decode(raw[:want], addr); err != nil {
		p.bad = append([]byte{}, b...)
		return netip.AddrPort{}
	}
	// The text is each word's number: most significant byte first.
	var a [16]byte
	for i := 0; i < want; i += 4 {
		word := uint32(raw[i])<<24 | uint32(raw[i+1])<<16 | uint32(raw[i+2])<<8 | uint32(raw[i+3])
		native.PutUint32(a[i:], word)
	}
	n := uint16(p.number(port, 16, 16))
	if f == Inet {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[:4])), n)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a), n)
}
