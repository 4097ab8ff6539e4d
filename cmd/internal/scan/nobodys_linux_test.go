package scan

import (
	"context"
	"net"
	"os"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// leave makes n connections to a new listener whose server ends first, and returns its port.
func leave(t *testing.T, n int) uint16 {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	for range n {
		c, err := net.Dial("tcp4", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		a, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
		_, _ = c.Read(make([]byte, 1)) // its end
		c.Close()
	}
	return uint16(ln.Addr().(*net.TCPAddr).Port)
}

// TIME-WAIT is counted on every port that the process listens on, and once, whichever ports were asked for first.
func TestNobodysOnAllPorts(t *testing.T) {
	asked, other := leave(t, 3), leave(t, 5)
	s, list, _ := openTest(t)
	p, err := s.FS.Process(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	procs := []*diag.Proc{}
	for _, ports := range [][]uint16{{asked}, {asked, other}} {
		scan := &Scan{Source: s}
		l := &look{Scan: scan, family: scan.family, host: s.FS.Host(), space: &diag.Space{}, list: list, listed: ports}
		f := &feed{look: l}
		own := *p
		f.begin(l.walk(t.Context(), []*procfd.Process{&own}, func(p *procfd.Process) error { return s.FS.ReadDescriptors(p, nil) }))
		if f.err != nil {
			t.Fatal(f.err)
		}
		for _, r := range f.requests(ports) {
			if err := f.dump(context.Background(), r); err != nil {
				t.Fatal(err)
			}
		}
		l.join = f.join
		if err := l.nobodys(context.Background()); err != nil {
			t.Fatal(err)
		}
		procs = append(procs, l.join.Space().Procs...)
	}
	if a, b := procs[0].TimeWait, procs[1].TimeWait; a != b || a < 8 {
		t.Errorf("%d in TIME-WAIT when one of the ports was asked for first, %d when both were; there are 8 on these two", a, b)
	}
	for _, h := range procs[0].Held {
		if h.State == netlinkss.Listen && len(h.FDs) != 1 {
			t.Errorf("a listener with the descriptors %v", h.FDs)
		}
	}
}
