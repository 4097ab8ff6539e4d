package netlinkss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// every state, with the one that costs extra
const everyState = AllStates | 1<<BoundInactive

// attrsInExt are all attributes that a request can name.
const attrsInExt Attrs = 0x1fe

var background = context.Background()

func TestKernelDump(t *testing.T) {
	c := dialTest(t, nil)
	eachLoopback(t, func(t *testing.T, l loopback) {
		xs := l.specimens(t)
		untilAll(t, xs, func() (func(int) error, error) {
			found, err := survey(c.Dump(background, Request{States: everyState, Attrs: AttrInfo}), xs)
			return func(i int) error {
				if found[i] == nil {
					return errAbsent
				}
				return errors.Join(xs[i].check(found[i]), xs[i].checkQueues(found[i]), xs[i].checkRest(found[i], l))
			}, err
		})
	})
}

// checkRest is what sock_diag tells and /proc/net/tcp does not, or not so.
func (x specimen) checkRest(s *Socket, l loopback) error {
	uid := uint32(os.Geteuid())
	switch {
	case s.Family != l.family:
		return fmt.Errorf("family %v, want %v", s.Family, l.family)
	case s.IsIPv4() != l.addr.Unmap().Is4():
		return fmt.Errorf("IsIPv4 %v", s.IsIPv4())
	case s.Cookie == 0:
		return errors.New("no cookie")
	case x.fd >= 0 && s.UID != uid:
		return fmt.Errorf("uid %d, want %d", s.UID, uid)
	case x.mini && s.UID != 0:
		return fmt.Errorf("uid %d of a record that has none", s.UID)
	case s.Has(AttrInfo) == (x.mini || x.filter == BoundInactive):
		return fmt.Errorf("TCP_INFO: %v", s.Has(AttrInfo))
	case s.Has(AttrInfo) && s.InfoLen() < InfoHasDataSegs:
		return fmt.Errorf("%d bytes of TCP_INFO, want %d at least", s.InfoLen(), InfoHasDataSegs)
	case s.Has(AttrInfo) && State(s.Info.State) != s.State:
		return fmt.Errorf("TCP_INFO says state %v, the record %v", State(s.Info.State), s.State)
	}
	return nil
}

// The legacy message and one by family describe a socket alike.
func TestKernelBothMessages(t *testing.T) {
	c := dialTest(t, nil)
	eachLoopback(t, func(t *testing.T, l loopback) {
		xs := l.specimens(t)
		r := Request{States: everyState, Attrs: attrsInExt}
		untilAll(t, xs, func() (func(int) error, error) {
			legacy, err1 := survey(c.Dump(background, r), xs)
			r.Family = l.family
			byFamily, err2 := survey(c.Dump(background, r), xs)
			r.Family = 0
			return func(i int) error { return sameSocket(legacy[i], byFamily[i]) }, errors.Join(err1, err2)
		})
		r.Family = otherFamily(l.family)
		found, err := survey(c.Dump(background, r), xs)
		must(t, err)
		for i, s := range found {
			if s != nil {
				t.Errorf("%s: listed under %v", xs[i].name, r.Family)
			}
		}
	})
}

func otherFamily(f Family) Family {
	if f == Inet {
		return Inet6
	}
	return Inet
}

// sameSocket compares two looks at a socket but for what moves.
func sameSocket(a, b *Socket) error {
	if a == nil || b == nil {
		return errAbsent
	}
	a, b = a.Clone(), b.Clone()
	for _, s := range []*Socket{a, b} {
		s.Expires = 0
		settle(&s.Info)
	}
	if *a != *b {
		return fmt.Errorf("two records\n%s\n%s", text(a), text(b))
	}
	return nil
}

// settle takes the clocks off.
func settle(i *TCPInfo) {
	i.LastDataSent, i.LastDataRecv, i.LastAckRecv = 0, 0, 0
	i.BusyTime, i.RwndLimited, i.SndbufLimited = 0, 0, 0
}

// A dump of one state lists that state alone, and all of it.
func TestKernelStateMask(t *testing.T) {
	c := dialTest(t, nil)
	eachLoopback(t, func(t *testing.T, l loopback) {
		xs := l.specimens(t)
		for _, filter := range []State{Estab, SynSent, SynRecv, FinWait1, FinWait2, TimeWait, CloseWait, LastAck, Listen, Closing, BoundInactive} {
			untilAll(t, xs, func() (func(int) error, error) {
				found, err := survey(c.Dump(background, Request{States: filter.Mask()}), xs)
				return func(i int) error {
					if listed := found[i] != nil; listed != (xs[i].filter == filter) {
						return fmt.Errorf("asked for %v: listed %v", filter, listed)
					}
					return nil
				}, err
			})
			wantState(t, c, filter)
		}
	})
}

// wantState looks at the strangers' sockets too. One of these may change its state between the kernel's filter and the record:
// what stands in a second list as well has not.
func wantState(t *testing.T, c *Conn, filter State) {
	t.Helper()
	want := filter
	if filter == BoundInactive {
		want = Unconn
	}
	others := func() map[uint64]string {
		list := map[uint64]string{}
		for s, err := range c.Dump(background, Request{States: filter.Mask()}) {
			must(t, err)
			if s.State != want {
				list[s.Cookie] = text(s)
			}
		}
		return list
	}
	first := others()
	if len(first) == 0 {
		return
	}
	for cookie := range others() {
		if what, twice := first[cookie]; twice {
			t.Errorf("asked for %v, got %s", filter, what)
		}
	}
}

// TCP_INFO of the dump is what the socket itself says.
func TestKernelInfo(t *testing.T) {
	c := dialTest(t, nil)
	eachLoopback(t, func(t *testing.T, l loopback) {
		xs := l.specimens(t)
		untilAll(t, xs, func() (func(int) error, error) {
			before := infos(t, xs)
			found, err := survey(c.Dump(background, Request{States: everyState, Attrs: AttrInfo}), xs)
			after := infos(t, xs)
			return func(i int) error {
				switch {
				case found[i] == nil:
					return errAbsent
				case xs[i].fd < 0 || xs[i].filter == BoundInactive:
					return nil // nobody to ask, or no TCP_INFO in the record
				}
				return between(found[i].Info, before[i], after[i])
			}, err
		})
	})
}

// infos asks the sockets. SetInfo takes the bytes as they are.
func infos(t *testing.T, xs []specimen) []TCPInfo {
	t.Helper()
	all := make([]TCPInfo, len(xs))
	for i, x := range xs {
		if x.fd < 0 {
			continue
		}
		raw, err := unix.GetsockoptTCPInfo(x.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		must(t, err)
		var s Socket
		s.SetInfo(unsafe.Slice((*byte)(unsafe.Pointer(raw)), unsafe.Sizeof(*raw)))
		all[i] = s.Info
	}
	return all
}

// between allows the clocks to move from before to after, and nothing else.
func between(got, before, after TCPInfo) error {
	for _, c := range [][3]uint32{
		{before.LastDataSent, got.LastDataSent, after.LastDataSent},
		{before.LastDataRecv, got.LastDataRecv, after.LastDataRecv},
		{before.LastAckRecv, got.LastAckRecv, after.LastAckRecv},
	} {
		if c[0] > c[1] || c[1] > c[2] {
			return fmt.Errorf("clocks before, in the dump, after: %v", c)
		}
	}
	settle(&got)
	settle(&before)
	settle(&after)
	if got != before && got != after {
		return fmt.Errorf("TCP_INFO\nof the dump   %v\nof the socket %v", got, after)
	}
	return nil
}

func TestKernelLookup(t *testing.T) {
	c := dialTest(t, nil)
	eachLoopback(t, func(t *testing.T, l loopback) {
		xs := l.specimens(t)
		var found []*Socket
		untilAll(t, xs, func() (func(int) error, error) {
			var err error
			found, err = survey(c.Dump(background, Request{States: everyState}), xs)
			return func(i int) error {
				if found[i] == nil {
					return errAbsent
				}
				return xs[i].check(found[i])
			}, err
		})
		for i, x := range xs {
			if x.filter != BoundInactive { // in the bind table alone, where a lookup does not go
				t.Run(x.name, func(t *testing.T) { checkLookup(t, c, l, x, found[i]) })
			}
		}
	})
}

func checkLookup(t *testing.T, c *Conn, l loopback, x specimen, listed *Socket) {
	for _, cookie := range []uint64{listed.Cookie, 0} {
		s, err := c.Lookup(background, Request{Attrs: AttrInfo}, l.family, x.local, x.peer, 0, cookie)
		if err != nil {
			t.Fatalf("cookie %x: %v", cookie, err)
		}
		if s.Cookie != listed.Cookie || s.Has(AttrInfo) == x.mini {
			t.Errorf("got %s", text(s))
		}
		if s.State != x.state || s.Inode != x.inode {
			t.Errorf("state %v, inode %d, want %v, %d", s.State, s.Inode, x.state, x.inode)
		}
	}
	for _, wrong := range []uint64{listed.Cookie + 1, listed.Cookie ^ 1<<32, ^uint64(0) - 1} {
		if s, err := c.Lookup(background, Request{}, l.family, x.local, x.peer, 0, wrong); !errors.Is(err, ErrNotFound) {
			t.Errorf("cookie %x instead of %x: got %v, error %v, want ErrNotFound", wrong, listed.Cookie, s, err)
		}
	}
}

// Asked for a connection that is gone, the kernel answers with the port's listener.
func TestKernelLookupGone(t *testing.T) {
	c := dialTest(t, nil)
	eachLoopback(t, func(t *testing.T, l loopback) {
		ln := l.listen(t, 8)
		client := l.dial(t, ln)
		client.wait(unix.POLLOUT)
		server := ln.accept()
		local, peer := server.local(), client.local()
		lookup := func() (*Socket, error) { return c.Lookup(background, Request{}, l.family, local, peer, 0, 0) }
		if s, err := lookup(); err != nil || s.Cookie != server.cookie {
			t.Fatalf("while it is there: got %v, error %v", s, err)
		}
		server.reset()
		client.reset()
		eventually(t, func() error {
			if s, err := lookup(); !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("got %v, error %v, want ErrNotFound", s, err)
			}
			return nil
		})
		if _, err := c.Lookup(background, Request{}, l.family, local, l.none(), 0, ln.cookie); err != nil {
			t.Errorf("the listener itself: %v", err)
		}
	})
}
