package netlinkss

import (
	"errors"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHalves(t *testing.T) {
	for _, cut := range [][2]uint16{{1, 1}, {80, 40000}, {443, 1}, {40000, 65535}, {65534, 80}} {
		low, high, ok := halves(cut[0], cut[1])
		if !ok {
			t.Fatalf("no halves at %v", cut)
		}
		near := func(port uint16) []uint16 { return []uint16{0, 1, port - 1, port, port + 1, 65534, 65535} }
		for _, local := range near(cut[0]) {
			for _, peer := range near(cut[1]) {
				want := local < cut[0] || local == cut[0] && peer < cut[1]
				if low.Has(local, peer) != want || high.Has(local, peer) == want || !(Part{}).Has(local, peer) {
					t.Errorf("cut at %v: %d to %d is in low %v, in high %v", cut, local, peer, low.Has(local, peer), high.Has(local, peer))
				}
				for name, part := range map[string]Part{"low": low, "high": high} {
					code := bytecode(t, Request{Part: part}.legacy(1), 60)
					if err := auditBytecode(code); err != nil {
						t.Fatalf("%s: the kernel refuses it: %v", name, err)
					}
					if got := runBytecode(t, code, local, peer); got != part.Has(local, peer) {
						t.Errorf("%s half of %v: the filter says %v of %d to %d", name, cut, got, local, peer)
					}
				}
			}
		}
	}
	for _, cut := range [][2]uint16{{0, 5}, {65535, 5}, {80, 0}} {
		if _, _, ok := halves(cut[0], cut[1]); ok {
			t.Errorf("halves at %v, which no comparison of ports can tell", cut)
		}
	}
}

func TestMiddle(t *testing.T) {
	ports := func(n int, f func(i int) [2]uint16) (list [][2]uint16) {
		for i := range n {
			list = append(list, f(i*7919%n))
		}
		return list
	}
	for name, c := range map[string]struct {
		list [][2]uint16
		ok   bool
	}{
		"clients":          {ports(1000, func(i int) [2]uint16 { return [2]uint16{uint16(32768 + i), 443} }), true},
		"a server":         {ports(1000, func(i int) [2]uint16 { return [2]uint16{443, uint16(1024 + i)} }), true},
		"both":             {ports(1000, func(i int) [2]uint16 { return [2]uint16{uint16(443 + i%2*1000*i), uint16(1024 + i)} }), true},
		"all of one port":  {ports(1000, func(int) [2]uint16 { return [2]uint16{443, 5000} }), false},
		"peers without":    {ports(1000, func(int) [2]uint16 { return [2]uint16{443, 0} }), false},
		"nine tenths same": {ports(1000, func(i int) [2]uint16 { return [2]uint16{443, uint16(5000 + max(i-900, 0))} }), false},
	} {
		low, high, ok := middle(c.list)
		if ok != c.ok {
			t.Errorf("%s: cut: %v", name, ok)
		}
		if !ok {
			continue
		}
		in := 0
		for _, p := range c.list {
			if low.Has(p[0], p[1]) == high.Has(p[0], p[1]) {
				t.Errorf("%s: %v is in both halves or in none", name, p)
			}
			if low.Has(p[0], p[1]) {
				in++
			}
		}
		if in < 400 || in > 600 {
			t.Errorf("%s: %d of 1000 in the low half", name, in)
		}
	}
}

// Every state has its sockets in one half each, wherever the cut is.
func TestKernelHalves(t *testing.T) {
	c := dialTest(t, nil)
	eachLoopback(t, func(t *testing.T, l loopback) {
		xs := l.specimens(t)
		for _, f := range []Family{0, l.family} {
			for _, at := range []specimen{xs[0], xs[len(xs)/2]} {
				low, high, ok := halves(at.local.Port(), max(at.peer.Port(), 1))
				if !ok {
					t.Fatalf("no halves at %v", at.local)
				}
				for _, part := range []Part{low, high} {
					checkPart(t, c, Request{Family: f, States: everyState, Part: part}, xs)
				}
			}
		}
	})
}

func checkPart(t *testing.T, c *Conn, r Request, xs []specimen) {
	t.Helper()
	var in, out []specimen
	for _, x := range xs {
		if r.Part.Has(x.local.Port(), x.peer.Port()) {
			in = append(in, x)
		} else {
			out = append(out, x)
		}
	}
	untilAll(t, in, func() (func(int) error, error) {
		found, err := survey(c.Dump(background, r), in)
		return func(i int) error {
			if found[i] == nil {
				return errAbsent
			}
			return nil
		}, err
	})
	found, err := survey(c.Dump(background, r), out)
	must(t, err)
	for i, s := range found {
		if s != nil {
			t.Errorf("%s is in the other half: %s", out[i].name, text(s))
		}
	}
}

// crowd holds so many connections, both ends.
func crowd(t *testing.T, l loopback, connections int) map[uint64]bool {
	t.Helper()
	cookies := map[uint64]bool{}
	listener := l.listen(t, 128)
	for range connections {
		client := l.dial(t, listener)
		client.wait(unix.POLLOUT)
		listener.wait(unix.POLLIN)
		server := listener.accept()
		cookies[client.cookie], cookies[server.cookie] = true, true
	}
	return cookies
}

func TestKernelSplit(t *testing.T) {
	l := loopbacks[0]
	want := crowd(t, l, 1000)
	low, high, ok, err := dialTest(t, nil).Split(background, Request{States: Estab.Mask(), Attrs: AttrInfo}) // others' TIME-WAIT may be many
	if err != nil || !ok {
		t.Fatalf("cut: %v, error %v", ok, err)
	}
	c := dialTest(t, nil)
	seen := map[uint64]int{}
	var in [2]int // with those of others, whose ports may be all on one side
	for i, r := range []Request{low, high} {
		for s, err := range c.Dump(background, r) {
			must(t, err)
			in[i]++
			if want[s.Cookie] {
				seen[s.Cookie]++
				if s.InfoLen() == 0 {
					t.Fatalf("without TCP_INFO: %s", text(s))
				}
			}
		}
	}
	if total := in[0] + in[1]; min(in[0], in[1]) < total/8 {
		t.Errorf("%d and %d sockets in the halves", in[0], in[1])
	}
	for cookie := range want {
		if seen[cookie] != 1 {
			t.Errorf("a socket was listed %d times", seen[cookie])
		}
	}
}

// What cannot be cut is as it was asked for.
func TestSplitNot(t *testing.T) {
	asked := Request{States: Estab.Mask() | Listen.Mask(), Attrs: AttrInfo}
	for name, answer := range map[string]answer{"few": datagrams(records(1, 2, 3), done), "refused": fails(unix.EINVAL)} {
		c, k := newFake(t, answer, answer, answer)
		low, high, ok, err := c.Split(background, asked)
		if ok || err != nil || !reflect.DeepEqual(low, asked) || !reflect.DeepEqual(high, asked) {
			t.Errorf("%s: cut: %v, error %v, requests %+v and %+v", name, ok, err, low, high)
		}
		if states := native.Uint32(k.sent[0][sizeofNlmsghdr+52:]); States(states) != Estab.Mask() {
			t.Errorf("%s: asked for states %#x", name, states)
		}
	}
	c, _ := newFake(t, fails(unix.EPERM))
	if _, _, ok, err := c.Split(background, asked); ok || !errors.Is(err, unix.EPERM) {
		t.Errorf("refused for good: cut: %v, error %v", ok, err)
	}
}

// What nobody asked for is not decoded, and nothing of an earlier record stays.
func TestDumpWithoutAttrs(t *testing.T) {
	c, _ := newFake(t, datagrams(func(seq uint32) []byte { return nlmsg(msgByFamily, 2, seq, fullRecord()...) }, done))
	for s, err := range c.Dump(background, Request{}) {
		must(t, err)
		if s.Has(AttrCgroupID) || s.InfoLen() != 0 || s.CgroupID != 0 || s.Inode != 123456 {
			t.Errorf("asked for nothing, got %s", text(s))
		}
	}
}
