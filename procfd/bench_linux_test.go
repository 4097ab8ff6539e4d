package procfd

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func BenchmarkProcess(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("fds=%d", n), func(b *testing.B) {
			dup(b, n)
			f := liveFS(b)
			b.ReportAllocs()
			for b.Loop() {
				p, err := f.Process(os.Getpid())
				if err != nil {
					b.Fatal(err)
				}
				if len(p.Sockets) < n || len(p.Gaps) != 0 {
					b.Fatalf("%d sockets, gaps %v", len(p.Sockets), p.Gaps)
				}
			}
		})
	}
}

// BenchmarkAsk asks one socket through a pidfd that is open.
func BenchmarkAsk(b *testing.B) {
	c := start(b, "serve", nil)
	fd, peer := ipv4.pairWith(c)
	s, asker, want := c.socketFD(fd), c.asker(), peer.addr()
	b.ReportAllocs()
	for b.Loop() {
		a, err := asker.Socket(s)
		if err != nil {
			b.Fatal(err)
		}
		if a.Peer != want {
			b.Fatalf("peer %v, want %v", a.Peer, want)
		}
	}
}

// BenchmarkIdentify reads all of a process but its descriptors, beside what it takes to read the same files and no more.
func BenchmarkIdentify(b *testing.B) {
	c, f := start(b, "serve", nil), liveFS(b)
	b.Run("floor", func(b *testing.B) {
		buf := make([]byte, 16<<10)
		for b.Loop() {
			for _, name := range []string{"stat", "status", "limits", "cgroup", "cmdline"} {
				_, err := readInto(f.Path(c.pid, name), buf)
				must(b, err)
			}
			for _, name := range []string{"exe", "ns/net"} {
				_, err := unix.Readlink(f.Path(c.pid, name), buf)
				must(b, err)
			}
			var st unix.Stat_t
			must(b, unix.Stat(f.Path(c.pid, "exe"), &st))
		}
	})
	b.Run("Identify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, err := f.Identify(c.pid)
			must(b, err)
			if p.Runtime != "go" || len(p.Gaps) != 0 {
				b.Fatalf("%+v", p)
			}
		}
	})
}

// linkFloor reads the links of the first n descriptors and nothing more: what the kernel takes.
func linkFloor(b *testing.B, f *FS, pid, n int) {
	b.Helper()
	d, err := openDir(f.Path(pid, "fd"))
	must(b, err)
	defer unix.Close(d)
	r, name := fdWalk{dir: d}, make([]byte, 0, 24)
	for fd, found := 0, 0; found < n; fd++ {
		name = append(strconv.AppendInt(name[:0], int64(fd), 10), 0)
		if _, err := r.readlink(name); err == nil {
			found++
		}
	}
}

// perFD tells the figures of one descriptor: time, time in user space, bytes and allocations. Processor time is counted in ticks,
// so a run must be some seconds long.
func perFD(b *testing.B, n int, f func()) {
	b.Helper()
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	user0, all0 := cpuTime()
	for b.Loop() {
		f()
	}
	user1, all1 := cpuTime()
	runtime.ReadMemStats(&m1)
	total := float64(b.N) * float64(n)
	b.ReportMetric(float64(b.Elapsed())/total, "ns/fd")
	b.ReportMetric(float64(all1-all0)/total, "cpu-ns/fd")
	b.ReportMetric(float64(user1-user0)/total, "user-ns/fd")
	b.ReportMetric(float64(m1.TotalAlloc-m0.TotalAlloc)/total, "B/fd")
	b.ReportMetric(float64(m1.Mallocs-m0.Mallocs)/total, "allocs/fd")
}

func cpuTime() (user, all time.Duration) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, 0
	}
	user = time.Duration(u.Utime.Nano())
	return user, user + time.Duration(u.Stime.Nano())
}

// BenchmarkReadDescriptors reads a table without gaps and one that begins high up, each beside the floor.
func BenchmarkReadDescriptors(b *testing.B) {
	const n = 15_000
	f := liveFS(b)
	for _, tt := range []struct {
		name  string
		first int
	}{{"dense", 0}, {"sparse", 4000}} {
		c := start(b, "serve", nil)
		c.ask("sockets", n+tt.first)
		for fd := range tt.first {
			c.ask("close", fd+20)
		}
		b.Run(tt.name+"/floor", func(b *testing.B) { perFD(b, n, func() { linkFloor(b, f, c.pid, n) }) })
		p, err := f.Identify(c.pid)
		must(b, err)
		b.Run(tt.name+"/ReadDescriptors", func(b *testing.B) {
			perFD(b, n, func() {
				must(b, f.ReadDescriptors(p, nil))
				if len(p.Sockets) < n {
					b.Fatalf("%d sockets", len(p.Sockets))
				}
			})
		})
	}
}

// BenchmarkOwners looks for the owners of all sockets of many processes, and of those of the first alone, beside the floor on as
// many threads. PROCFD_BENCH_PROCESSES says how many processes, of 15,000 sockets each.
func BenchmarkOwners(b *testing.B) {
	const n = 15_000
	processes := 2
	if s := os.Getenv("PROCFD_BENCH_PROCESSES"); s != "" {
		var err error
		processes, err = strconv.Atoi(s)
		must(b, err)
	}
	f := liveFS(b)
	var pids, first, inodes []int
	for i := range processes {
		more := n
		if i == 0 {
			more += 100 // it comes first
		}
		c, list := holder(b, more)
		pids, inodes = append(pids, c.pid), append(inodes, list...)
		if i == 0 {
			first = list
		}
	}
	among := func() ([]int, error) { return pids, nil }
	owners := func(b *testing.B, inodes []int) func() {
		w := want(inodes)
		return func() {
			o, err := f.ownersAmong(b.Context(), w, among, nil)
			must(b, err)
			if o.Missing != 0 {
				b.Fatalf("%d missing", o.Missing)
			}
		}
	}
	b.Run("floor", func(b *testing.B) {
		perFD(b, len(inodes), func() {
			var next atomic.Int64
			var workers sync.WaitGroup
			for range runtime.GOMAXPROCS(0) {
				workers.Go(func() {
					for i := next.Add(1) - 1; i < int64(len(pids)); i = next.Add(1) - 1 {
						linkFloor(b, f, pids[i], n)
					}
				})
			}
			workers.Wait()
		})
	})
	b.Run("all", func(b *testing.B) { perFD(b, len(inodes), owners(b, inodes)) })
	b.Run("of one", func(b *testing.B) { perFD(b, len(first), owners(b, first)) })
	b.Run("ten of one", func(b *testing.B) { perFD(b, len(first), owners(b, first[:10])) })
}
