package diag

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// crowd is n established sockets, idle for three hours, with 200 peers, and one process that holds
// them all.
func crowd(n int) (sockets []*netlinkss.Socket, p *procfd.Process) {
	p = process(1)
	for i := range n {
		s := estab(uint32(i+1), "10.0.0.1:8080", "10.0.0.7:1")
		s.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i % 200)}), uint16(1024+i%50000))
		setInfo(s, quietFor(s.Info, 3*time.Hour), wholeInfo)
		sockets = append(sockets, s)
		p.Sockets = append(p.Sockets, procfd.SocketFD{FD: 10 + i, Inode: uint64(i + 1)})
	}
	return sockets, p
}

var benchSizes = []struct {
	name string
	n    int
}{{"1k", 1_000}, {"10k", 10_000}, {"100k", 100_000}}

// perSocket begins to count, and returns what reports the time, the bytes and the allocations of each of n sockets.
func perSocket(b *testing.B, n int) (report func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	return func() {
		runtime.ReadMemStats(&after)
		all := float64(b.N) * float64(n)
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/all, "ns/socket")
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/all, "B/socket")
		b.ReportMetric(float64(after.Mallocs-before.Mallocs)/all, "allocs/socket")
	}
}

func BenchmarkTally(b *testing.B) {
	const sockets = 1_000_000
	for _, peers := range []uint32{200, 20_000, sockets} {
		b.Run(fmt.Sprintf("by=peer/sockets=1M/peers=%d", peers), func(b *testing.B) {
			s := estab(1, "10.0.0.1:8080", "10.0.0.7:1")
			setInfo(s, quietFor(s.Info, 3*time.Hour), wholeInfo)
			tally := Tally{By: ByPeer, Filter: Filter{Uptime: day}, Spill: &memorySpill{}}
			b.ReportAllocs()
			defer perSocket(b, sockets)()
			for b.Loop() {
				tally.Reset()
				for i := range uint32(sockets) {
					var a [4]byte
					binary.BigEndian.PutUint32(a[:], i%peers*2654435761) // an odd factor keeps them distinct
					s.Peer = netip.AddrPortFrom(netip.AddrFrom4(a), 1024)
					tally.Add(s)
				}
				top, total, err := tally.Groups("sockets", 20)
				if err != nil || len(top) != 20 || total != int(peers) || tally.IPv4.Total() != sockets {
					b.Fatalf("%d of %d groups, %v", len(top), total, err)
				}
			}
		})
	}
}

func BenchmarkJoin(b *testing.B) {
	for _, size := range benchSizes {
		sockets, p := crowd(size.n)
		b.Run("sockets="+size.name, func(b *testing.B) {
			b.ReportAllocs()
			defer perSocket(b, size.n)()
			for b.Loop() {
				j := NewJoin(&Space{}, []*procfd.Process{p})
				for _, s := range sockets {
					j.Add(s)
				}
				left := len(j.Unlisted())
				if got := len(j.Space().Procs[0].Held); got != size.n || left != 0 {
					b.Fatalf("%d sockets held, %d unlisted", got, left)
				}
			}
		})
	}
}

// Of what is usual a few bytes are kept, and none are allocated for each socket.
func BenchmarkSift(b *testing.B) {
	for _, size := range benchSizes {
		sockets, p := crowd(size.n)
		b.Run("sockets="+size.name, func(b *testing.B) {
			b.ReportAllocs()
			defer perSocket(b, size.n)()
			for b.Loop() {
				j := NewJoin(&Space{}, []*procfd.Process{p})
				j.Sift(Thresholds{Idle: day, Grace: day}, day)
				part := j.Part()
				for _, s := range sockets {
					part.Add(s)
				}
				if u := j.Space().Procs[0].Usual; u.NoTimer != size.n {
					b.Fatalf("%+v are usual", u)
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, size := range benchSizes {
		sockets, p := crowd(size.n)
		j := NewJoin(&Space{}, []*procfd.Process{p})
		for _, s := range sockets {
			j.Add(s)
		}
		h := looked(j.Space())
		b.Run(fmt.Sprintf("rules=%d/sockets=%s", len(Rules()), size.name), func(b *testing.B) {
			b.ReportAllocs()
			defer perSocket(b, size.n)()
			for b.Loop() {
				sum := 0
				for _, f := range Check(h, Thresholds{Grace: DefaultGrace}, Rules()).Findings {
					sum += f.Sockets
				}
				if sum != size.n {
					b.Fatalf("%d sockets in findings", sum)
				}
			}
		})
	}
}

// Two sides without processes, of which half the sockets are there both times.
func BenchmarkCompare(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"20k", 20_000}, {"1M", 1_000_000}} {
		b.Run("sockets="+size.name, func(b *testing.B) {
			b.ReportAllocs()
			defer perSocket(b, 2*size.n)()
			for b.Loop() {
				d, err := Compare(benchSide(0, size.n), benchSide(size.n/2, size.n))
				if err != nil || d.Turnover.Silent != size.n/2 || d.States[0].N != [2]int{size.n, size.n} {
					b.Fatalf("%+v, %v", d.Turnover, err)
				}
			}
		})
	}
}

// benchSide yields n sockets of 20,000 peers, the first with that cookie.
func benchSide(first, n int) *Side {
	s := estab(1, "10.0.0.1:8080", "10.0.0.7:1")
	setInfo(s, quietFor(withTraffic(s.Info, false), 3*time.Hour), wholeInfo)
	return &Side{Whole: true, Sockets: func(yield func(*netlinkss.Socket) bool) {
		for i := first; i < first+n; i++ {
			s.Cookie, s.Inode = uint64(i+1), uint32(i+1)
			s.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i / 256 % 80), byte(i)}), uint16(1024+i%50000))
			if !yield(s) {
				return
			}
		}
	}}
}
