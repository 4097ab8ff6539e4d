package diag

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// lookAt is a look at one process with sockets in CLOSE-WAIT.
func lookAt(at time.Time, sockets ...*netlinkss.Socket) *Snapshot {
	space := &Space{}
	p := &Proc{Process: &procfd.Process{PID: 42, Start: 7}, Space: space}
	for i, s := range sockets {
		p.Held = append(p.Held, HeldSocket{Socket: s, FDs: []int{i}, End: &End{Socket: s.Clone()}})
	}
	space.Procs = []*Proc{p}
	return &Snapshot{Began: at, At: at, Spaces: []*Space{space}}
}

func endedSocket(cookie uint64) *netlinkss.Socket {
	return &netlinkss.Socket{
		Family: netlinkss.Inet, State: netlinkss.CloseWait, Cookie: cookie, Inode: uint32(cookie), RecvQ: 1,
		Local: netip.MustParseAddrPort("10.0.0.1:80"), Peer: netip.MustParseAddrPort("10.0.0.2:999"),
	}
}

func TestThin(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	h := &History{Apart: 3 * time.Second}
	for i := range 3600 {
		at := start.Add(time.Duration(i) * 2 * time.Second)
		h.Add(lookAt(at, endedSocket(1), endedSocket(uint64(10+i))))
		h.Thin()
		if len(h.looks) > 26 {
			t.Fatalf("%d looks are kept after %d", len(h.looks), i+1)
		}
		if first := h.looks[0].At; !first.Equal(start) {
			t.Fatalf("after %d looks the oldest is of %s", i+1, first.Sub(start))
		}
		for _, l := range h.looks[:len(h.looks)-1] {
			if len(l.Spaces) > 0 {
				t.Fatal("a look before the last holds its snapshot")
			}
		}
	}
	last := &h.Last().Spaces[0].Procs[0].Held[0]
	held := h.Held(last, 0)
	if want := 3599 * 2 * time.Second; held.D != want {
		t.Errorf("held for %s by %q, want %s", held.D, held.Source, want)
	}
	if was := h.looks[0].held[1]; was.End == nil || was.End.Cookie != 1 {
		t.Error("the other end was not kept")
	}
}

func TestApart(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	h := &History{Apart: 3 * time.Second}
	h.Add(lookAt(start, endedSocket(1)))
	h.Add(lookAt(start.Add(2*time.Second), endedSocket(1)))
	held := func() *HeldSocket { return &h.Last().Spaces[0].Procs[0].Held[0] }
	if h.seen(held()) {
		t.Error("a look that is too close was taken for one before the last")
	}
	h.Add(lookAt(start.Add(4*time.Second), endedSocket(1)))
	if !h.seen(held()) {
		t.Error("a look that is far enough was not seen")
	}
}

func TestThinBounds(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	h := &History{}
	var sockets []*netlinkss.Socket
	for i := range 30_000 {
		sockets = append(sockets, endedSocket(uint64(i+1)))
	}
	for i := range 6 {
		h.Add(lookAt(start.Add(time.Duration(i)*time.Minute), sockets...))
		h.Thin()
	}
	if len(h.looks) != 2 {
		t.Errorf("%d looks of 30,000 sockets are kept, want the last and the one before", len(h.looks))
	}
}
