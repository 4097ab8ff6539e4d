package scan

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// crowd holds so many connections on loopback, both ends, and returns the port of the listener.
func crowd(t *testing.T, connections int) uint16 { return crowdAt(t, "127.0.0.1", connections) }

func crowdAt(t *testing.T, addr string, connections int) uint16 {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	for range connections {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		a, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); a.Close() })
	}
	return uint16(ln.Addr().(*net.TCPAddr).Port)
}

func openTest(t *testing.T) (s *Source, list *Sockets, told *[]string) {
	t.Helper()
	fs, err := procfd.New("/proc")
	if err != nil {
		t.Fatal(err)
	}
	told = &[]string{}
	var mu sync.Mutex
	s = &Source{Kind: "diag", FS: fs, Detail: func(format string, _ ...any) {
		mu.Lock()
		defer mu.Unlock()
		*told = append(*told, format)
	}}
	list, err = s.Open(Place{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(list.Close)
	return s, list, told
}

// Two halves side by side list what one dump does, each socket once, and each visitor has a goroutine of its own.
func TestHalvesBeside(t *testing.T) {
	const connections = 700
	addr := netip.MustParseAddr("127.91.7.4") // nobody else's, whatever ports others have
	crowdAt(t, addr.String(), connections)
	_, list, _ := openTest(t)
	sample, other := dialTest(t), dialTest(t)
	low, high, ok, err := sample.Split(context.Background(), netlinkss.Request{States: netlinkss.Estab.Mask() | netlinkss.Listen.Mask()}) // others' TIME-WAIT may be many
	if err != nil || !ok {
		t.Fatalf("cut: %v, error %v", ok, err)
	}
	var seen [2]map[uint64]int
	var listed [2]int // others' too: the cut is in the middle of all that the host has
	n := 0
	err = list.beside(context.Background(), other, [2]netlinkss.Request{low, high}, func() func(*netlinkss.Socket) {
		mine, all := map[uint64]int{}, &listed[n]
		seen[n] = mine
		n++
		return func(s *netlinkss.Socket) {
			*all++
			if s.Inode != 0 && (s.Local.Addr() == addr || s.Peer.Addr() == addr) {
				mine[s.Cookie]++
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	all := map[uint64]int{}
	for i, half := range seen {
		if listed[i] == 0 {
			t.Error("a half without sockets")
		}
		for cookie, n := range half {
			all[cookie] += n
		}
	}
	for cookie, n := range all {
		if n != 1 {
			t.Errorf("socket %d was listed %d times", cookie, n)
		}
	}
	if len(all) != 2*connections+1 {
		t.Errorf("%d sockets, want both ends of %d connections and the listener", len(all), connections)
	}
}

func dialTest(t *testing.T) *netlinkss.Conn {
	t.Helper()
	c, err := netlinkss.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A list that ended early in one half is a gap of the whole, and an error in one is an error of the whole.
func TestHalvesErrors(t *testing.T) {
	_, list, _ := openTest(t)
	list.Dump = func(context.Context, netlinkss.Request) iter.Seq2[*netlinkss.Socket, error] {
		return func(yield func(*netlinkss.Socket, error) bool) { yield(nil, netlinkss.ErrInterrupted) }
	}
	none := func() func(*netlinkss.Socket) { return func(*netlinkss.Socket) {} }
	other := dialTest(t)
	err := list.beside(context.Background(), other, [2]netlinkss.Request{}, none)
	if _, ok := Incomplete(err); !ok {
		t.Errorf("one half interrupted: %v", err)
	}
	other.Close()
	err = list.beside(context.Background(), other, [2]netlinkss.Request{}, none)
	if _, ok := Incomplete(err); ok || err == nil {
		t.Errorf("one half interrupted, the other failed: %v", err)
	}
}

// What is small, or narrow, is never cut.
func TestPartsNot(t *testing.T) {
	_, list, told := openTest(t)
	for name, r := range map[string]netlinkss.Request{
		"close-wait": {States: netlinkss.CloseWait.Mask()},
		"ports":      {Ports: []uint16{80}},
		"MPTCP":      {Protocol: netlinkss.ProtocolMPTCP},
	} {
		if other, _ := list.parts(context.Background(), r); other != nil {
			t.Errorf("%s: cut in two", name)
		}
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if other, _ := list.parts(context.Background(), netlinkss.Request{}); other != nil {
		t.Errorf("cut in two for one processor")
	}
	for _, line := range *told {
		if strings.HasPrefix(line, "two dumps") {
			t.Error(line)
		}
	}
}

// A processor that something runs on is not idle, be it another program or a part of this one.
func TestIdleCore(t *testing.T) {
	all := runtime.NumCPU()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(all + 1))
	for _, test := range []struct {
		running, besides int
		want             bool
	}{
		{0, 0, true},
		{all - 1, 0, true},
		{all, 0, false},
		{0, all - 1, true},
		{all - 1, 1, false},
		{0, all, false},
	} {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "loadavg"), fmt.Appendf(nil, "0.10 0.20 0.30 %d/99 1234\n", test.running), 0o600); err != nil {
			t.Fatal(err)
		}
		fs, err := procfd.New(root)
		if err != nil {
			t.Fatal(err)
		}
		s := &Sockets{source: &Source{FS: fs}, besides: test.besides}
		if got := s.idleCore(0); got != test.want {
			t.Errorf("of %d processors %d are in use, and %d by this program: one is idle: %v", all, test.running, test.besides, got)
		}
	}
}

// The halves are of one namespace, or there are none.
func TestSameNetns(t *testing.T) {
	a, b := dialTest(t), dialTest(t)
	if !sameNetns(a, b) {
		t.Error("two connections of this namespace are told apart")
	}
	if os.Getuid() != 0 {
		return // only root can make another namespace
	}
	pid := elsewhere(t, 0)
	c, err := netlinkss.Dial(&netlinkss.Config{Netns: fmt.Sprintf("/proc/%d/ns/net", pid)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.NetnsCookie(); err != nil {
		t.Skipf("Linux 5.14 was the first to tell namespaces apart: %v", err)
	}
	if sameNetns(a, c) {
		t.Error("two namespaces are taken for one")
	}
}
