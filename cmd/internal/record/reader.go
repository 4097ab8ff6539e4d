package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Reader reads a recording from its beginning, sample by sample.
type Reader struct {
	// Header is what the recording says of itself.
	Header Header
	// OnRaw is given the raw bytes of netlink, before the sample that they are of. They are valid until it returns.
	OnRaw func(netns uint64, b []byte) error

	lines *lines
	file  *os.File // nil: none, or one that can only be read from its beginning to its end
	state *state
	last  *wireSample // nil before the first
	ended bool        // its last line was read
	count bool        // what samples have does not matter, only how many there are
	cut   string
	err   error
}

// Open opens a recording in a file. The error wraps [ErrNotRecording] when it is something else.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		r.file = f
	}
	return r, nil
}

// NewReader reads a recording that comes from anywhere. The error wraps [ErrNotRecording] when it is something else.
func NewReader(r io.Reader) (*Reader, error) {
	l, err := newLines(r)
	if err != nil {
		return nil, err
	}
	rec := &Reader{lines: l, state: newState()}
	line, err := l.next()
	if err == nil {
		line, err = checkCRC(line)
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("%w: its first line: %w", ErrNotRecording, err)
	}
	if rec.Header, err = readHeader(line); err != nil {
		l.close()
		return nil, err
	}
	return rec, nil
}

func readHeader(body []byte) (Header, error) {
	var w wireHeader
	if err := json.Unmarshal(closed(body), &w); err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrNotRecording, err)
	}
	if w.Schema != Schema {
		return Header{}, fmt.Errorf("%w of this version: its schema is %.40q, want %q", ErrNotRecording, w.Schema, Schema)
	}
	return w.header(), nil
}

// closed is a line as JSON, without its checksum.
func closed(body []byte) []byte { return append(slices.Clip(body), '}') }

// Close lets go of the file.
func (r *Reader) Close() error {
	r.lines.close()
	if r.file != nil {
		return r.file.Close()
	}
	return nil
}

// Next is the next sample, io.EOF behind the last whole one. Samples share what did not change: they are for reading.
func (r *Reader) Next() (*Sample, error) {
	if err := r.Skip(); err != nil {
		return nil, err
	}
	s, err := r.state.restore(r.last)
	if err != nil {
		r.err = fmt.Errorf("sample %d: %w", r.last.Sample, err)
		return nil, r.err
	}
	return s, nil
}

// Skip is [Reader.Next] for a sample that is not looked at, and quicker.
func (r *Reader) Skip() error {
	for r.err == nil {
		line, err := r.lines.next()
		if err != nil {
			r.err = r.end(err)
			break
		}
		whole, err := r.take(line)
		if err != nil {
			r.err = fmt.Errorf("line %d: %w", r.lines.n, err)
			break
		}
		if whole {
			return nil
		}
	}
	return r.err
}

// end is what becomes of an error of reading: the end of the recording, as a rule.
func (r *Reader) end(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, errCut) {
		return err
	}
	if !r.ended {
		r.cut = cutAfter(r.last)
	}
	return io.EOF
}

func cutAfter(last *wireSample) string {
	if last == nil {
		return "the file is cut before its first sample"
	}
	return fmt.Sprintf("the file is cut after sample %d of %s", last.Sample, last.At.UTC().Format("2006-01-02 15:04:05Z"))
}

// Cut says what is missing behind the last sample, "" when the recording was closed. It is known when that was read.
func (r *Reader) Cut() string { return r.cut }

// take takes a line, and reports whether it made a sample whole.
func (r *Reader) take(line []byte) (whole bool, err error) {
	body, err := checkCRC(line)
	if err != nil {
		return false, err
	}
	if r.ended {
		return false, errors.New("there is more behind its last line")
	}
	l := &lexer{b: body}
	name, err := firstName(l)
	if err != nil {
		return false, err
	}
	switch name {
	case "sample":
		return true, r.sample(body)
	case "raw":
		return false, r.raw(body)
	case "schema": // of a part that is read from the beginning on
		if r.Header.Schema != "" || r.last != nil {
			return false, errors.New("a second header")
		}
		r.Header, err = readHeader(body)
		return false, err
	case "end":
		return false, r.finish(body)
	case "key":
		r.state.clear()
		return false, nil
	}
	if r.count {
		return false, nil
	}
	if err := r.state.take(l, name); err != nil {
		return false, err
	}
	if l.i != len(l.b) {
		return false, fmt.Errorf("byte %d: more than was expected", l.i+1)
	}
	return false, nil
}

// firstName opens the object that a line is.
func firstName(l *lexer) (string, error) {
	if err := l.want('{'); err != nil {
		return "", err
	}
	name, err := l.text()
	if err != nil {
		return "", err
	}
	return name, l.want(':')
}

func (r *Reader) sample(body []byte) error {
	w := &wireSample{}
	if err := json.Unmarshal(closed(body), w); err != nil {
		return err
	}
	if r.last != nil && w.Sample != r.last.Sample+1 {
		return fmt.Errorf("sample %d, want %d", w.Sample, r.last.Sample+1)
	}
	if err := w.check(); err != nil {
		return err
	}
	r.last = w
	return nil
}

// Bounds of a sample's times, so that no sum of them is out of range.
const (
	mostUp  = 200 * 365 * 24 * time.Hour
	mostSet = mostUp
)

func (w *wireSample) check() error {
	if w.Up < 0 || w.Up > mostUp || w.Set < -mostSet || w.Set > mostSet {
		return fmt.Errorf("sample %d: uptime %v, set by %v", w.Sample, w.Up, w.Set)
	}
	return nil
}

// finish takes the last line.
func (r *Reader) finish(body []byte) error {
	var w wireEnd
	if err := json.Unmarshal(closed(body), &w); err != nil {
		return err
	}
	if r.last != nil && r.last.Sample != w.Samples {
		return fmt.Errorf("it ends with %d samples, want %d", r.last.Sample, w.Samples)
	}
	r.ended = true
	return nil
}

func (r *Reader) raw(body []byte) error {
	if r.OnRaw == nil {
		return nil
	}
	var w struct {
		Raw uint64 `json:"raw"`
		B64 []byte `json:"b64"`
	}
	if err := json.Unmarshal(closed(body), &w); err != nil {
		return err
	}
	return r.OnRaw(w.Raw, w.B64)
}
