//go:build linux

package pipe

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// bufSize is the most that a direction takes from a socket before it has written it to the other.
const bufSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufSize]byte) }}

// A source reads from a socket and holds a buffer only while there are bytes in it.
type source struct {
	raw  syscall.RawConn
	recv func(fd uintptr) bool // a method value kept to save an allocation for each read
	buf  *[bufSize]byte
	n    int
	err  error
}

func (s *source) init(raw syscall.RawConn) {
	s.raw = raw
	s.recv = s.tryRecv
}

// read waits for bytes. They are valid until release, which must come before the next read. The error is io.EOF after a
// FIN, and os.ErrDeadlineExceeded or net.ErrClosed if the socket's read deadline passes or it is closed meanwhile.
func (s *source) read() ([]byte, error) {
	if err := s.raw.Read(s.recv); err != nil {
		return nil, err
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.buf[:s.n], nil
}

// tryRecv reads what there is. It returns false if there is nothing yet, as syscall.RawConn.Read wants it.
func (s *source) tryRecv(fd uintptr) bool {
	buf := buffers.Get().(*[bufSize]byte)
	n, err := recv(int(fd), buf[:])
	if n > 0 {
		s.buf, s.n = buf, n
		return true
	}
	buffers.Put(buf)
	if errors.Is(err, unix.EAGAIN) {
		return false
	}
	s.err = err
	if err == nil {
		s.err = io.EOF
	}
	return true
}

func recv(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// release gives the buffer of the last read back.
func (s *source) release() {
	if s.buf != nil {
		buffers.Put(s.buf)
		s.buf = nil
	}
}
