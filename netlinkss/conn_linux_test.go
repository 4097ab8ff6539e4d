package netlinkss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDumpSplit(t *testing.T) {
	for name, a := range map[string]answer{
		"one datagram":      datagrams(func(seq uint32) []byte { return cat(records(1, 2, 3)(seq), done(seq)) }),
		"end apart":         datagrams(records(1, 2, 3), done),
		"one each":          datagrams(records(1), records(2), records(3), done),
		"end beside a rest": datagrams(records(1), func(seq uint32) []byte { return cat(records(2, 3)(seq), done(seq)) }),
		"empty ones":        datagrams(records(), records(1, 2), records(), records(3), done),
		"noop among them":   datagrams(records(1), func(seq uint32) []byte { return cat(nlmsg(1, 0, seq), records(2, 3)(seq)) }, done),
		"short end":         datagrams(records(1, 2, 3), func(seq uint32) []byte { return nlmsg(msgDone, 2, seq) }),
	} {
		t.Run(name, func(t *testing.T) {
			c, k := newFake(t, a)
			got, err := inodes(c, Request{})
			wantInodes(t, got, err, 1, 2, 3)
			k.wantTypes([2]int{18, 0})
			if c.running {
				t.Error("still running")
			}
		})
	}
}

func TestDumpEmpty(t *testing.T) {
	c, _ := newFake(t, datagrams(done))
	got, err := inodes(c, Request{})
	wantInodes(t, got, err)
}

func TestDumpInterrupted(t *testing.T) {
	torn := func(typ uint16, payload []byte) func(uint32) []byte {
		return func(seq uint32) []byte { return nlmsg(typ, 2|nlmFDumpIntr, seq, payload...) }
	}
	for name, a := range map[string]answer{
		"on the first record": datagrams(torn(msgTCPDiag, recordOf(1)), records(2, 3), done),
		"on the last record":  datagrams(records(1, 2), torn(msgByFamily, recordOf(3)), done),
		"on the end":          datagrams(records(1, 2, 3), torn(msgDone, u32s(0))),
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newFake(t, a, datagrams(records(4), done))
			got, err := inodes(c, Request{})
			if !errors.Is(err, ErrInterrupted) {
				t.Errorf("error %v, want ErrInterrupted", err)
			}
			wantInodes(t, got, nil, 1, 2, 3)
			got, err = inodes(c, Request{})
			wantInodes(t, got, err, 4)
		})
	}
	t.Run("in the first of two families", func(t *testing.T) {
		c, _ := newFake(t, datagrams(torn(msgByFamily, recordOf(1)), done), datagrams(records(2), done))
		got, err := inodes(c, Request{Protocol: ProtocolMPTCP})
		if !errors.Is(err, ErrInterrupted) {
			t.Errorf("error %v, want ErrInterrupted", err)
		}
		wantInodes(t, got, nil, 1, 2)
	})
}

// A kernel without IPv6 has nobody who answers for it; where IPv4 fails so, there is no sock_diag.
func TestDumpWithoutIPv6(t *testing.T) {
	c, _ := newFake(t, fails(unix.EINVAL), datagrams(records(1, 2), done), fails(unix.ENOENT))
	got, err := inodes(c, Request{})
	wantInodes(t, got, err, 1, 2)
	c, _ = newFake(t, fails(unix.EINVAL), datagrams(records(1, 2), done), fails(unix.EPERM))
	if _, err = inodes(c, Request{}); !errors.Is(err, unix.EPERM) {
		t.Errorf("error %v", err)
	}
	c, _ = newFake(t, fails(unix.ENOENT), fails(unix.ENOENT))
	if _, err = inodes(c, Request{}); !errors.Is(err, ErrNotSupported) {
		t.Errorf("error %v", err)
	}
}

// Kernels since 4.12 explain a refusal behind its number (NLM_F_ACK_TLVS).
func TestDumpExplainedError(t *testing.T) {
	c, _ := newFake(t, datagrams(func(seq uint32) []byte {
		payload := append(u32s(uint32(0xffffffff)), make([]byte, sizeofNlmsghdr)...) // -EPERM
		return nlmsg(msgError, 0x300, seq, append(payload, nlattr(1, []byte("no, thank you\x00")...)...)...)
	}))
	if _, err := inodes(c, Request{}); !errors.Is(err, unix.EPERM) {
		t.Errorf("error %v, want EPERM", err)
	}
}

// A kernel without the legacy message is asked once a family.
func TestDumpLegacyRefused(t *testing.T) {
	for _, e := range []unix.Errno{unix.EINVAL, unix.ENOENT, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT} {
		t.Run(e.Error(), func(t *testing.T) {
			c, k := newFake(t, fails(e), datagrams(records(1, 2), done), datagrams(records(3), done))
			got, err := inodes(c, Request{})
			wantInodes(t, got, err, 1, 2, 3)
			k.wantTypes([2]int{18, 0}, [2]int{20, 2}, [2]int{20, 10})
		})
	}
}

func TestDumpRefused(t *testing.T) {
	for _, e := range []unix.Errno{unix.EINVAL, unix.ENOENT} {
		t.Run("both messages "+e.Error(), func(t *testing.T) {
			c, k := newFake(t, fails(e), fails(e))
			got, err := inodes(c, Request{})
			wantRefused(t, got, err, e, ErrNotSupported)
			k.wantTypes([2]int{18, 0}, [2]int{20, 2})
		})
		t.Run("the one family "+e.Error(), func(t *testing.T) {
			c, k := newFake(t, fails(e))
			got, err := inodes(c, Request{Family: Inet6})
			wantRefused(t, got, err, e, ErrNotSupported)
			k.wantTypes([2]int{20, 10})
		})
		t.Run("another protocol "+e.Error(), func(t *testing.T) {
			c, k := newFake(t, fails(e))
			got, err := inodes(c, Request{Protocol: ProtocolMPTCP})
			wantRefused(t, got, err, e, ErrNotSupported)
			k.wantTypes([2]int{20, 2})
		})
	}
}

// A failure is not a refusal: asking otherwise would not help.
func TestDumpFails(t *testing.T) {
	for _, e := range []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOBUFS, unix.EBUSY} {
		t.Run(e.Error(), func(t *testing.T) {
			c, k := newFake(t, fails(e), datagrams(records(1), done))
			got, err := inodes(c, Request{})
			wantRefused(t, got, err, e, nil)
			k.wantTypes([2]int{18, 0})
			got, err = inodes(c, Request{})
			wantInodes(t, got, err, 1)
		})
	}
}

func wantRefused(t *testing.T, got []uint32, err error, errno unix.Errno, sentinel error) {
	t.Helper()
	var op *OpError
	if !errors.As(err, &op) || op.Op != "dump sockets" || !errors.Is(err, errno) {
		t.Errorf("error %v, want %v of the dump", err, errno)
	}
	if is := errors.Is(err, ErrNotSupported); is != (sentinel != nil) {
		t.Errorf("errors.Is(%v, ErrNotSupported) is %v", err, is)
	}
	if len(got) != 0 {
		t.Errorf("sockets %v", got)
	}
}

// What came before the failure stands, and the legacy message is not asked again: its sockets would
// come twice.
func TestDumpDoneWithErrno(t *testing.T) {
	for _, e := range []unix.Errno{unix.ENOBUFS, unix.EPERM, unix.EINVAL} {
		c, k := newFake(t, datagrams(records(1, 2), func(seq uint32) []byte { return doneMsg(seq, -int32(e)) }))
		got, err := inodes(c, Request{})
		if !errors.Is(err, e) {
			t.Errorf("error %v, want %v", err, e)
		}
		wantInodes(t, got, nil, 1, 2)
		k.wantTypes([2]int{18, 0})
	}
}

// NLMSG_ERROR with 0 is an acknowledgement: an end, and no error.
func TestDumpAcknowledged(t *testing.T) {
	c, _ := newFake(t, datagrams(records(1), func(seq uint32) []byte { return errorMsg(seq, 0) }))
	got, err := inodes(c, Request{})
	wantInodes(t, got, err, 1)
}

func TestDumpBufferTooSmall(t *testing.T) {
	c, _ := newFake(t, datagrams(records(1), records(2, 3, 4, 5), records(6), done), datagrams(records(7), done))
	c.buf = make([]byte, 200)
	got, err := inodes(c, Request{})
	if !errors.Is(err, ErrTruncated) {
		t.Errorf("error %v, want ErrTruncated", err)
	}
	wantInodes(t, got, nil, 1)
	got, err = inodes(c, Request{})
	wantInodes(t, got, err, 7)
}

func TestDumpForeignSequence(t *testing.T) {
	foreign := func(m func(uint32) []byte) func(uint32) []byte {
		return func(seq uint32) []byte { return m(seq + 100) }
	}
	c, _ := newFake(t, datagrams(
		foreign(records(91)),
		foreign(done),
		func(seq uint32) []byte {
			return cat(records(1)(seq), errorMsg(seq-1, -1), records(92)(seq+1), records(2)(seq))
		},
		foreign(func(seq uint32) []byte { return nlmsg(msgByFamily, nlmFDumpIntr, seq, recordOf(93)...) }),
		foreign(func(seq uint32) []byte { return nlmsg(msgByFamily, 0, seq, 1, 2, 3) }),
		done,
	))
	got, err := inodes(c, Request{})
	wantInodes(t, got, err, 1, 2)
}

func TestDumpMalformed(t *testing.T) {
	for name, bad := range map[string]func(uint32) []byte{
		"record cut short": func(seq uint32) []byte { return nlmsg(msgByFamily, 2, seq, v4Record()[:71]...) },
		"record of AF_UNIX": func(seq uint32) []byte {
			return nlmsg(msgByFamily, 2, seq, append([]byte{1}, v4Record()[1:]...)...)
		},
		"message length past the end": func(seq uint32) []byte { return records(9)(seq)[:40] },
		"message length of 15":        func(seq uint32) []byte { return cat(u32s(15), records(9)(seq)[4:]) },
		"message length of 2³²-1":     func(seq uint32) []byte { return cat(u32s(1<<32-1), records(9)(seq)[4:]) },
		"half a header":               func(uint32) []byte { return []byte{16, 0, 0, 0, 3, 0} },
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newFake(t, datagrams(records(1), bad, records(2), done), datagrams(records(3), done))
			got, err := inodes(c, Request{})
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v, want ErrMalformed", err)
			}
			wantInodes(t, got, nil, 1)
			got, err = inodes(c, Request{})
			wantInodes(t, got, err, 3)
		})
	}
}

func TestDumpTransportFails(t *testing.T) {
	t.Run("send", func(t *testing.T) {
		c, k := newFake(t, datagrams(records(1), done))
		send := c.send
		c.send = func([]byte) error { return unix.ENOBUFS }
		if _, err := inodes(c, Request{}); !errors.Is(err, unix.ENOBUFS) || errors.Is(err, ErrNotSupported) {
			t.Errorf("error %v", err)
		}
		c.send = send
		got, err := inodes(c, Request{})
		wantInodes(t, got, err, 1)
		k.wantTypes([2]int{18, 0})
	})
	t.Run("receive", func(t *testing.T) {
		c, _ := newFake(t, datagrams(records(1)), datagrams(records(2), done))
		got, err := inodes(c, Request{}) // the fake has no end for it: EAGAIN
		if !errors.Is(err, unix.EAGAIN) {
			t.Errorf("error %v", err)
		}
		wantInodes(t, got, nil, 1)
		got, err = inodes(c, Request{})
		wantInodes(t, got, err, 2)
	})
}

func TestDumpContext(t *testing.T) {
	cause := io.ErrClosedPipe
	for _, c := range []struct {
		name string
		at   int // the receive that cancels
		want []uint32
	}{
		{"between receives", 2, []uint32{1, 2}},
		{"at the first", 1, []uint32{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, k := newFake(t, datagrams(records(1), records(2), records(3), done), datagrams(records(4), done))
			ctx, cancel := context.WithCancelCause(background)
			k.onRecv = func(n int) {
				if n == c.at {
					cancel(cause)
				}
			}
			got, err := inodesCtx(ctx, conn, Request{})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
			wantInodes(t, got, nil, c.want...)
			got, err = inodes(conn, Request{})
			wantInodes(t, got, err, 4)
		})
	}
	t.Run("cancelled before", func(t *testing.T) {
		conn, _ := newFake(t, datagrams(records(1), done), datagrams(records(2), done))
		ctx, cancel := context.WithCancel(background)
		cancel()
		if got, err := inodesCtx(ctx, conn, Request{}); !errors.Is(err, context.Canceled) || len(got) != 0 {
			t.Errorf("got %v, error %v", got, err)
		}
		got, err := inodes(conn, Request{})
		wantInodes(t, got, err, 2)
	})
}

// A loop that was left early must not spoil the next dump.
func TestDumpAfterBreak(t *testing.T) {
	long := datagrams(records(1, 2), records(3), records(4), done)
	for name, first := range map[string]answer{
		"end in a datagram to come": long,
		"end in the same datagram":  datagrams(func(seq uint32) []byte { return cat(records(1, 2)(seq), done(seq)) }),
		"end beside the last":       datagrams(records(1), func(seq uint32) []byte { return cat(records(2)(seq), done(seq)) }),
		"an error at the end":       datagrams(records(1, 2), func(seq uint32) []byte { return errorMsg(seq, -1) }),
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newFake(t, first, datagrams(records(5, 6), done))
			for s, err := range c.Dump(background, Request{}) {
				if err != nil || s.Inode != 1 {
					t.Fatal(s, err)
				}
				break
			}
			got, err := inodes(c, Request{})
			wantInodes(t, got, err, 5, 6)
		})
	}
	t.Run("many times", func(t *testing.T) {
		c, _ := newFake(t, long, long, long, datagrams(records(7), done))
		for range 3 {
			for range c.Dump(background, Request{}) {
				break
			}
		}
		got, err := inodes(c, Request{})
		wantInodes(t, got, err, 7)
	})
	t.Run("what is left cannot be read", func(t *testing.T) {
		c, k := newFake(t, long, datagrams(records(8), done))
		for range c.Dump(background, Request{}) {
			break
		}
		c.recv = func([]byte) (int, error) { return 0, unix.ENOBUFS }
		if _, err := inodes(c, Request{}); !errors.Is(err, unix.ENOBUFS) {
			t.Errorf("error %v", err)
		}
		c.recv = k.recv
		got, err := inodes(c, Request{})
		wantInodes(t, got, err, 8)
	})
}

// A sequence can be run again, and asks again.
func TestDumpTwice(t *testing.T) {
	c, k := newFake(t, datagrams(records(1), done), datagrams(records(2), done))
	seq := c.Dump(background, Request{})
	var got []string
	for range 2 {
		for s, err := range seq {
			got = append(got, fmt.Sprint(s.Inode, err))
		}
	}
	if fmt.Sprint(got) != "[1 <nil> 2 <nil>]" {
		t.Errorf("got %v", got)
	}
	if a, b := readHeader(k.sent[0]).seq, readHeader(k.sent[1]).seq; a == b {
		t.Errorf("both requests have the sequence number %d", a)
	}
}

// The one Socket is used again; Clone keeps what it was.
func TestDumpReusesSocket(t *testing.T) {
	c, _ := newFake(t, datagrams(records(1, 2), done))
	var all []*Socket
	var kept *Socket
	for s, err := range c.Dump(background, Request{}) {
		if err != nil {
			t.Fatal(err)
		}
		if kept == nil {
			kept = s.Clone()
		}
		all = append(all, s)
	}
	if all[0] != all[1] || kept.Inode != 1 || kept == all[0] {
		t.Error("Dump and Clone do not share and copy as documented")
	}
}
