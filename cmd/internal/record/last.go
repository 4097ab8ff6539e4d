package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// Last is the last whole sample. [Reader.Cut] is known then. io.EOF: there is none.
func (r *Reader) Last() (*Sample, error) {
	samples, err := r.Recent(1)
	if err != nil {
		return nil, err
	}
	return samples[0], nil
}

// Recent are the last n whole samples, or all where they are fewer, the oldest first; of the last one alone the Rest can be read. In a file
// only what follows one of the last keys is read; where that cannot be, all that [Reader.Next] has not read yet. [Reader.Cut] is known
// then. io.EOF: there is none.
func (r *Reader) Recent(n int) ([]*Sample, error) {
	if r.file == nil {
		return r.recentOfAll(n)
	}
	info, err := r.file.Stat()
	if err != nil {
		return nil, err
	}
	keys := lastKeys(r.file, info.Size())
	for at, ok := keys(); ok; at, ok = keys() {
		samples, err := r.recentFrom(at, info.Size(), n)
		if err != nil && !errors.Is(err, io.EOF) || len(samples) == n {
			return samples, err
		}
	}
	return r.recentFrom(0, info.Size(), n)
}

// recentOfAll reads on to the end. A sample that was begun spoils the one before, so each is put together.
func (r *Reader) recentOfAll(n int) (samples []*Sample, err error) {
	for {
		s, err := r.Next()
		switch {
		case err == nil:
			samples = append(samples, s)
			samples = samples[max(len(samples)-n, 0):]
		case errors.Is(err, io.EOF) && len(samples) > 0:
			return samples, nil
		default:
			return nil, err
		}
	}
}

// recentFrom reads twice from a key on: how many samples are whole, and the last of these.
func (r *Reader) recentFrom(at, size int64, n int) ([]*Sample, error) {
	whole := 0
	count, err := part(io.NewSectionReader(r.file, at, size-at))
	if err != nil {
		return nil, err
	}
	count.count = true
	for err = count.Skip(); err == nil; err = count.Skip() {
		whole++
	}
	count.lines.close()
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	r.cut = count.cut
	if whole == 0 {
		return nil, io.EOF
	}
	again, err := part(io.NewSectionReader(r.file, at, size-at))
	if err != nil {
		return nil, err
	}
	defer again.lines.close()
	for range whole - n {
		if err := again.Skip(); err != nil {
			return nil, err
		}
	}
	samples := make([]*Sample, min(n, whole))
	for i := range samples {
		if samples[i], err = again.Next(); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// part reads a recording from its first line, or from a key, on.
func part(r io.Reader) (*Reader, error) {
	l, err := newLines(r)
	if err != nil {
		return nil, err
	}
	return &Reader{lines: l, state: newState()}, nil
}

// keyBegins begins the first line of a key. No other line holds a line feed, so behind one it is nothing else.
var keyBegins = []byte("{\"key\":")

// lastKeys gives where keys begin, or what may be one, from the last one on. What is wrong with a file is found by who reads it.
func lastKeys(f io.ReaderAt, size int64) func() (at int64, ok bool) {
	magic := make([]byte, len(zstdMagic))
	if _, err := f.ReadAt(magic, 0); err != nil || !bytes.Equal(magic, zstdMagic) {
		return lastLines(f, size)
	}
	starts := frames(f, size)
	return func() (int64, bool) {
		for len(starts) > 0 {
			at := starts[len(starts)-1]
			starts = starts[:len(starts)-1]
			if beginsKey(f, at, size) {
				return at, true
			}
		}
		return 0, false
	}
}

// beginsKey reports whether the first line of a frame is that of a key.
func beginsKey(f io.ReaderAt, at, size int64) bool {
	l, err := newLines(io.NewSectionReader(f, at, size-at))
	if err != nil {
		return false
	}
	defer l.close()
	line, err := l.next()
	return err == nil && bytes.HasPrefix(line, keyBegins)
}

// lastLines looks from the end of a file of plain lines for those that begin a key.
func lastLines(f io.ReaderAt, size int64) func() (int64, bool) {
	const step = 1 << 20
	mark := append([]byte{'\n'}, keyBegins...)
	end := size // of what was not looked at yet
	buf := make([]byte, step+len(mark))
	return func() (int64, bool) {
		for end > 0 {
			from := max(end-step, 0)
			b := buf[:min(end-from+int64(len(mark))-1, size-from)] // a mark may begin before end, and no later
			if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
				return 0, false
			}
			if i := bytes.LastIndex(b, mark); i >= 0 {
				end = from + int64(i)
				return end + 1, true
			}
			end = from
		}
		return 0, false
	}
}

// frames walks over the blocks of a zstd file without decompressing them (RFC 8878, 3.1.1), and tells where frames begin. It ends
// where the file does, or makes no sense.
func frames(f io.ReaderAt, size int64) (starts []int64) {
	w := &walk{f: f}
	for at := int64(0); at < size; {
		next, ok := w.frame(at)
		if !ok && w.headless {
			break
		}
		starts = append(starts, at)
		if !ok {
			break
		}
		at = next
	}
	return starts
}

// walk reads some bytes here and there.
type walk struct {
	f        io.ReaderAt
	buf      [5]byte
	headless bool // not even a header is there
}

func (w *walk) read(at int64, n int) ([]byte, bool) {
	got, _ := w.f.ReadAt(w.buf[:n], at)
	return w.buf[:n], got == n
}

// frame walks over one frame.
func (w *walk) frame(at int64) (next int64, ok bool) {
	head, ok := w.read(at, 5)
	if w.headless = !ok || !bytes.Equal(head[:4], zstdMagic); w.headless {
		return 0, false
	}
	descriptor := head[4]
	single := descriptor>>5&1 == 1
	at += 5 + int64([...]int{0, 1, 2, 4}[descriptor&3]) + int64([...]int{0, 2, 4, 8}[descriptor>>6])
	if !single {
		at++ // the window
	} else if descriptor>>6 == 0 {
		at++ // a size of one byte
	}
	for {
		b, ok := w.read(at, 3)
		if !ok {
			return 0, false
		}
		header := uint32(b[0]) | uint32(binary.LittleEndian.Uint16(b[1:]))<<8
		length := int64(header >> 3)
		if header>>1&3 == 1 { // one byte, again and again
			length = 1
		}
		at += 3 + length
		if header&1 == 1 {
			if descriptor>>2&1 == 1 {
				at += 4 // a checksum
			}
			return at, true
		}
	}
}
