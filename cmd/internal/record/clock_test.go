package record

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/internal/raced"
	"github.com/sockleak/sockleak/netlinkss"
)

// A clock that is read back is never more than the kernel told, and never less by more than a row's reading is uncertain; a timer
// never expires sooner; and what is silent costs nothing in the end.
func TestClocksOfTheSilent(t *testing.T) {
	if raced.On {
		t.Skip("nothing here is concurrent, and the race detector makes it several times slower")
	}
	s := newServer(400)
	for i := range s.all {
		s.all[i].active = false
	}
	var file bytes.Buffer
	w, err := NewWriter(&file, Header{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var told [][]netlinkss.Socket
	for range 300 {
		snap := s.step()
		if err := w.Write(&Sample{Snapshot: snap}); err != nil {
			t.Fatal(err)
		}
		var rows []netlinkss.Socket
		for i := range s.proc.Held {
			rows = append(rows, *s.proc.Held[i].Socket)
		}
		told = append(told, rows)
	}
	r, err := NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	slack := uint32((90*time.Millisecond + tick) / time.Millisecond)
	off := 0
	for n, rows := range told {
		got, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		held := got.Snapshot.Spaces[0].Procs[0].Held
		if len(held) != len(rows) {
			t.Fatalf("sample %d: %d sockets, want %d", n, len(held), len(rows))
		}
		for i := range rows {
			now, was := held[i].Info, rows[i].Info
			for name, clock := range map[string][2]uint32{
				"sent": {now.LastDataSent, was.LastDataSent}, "recv": {now.LastDataRecv, was.LastDataRecv}, "ack": {now.LastAckRecv, was.LastAckRecv},
			} {
				if clock[0] > clock[1] || clock[1]-clock[0] > slack {
					t.Fatalf("sample %d, socket %d: %s %d ms ago, the kernel told %d", n, i, name, clock[0], clock[1])
				}
				off += int(clock[1] - clock[0])
			}
			if d := held[i].Expires - rows[i].Expires; d < 0 || d > time.Duration(slack)*time.Millisecond {
				t.Fatalf("sample %d, socket %d: expires in %v, the kernel told %v", n, i, held[i].Expires, rows[i].Expires)
			}
		}
	}
	if off == 0 {
		t.Error("no clock differs: the silent were written again and again")
	}
}

// What has moved is read back as it was told, whatever its clocks were before, and so is a clock that went back or started again.
func TestClocksOfTheMoved(t *testing.T) {
	n := nowOf(50*24*time.Hour, 90*time.Millisecond) // the clocks of 2³² ms have started again
	rng := rand.New(rand.NewPCG(3, 3))
	for range 100_000 {
		var was, row socketRow
		s := &netlinkss.Socket{State: netlinkss.State(1 + rng.IntN(11)), Timer: netlinkss.Timer(rng.IntN(3))}
		s.SetPresence(netlinkss.AttrInfo, 280)
		was.state, was.timer, was.clocked = uint8(s.State), uint8(s.Timer), clocked(s)
		s.Info.LastDataSent, s.Info.LastDataRecv, s.Info.LastAckRecv = rng.Uint32(), rng.Uint32()>>rng.IntN(32), rng.Uint32()
		s.Expires = time.Duration(rng.Uint32()) * time.Millisecond
		was.setClocks(s, nowOf(50*24*time.Hour-10*time.Second, 0))
		near := func(v uint32) uint32 { return v + 10_000 + uint32(rng.IntN(400)) - 200 }
		s.Info.LastDataSent, s.Info.LastAckRecv = near(s.Info.LastDataSent), near(s.Info.LastAckRecv)
		row = was
		row.setClocks(s, n)
		if rng.IntN(2) == 0 {
			row.bytesSent++
		}
		quiet := row.settle(&was, n)
		var back netlinkss.Socket
		back.Timer = s.Timer
		row.restoreClocks(&back, n)
		for _, c := range [][2]uint32{{back.Info.LastDataSent, s.Info.LastDataSent}, {back.Info.LastDataRecv, s.Info.LastDataRecv}, {back.Info.LastAckRecv, s.Info.LastAckRecv}} {
			if c[0] > c[1] || c[1]-c[0] > n.slack || !quiet && c[0] != c[1] {
				t.Fatalf("%+v: quiet %v: a clock is %d, the kernel told %d", s, quiet, c[0], c[1])
			}
		}
		if back.Expires < s.Expires || !quiet && back.Expires != s.Expires {
			t.Fatalf("%+v: quiet %v: expires in %v, the kernel told %v", s, quiet, back.Expires, s.Expires)
		}
	}
}

// A host's clock that is set does not make time pass.
func TestClockSet(t *testing.T) {
	var s setting
	at := time.Now()
	if d := s.since(at, time.Hour); d != 0 {
		t.Errorf("the first sample: set by %v", d)
	}
	if d := s.since(at.Add(time.Minute), time.Hour+time.Minute); d != 0 {
		t.Errorf("a minute later: set by %v", d)
	}
	s.wall = s.wall.Add(-time.Hour) // as if it had been an hour less
	if d := s.since(at.Add(2*time.Minute), time.Hour+2*time.Minute); d != time.Hour {
		t.Errorf("set by %v, want 1h", d)
	}
	s.wall = s.wall.Add(-time.Hour)
	if d := s.since(at.Add(3*time.Minute), 2*time.Hour+3*time.Minute); d != time.Hour {
		t.Errorf("an hour of sleep: set by %v, want 1h as before", d)
	}
}

// A recording is never larger than it may be, and what is in it is whole.
func TestFull(t *testing.T) {
	for _, kind := range kindsOfFile {
		t.Run(kind.name, func(t *testing.T) {
			for size := int64(1500); size < 60_000; size += 1500 {
				o := kind.o
				o.MaxSize = size
				fillUp(t, o)
			}
		})
	}
}

func fillUp(t *testing.T, o Options) {
	t.Helper()
	s := newServer(30)
	var file bytes.Buffer
	w, err := NewWriter(&file, Header{}, o)
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for err == nil {
		if err = w.Write(&Sample{Snapshot: s.step()}); err == nil {
			written++
		}
	}
	if err != ErrFull || w.Write(&Sample{Snapshot: s.step()}) != ErrFull {
		t.Fatalf("%d bytes: %v", o.MaxSize, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if int64(file.Len()) > o.MaxSize {
		t.Errorf("%d bytes, want %d at the most", file.Len(), o.MaxSize)
	}
	r, err := NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for err = r.Skip(); err == nil; err = r.Skip() {
		read++
	}
	if read != written || r.Cut() != "" {
		t.Errorf("%d bytes: %d samples, want %d; cut %q, %v", o.MaxSize, read, written, r.Cut(), err)
	}
}

// A file that somebody made up is an error that names the line, and nothing worse; so is a byte that has changed.
func TestHostile(t *testing.T) {
	file, _ := recording(t, Options{}, 3, true)
	lines := bytes.SplitAfter(file, []byte("\n"))
	for name, line := range map[string]string{
		"no slot":        `{"sockets":{"new":{"cookie":[1]}}`,
		"slot too high":  `{"sockets":{"new":{"slot":[9999999999]}}`,
		"slot below 0":   `{"sockets":{"gone":[-1]}`,
		"none there":     `{"held":{"mod":{"slot":[70000],"fd":[1]}}`,
		"too few":        `{"sockets":{"new":{"slot":[70000,1],"cookie":[1]}}`,
		"too many":       `{"sockets":{"new":{"slot":[70000],"cookie":[1,2]}}`,
		"out of range":   `{"sockets":{"new":{"slot":[70000],"kind":[1],"state":[256]}}`,
		"no kind":        `{"sockets":{"new":{"slot":[70000]}}`,
		"huge number":    `{"sockets":{"new":{"slot":[70000],"cookie":[99999999999999999999]}}`,
		"unknown":        `{"what":{}`,
		"no address":     `{"sockets":{"new":{"slot":[70000],"kind":[1],"peer":["x"]}}`,
		"not an object":  `[`,
		"another sample": `{"sample":70`,
		"uptime":         `{"sample":1,"up":-5`,
		"second header":  `{"schema":"sockleak.record/1"`,
		"end":            `{"end":true,"samples":77`,
	} {
		made := append([]byte{}, bytes.Join(lines[:len(lines)-2], nil)...)
		made = append(made, appendCRC([]byte(line), 0)...)
		r, err := NewReader(bytes.NewReader(made))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = r.Next()
		}
		if want := "line "; len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := len(lines[0]); i < len(file); i += 7 {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		r, err := NewReader(bytes.NewReader(changed))
		for err == nil {
			err = r.Skip()
		}
		if r.Cut() == "" && err.Error() == "EOF" {
			t.Errorf("byte %d has changed, and nobody has seen it", i)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, kind := range kindsOfFile {
		file, _ := recording(f, kind.o, 3, true)
		f.Add(file)
	}
	f.Fuzz(func(_ *testing.T, file []byte) { readAny(bytes.NewReader(file)) })
}

// FuzzLines gives lines their checksums, so that more than these are tried.
func FuzzLines(f *testing.F) {
	file, _ := recording(f, Options{}, 3, true)
	var bodies []byte
	for line := range bytes.Lines(file) {
		bodies = append(append(bodies, line[:len(line)-1-crcLen]...), '\n')
	}
	f.Add(bodies)
	f.Fuzz(func(_ *testing.T, bodies []byte) {
		var file []byte
		for line := range bytes.Lines(bodies) {
			start := len(file)
			file = appendCRC(append(file, bytes.TrimSuffix(line, []byte("\n"))...), start)
		}
		readAny(bytes.NewReader(file))
	})
}

// readAny reads and judges what there is.
func readAny(file *bytes.Reader) {
	r, err := NewReader(file)
	h := &diag.History{}
	for n := 0; err == nil && n < 8; n++ {
		var s *Sample
		if s, err = r.Next(); err == nil {
			h.Add(s.Snapshot)
			diag.Check(h, diag.Thresholds{Grace: diag.DefaultGrace, Settle: diag.DefaultSettle}, diag.Rules())
			if s.Rest != nil {
				for range s.Rest {
					break
				}
			}
		}
	}
}
