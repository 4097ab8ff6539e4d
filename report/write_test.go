package report

import (
	"bytes"
	"errors"
	"fmt"
	"github.com/sockleak/sockleak/internal/raced"
	"io"
	"runtime"
	"testing"
)

var errFull = errors.New("disk full")

// full takes n bytes, and then no more.
type full struct{ n int }

func (w *full) Write(b []byte) (int, error) {
	if len(b) > w.n {
		n := w.n
		w.n = 0
		return n, errFull
	}
	w.n -= len(b)
	return len(b), nil
}

// forgetful writes less than it is given and does not say so.
type forgetful struct{}

func (forgetful) Write(b []byte) (int, error) { return len(b) / 2, nil }

// A report that could not be written to its last byte is an error, in every format and wherever the
// writer fails: in the first buffer, in a later one, or at the very end.
func TestWriteErrors(t *testing.T) {
	if raced.On {
		t.Skip("nothing here is concurrent, and the race detector makes it several times slower")
	}
	values := map[string]Value{"leakscan": Leakscan(manySamples(1500)), "leakscan --all": LeakscanAll(leaking()), "tcpstat": Tcpstat(stat()), "series": SeriesOf(overAWhile()), "compare": Compare("a", leaking(), "b", clean()), "trials": Trials(proved("a"), doubted())}
	for name, v := range values {
		for _, f := range Formats() {
			size := len(write(t, f.Name, v, Options{}))
			for _, n := range []int{0, 1, 100, size / 3, size / 2, size - 1} {
				if err := Write(&full{n}, f.Name, v, Options{}); !errors.Is(err, errFull) {
					t.Errorf("%s as %s, failing after %d of %d bytes: %v", name, f.Name, n, size, err)
				}
			}
			if err := Write(&full{size}, f.Name, v, Options{}); err != nil {
				t.Errorf("%s as %s with just enough room: %v", name, f.Name, err)
			}
			if err := Write(forgetful{}, f.Name, v, Options{}); !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("%s as %s to a writer that forgets: %v", name, f.Name, err)
			}
		}
	}
}

func TestWriteEndsInLineFeed(t *testing.T) {
	for _, g := range goldens() {
		for _, f := range Formats() {
			out := write(t, f.Name, g.value, g.options)
			if !bytes.HasSuffix(out, []byte("\n")) || bytes.HasSuffix(out, []byte("\n\n")) {
				t.Errorf("%s as %s ends in %q", g.name, f.Name, out[max(0, len(out)-5):])
			}
		}
	}
}

// Formats have a name and a word of explanation each; people get the first.
func TestFormats(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Formats() {
		if f.Name == "" || f.Doc == "" || seen[f.Name] {
			t.Errorf("format %+v", f)
		}
		seen[f.Name] = true
	}
	if Formats()[0].Name != "table" {
		t.Errorf("the default is %s", Formats()[0].Name)
	}
}

// perSocket begins to count, and returns what reports the time, the bytes and the allocations of each of n sockets, a sample being one.
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

func BenchmarkWrite(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"1k", 1_000}, {"30k", 30_000}} {
		v := Leakscan(manySamples(size.n))
		for _, f := range Formats() {
			b.Run(fmt.Sprintf("format=%s/samples=%s", f.Name, size.name), func(b *testing.B) {
				want := len(write(b, f.Name, v, Options{}))
				if want < 100*size.n {
					b.Fatalf("%d bytes for %d samples", want, size.n)
				}
				b.SetBytes(int64(want))
				b.ReportAllocs()
				defer perSocket(b, size.n)()
				for b.Loop() {
					w := &full{want}
					if err := Write(w, f.Name, v, Options{}); err != nil || w.n != 0 {
						b.Fatalf("%v, %d bytes missing", err, w.n)
					}
				}
			})
		}
	}
}
