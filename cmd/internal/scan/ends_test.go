package scan

import (
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Two processes hold one connection, a third has its other end: it is the other end of both.
func TestWantedEnds(t *testing.T) {
	socket := func(inode uint32) *netlinkss.Socket { return &netlinkss.Socket{State: netlinkss.Estab, Inode: inode} }
	proc := func(pid int, inode uint32, end uint32) *diag.Proc {
		h := diag.HeldSocket{Socket: socket(inode), FDs: []int{5}}
		if end != 0 {
			h.End = &diag.End{Socket: socket(end)}
		}
		return &diag.Proc{Process: &procfd.Process{PID: pid}, Held: []diag.HeldSocket{h}}
	}
	a, b, peer := proc(42, 100, 200), proc(43, 100, 200), proc(44, 200, 0)
	stranger := proc(45, 300, 400)
	l := &look{space: &diag.Space{Procs: []*diag.Proc{a, b, peer, stranger}}}
	wanted := l.wantedEnds()
	for _, p := range []*diag.Proc{a, b} {
		if h := p.Held[0].End.Holders; len(h) != 1 || h[0].PID != 44 {
			t.Errorf("the other end of process %d has the holders %v", p.PID, h)
		}
	}
	if len(wanted) != 1 || len(wanted[400]) != 1 {
		t.Errorf("still to be found: %v, want that of the stranger", wanted)
	}
}
