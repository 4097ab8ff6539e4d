package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/sockleak/sockleak/netlinkss"
)

// Writer writes samples. What one call has written is in the hands of the io.Writer when it returns, in one Write for each call.
type Writer struct {
	w    io.Writer
	o    Options
	size int64 // written
	err  error // of a call before, after which nothing is right any more

	out   bytes.Buffer  // of this call, as it will be written
	zstd  *zstd.Encoder // nil: none
	frame bool          // one is open
	open  bool          // and so it is in what is written
	line  []byte
	raw   []byte // lines of the next sample

	samples         int
	keySize, behind int64 // bytes of the last key and behind it, before compression

	zones    zones
	words    vocabulary
	kinds    map[trait]uint32
	fresh    []trait // kinds that no line has yet
	lastKind struct {
		trait
		n uint32
	}
	sockets sockets
	held    *tracker[heldRow]
	dark    *tracker[darkRow]
	procs   *tracker[procRow]
	setting setting
}

// NewWriter begins a recording with its header.
func NewWriter(w io.Writer, h Header, o Options) (*Writer, error) {
	rec := &Writer{w: w, o: o, kinds: map[trait]uint32{}}
	rec.words.numbers = map[string]uint32{}
	rec.sockets.tracker = newTracker(newSocketTable(&rec.zones), sameSocket)
	rec.sockets.isTaken = rec.sockets.taken
	rec.held = newTracker(newHeldTable(), sameHeld)
	rec.dark = newTracker(newDarkTable(), sameDark)
	rec.procs = newTracker(newProcTable(), sameProc)
	rec.sockets.flush = func() error { return flush(rec, rec.sockets.tracker, nil) }
	rec.held.flush = func() error { return flush(rec, rec.held, nil) }
	rec.dark.flush = func() error { return flush(rec, rec.dark, nil) }
	rec.procs.flush = func() error { return flush(rec, rec.procs, nil) }
	if o.Zstd {
		var err error
		// A line has a checksum of its own, and a frame must be closed without knowing what is in it.
		if rec.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(window)); err != nil {
			return nil, err
		}
	}
	if err := rec.object(h.wire()); err != nil {
		return nil, err
	}
	return rec, rec.commit(true)
}

// window is how far back the compression looks: some tens of samples of a large process.
const window = 2 << 20

// Write adds a sample. After [ErrFull] the recording can be closed, and no more.
func (w *Writer) Write(s *Sample) error {
	if w.err != nil {
		return w.err
	}
	key := w.samples == 0 || w.behind > keyEvery*w.keySize || w.words.size > maxWords/4
	if w.err = w.write(s, key); w.err != nil {
		return w.err
	}
	w.samples++
	return nil
}

func (w *Writer) write(s *Sample, key bool) error {
	if key {
		w.endFrame()
		w.forget()
		w.keySize, w.behind = 0, 0
		w.beginLine()
		w.line = fmt.Appendf(w.line, `{"key":%d`, w.samples+1)
		if err := w.endLine(); err != nil {
			return err
		}
	}
	if err := w.send(w.raw); err != nil {
		return err
	}
	w.raw = w.raw[:0]
	c := &collector{Writer: w, sample: s}
	if err := c.collect(key); err != nil {
		return fmt.Errorf("sample %d: %w", w.samples+1, err)
	}
	if key {
		w.keySize, w.behind = w.behind, 0
	}
	return w.commit(false)
}

// forget has the next lines say all that lines before have said.
func (w *Writer) forget() {
	clear(w.words.numbers)
	w.words.fresh, w.words.size = w.words.fresh[:0], 0
	w.fresh = w.fresh[:0]
	if len(w.kinds) > 2*w.sockets.count+mostKinds {
		clear(w.kinds)
		w.lastKind.n = 0
		return
	}
	w.fresh = append(w.fresh, make([]trait, len(w.kinds))...)
	for k, n := range w.kinds {
		w.fresh[n-1] = k
	}
}

// mostKinds is how many kinds of sockets are kept beside those that there can be.
const mostKinds = 1 << 10

// kind is the number of what a socket has in common with others, from 1 on.
func (w *Writer) kind(netns uint64, s *netlinkss.Socket) uint32 {
	t := traitOf(netns, s)
	if w.lastKind.n != 0 && w.lastKind.trait == t {
		return w.lastKind.n
	}
	n, ok := w.kinds[t]
	if !ok {
		n = uint32(len(w.kinds) + 1)
		w.kinds[t] = n
		w.fresh = append(w.fresh, t)
	}
	w.lastKind.trait, w.lastKind.n = t, n
	return n
}

// flush writes a line of a table, and before it what it refers to.
func flush[R comparable](w *Writer, t *tracker[R], gone []byte) error {
	if err := w.references(); err != nil {
		return err
	}
	w.beginLine()
	line := t.appendTo(w.line, gone)
	if line == nil {
		return nil
	}
	w.line = line
	return w.endLine()
}

// references writes the words and kinds that are new.
func (w *Writer) references() error {
	if len(w.words.fresh) > 0 {
		w.beginLine()
		w.line = append(append(append(w.line, `{"words":[`...), bytes.Join(w.words.fresh, []byte{','})...), ']')
		clear(w.words.fresh)
		w.words.fresh = w.words.fresh[:0]
		if err := w.endLine(); err != nil {
			return err
		}
	}
	if len(w.fresh) > 0 {
		list, err := json.Marshal(w.fresh)
		if err != nil {
			return err
		}
		w.fresh = w.fresh[:0]
		w.beginLine()
		w.line = append(append(w.line, `{"kinds":`...), list...)
		return w.endLine()
	}
	return nil
}

func (w *Writer) beginLine() { w.line = w.line[:0] }

// endLine takes a line that is whole but for its last brace.
func (w *Writer) endLine() error {
	w.line = appendCRC(w.line, 0)
	if len(w.line) > maxLine {
		return fmt.Errorf("a line of %d bytes, which is more than %d", len(w.line), maxLine)
	}
	return w.send(w.line)
}

// object writes a line that is the JSON of v.
func (w *Writer) object(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.beginLine()
	w.line = append(w.line, b[:len(b)-1]...)
	return w.endLine()
}

// send compresses lines.
func (w *Writer) send(lines []byte) error {
	w.behind += int64(len(lines))
	if w.zstd == nil {
		w.out.Write(lines)
		return nil
	}
	if !w.frame {
		w.zstd.Reset(&w.out)
		w.frame = true
	}
	_, err := w.zstd.Write(lines)
	return err
}

// lastBlock is an empty block that ends a frame (RFC 8878, 3.1.1.2), whatever is in it.
var lastBlock = []byte{1, 0, 0}

// endFrame ends the open frame, of which all has been flushed.
func (w *Writer) endFrame() {
	if w.frame {
		w.out.Write(lastBlock)
		w.frame = false
	}
}

// commit writes what the call has brought about, unless that makes the file too large.
func (w *Writer) commit(endFrame bool) error {
	if w.frame {
		if err := w.zstd.Flush(); err != nil {
			return err
		}
		if endFrame {
			w.endFrame()
		}
	}
	if w.o.MaxSize > 0 && w.size+int64(w.out.Len())+endSize > w.o.MaxSize {
		return ErrFull
	}
	return w.put()
}

// endSize is room for the last line, compressed or not, and the end of the frame before it.
const endSize = 128

func (w *Writer) put() error {
	n, err := w.w.Write(w.out.Bytes())
	w.size += int64(n)
	w.open = w.frame
	w.out.Reset()
	return err
}

// Raw adds raw bytes of netlink, as they were received for the next sample from the namespace with that inode.
func (w *Writer) Raw(netns uint64, b []byte) error {
	if w.err != nil {
		return w.err
	}
	for len(b) > 0 {
		part := b[:min(len(b), maxRaw)]
		b = b[len(part):]
		start := len(w.raw)
		w.raw = fmt.Appendf(w.raw, `{"raw":%d,"b64":"`, netns)
		w.raw = append(base64.StdEncoding.AppendEncode(w.raw, part), '"')
		w.raw = appendCRC(w.raw, start)
	}
	return nil
}

type wireEnd struct {
	End     bool `json:"end"`
	Samples int  `json:"samples"`
}

// Close ends the recording, and leaves the io.Writer open.
func (w *Writer) Close() error {
	full := w.err == ErrFull //nolint:errorlint // it is ours, and not wrapped
	if w.err != nil && !full {
		return w.err
	}
	w.err = errClosed
	w.out.Reset() // of what was too much
	w.frame = w.open
	w.endFrame()
	if err := w.object(wireEnd{true, w.samples}); err != nil {
		return err
	}
	w.o.MaxSize = 0
	return w.commit(true)
}

var errClosed = fmt.Errorf("the recording is closed")

// setting finds out when the host's clock was set.
type setting struct {
	at, wall time.Time // of the sample before; wall without the monotonic clock
	up       time.Duration
	sum      time.Duration
}

// leap is how much the clock may drift between two samples.
const leap = 100 * time.Millisecond

// since is by how much the clock was set since the first sample. What the host slept is no setting: its uptime tells that.
func (s *setting) since(at time.Time, up time.Duration) time.Duration {
	wall := at.Round(0)
	if at != wall && !s.at.IsZero() && s.at != s.wall {
		passed := at.Sub(s.at)
		if d := up - s.up; s.up > 0 && d > passed+leap {
			passed = d
		}
		if set := wall.Sub(s.wall) - passed; set > leap || set < -leap {
			s.sum += set
		}
	}
	s.at, s.wall, s.up = at, wall, up
	return s.sum
}
