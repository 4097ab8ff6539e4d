package netlinkss

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeKernel answers requests from a script: the n-th request gets the n-th answer. It refuses a
// dump beside another (EBUSY), and has nothing more to say (EAGAIN) where a script ends.
type fakeKernel struct {
	t       *testing.T
	answers []answer
	sent    [][]byte
	queue   [][]byte // datagrams not received yet
	onRecv  func(n int)
	recvs   int
}

// answer makes the datagrams for a request with this sequence number.
type answer func(seq uint32) [][]byte

// newFake returns a Conn with a fake kernel behind it. Its buffer has the real one's size.
func newFake(t *testing.T, answers ...answer) (*Conn, *fakeKernel) {
	k := &fakeKernel{t: t, answers: answers}
	return &Conn{buf: make([]byte, recvSize), send: k.send, recv: k.recv}, k
}

func (k *fakeKernel) send(req []byte) error {
	k.t.Helper()
	h := readHeader(req)
	if h.size != len(req) || h.flags&nlmFRequest == 0 {
		k.t.Errorf("malformed request %x", req)
	}
	n := len(k.sent)
	k.sent = append(k.sent, bytes.Clone(req))
	switch {
	case len(k.queue) > 0 && h.flags&nlmFDump != 0 && readHeader(k.queue[0]).typ != msgError:
		k.queue = append(k.queue, errorMsg(h.seq, -int32(unix.EBUSY)))
	case n < len(k.answers):
		k.queue = append(k.queue, k.answers[n](h.seq)...)
	default:
		k.t.Errorf("request %d was not expected: %x", n, req)
	}
	return nil
}

// recv gives one datagram, cut to the buffer, and its whole length, as MSG_TRUNC does.
func (k *fakeKernel) recv(b []byte) (int, error) {
	k.recvs++
	if k.onRecv != nil {
		k.onRecv(k.recvs)
	}
	if len(k.queue) == 0 {
		return 0, unix.EAGAIN
	}
	d := k.queue[0]
	k.queue = k.queue[1:]
	copy(b, d)
	return len(d), nil
}

// types are the message types and families of the requests so far: {18, 0}, {20, 2}, …
func (k *fakeKernel) types() (got [][2]int) {
	for _, req := range k.sent {
		got = append(got, [2]int{int(readHeader(req).typ), int(req[sizeofNlmsghdr])})
	}
	return got
}

func (k *fakeKernel) wantTypes(want ...[2]int) {
	k.t.Helper()
	if got := k.types(); !slices.Equal(got, want) {
		k.t.Errorf("requests {type family} %v, want %v", got, want)
	}
}

// datagrams answers with these, whatever the sequence number.
func datagrams(make ...func(seq uint32) []byte) answer {
	return func(seq uint32) (all [][]byte) {
		for _, m := range make {
			all = append(all, m(seq))
		}
		return all
	}
}

// records is one datagram with records of these inodes.
func records(inodes ...uint32) func(uint32) []byte {
	return func(seq uint32) (b []byte) {
		for _, i := range inodes {
			b = append(b, nlmsg(msgByFamily, 2, seq, recordOf(i)...)...)
		}
		return b
	}
}

func done(seq uint32) []byte { return doneMsg(seq, 0) }

// fails answers with NLMSG_ERROR.
func fails(e unix.Errno) answer {
	return datagrams(func(seq uint32) []byte { return errorMsg(seq, -int32(e)) })
}

// inodes runs a dump to its end.
func inodes(c *Conn, r Request) (got []uint32, err error) {
	return inodesCtx(background, c, r)
}

func inodesCtx(ctx context.Context, c *Conn, r Request) (got []uint32, err error) {
	for s, e := range c.Dump(ctx, r) {
		if e != nil {
			return got, e
		}
		got = append(got, s.Inode)
	}
	return got, nil
}

func wantInodes(t *testing.T, got []uint32, err error, want ...uint32) {
	t.Helper()
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, error %v, want %v", got, err, want)
	}
}
