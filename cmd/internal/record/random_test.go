package record

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// chance makes looks in which every field of every type has a value by chance, whatever sense it makes: what a type gets tomorrow
// is in them, too.
type chance struct {
	*rand.Rand
	cookie uint64
	few    bool // sockets and processes
}

// upTo is a number below n, and below a few.
func (c *chance) upTo(n int) int {
	if c.few {
		n = min(n, 4)
	}
	return c.IntN(n)
}

// notRecorded are fields that the package says a recording does without.
var notRecorded = map[reflect.Type][]string{
	reflect.TypeFor[procfd.Process]():   {"Sockets", "Listed", "ownEpolls", "ownUrings"},
	reflect.TypeFor[diag.DarkSocket]():  {"Asked"},
	reflect.TypeFor[netlinkss.Socket](): {"MemInfo", "SkMem"},
	reflect.TypeFor[netlinkss.TCPInfo](): {
		"CAState", "ATO", "SndMSS", "RcvMSS", "Unacked", "Sacked", "Lost", "Retrans", "Fackets", "LastAckSent", "PMTU", "RcvSSThresh",
		"RTT", "RTTVar", "SndSSThresh", "SndCwnd", "AdvMSS", "Reordering", "RcvRTT", "RcvSpace", "PacingRate", "MaxPacingRate", "MinRTT",
		"DeliveryRate", "BusyTime", "RwndLimited", "SndbufLimited", "Delivered", "DeliveredCE", "DSACKDups", "ReordSeen", "RcvOOOPack",
		"RcvWnd", "Rehash", "TotalRTO", "TotalRTORecoveries", "TotalRTOTime",
	},
}

// byHand are fields that point somewhere, or whose values hang on each other.
var byHand = map[reflect.Type][]string{
	reflect.TypeFor[diag.Snapshot]():    {"Spaces", "Began", "At"},
	reflect.TypeFor[diag.Space]():       {"Procs", "listens"},
	reflect.TypeFor[diag.Proc]():        {"Process", "Space", "Held", "Dark", "Queues", "Kin", "passed", "again"},
	reflect.TypeFor[diag.HeldSocket]():  {"Socket", "FDs", "End", "Space", "readFrom"},
	reflect.TypeFor[netlinkss.Socket](): {"Cookie", "Expires", "present", "infoLen"},
	reflect.TypeFor[procfd.Gap]():       {"Err"},
	reflect.TypeFor[procfd.Process]():   {"Place"},
}

// place has what the path tells, and names.
func (c *chance) place(p *procfd.Process) {
	if c.coin() {
		p.Cgroup = "/docker/" + strings.Repeat("3f2a9c1b", 8)
	}
	p.Place = procfd.ParseCgroup(p.Cgroup)
	if in := p.Place.Container; in != nil && c.coin() {
		in.Name, in.Service, in.PodName, in.PodSpace = "x"+c.word(), c.word(), c.word(), c.word()
	}
}

func (c *chance) coin() bool { return c.IntN(2) == 0 }

// fill sets v, and all that is in it.
func (c *chance) fill(v reflect.Value) {
	switch t := v.Type(); t {
	case reflect.TypeFor[netip.Addr]():
		v.Set(reflect.ValueOf(c.addrPort().Addr()))
		return
	case reflect.TypeFor[netip.AddrPort]():
		v.Set(reflect.ValueOf(c.addrPort()))
		return
	case reflect.TypeFor[time.Duration]():
		v.SetInt(int64(c.IntN(1<<40)) * int64(time.Microsecond))
		return
	case reflect.TypeFor[diag.Keepalive](), reflect.TypeFor[diag.Direction](), reflect.TypeFor[diag.Flag](), reflect.TypeFor[procfd.Watch](),
		reflect.TypeFor[diag.Alive]():
		v.SetUint(uint64(c.IntN(3)))
		return
	case reflect.TypeFor[syscall.Errno]():
		v.SetUint(uint64(c.IntN(200)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		c.fields(v)
	case reflect.Bool:
		v.SetBool(c.coin())
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(c.IntN(1<<31)) >> c.IntN(31))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(c.Uint64() >> (64 - v.Type().Bits()) >> c.IntN(v.Type().Bits()))
	case reflect.String:
		v.SetString(c.word())
	case reflect.Slice:
		v.SetZero()
		for range c.IntN(3) {
			e := reflect.New(v.Type().Elem()).Elem()
			c.fill(e)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Array:
		for i := range v.Len() {
			c.fill(v.Index(i))
		}
	case reflect.Pointer:
		if v.SetZero(); c.coin() {
			v.Set(reflect.New(v.Type().Elem()))
			c.fill(v.Elem())
		}
	default:
		panic(fmt.Sprintf("a field of type %v: have a recording keep it, and fill it here", v.Type()))
	}
}

func (c *chance) fields(v reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		name := t.Field(i).Name
		if slices.Contains(byHand[t], name) || slices.Contains(notRecorded[t], name) {
			continue
		}
		f := v.Field(i)
		c.fill(reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem())
	}
}

// word has what a process may call itself: any bytes.
func (c *chance) word() string {
	return []string{"", "node", "nginx: worker", "\xff\xfe", "\U0010ff41", "a\"b\\c\n\x00\x7f", "日本", "\xed\xa0\x80", "\U0010ffff<"}[c.IntN(9)]
}

func (c *chance) addrPort() netip.AddrPort {
	port := uint16(c.IntN(1 << 16))
	switch c.IntN(8) {
	case 0:
		return netip.AddrPort{}
	case 1:
		return netip.AddrPortFrom(netip.MustParseAddr("::ffff:10.1.2.3"), port)
	case 2:
		return netip.AddrPortFrom(netip.MustParseAddr("fe80::1%eth0\"é"), port)
	case 3, 4:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(c.IntN(9))}), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(c.IntN(9))}), port)
}

func (c *chance) socket() *netlinkss.Socket {
	s := &netlinkss.Socket{}
	c.fill(reflect.ValueOf(s).Elem())
	if c.IntN(8) > 0 {
		c.cookie += 1 + uint64(c.IntN(3))
		s.Cookie = c.cookie
	}
	s.Expires = time.Duration(c.Uint32()) * time.Millisecond
	s.SetPresence(netlinkss.Attrs(c.Uint32())&^(netlinkss.AttrMemInfo|netlinkss.AttrSkMem), []int{0, 59, 60, 160, 216, 280}[c.IntN(6)])
	return s
}

func pick[T any](c *chance, list []T) T { return list[c.IntN(len(list))] }

// look is a snapshot, and sockets beside it.
func (c *chance) look(at time.Time) (*diag.Snapshot, []*netlinkss.Socket) {
	s := &diag.Snapshot{At: at}
	c.fill(reflect.ValueOf(s).Elem())
	if s.Host.Uptime = time.Duration(c.Uint64()>>(1+c.IntN(40))) % mostUp; c.coin() {
		s.Began = at.Add(-time.Duration(c.IntN(2000)) * time.Millisecond)
	}
	var rest, shared []*netlinkss.Socket
	for range 20 {
		shared = append(shared, c.socket())
	}
	var procs []*diag.Proc
	foreign := c.space()
	for range 1 + c.upTo(3)*int(1-valueIf(c.few, 1)) {
		space := c.space()
		s.Spaces = append(s.Spaces, space)
		for range c.IntN(4) {
			space.Procs = append(space.Procs, c.proc(space, foreign, shared, s.Host.Uptime))
		}
		procs = append(procs, space.Procs...)
		for _, p := range space.Procs {
			for range c.IntN(3) {
				p.Kin = append(p.Kin, pick(c, procs))
			}
			if c.coin() {
				p.Kin = append(p.Kin, c.proc(space, foreign, shared, s.Host.Uptime))
			}
		}
	}
	for range c.upTo(50) {
		rest = append(rest, c.socket())
	}
	return s, rest
}

func (c *chance) space() *diag.Space {
	space := &diag.Space{}
	c.fill(reflect.ValueOf(space).Elem())
	if c.coin() {
		space.SetListens([]uint16{uint16(c.IntN(1 << 16)), 80})
	}
	return space
}

func (c *chance) proc(space, foreign *diag.Space, shared []*netlinkss.Socket, up time.Duration) *diag.Proc {
	p := &diag.Proc{Process: &procfd.Process{}, Space: space}
	c.fill(reflect.ValueOf(p.Process).Elem())
	c.place(p.Process)
	for i := range p.Process.Gaps {
		p.Process.Gaps[i].Err = pick(c, []error{errors.New("a\xffb"), fs.ErrPermission, fmt.Errorf("open: %w", fs.ErrPermission)})
	}
	c.fill(reflect.ValueOf(p).Elem())
	for fd := range c.upTo(40) {
		if c.IntN(5) == 0 {
			p.Dark = append(p.Dark, c.dark(fd))
			continue
		}
		p.Held = append(p.Held, c.held(fd, foreign, shared, up))
		if h := len(p.Held) - 1; c.IntN(10) == 0 {
			p.Queues = append(p.Queues, diag.AcceptQueue{Waiting: []*netlinkss.Socket{c.socket(), pick(c, shared)}, Others: h})
		}
	}
	for i := range p.Queues { // after the last append
		p.Queues[i].Listener = &p.Held[p.Queues[i].Others]
	}
	if c.coin() {
		p.SetPassed([]diag.Passed{{Local: c.addrPort().Addr(), Peer: c.addrPort(), Count: 1 + c.IntN(9)}})
	}
	if c.coin() {
		var legs []*netlinkss.Socket
		for _, s := range shared[:c.IntN(4)] {
			if s.Cookie != 0 {
				again := s.Clone() // read a second time
				again.RecvQ += uint32(c.IntN(2))
				legs = append(legs, again)
			}
		}
		p.SetAgain(legs, time.Duration(c.IntN(1e9)))
	}
	return p
}

func (c *chance) dark(fd int) diag.DarkSocket {
	d := diag.DarkSocket{}
	c.fill(reflect.ValueOf(&d).Elem())
	d.FD, d.Task = fd, 0
	return d
}

func (c *chance) held(fd int, foreign *diag.Space, shared []*netlinkss.Socket, up time.Duration) diag.HeldSocket {
	h := diag.HeldSocket{}
	c.fill(reflect.ValueOf(&h).Elem())
	h.Socket, h.FDs, h.Task = c.socket(), []int{fd}, 0
	if c.IntN(5) == 0 {
		h.Socket = pick(c, shared)
	}
	if c.IntN(5) == 0 {
		h.FDs = append(h.FDs, 1000+fd, 2000)
	}
	if c.IntN(5) == 0 {
		h.Space = foreign
	}
	if c.IntN(5) == 0 {
		h.End = &diag.End{Socket: pick(c, append(shared, c.socket()))}
		for range c.IntN(2) {
			h.End.Holders = append(h.End.Holders, diag.Holder{PID: 7, FD: fd, Name: c.word()})
		}
	}
	from := max(up.Truncate(time.Millisecond)+time.Duration(c.IntN(500))*time.Millisecond, 0)
	if c.coin() {
		from = 0
	}
	h.SetReading(from, c.coin())
	return h
}
