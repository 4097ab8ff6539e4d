package record

import (
	"errors"
	"flag"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

var samplesOfDay = flag.Int("samples", 360, "samples of the simulated recording at 10 s; a day has 8640")

// server is a simulated process, sample by sample: sockets of clients, each with a peer of its own. Of every hundred at the start 5
// are in use, and move a request and an answer of log-normal size in every second sample, 10 are silent but for a keepalive probe every
// 60 s, and the others are silent with no timer. Each second 2 sockets come and 2 of these go, and 1 comes that stays and is silent: the leak.
// Rows are read 2 µs apart and later by up to 3 ms of noise; clocks have ticks of 4 ms, and the uptime of 10 ms.
type server struct {
	*rand.Rand
	up      time.Duration
	snap    *diag.Snapshot
	proc    *diag.Proc
	all     []simulated
	churn   []int // places in all of those that come and go, the oldest first
	cookie  uint64
	samples int
}

type simulated struct {
	sock            *netlinkss.Socket
	active, probed  bool
	sent, recv, ack time.Duration // moments
	nextProbe       time.Duration
}

const simInterval = 10 * time.Second

func newServer(n int) *server {
	s := &server{Rand: rand.New(rand.NewPCG(1, 2)), up: 40 * 24 * time.Hour}
	space := &diag.Space{Netns: 4026531840, Took: 45 * time.Millisecond, TimeWait: 400}
	s.proc = &diag.Proc{Space: space, Process: &procfd.Process{PID: 4242, Start: 17, Name: "node", Exe: "/usr/bin/node", Open: n + 40, SoftLimit: 1 << 20}}
	space.Procs = []*diag.Proc{s.proc}
	s.snap = &diag.Snapshot{Spaces: []*diag.Space{space}, Host: procfd.Host{Name: "host", Kernel: "6.18.44"}}
	for i := range n {
		s.birth(i%20 == 0, i%10 == 1)
		one := &s.all[i]
		quiet := time.Duration(s.Float64() * float64(30*24*time.Hour))
		one.sent, one.recv, one.ack = s.up-quiet, s.up-quiet-time.Millisecond*4, s.up-quiet+40*time.Millisecond
		one.nextProbe = s.up + time.Duration(s.Float64()*float64(time.Minute))
	}
	return s
}

// birth adds a connection that has just been accepted and has answered one request.
func (s *server) birth(active, probed bool) int {
	s.cookie++
	sock := &netlinkss.Socket{
		Family: netlinkss.Inet, State: netlinkss.Estab, Cookie: s.cookie, Inode: uint32(1e6 + s.cookie*3), UID: 1000,
		Local: netip.MustParseAddrPort("10.0.0.1:8080"),
		Peer:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, byte(64 + s.IntN(64)), byte(s.IntN(256)), byte(s.IntN(256))}), uint16(1024+s.IntN(60000))),
	}
	sock.SetPresence(netlinkss.AttrInfo|netlinkss.AttrShutdown|netlinkss.AttrSockOpt|netlinkss.AttrCgroupID, 280)
	sock.CgroupID, sock.SockOpt = 5123, 64
	sock.Info.SegsIn, sock.Info.RTO, sock.Info.SndWnd = 2, 204000, 64256
	one := simulated{sock: sock, active: active, probed: probed, sent: s.up, recv: s.up, ack: s.up, nextProbe: s.up + time.Minute}
	s.move(&one, s.up)
	place := len(s.all)
	s.all = append(s.all, one)
	s.proc.Held = append(s.proc.Held, diag.HeldSocket{Socket: sock, FDs: []int{20 + place}, Direction: diag.Accepted, Keepalive: diag.KeepaliveOff})
	return place
}

// size is of a request or an answer.
func (s *server) size(median float64) uint64 { return uint64(median*math.Exp(s.NormFloat64())) + 1 }

// move is a request and its answer.
func (s *server) move(one *simulated, at time.Duration) {
	i := &one.sock.Info
	request, answer := s.size(500), s.size(3000)
	i.BytesReceived += request
	i.BytesSent += answer
	i.BytesAcked += answer
	in, out := uint32(request/1448)+1, uint32(answer/1448)+1
	i.DataSegsIn, i.DataSegsOut = i.DataSegsIn+in, i.DataSegsOut+out
	i.SegsIn, i.SegsOut = i.SegsIn+in+(out+1)/2, i.SegsOut+out
	one.recv, one.sent = at, at+time.Duration(s.IntN(20))*time.Millisecond
	one.ack = one.sent + time.Duration(20+s.IntN(30))*time.Millisecond
}

// step is the next sample.
func (s *server) step() *diag.Snapshot {
	s.samples++
	s.up += simInterval
	s.snap.Host.Uptime = s.up.Truncate(10 * time.Millisecond)
	s.snap.Began = testTime.Add(time.Duration(s.samples) * simInterval)
	s.snap.At = s.snap.Began.Add(90 * time.Millisecond)
	s.proc.RSS = 400<<20 + uint64(s.IntN(1<<14))<<12
	s.proc.CPU += time.Duration(s.IntN(300)) * 10 * time.Millisecond
	s.proc.Uptime = s.up
	for range 10 {
		s.birth(false, false)
	}
	for range 20 {
		if len(s.churn) < 200 {
			s.churn = append(s.churn, s.birth(false, true))
			continue
		}
		s.replace(s.churn[0])
		s.churn = append(s.churn[1:], s.churn[0])
	}
	for i := range s.all {
		s.live(i, &s.all[i])
	}
	s.proc.Open = len(s.all) + 40
	return s.snap
}

// replace has a connection end and another one come in on its descriptor.
func (s *server) replace(place int) {
	n := s.birth(false, true)
	s.all[place], s.proc.Held[place].Socket = s.all[n], s.all[n].sock
	s.all, s.proc.Held = s.all[:n], s.proc.Held[:n]
}

// live is what happens to a connection in a sample, and its row at the end.
func (s *server) live(place int, one *simulated) {
	if one.active && s.IntN(2) == 0 {
		s.move(one, s.up-time.Duration(s.IntN(int(simInterval))))
	}
	sock := one.sock
	if one.probed {
		for one.nextProbe <= s.up {
			sock.Info.SegsIn, sock.Info.SegsOut = sock.Info.SegsIn+1, sock.Info.SegsOut+1
			one.ack = one.nextProbe + 30*time.Millisecond
			one.nextProbe += time.Minute + time.Duration(s.IntN(60))*time.Millisecond
		}
		sock.Timer = netlinkss.TimerKeepalive
	}
	read := s.up + time.Duration(place)*2*time.Microsecond + time.Duration(s.IntN(3000))*time.Microsecond
	clock := func(moment time.Duration) uint32 {
		return uint32((read - moment).Truncate(4*time.Millisecond) / time.Millisecond)
	}
	sock.Info.LastDataSent, sock.Info.LastDataRecv, sock.Info.LastAckRecv = clock(one.sent), clock(one.recv), clock(one.ack)
	if one.probed {
		sock.Expires = (one.nextProbe - read).Truncate(4 * time.Millisecond)
	}
}

// record writes samples to w, and returns the time and the memory that each Write took, but for the keys.
func (s *server) record(tb testing.TB, w *Writer, samples int) (took time.Duration, allocs uint64) {
	tb.Helper()
	n := 0
	var before, after runtime.MemStats
	for range samples {
		snap := s.step()
		runtime.ReadMemStats(&before)
		start := time.Now()
		if err := w.Write(&Sample{Snapshot: snap}); err != nil {
			tb.Fatal(err)
		}
		if d := time.Since(start); w.behind > 0 {
			took += d
			runtime.ReadMemStats(&after)
			allocs += after.Mallocs - before.Mallocs
			n++
		}
	}
	return took / time.Duration(max(n, 1)), allocs / uint64(max(n, 1))
}

// BenchmarkDay records a process of 20,000 sockets at 10 s, and reads it.
func BenchmarkDay(b *testing.B) {
	path := filepath.Join(b.TempDir(), "day.zst")
	for b.Loop() {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		w, err := NewWriter(f, Header{Interval: simInterval}, Options{Zstd: true})
		if err != nil {
			b.Fatal(err)
		}
		s := newServer(20_000)
		took, allocs := s.record(b, w, *samplesOfDay)
		b.ReportMetric(float64(w.size)/float64(*samplesOfDay)*8640/(1<<20), "MiB/day")
		b.ReportMetric(float64(took.Microseconds())/1000, "ms/write")
		b.ReportMetric(float64(allocs), "allocs/write")
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		f.Close()
		b.Logf("%d samples, at the end of %d sockets: %.1f MiB; a key of %.1f MiB, %.1f behind it", *samplesOfDay, len(s.all),
			float64(w.size)/(1<<20), float64(w.keySize)/(1<<20), float64(w.behind)/(1<<20))
		readDay(b, path)
	}
}

func readDay(b *testing.B, path string) {
	timed := func(unit string, f func(r *Reader)) {
		r, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		start := time.Now()
		f(r)
		b.ReportMetric(float64(time.Since(start).Milliseconds()), unit)
	}
	timed("ms/Last", func(r *Reader) {
		if s, err := r.Last(); err != nil || s.Snapshot.At.Sub(testTime) < time.Duration(*samplesOfDay)*simInterval {
			b.Fatal(err)
		}
	})
	all := func(next func() error) {
		n, err := 0, error(nil)
		for err = next(); err == nil; err = next() {
			n++
		}
		if n != *samplesOfDay || !errors.Is(err, io.EOF) {
			b.Fatalf("%d samples: %v", n, err)
		}
	}
	timed("ms/SkipAll", func(r *Reader) { all(r.Skip) })
	timed("ms/NextAll", func(r *Reader) {
		all(func() error { _, err := r.Next(); return err })
	})
}

// BenchmarkWrite writes a sample of 20,000 sockets of which 1 % have moved.
func BenchmarkWrite(b *testing.B) {
	s := newServer(20_000)
	for i := range s.all {
		s.all[i].active, s.all[i].probed = i%100 == 0, false
	}
	w, err := NewWriter(io.Discard, Header{}, Options{Zstd: true})
	if err != nil {
		b.Fatal(err)
	}
	for range 20 {
		if err := w.Write(&Sample{Snapshot: s.step()}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		snap := s.step()
		b.StartTimer()
		if err := w.Write(&Sample{Snapshot: snap}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMillion has a million sockets that nobody of the processes holds.
func BenchmarkMillion(b *testing.B) {
	s := newServer(1)
	one := *s.all[0].sock
	rest := func(yield func(uint64, *netlinkss.Socket) bool) {
		for i := range uint32(1_000_000) {
			one.Cookie, one.Inode = uint64(1000+i), i
			one.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), uint16(i))
			if !yield(4026531840, &one) {
				return
			}
		}
	}
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		w, err := NewWriter(io.Discard, Header{}, Options{Zstd: true})
		if err != nil {
			b.Fatal(err)
		}
		for range 2 {
			if err := w.Write(&Sample{Snapshot: s.step(), Rest: rest}); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		runtime.KeepAlive(w)
	}
}
