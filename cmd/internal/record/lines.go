package record

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// lines reads a file line by line, compressed or not.
type lines struct {
	r    *bufio.Reader
	dec  *zstd.Decoder // nil: none
	n    int           // the number of the line that was read last
	long []byte        // a line that is longer than the buffer
}

// zstdMagic begins a frame.
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

const readBuffer = 256 << 10

// newLines finds out whether the file is compressed. What is not even four bytes is not.
func newLines(r io.Reader) (*lines, error) {
	b := bufio.NewReaderSize(r, readBuffer)
	magic, err := b.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(magic, zstdMagic) {
		return &lines{r: b}, nil
	}
	dec, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return &lines{r: bufio.NewReaderSize(dec, readBuffer), dec: dec}, nil
}

func (l *lines) close() {
	if l.dec != nil {
		l.dec.Close()
	}
}

// errCut: the file ends within a line, or within a frame.
var errCut = errors.New("it is cut")

// next is a line, valid until the next one: io.EOF at the end, errCut at one that is none.
func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.rest(line)
	}
	switch {
	case err == nil:
		l.n++
		return line[:len(line)-1], nil
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) && len(line) > 0:
		return nil, errCut
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	}
	return nil, fmt.Errorf("line %d: %w", l.n+1, err)
}

// rest reads on in a long line.
func (l *lines) rest(begun []byte) ([]byte, error) {
	l.long = append(l.long[:0], begun...)
	for {
		more, err := l.r.ReadSlice('\n')
		l.long = append(l.long, more...)
		if len(l.long) > maxLine {
			return nil, fmt.Errorf("longer than %d bytes", maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return l.long, err
		}
	}
}
