package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/internal/raced"
	"github.com/sockleak/sockleak/netlinkss"
)

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// plainSample is a sample with its sockets in a list.
type plainSample struct {
	*diag.Snapshot
	rest []*netlinkss.Socket
}

func restOf(list []*netlinkss.Socket) func(func(uint64, *netlinkss.Socket) bool) {
	return func(yield func(uint64, *netlinkss.Socket) bool) {
		var one netlinkss.Socket // a sequence reuses its one value
		for _, s := range list {
			one = *s
			if !yield(4026531840, &one) {
				return
			}
		}
	}
}

func take(t testing.TB, s *Sample) plainSample {
	t.Helper()
	p := plainSample{Snapshot: s.Snapshot}
	if s.Rest == nil {
		t.Fatal("the rest was not recorded")
	}
	for netns, sock := range s.Rest {
		if netns != 4026531840 {
			t.Fatalf("a socket of namespace %d", netns)
		}
		p.rest = append(p.rest, sock.Clone())
	}
	return p
}

// same compares what was written and what is read back. Errors are what they say, and the rest has no order.
func same(t testing.TB, what string, got, want plainSample) {
	t.Helper()
	for _, s := range []plainSample{got, want} {
		for _, space := range s.Spaces {
			for _, p := range space.Procs {
				plainErrors(p, map[*diag.Proc]bool{})
			}
		}
		slices.SortFunc(s.rest, func(a, b *netlinkss.Socket) int { return strings.Compare(fmt.Sprint(*a), fmt.Sprint(*b)) })
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: %s", what, difference("", reflect.ValueOf(got), reflect.ValueOf(want), map[[2]uintptr]bool{}))
	}
	samePointers(t, what, got.Snapshot, want.Snapshot)
}

func plainErrors(p *diag.Proc, done map[*diag.Proc]bool) {
	if done[p] {
		return
	}
	done[p] = true
	for i := range p.Process.Gaps {
		g := &p.Process.Gaps[i]
		g.Err = &recordedError{g.Err.Error(), g.Denied()}
	}
	for _, kin := range p.Kin {
		plainErrors(kin, done)
	}
}

// samePointers: whose socket is the same value as whose.
func samePointers(t testing.TB, what string, got, want *diag.Snapshot) {
	t.Helper()
	if a, b := sharing(got), sharing(want); !slices.Equal(a, b) {
		t.Fatalf("%s: sockets are shared as %v, want %v", what, a, b)
	}
}

// sharing numbers the sockets in the order in which they are come by.
func sharing(s *diag.Snapshot) (order []int) {
	numbers := map[*netlinkss.Socket]int{}
	see := func(s *netlinkss.Socket) {
		if _, ok := numbers[s]; !ok {
			numbers[s] = len(numbers)
		}
		order = append(order, numbers[s])
	}
	for _, space := range s.Spaces {
		for _, p := range space.Procs {
			for i := range p.Held {
				see(p.Held[i].Socket)
				if p.Held[i].End != nil {
					see(p.Held[i].End.Socket)
				}
			}
			for _, q := range p.Queues {
				see(q.Listener.Socket)
				for _, w := range q.Waiting {
					see(w)
				}
			}
			legs, _, _ := p.Again()
			for _, l := range legs {
				see(l)
			}
		}
	}
	return order
}

// difference names the first field that differs.
func difference(path string, a, b reflect.Value, seen map[[2]uintptr]bool) string {
	if a.Kind() != b.Kind() {
		return fmt.Sprintf("%s: %v, want %v", path, a, b)
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				return fmt.Sprintf("%s: %v, want %v", path, a, b)
			}
			return ""
		}
		if key := [2]uintptr{a.Pointer(), b.Pointer()}; !seen[key] {
			seen[key] = true
			return difference(path, a.Elem(), b.Elem(), seen)
		}
	case reflect.Struct:
		for i := range a.NumField() {
			if d := difference(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i), seen); d != "" {
				return d
			}
		}
	case reflect.Slice:
		if a.Len() != b.Len() || a.IsNil() != b.IsNil() {
			return fmt.Sprintf("%s: %d elements, nil %v, want %d, %v", path, a.Len(), a.IsNil(), b.Len(), b.IsNil())
		}
		for i := range a.Len() {
			if d := difference(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i), seen); d != "" {
				return d
			}
		}
	default:
		if x, y := fmt.Sprintf("%#v", a), fmt.Sprintf("%#v", b); x != y {
			return fmt.Sprintf("%s: %s, want %s", path, x, y)
		}
	}
	return ""
}

var kindsOfFile = []struct {
	name string
	o    Options
}{{"plain", Options{}}, {"zstd", Options{Zstd: true}}}

// What a type can hold is what is read back, of a key and of what differs from the sample before.
func TestRoundTrip(t *testing.T) {
	for _, kind := range kindsOfFile {
		t.Run(kind.name, func(t *testing.T) {
			seeds := uint64(40)
			if raced.On {
				seeds = 5
			}
			for seed := range seeds {
				roundTrip(t, seed, kind.o)
			}
		})
	}
}

func roundTrip(t *testing.T, seed uint64, o Options) {
	c := &chance{Rand: rand.New(rand.NewPCG(seed, 1))}
	var file bytes.Buffer
	w, err := NewWriter(&file, Header{Program: "sockleak 1\xff", Began: testTime, Arguments: []string{"\xff", ""}, PIDs: []int{4}}, o)
	if err != nil {
		t.Fatal(err)
	}
	var want []plainSample
	for i := range 6 {
		s, rest := c.look(testTime.Add(time.Duration(i) * time.Second))
		if i == 3 { // the same again, and nothing in it is another
			s, rest = want[2].Snapshot, want[2].rest
		}
		want = append(want, plainSample{s, rest})
		if err := w.Write(&Sample{Snapshot: s, Rest: restOf(rest)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	if h := r.Header; h.Schema != Schema || h.Program != "sockleak 1\xff" || !slices.Equal(h.Arguments, []string{"\xff", ""}) || !h.Began.Equal(testTime) {
		t.Errorf("header %+v", h)
	}
	for i := range want {
		s, err := r.Next()
		if err != nil {
			t.Fatalf("seed %d, sample %d: %v", seed, i, err)
		}
		same(t, fmt.Sprintf("seed %d, sample %d", seed, i+1), take(t, s), want[i])
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) || r.Cut() != "" {
		t.Errorf("at the end: %v, cut %q", err, r.Cut())
	}
}

// recording is a file of several samples and keys.
func recording(t testing.TB, o Options, samples int, few bool) (file []byte, want []*diag.Snapshot) {
	t.Helper()
	c := &chance{Rand: rand.New(rand.NewPCG(9, 9)), few: few}
	var b bytes.Buffer
	w, err := NewWriter(&b, Header{Began: testTime}, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range samples {
		s, rest := c.look(testTime.Add(time.Duration(i) * time.Second))
		if err := w.Raw(7, []byte("raw bytes")); err != nil {
			t.Fatal(err)
		}
		if err := w.Write(&Sample{Snapshot: s, Rest: restOf(rest)}); err != nil {
			t.Fatal(err)
		}
		want = append(want, s)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), want
}

// Cut at any byte, a file gives the samples that were whole, and says that it is cut.
func TestCut(t *testing.T) {
	if raced.On {
		t.Skip("nothing here is concurrent, and the race detector makes it several times slower")
	}
	for _, kind := range kindsOfFile {
		t.Run(kind.name, func(t *testing.T) {
			file, ends := smallRecording(t, kind.o)
			for n := range len(file) {
				want := 0
				for want < len(ends) && ends[want] <= n {
					want++
				}
				checkCut(t, file[:n], want, kind.o.Zstd && n >= len(file)-len(lastBlock))
			}
		})
	}
}

// smallRecording is three samples, each of which ends at a byte.
func smallRecording(t *testing.T, o Options) (file []byte, ends []int) {
	t.Helper()
	s := newServer(3)
	var b bytes.Buffer
	w, err := NewWriter(&b, Header{}, o)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := w.Raw(7, []byte("raw bytes")); err != nil {
			t.Fatal(err)
		}
		if err := w.Write(&Sample{Snapshot: s.step()}); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, b.Len())
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), ends
}

// checkCut reads what is left of a file. ended: its last line is there.
func checkCut(t *testing.T, file []byte, want int, ended bool) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		if want > 0 || !errors.Is(err, ErrNotRecording) {
			t.Fatalf("%d bytes: %v", len(file), err)
		}
		return
	}
	defer r.Close()
	whole := 0
	for err = r.Skip(); err == nil; err = r.Skip() {
		whole++
	}
	if !errors.Is(err, io.EOF) || whole != want {
		t.Fatalf("%d bytes: %d samples, want %d: %v", len(file), whole, want, err)
	}
	says := "before its first sample"
	if want > 0 {
		says = fmt.Sprintf("after sample %d of 2026-03-01 12:00:%d0Z", want, want)
	}
	if text := r.Cut(); text == "" != ended || text != "" && !strings.Contains(text, says) {
		t.Fatalf("%d bytes: cut %q, want %q", len(file), text, says)
	}
}

// The last sample of a file that is cut anywhere is that which reading all of it gives.
func TestLast(t *testing.T) {
	for _, kind := range kindsOfFile {
		t.Run(kind.name, func(t *testing.T) {
			file, want := recording(t, kind.o, 30, true)
			keys := 0
			for at, ok := lastKeys(bytes.NewReader(file), int64(len(file)))(); ok && keys < 1; keys++ {
				if at == 0 {
					t.Error("no key but the first")
				}
			}
			path := filepath.Join(t.TempDir(), "file")
			for n := len(file); n > 0; n -= 1 + len(file)/97 {
				if err := os.WriteFile(path, file[:n], 0o600); err != nil {
					t.Fatal(err)
				}
				checkLast(t, path, file[:n], want)
			}
		})
	}
}

func checkLast(t *testing.T, path string, file []byte, want []*diag.Snapshot) {
	t.Helper()
	all, err := NewReader(bytes.NewReader(file))
	if err != nil {
		return
	}
	whole := 0
	for err = all.Skip(); err == nil; err = all.Skip() {
		whole++
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, err := r.Last()
	if whole == 0 {
		if !errors.Is(err, io.EOF) {
			t.Fatalf("%d bytes: %v", len(file), err)
		}
		return
	}
	if err != nil {
		t.Fatalf("%d bytes: %v", len(file), err)
	}
	if r.Cut() != all.Cut() {
		t.Errorf("%d bytes: cut %q, want %q", len(file), r.Cut(), all.Cut())
	}
	if !s.Snapshot.At.Equal(want[whole-1].At) {
		t.Fatalf("%d bytes: the sample of %v, want %v", len(file), s.Snapshot.At, want[whole-1].At)
	}
	same(t, fmt.Sprint(len(file), " bytes"), plainSample{Snapshot: s.Snapshot}, plainSample{Snapshot: want[whole-1]})
}
