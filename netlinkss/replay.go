package netlinkss

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/bits"
)

// maxRecord bounds one message of a recorded dump; the kernel's own are under 1 KiB.
const maxRecord = 64 << 10

// Replay reads a recorded dump: netlink messages one behind the other, as `ss -D FILE` writes them,
// with messages of type 18 or 20. A dump of both families is two dumps in a row, so NLMSG_DONE does
// not end it: the end of the file does. A dump that is cut there, or has no NLMSG_DONE at its end, ends with
// [ErrTruncated], one in which the kernel has marked a record as inconsistent with [ErrInterrupted]. The
// *Socket is valid until the next step; a non-nil error ends the sequence.
func Replay(r io.Reader) iter.Seq2[*Socket, error] {
	return func(yield func(*Socket, error) bool) {
		rp := replay{r: bufio.NewReaderSize(r, maxRecord)}
		for {
			s, err := rp.next()
			if errors.Is(err, io.EOF) {
				if err := rp.incomplete(); err != nil {
					yield(nil, opError("replay", err))
				}
				return
			}
			if err != nil {
				yield(nil, opError(fmt.Sprintf("replay at byte %d", rp.at), err))
				return
			}
			if s != nil && !yield(s, nil) {
				return
			}
		}
	}
}

type replay struct {
	r           *bufio.Reader
	at          int64
	sock        Socket
	interrupted bool
	records     bool // since the last NLMSG_DONE
}

// incomplete says what is wrong with a dump that ended between two records.
func (p *replay) incomplete() error {
	switch {
	case p.interrupted:
		return ErrInterrupted
	case p.records:
		return fmt.Errorf("%w: it ends without NLMSG_DONE", ErrTruncated)
	}
	return nil
}

// next reads one message: nil, nil for one that is no socket.
func (p *replay) next() (*Socket, error) {
	head, err := p.r.Peek(sizeofNlmsghdr)
	if len(head) == 0 && errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, cutShort(err)
	}
	h := readHeader(head)
	if h.size < sizeofNlmsghdr || h.size > maxRecord {
		if otherOrder(head) {
			return nil, malformed("the dump is of a machine with the other byte order")
		}
		return nil, malformed("nlmsghdr: length %d, want %d to %d", native.Uint32(head), sizeofNlmsghdr, maxRecord)
	}
	p.interrupted = p.interrupted || h.flags&nlmFDumpIntr != 0
	msg, err := p.r.Peek(h.size)
	if err != nil {
		return nil, cutShort(err)
	}
	s, err := p.message(h, msg[sizeofNlmsghdr:])
	if err != nil {
		return nil, err
	}
	// The last record's padding may be missing.
	n, _ := p.r.Discard(align4(h.size))
	p.at += int64(n)
	return s, nil
}

// otherOrder reports whether b begins with the header of a dump from a machine with the other byte order.
func otherOrder(b []byte) bool {
	return isMessage(int(bits.ReverseBytes32(native.Uint32(b))), bits.ReverseBytes16(native.Uint16(b[4:])))
}

func (p *replay) message(h header, payload []byte) (*Socket, error) {
	switch h.typ {
	case msgTCPDiag, msgByFamily:
		if err := Decode(payload, &p.sock); err != nil {
			return nil, err
		}
		p.records = true
		return &p.sock, nil
	case msgDone:
		p.records = false
		return nil, errnoOf(payload)
	case msgError:
		return nil, errnoOf(payload)
	}
	return nil, nil
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}
