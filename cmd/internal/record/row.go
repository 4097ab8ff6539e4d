package record

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"

	"github.com/sockleak/sockleak/netlinkss"
)

// endpoint is a [netip.AddrPort] without a pointer.
type endpoint struct {
	addr [16]byte
	port uint16
	kind uint16 // 0: no address; 4; 6; from 7 on, 6 with the zone of that number
}

// zones are the names of IPv6 zones that a file has, by number. The kernel's own records have none.
type zones struct {
	names  []string
	byName map[string]uint16
}

const (
	firstZone = 7
	mostZones = 1 << 15
)

func (z *zones) number(name string) (uint16, error) {
	n, ok := z.byName[name]
	if ok {
		return n, nil
	}
	if len(z.names) == mostZones {
		return 0, fmt.Errorf("more than %d zones of IPv6 addresses", mostZones)
	}
	if z.byName == nil {
		z.byName = map[string]uint16{}
	}
	n = firstZone + uint16(len(z.names))
	z.names = append(z.names, name)
	z.byName[name] = n
	return n, nil
}

func (z *zones) endpoint(a netip.AddrPort) (e endpoint, err error) {
	addr := a.Addr()
	e.port = a.Port()
	switch {
	case !addr.IsValid():
		return e, nil
	case addr.Is4():
		e.kind = 4
	case addr.Zone() == "":
		e.kind = 6
	default:
		e.kind, err = z.number(addr.Zone())
	}
	e.addr = addr.As16()
	return e, err
}

func (z *zones) addrPort(e endpoint) netip.AddrPort {
	var addr netip.Addr
	switch e.kind {
	case 0:
	case 4:
		addr = netip.AddrFrom16(e.addr).Unmap()
	case 6:
		addr = netip.AddrFrom16(e.addr)
	default:
		addr = netip.AddrFrom16(e.addr).WithZone(z.names[e.kind-firstZone])
	}
	return netip.AddrPortFrom(addr, e.port)
}

// noAddress stands before the port of an endpoint that has no address.
const noAddress = "-:"

func (z *zones) append(b []byte, e endpoint) []byte {
	if e.kind == 0 {
		return fmt.Appendf(b, "%s%d", noAddress, e.port)
	}
	if e.kind >= firstZone { // a zone is what somebody wrote
		word, _ := json.Marshal(text(z.addrPort(e).String())) // of text that is valid there is no error
		return append(b, word[1:len(word)-1]...)
	}
	return z.addrPort(e).AppendTo(b)
}

func (z *zones) parse(word string) (endpoint, error) {
	if port, ok := strings.CutPrefix(word, noAddress); ok {
		word = "0.0.0.0:" + port
		a, err := netip.ParseAddrPort(word)
		return endpoint{port: a.Port()}, err
	}
	a, err := netip.ParseAddrPort(unescape(word))
	if err != nil {
		return endpoint{}, err
	}
	return z.endpoint(a)
}

// trait is what many sockets have in common and keep: kept once, and named by a number.
type trait struct {
	Netns    uint64           `json:"netns"`
	Family   netlinkss.Family `json:"family"`
	If       uint32           `json:"if,omitempty"`
	UID      uint32           `json:"uid"`
	Attrs    netlinkss.Attrs  `json:"attrs"`
	InfoLen  uint16           `json:"info_len"`
	Shutdown uint8            `json:"shutdown,omitempty"`
	TOS      uint8            `json:"tos,omitempty"`
	TClass   uint8            `json:"tclass,omitempty"`
	Protocol uint8            `json:"protocol,omitempty"`
	V6Only   uint8            `json:"v6only,omitempty"`
	SockOpt  uint16           `json:"sockopt,omitempty"`
	Keep     bool             `json:"keepalive,omitempty"`
	Mark     uint32           `json:"mark,omitempty"`
	ClassID  uint32           `json:"class_id,omitempty"`
	CgroupID uint64           `json:"cgroup_id,omitempty"`
	Cong     netlinkss.Name   `json:"cong,omitzero"`
	ULP      netlinkss.Name   `json:"ulp,omitzero"`
	Options  uint8            `json:"options,omitempty"`
	WScale   uint8            `json:"wscale,omitempty"`
	Flags    uint8            `json:"flags,omitempty"`
}

// notKept are attributes whose values move all the time and that nothing reads: they are absent from what is read back.
const notKept = netlinkss.AttrMemInfo | netlinkss.AttrSkMem

func traitOf(netns uint64, s *netlinkss.Socket) trait {
	return trait{
		Netns: netns, Family: s.Family, If: s.Interface, UID: s.UID, Attrs: s.Attrs() &^ notKept, InfoLen: uint16(s.InfoLen()),
		Shutdown: s.Shutdown, TOS: s.TOS, TClass: s.TClass, Protocol: s.Protocol, V6Only: s.V6Only, SockOpt: s.SockOpt, Keep: s.KeepAlive,
		Mark: s.Mark, ClassID: s.ClassID, CgroupID: s.CgroupID, Cong: s.Congestion, ULP: s.ULP,
		Options: s.Info.Options, WScale: s.Info.WScale, Flags: s.Info.Flags,
	}
}

func (t *trait) restore(s *netlinkss.Socket) {
	s.Family, s.Interface, s.UID, s.Shutdown, s.TOS, s.TClass = t.Family, t.If, t.UID, t.Shutdown, t.TOS, t.TClass
	s.KeepAlive = t.Keep
	s.Protocol, s.V6Only, s.SockOpt, s.Mark, s.ClassID, s.CgroupID = t.Protocol, t.V6Only, t.SockOpt, t.Mark, t.ClassID, t.CgroupID
	s.Congestion, s.ULP = t.Cong, t.ULP
	s.Info.Options, s.Info.WScale, s.Info.Flags = t.Options, t.WScale, t.Flags
	s.SetPresence(t.Attrs, int(t.InfoLen))
}

// socketRow is a socket without a pointer. A million of them is what a whole host may have. Counters and clocks that move together
// are one of them, and how far the other is above it, which hardly changes.
type socketRow struct {
	local, peer endpoint
	cookie      uint64

	bytesReceived, bytesSent, bytesRetrans uint64
	ackedOver                              int64 // bytes_acked, above bytes_sent less bytes_retrans

	trait, inode, recvQ, sendQ         uint32
	rto, notSent, sndWnd, totalRetrans uint32
	dataIn, dataOut                    uint32
	segsInOver, segsOutOver            int32 // above dataIn and dataOut
	sent                               uint32
	recvAfter, ackAfter                int32 // above sent
	expiresAfter                       int32 // above the moment of the last acknowledgement; without a timer what it is
	state, timer, retrans, infoState   uint8
	retransmits, probes, backoff       uint8
	clocked                            bool // sent, recvAfter and ackAfter are moments: see clock.go
}

// number makes a column of a field.
func number[R any, T ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int32 | ~int64](name string, field func(*R) *T) column[R] {
	return column[R]{
		name: name,
		get:  func(r *R) int64 { return int64(*field(r)) },
		set:  func(r *R, v int64) { *field(r) = T(v) },
	}
}

func socketColumns() []column[socketRow] {
	type r = socketRow
	return []column[r]{
		number("cookie", func(s *r) *uint64 { return &s.cookie }),
		number("kind", func(s *r) *uint32 { return &s.trait }),
		number("state", func(s *r) *uint8 { return &s.state }),
		number("timer", func(s *r) *uint8 { return &s.timer }),
		number("retrans", func(s *r) *uint8 { return &s.retrans }),
		number("inode", func(s *r) *uint32 { return &s.inode }),
		number("recv_q", func(s *r) *uint32 { return &s.recvQ }),
		number("send_q", func(s *r) *uint32 { return &s.sendQ }),
		{"clocked", func(s *r) int64 { return valueIf(s.clocked, 1) }, func(s *r, v int64) { s.clocked = v == 1 }},
		number("sent", func(s *r) *uint32 { return &s.sent }),
		number("recv_after", func(s *r) *int32 { return &s.recvAfter }),
		number("ack_after", func(s *r) *int32 { return &s.ackAfter }),
		number("expires_after", func(s *r) *int32 { return &s.expiresAfter }),
		number("info_state", func(s *r) *uint8 { return &s.infoState }),
		number("retransmits", func(s *r) *uint8 { return &s.retransmits }),
		number("probes", func(s *r) *uint8 { return &s.probes }),
		number("backoff", func(s *r) *uint8 { return &s.backoff }),
		number("rto", func(s *r) *uint32 { return &s.rto }),
		number("bytes_received", func(s *r) *uint64 { return &s.bytesReceived }),
		number("bytes_sent", func(s *r) *uint64 { return &s.bytesSent }),
		number("bytes_retrans", func(s *r) *uint64 { return &s.bytesRetrans }),
		number("acked_over", func(s *r) *int64 { return &s.ackedOver }),
		number("not_sent", func(s *r) *uint32 { return &s.notSent }),
		number("data_segs_in", func(s *r) *uint32 { return &s.dataIn }),
		number("data_segs_out", func(s *r) *uint32 { return &s.dataOut }),
		number("segs_in_over", func(s *r) *int32 { return &s.segsInOver }),
		number("segs_out_over", func(s *r) *int32 { return &s.segsOutOver }),
		number("snd_wnd", func(s *r) *uint32 { return &s.sndWnd }),
		number("total_retrans", func(s *r) *uint32 { return &s.totalRetrans }),
	}
}

func valueIf(b bool, v int64) int64 {
	if b {
		return v
	}
	return 0
}

func newSocketTable(z *zones) *table[socketRow] {
	text := func(name string, field func(*socketRow) *endpoint) words[socketRow] {
		return words[socketRow]{
			name:   name,
			append: func(b []byte, r *socketRow) []byte { return z.append(b, *field(r)) },
			same:   func(a, b *socketRow) bool { return *field(a) == *field(b) && field(a).kind != 0 },
			copy:   func(to, from *socketRow) { *field(to) = *field(from) },
			set: func(r *socketRow, word string) (err error) {
				*field(r), err = z.parse(word)
				return err
			},
		}
	}
	return &table[socketRow]{name: "sockets", cols: socketColumns(), texts: []words[socketRow]{
		text("local", func(s *socketRow) *endpoint { return &s.local }),
		text("peer", func(s *socketRow) *endpoint { return &s.peer }),
	}, moved: func(was, now *socketRow) bool {
		return was.bytesReceived != now.bytesReceived || was.bytesSent != now.bytesSent
	}}
}

var rowSeed = maphash.MakeSeed()

// hash is by what identifies a socket for its life, or as good as that where there is no cookie.
func (r *socketRow) hash() uint32 {
	id := r.cookie
	if r.cookie == 0 {
		id = maphash.Comparable(rowSeed, [2]endpoint{r.local, r.peer}) ^ uint64(r.inode)
	}
	return mix(id)
}

// mix spreads a number over 32 bits.
func mix(v uint64) uint32 { return uint32(v * 0x9e3779b97f4a7c15 >> 32) }

// sameSocket: what a row keeps for its life is as it was.
func sameSocket(a, b *socketRow) bool {
	return a.cookie == b.cookie && a.local == b.local && a.peer == b.peer && (a.cookie != 0 || a.inode == b.inode)
}
