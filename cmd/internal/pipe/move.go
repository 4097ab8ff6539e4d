//go:build linux

package pipe

import (
	"errors"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// moveTurn and moveBytes are how often, and about how much, a direction may move before it is another's turn.
	moveTurn  = 8
	moveBytes = 1 << 20
	// flushTurn is the same for the last bytes of a socket that has failed. A receive buffer holds megabytes.
	flushTurn = 4096
)

// A direction carries bytes from one socket of a pair to the other.
//
// Nothing is read unless the other side seems to take it, so what a direction holds back (rest) is at most what was
// read in one go, and nearly always nothing: a slow reader fills the buffers of its socket, and then its peer waits.
type direction struct {
	src, dst *end
	rest     []byte // taken from src and not yet written to dst
	unpaid   int    // of these, bytes that are no payload: a header of ours
	ended    bool   // src has sent its FIN
	done     bool   // and it has been passed on
	bulk     bool   // there are many bytes: splice them
	noSplice bool   // the kernel does not
	bytes    uint64 // payload written
	total    *atomic.Uint64
}

func (d *direction) begin(src, dst *end, total *atomic.Uint64) {
	*d = direction{src: src, dst: dst, total: total}
}

// prepend has header sent before anything else.
func (d *direction) prepend(header []byte) {
	d.rest, d.unpaid = header, len(header)
}

// holds reports whether there are bytes that were taken and not passed on.
func (d *direction) holds() bool { return len(d.rest) > 0 }

// taken is how many bytes were read from src.
func (d *direction) taken() uint64 { return d.bytes + uint64(len(d.rest)-d.unpaid) }

// move moves what there is, for one turn. It returns true if there may be more. If it finds that a side is broken, it
// ends the pair.
func (d *direction) move(p *pair) bool {
	until := d.bytes + moveBytes
	for n := 0; n < moveTurn && d.bytes < until; n++ {
		again, failed, err := d.step(p)
		if err != nil {
			p.breakOff(failed, err)
			return false
		}
		if !again {
			return false
		}
	}
	return true
}

// flush moves what there is and can be moved now. It does not ask why if that is not all.
func (d *direction) flush(p *pair) {
	for range flushTurn {
		again, failed, err := d.step(p)
		if failed == d.src {
			d.src.reset = !d.src.sentFIN(d.taken(), err) // else what comes before this one is not whole
		}
		if err != nil || !again {
			return
		}
	}
}

// step does the next thing that can be done without waiting, and returns true if there may be another. If it fails, it
// says which side has.
func (d *direction) step(p *pair) (again bool, failed *end, err error) {
	switch {
	case d.done:
		return false, nil, nil
	case d.holds():
		return d.writeRest(p)
	case d.ended:
		return d.passEnd(p)
	case !d.src.readable || !d.dst.writable:
		return false, nil, nil
	case d.bulk && d.spliceable(p.loop):
		return d.splice(p)
	}
	return d.copy(p)
}

// sawEnd notes that src has no more. It returns true if that is to be passed on.
func (d *direction) sawEnd() bool {
	d.src.readable = false
	d.ended = !d.src.reset
	return d.ended
}

// passEnd passes the FIN of src on to dst, as a half-close.
func (d *direction) passEnd(p *pair) (bool, *end, error) {
	if p.state == open && (p.up.done || p.down.done) {
		d.done = true // both are now, and closing says as much
		return false, nil, nil
	}
	if err := unix.Shutdown(d.dst.fd, unix.SHUT_WR); err != nil {
		return false, d.dst, os.NewSyscallError("shutdown", err)
	}
	d.done = true
	p.half()
	return false, nil, nil
}

// copy moves a few bytes through the loop's buffer.
func (d *direction) copy(p *pair) (bool, *end, error) {
	buf := p.loop.buf[:]
	n, err := unix.Read(d.src.fd, buf)
	switch {
	case err == unix.EINTR:
		return true, nil, nil
	case err == unix.EAGAIN:
		d.src.readable = false
		return false, nil, nil
	case err != nil:
		return false, d.src, os.NewSyscallError("read", err)
	case n == 0:
		return d.sawEnd(), nil, nil
	}
	p.moved = p.loop.now
	d.bulk = n == len(buf)
	// A short read of TCP has emptied the socket, and there will be an event for what comes then. But if a FIN has come
	// already, there will be none for that, and at urgent data a read stops though there is more behind it.
	if n < len(buf) && d.src.plain && !d.src.urgent {
		if d.src.hangup {
			return d.copyLast(p, n)
		}
		d.src.readable = false
	}
	return d.write(p, buf[:n], 0)
}

// copyLast writes the n bytes in the loop's buffer, behind which there may be a FIN. If there is, both go out as one
// segment.
func (d *direction) copyLast(p *pair, n int) (bool, *end, error) {
	buf := p.loop.buf[:]
	m, readErr := unix.Read(d.src.fd, buf[n:])
	flags := 0
	switch {
	case readErr == nil && m > 0:
		n += m
	case readErr == nil:
		if d.sawEnd() && d.dst.tcp {
			flags = unix.MSG_MORE // passEnd or close comes next, and says that there is no more
		}
	case readErr == unix.EAGAIN, readErr == unix.EINTR:
		readErr = nil
	}
	again, failed, err := d.write(p, buf[:n], flags)
	if err == nil && readErr != nil {
		return false, d.src, os.NewSyscallError("read", readErr)
	}
	return again, failed, err
}

// write writes b, and keeps what dst does not take.
func (d *direction) write(p *pair, b []byte, flags int) (bool, *end, error) {
	n, err := d.send(p, b, flags)
	if err != nil {
		return false, d.dst, err
	}
	if n < len(b) {
		d.rest = append([]byte(nil), b[n:]...)
	}
	return true, nil, nil
}

func (d *direction) writeRest(p *pair) (bool, *end, error) {
	if !d.dst.writable {
		return false, nil, nil
	}
	n, err := d.send(p, d.rest, 0)
	if err != nil {
		return false, d.dst, err
	}
	if d.rest = d.rest[n:]; len(d.rest) == 0 {
		d.rest = nil
	}
	return true, nil, nil
}

// send writes what dst takes of b at once, with flags of send(2).
func (d *direction) send(p *pair, b []byte, flags int) (int, error) {
	for {
		var n int
		var err error
		if flags == 0 {
			n, err = unix.Write(d.dst.fd, b)
		} else {
			n, err = unix.SendmsgN(d.dst.fd, b, nil, nil, flags)
		}
		switch err {
		case nil:
			d.sent(p, n)
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			p.blocked(d.dst)
			return 0, nil
		default:
			return 0, os.NewSyscallError("write", err)
		}
	}
}

// sent counts n bytes that were written to dst.
func (d *direction) sent(p *pair, n int) {
	p.moved = p.loop.now
	own := min(n, d.unpaid)
	d.unpaid -= own
	d.bytes += uint64(n - own)
	d.total.Add(uint64(n - own))
}

// spliceable reports whether the next bytes may go through the loop's pipe.
func (d *direction) spliceable(l *loop) bool {
	// Before urgent data splice(2) says EAGAIN for ever (tcp_read_sock), where a read passes over it.
	return l.tube.size > 0 && !d.src.urgent && !d.noSplice
}

// splice moves many bytes without touching them. The loop's pipe is empty before and after.
func (d *direction) splice(p *pair) (bool, *end, error) {
	// No more than dst has room for: what it does not take must be copied out of the pipe, to be held in memory. Without
	// room the copy finds out when there is some again.
	room := sendRoom(d.dst)
	if room < smallSize {
		return d.copy(p)
	}
	tube := &p.loop.tube
	n, err := tube.fill(d.src.fd, room)
	switch {
	case errors.Is(err, unix.EAGAIN):
		d.src.readable = false
		return false, nil, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		d.noSplice = true
		return true, nil, nil
	case err != nil:
		return false, d.src, os.NewSyscallError("splice", err)
	case n == 0:
		return d.sawEnd(), nil, nil
	}
	p.moved = p.loop.now
	d.bulk = n >= smallSize
	return d.spliceOut(p, tube)
}

// spliceOut empties the pipe into dst, and into memory if dst does not take all.
func (d *direction) spliceOut(p *pair, tube *tube) (bool, *end, error) {
	for tube.held > 0 {
		n, err := tube.drain(d.dst.fd)
		switch {
		case err == nil:
			d.sent(p, n)
		case errors.Is(err, unix.EAGAIN):
			p.blocked(d.dst)
			if d.rest, err = tube.takeOut(); err != nil {
				return false, d.dst, err
			}
		default:
			_, lost := tube.takeOut()
			return false, d.dst, errors.Join(os.NewSyscallError("splice", err), lost)
		}
	}
	return true, nil, nil
}
