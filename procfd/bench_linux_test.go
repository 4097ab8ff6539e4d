package procfd

import (
	"fmt"
	"os"
	"testing"
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
