package diag

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
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
	for i, half := range [][]*netlinkss.Socket{rest[:len(rest)/2], rest[len(rest)/2:]} {
		part := j.Part()
		parts.Go(func() {
			for _, k := range half {
				brief := i == 1 && s.briefly(part, k)
				if !brief {
					part.Add(k.Clone())
				}
			}
		})
	}
	parts.Wait()
}

// briefly tells of a socket as a source does that has the rest of it only when it is asked again, and reports whether that will do.
func (s *sieve) briefly(part *Part, k *netlinkss.Socket) bool {
	if k.State != netlinkss.Estab || k.RecvQ|k.SendQ != 0 || !hasClocks(k) || isMPTCP(k) || k.Inode == 0 {
		return false
	}
	if first, ok := part.join.index.find(uint64(k.Inode)); ok {
		p := part.join.procs[part.join.index.fds[first].process()]
		if _, usual := part.join.sift.usual(p, k, part.was); !usual {
			return false
		}
	}
	return part.AddBrief(&Brief{
		Family: k.Family, Inode: k.Inode, Cookie: k.Cookie, Local: k.Local, Peer: k.Peer,
		Idle:  time.Duration(min(k.Info.LastDataSent, k.Info.LastDataRecv)) * time.Millisecond,
		Timer: k.Timer != netlinkss.TimerOff, Connected: DirectionOf(k) == Connected,
	})
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
			t.Errorf("%s: %s", file, FirstDifference(b, a))
		}
		held, usual, recalled = held+s.held, usual+s.usual, recalled+s.recalled
	}
	if usual == 0 || recalled == 0 || held == 0 {
		t.Errorf("%d sockets are kept, %d counted, %d of these recalled: want some of each", held, usual, recalled)
	}
	t.Logf("%d sockets are kept, %d counted, %d of these recalled", held, usual, recalled)
}

// Of two sockets with one inode nobody is said to hold either, and neither counts.
func TestSiftTwice(t *testing.T) {
	j := NewJoin(&Space{}, []*procfd.Process{process(1, 100, 101)})
	j.Sift(Thresholds{Grace: DefaultGrace}, 10*day)
	for i, inode := range []uint32{100, 101, 101, 101} {
		s := estab(inode, "10.0.0.1:80", "10.0.0.7:40001")
		s.Timer = netlinkss.TimerKeepalive
		s.Cookie += uint64(i / 3)
		setInfo(s, quietFor(s.Info, time.Second), wholeInfo)
		j.Add(s)
	}
	if p := j.Space().Procs[0]; p.Usual != (Usual{Timer: 1}) || len(p.Held) > 0 || len(j.space.Gaps) != 1 || j.Holders(101) != nil || j.IsConnection(101) {
		t.Errorf("usual: %+v, %d kept, gaps %v, holders %v", p.Usual, len(p.Held), j.space.Gaps, j.Holders(101))
	}
}

// What nobody holds is looked for on the ports of the peers, whether a connection to one is kept or counted.
func TestSiftPorts(t *testing.T) {
	for _, sift := range []bool{false, true} {
		j := NewJoin(&Space{}, []*procfd.Process{process(1, 100)})
		if sift {
			j.Sift(Thresholds{Grace: DefaultGrace}, 10*day)
		}
		s := estab(100, "10.0.0.1:40001", "10.0.0.7:5432")
		setInfo(s, quietFor(s.Info, time.Second), wholeInfo)
		j.Add(s)
		j.Space()
		if all, queues := j.PortsOfNobodys(); !slices.Equal(all, []uint16{5432}) || queues != nil {
			t.Errorf("sifted: %v: ports %v, with a queue %v", sift, all, queues)
		}
	}
}

// FirstDifference is the first line in which two texts differ.
func FirstDifference(sifted, whole string) string {
	a, b := strings.Split(sifted, "\n"), strings.Split(whole, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is\n%s\nwith everything kept:\n%s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, %d with everything kept", len(a), len(b))
}

// A process opened a connection a second after it began, and nothing has moved since. Late in a long dump its clocks show more than the
// process had been running at the begin of that, and it takes the time of its reading to tell that it was not inherited.
func TestReadLate(t *testing.T) {
	const began, ended, read = 200 * time.Second, 210 * time.Second, 209 * time.Second
	for _, told := range []bool{false, true} {
		for _, sift := range []bool{false, true} {
			p := process(1, 100)
			p.Start = 100 * 100
			p.Uptime = p.At(began)
			space := &Space{}
			j := NewJoin(space, []*procfd.Process{p})
			thresholds := Thresholds{Grace: DefaultGrace}
			if sift {
				j.Sift(thresholds, began)
			}
			listener := sock(netlinkss.Listen, "0.0.0.0:80", "0.0.0.0:0")
			listener.Inode = 7 // another's
			j.Add(listener)
			part := j.Part()
			for _, at := range []time.Duration{began, read, read} {
				if told {
					part.Clock(at)
				}
			}
			s := estab(100, "10.0.0.1:80", "10.0.0.7:40001")
			s.Timer = netlinkss.TimerKeepalive
			setInfo(s, quietFor(s.Info, read-101*time.Second), wholeInfo)
			part.Add(s)
			space.Took, space.Ended = ended-began, ended
			p.Uptime = p.At(ended)
			held := j.Space().Procs[0].Held
			if kept := len(held) == 1; kept != (!told || !sift) {
				t.Errorf("time told: %v, sifted: %v: kept: %v", told, sift, kept)
			}
			for i := range held {
				if left := MayBeLeft(space.Procs[0], &held[i], thresholds, ended); left == told {
					t.Errorf("time told: %v, sifted: %v: it may have been inherited: %v", told, sift, left)
				}
			}
		}
	}
}

// A process opened a connection a tenth of a second after it began, and nothing has moved since. Where that was read behind the
// end of the dump, its clocks have run on while the process's has not: it is not older for it.
func TestReadBehindTheDump(t *testing.T) {
	const ended, late = 200 * time.Second, 500 * time.Millisecond
	for name, add := range map[string]func(j *Join, s *netlinkss.Socket){
		"looked up": func(j *Join, s *netlinkss.Socket) { j.Found(s) },
		"abroad":    func(j *Join, s *netlinkss.Socket) { j.AddForeign(&Space{Netns: 2}, s) },
	} {
		for age, want := range map[time.Duration]bool{99900 * time.Millisecond: false, 100200 * time.Millisecond: true} {
			p := process(1, 100)
			p.Start = 100 * 100
			p.Uptime = p.At(ended)
			space := &Space{Took: time.Millisecond, Ended: ended, Late: late}
			j := NewJoin(space, []*procfd.Process{p})
			j.Late()
			s := estab(100, "10.0.0.1:40001", "10.0.0.7:80")
			setInfo(s, quietFor(s.Info, age+late), wholeInfo)
			add(j, s)
			held := j.Space().Procs[0].Held
			if left := MayBeLeft(space.Procs[0], &held[0], Thresholds{Grace: DefaultGrace}, ended); left != want {
				t.Errorf("%s, %s old: it may have been inherited: %v", name, age, left)
			}
		}
	}
}

// Of what was counted first there is nothing to say, and a later reading of its clocks does not make it older than its process.
func TestRecalledIsNotInherited(t *testing.T) {
	const began, late = 200 * time.Second, 500 * time.Millisecond
	p := process(1, 100)
	p.Start = 100 * 100
	p.Uptime = p.At(began)
	space := &Space{Took: time.Millisecond, Ended: began}
	j := NewJoin(space, []*procfd.Process{p})
	j.Sift(Thresholds{Grace: DefaultGrace, Idle: time.Hour}, began)
	s := estab(100, "10.0.0.1:40001", "10.0.0.7:80")
	setInfo(s, quietFor(s.Info, 99800*time.Millisecond), wholeInfo)
	j.Add(s)
	j.Space()
	recall := j.Shared([]uint64{100})
	if recall == nil {
		t.Fatal("the connection was kept")
	}
	setInfo(s, quietFor(s.Info, 99800*time.Millisecond+late), wholeInfo)
	recall.Add(s)
	recall.Settle()
	if MayBeLeft(space.Procs[0], &space.Procs[0].Held[0], Thresholds{Grace: DefaultGrace}, began) {
		t.Error("it may have been inherited")
	}
}
