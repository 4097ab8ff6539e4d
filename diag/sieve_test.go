package diag

import (
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// sieve joins a fixture as a scan of many descriptors does: what is usual is counted, and taken from the dump once more when it
// turns out to matter.
type sieve struct {
	thresholds Thresholds
	uptime     time.Duration

	held, usual, recalled int // of all looks
}

func (s *sieve) add(j *Join, dump []*netlinkss.Socket, took time.Duration) {
	j.Sift(s.thresholds, s.uptime)
	for _, p := range j.procs { // a fixture has it as it is after the dump
		p.Uptime -= took
		defer func() { p.Uptime += took }()
	}
	listen := func(k *netlinkss.Socket) bool { return k.State == netlinkss.Listen }
	for _, k := range dump {
		if listen(k) {
			j.Add(k)
		}
	}
	rest := slices.DeleteFunc(slices.Clone(dump), listen)
	var parts sync.WaitGroup
	for _, half := range [][]*netlinkss.Socket{rest[:len(rest)/2], rest[len(rest)/2:]} {
		part := j.Part()
		parts.Go(func() {
			for _, k := range half {
				part.Add(k.Clone())
			}
		})
	}
	parts.Wait()
}

// recall is before the end of the join.
func (s *sieve) recall(j *Join, dump []*netlinkss.Socket, space *fixtureSpace) {
	r := j.Legs(s.thresholds.Grace)
	if r == nil {
		return
	}
	for _, k := range dump {
		r.Add(k)
	}
	r.Done(time.Time{}, space.took)
}

// share is after it.
func (s *sieve) share(j *Join, dump []*netlinkss.Socket, inodes []uint64) {
	if r := j.Shared(inodes); r != nil {
		for _, k := range dump {
			r.Add(k)
		}
		r.Settle()
	}
	if b := (&Busy{join: j, atLeast: 1, counts: map[toward]*Destination{}, peers: map[netip.AddrPort]*busyPeer{}}).choose(); b != nil {
		for _, k := range dump {
			b.Add(k)
		}
		b.Settle() // what the fixture says of destinations comes afterwards
	}
	for _, p := range j.procs {
		s.usual += p.Usual.Timer + p.Usual.NoTimer
		for i := range p.Held {
			s.held++
			if p.Held[i].Counted {
				s.recalled++
			}
		}
	}
}

// Sifted is what the fixtures show with all sockets kept, and with what is usual counted.
func Sifted(t testing.TB, file string) (whole, sifted *Result) {
	t.Helper()
	whole, sifted, _ = siftedFixture(t, file)
	return whole, sifted
}

func siftedFixture(t testing.TB, file string) (whole, sifted *Result, s *sieve) {
	t.Helper()
	f := readFixture(t, file)
	s = &sieve{thresholds: f.thresholds, uptime: f.uptime}
	a, b := f.looked(asDumped, nil), f.looked(asDumped, s)
	if Unsettled(a, f.thresholds, Rules()) != Unsettled(b, f.thresholds, Rules()) {
		t.Errorf("%s: a second look is asked for once, and not the other time", file)
	}
	return Check(a, f.thresholds, Rules()), Check(b, f.thresholds, Rules()), s
}

// The same of what the formats leave out, and the fixtures have cases of everything: sockets that are counted, and some that are recalled.
func TestSift(t *testing.T) {
	files, err := filepath.Glob("../testdata/rule/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	held, usual, recalled := 0, 0, 0
	for _, file := range files {
		whole, sifted, s := siftedFixture(t, file)
		if a, b := resultText(whole), resultText(sifted); a != b {
			t.Errorf("%s: sifted:\n%s\nwith everything kept:\n%s", file, b, a)
		}
		held, usual, recalled = held+s.held, usual+s.usual, recalled+s.recalled
	}
	if usual == 0 || recalled == 0 || held == 0 {
		t.Errorf("%d sockets are kept, %d counted, %d of these recalled: want some of each", held, usual, recalled)
	}
	t.Logf("%d sockets are kept, %d counted, %d of these recalled", held, usual, recalled)
}
