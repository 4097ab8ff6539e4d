//go:build linux

package main

import (
	"net"
	"syscall"
	"testing"
)

// Every socket that is opened makes the dump longer by a record.
func TestDumpIsOfEverySocket(t *testing.T) {
	const pairs, record = 50, 16 + 72 // nlmsghdr and inet_diag_msg, without attributes
	before, err := dump()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range pairs {
		a, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		b, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
	}
	// Others' sockets end meanwhile, but hardly this many in one moment.
	for try := 0; ; try++ {
		after, err := dump()
		if err != nil {
			t.Fatal(err)
		}
		if after >= before+2*pairs*record {
			return
		}
		if try == 10 {
			t.Fatalf("%d bytes before, %d bytes with %d sockets more", before, after, 2*pairs+1)
		}
		before = min(before, after)
	}
}

func TestEnds(t *testing.T) {
	message := func(typ uint16, payload ...byte) []byte {
		b := make([]byte, sizeofHeader)
		native.PutUint32(b, uint32(len(b)+len(payload)))
		native.PutUint16(b[4:], typ)
		native.PutUint32(b[8:], 1)
		return append(b, payload...)
	}
	record := message(tcpDiag, make([]byte, 72)...)
	denied := native.AppendUint32(nil, uint32(0xffffffff-uint32(syscall.EACCES)+1))
	for name, c := range map[string]struct {
		datagram []byte
		done     bool
		err      error
	}{
		"records":              {append(record, record...), false, nil},
		"done":                 {message(syscall.NLMSG_DONE, 0, 0, 0, 0), true, nil},
		"done behind a record": {append(record[:len(record):len(record)], message(syscall.NLMSG_DONE, 0, 0, 0, 0)...), true, nil},
		"done with an error":   {message(syscall.NLMSG_DONE, denied...), false, syscall.EACCES},
		"error":                {message(syscall.NLMSG_ERROR, denied...), false, syscall.EACCES},
		"short":                {make([]byte, 7), false, syscall.EBADMSG},
	} {
		if done, err := ends(c.datagram); done != c.done || err != c.err {
			t.Errorf("%s: %v, %v; want %v, %v", name, done, err, c.done, c.err)
		}
	}
}
