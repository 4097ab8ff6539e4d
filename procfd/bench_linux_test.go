package procfd

import (
	"fmt"
	"os"
	"testing"

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
