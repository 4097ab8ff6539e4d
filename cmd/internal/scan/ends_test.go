package scan

import (
	"testing"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Two processes hold one connection, a third has its other end: it is the other end of both, whether that is kept or not.
func TestWantedEnds(t *testing.T) {
	proc := func(pid int, inode uint64) *procfd.Process {
		return &procfd.Process{PID: pid, Sockets: []procfd.SocketFD{{FD: 5, Inode: inode}}}
	}
	for _, sifted := range []bool{false, true} {
		l := &look{space: &diag.Space{}}
		l.join = diag.NewJoin(l.space, []*procfd.Process{proc(42, 100), proc(43, 100), proc(44, 200), proc(45, 300)})
		if sifted {
			l.join.Sift(diag.Thresholds{Grace: time.Minute}, time.Hour)
		}
		for inode := uint32(100); inode <= 300; inode += 100 {
			s := &netlinkss.Socket{State: netlinkss.Estab, Inode: inode}
			if inode == 300 {
				s.RecvQ = 1
			}
			s.SetInfo(make([]byte, netlinkss.InfoHasSndWnd))
			l.join.Add(s)
		}
		a, b, peer, stranger := l.join.Space().Procs[0], l.space.Procs[1], l.space.Procs[2], l.space.Procs[3]
		if kept := len(peer.Held) > 0; kept == sifted {
			t.Errorf("sifted %v: the other end is kept: %v", sifted, kept)
		}
		for p, end := range map[*diag.Proc]uint32{a: 200, b: 200, stranger: 400} {
			p.Held[0].End = &diag.End{Socket: &netlinkss.Socket{State: netlinkss.Estab, Inode: end}}
		}
		wanted := l.wantedEnds()
		for _, p := range []*diag.Proc{a, b} {
			if h := p.Held[0].End.Holders; len(h) != 1 || h[0].PID != 44 || h[0].FD != 5 {
				t.Errorf("sifted %v: the other end of process %d has the holders %v", sifted, p.PID, h)
			}
		}
		if len(wanted) != 2 || len(wanted[200]) != 2 || len(wanted[400]) != 1 {
			t.Errorf("sifted %v: to be looked for elsewhere: %v, want both ends", sifted, wanted)
		}
	}
}
