package netlinkss

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
)

// fullRecord is a record as a kernel sends it when TCP_INFO is asked for.
func fullRecord() []byte {
	return v4Record(nlattr(8, 0), nlattr(15, u32s(0)...), nlattr(21, u64(1)...), nlattr(22, 0x52, 0),
		nlattr(2, infoBytes(280)...), nlattr(4, []byte("cubic\x00")...))
}

// stream is a dump of n records in datagrams of the kernel's size, for sequence number 1.
func stream(n int, record []byte) (all [][]byte) {
	var d []byte
	for i := range n {
		native.PutUint32(record[68:], uint32(i+1))
		native.PutUint64(record[44:], uint64(i+1)) // the cookie: each is another socket
		m := nlmsg(msgByFamily, 2, 1, record...)
		if len(d)+len(m) > recvSize {
			all, d = append(all, d), nil
		}
		d = append(d, m...)
	}
	if len(d) > 0 {
		all = append(all, d)
	}
	return append(all, doneMsg(1, 0))
}

// tape is a Conn that receives the same datagrams every time, without allocating.
func tape(datagrams [][]byte) *Conn {
	next := 0
	c := &Conn{buf: make([]byte, recvSize)}
	c.send = func([]byte) error { next = 0; return nil }
	c.recv = func(b []byte) (int, error) { next++; return copy(b, datagrams[next-1]), nil }
	return c
}

// rewind makes the next dump number 1 again, the number on the tape.
func rewind(c *Conn) { c.seq = 0 }

func count(c *Conn) (n int, err error) {
	rewind(c)
	for _, e := range c.Dump(background, Request{Attrs: AttrInfo}) {
		if e != nil {
			return n, e
		}
		n++
	}
	return n, nil
}

// What Dump allocates does not grow with the sockets.
func TestDumpAllocatesNothingPerSocket(t *testing.T) {
	allocs := func(n int) float64 {
		c := tape(stream(n, fullRecord()))
		return testing.AllocsPerRun(5, func() {
			if got, err := count(c); got != n || err != nil {
				t.Errorf("%d sockets, error %v, want %d", got, err, n)
			}
		})
	}
	few, many := allocs(1), allocs(5000)
	if few != many || few > 20 {
		t.Errorf("%v allocations for one socket, %v for 5000", few, many)
	}
}

// BenchmarkDecode decodes one socket at a time, so its figures for an operation are those for a socket.
func BenchmarkDecode(b *testing.B) {
	for name, record := range map[string][]byte{"bare": v4Record(), "info": fullRecord()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(record)))
			var s Socket
			for b.Loop() {
				if err := Decode(record, &s); err != nil {
					b.Fatal(err)
				}
			}
			if s.Inode != 123456 {
				b.Fatalf("inode %d", s.Inode)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	var s Socket
	if err := Decode(fullRecord(), &s); err != nil {
		b.Fatal(err)
	}
	buf := AppendEncode(nil, &s)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		buf = AppendEncode(buf[:0], &s)
	}
	if len(buf) < sizeofInetDiagMsg+sizeofTCPInfo {
		b.Fatalf("%d bytes", len(buf))
	}
}

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

// sizes runs f for 1k, 10k and 100k sockets.
func sizes(b *testing.B, f func(b *testing.B, n int)) {
	for _, k := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("sockets=%dk", k), func(b *testing.B) { f(b, k*1000) })
	}
}

func BenchmarkDump(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		datagrams := stream(n, fullRecord())
		c := tape(datagrams)
		b.ReportAllocs()
		b.SetBytes(int64(len(cat(datagrams...))))
		defer perSocket(b, n)()
		for b.Loop() {
			if got, err := count(c); got != n || err != nil {
				b.Fatalf("%d sockets, error %v, want %d", got, err, n)
			}
		}
	})
}

func BenchmarkReplay(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		file := cat(stream(n, fullRecord())...)
		b.ReportAllocs()
		b.SetBytes(int64(len(file)))
		defer perSocket(b, n)()
		for b.Loop() {
			wantCount(b, n, Replay(bytes.NewReader(file)))
		}
	})
}

func BenchmarkReadProcNet(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		file := append([]byte(procNetTitle), bytes.Repeat([]byte(procNetLine), n)...)
		b.ReportAllocs()
		b.SetBytes(int64(len(file)))
		defer perSocket(b, n)()
		for b.Loop() {
			wantCount(b, n, ReadProcNet(io.Reader(bytes.NewReader(file)), Inet))
		}
	})
}

func wantCount(b *testing.B, want int, seq func(func(*Socket, error) bool)) {
	got := 0
	for _, err := range seq {
		if err != nil {
			b.Fatal(err)
		}
		got++
	}
	if got != want {
		b.Fatalf("%d sockets, want %d", got, want)
	}
}
