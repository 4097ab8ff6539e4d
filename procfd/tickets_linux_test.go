package procfd

import (
	"bytes"
	"net"
	"os"
	"testing"
)

func record(typ byte, size int) []byte {
	return append([]byte{typ, 3, 3, byte(size >> 8), byte(size)}, make([]byte, size)...)
}

func TestAreTickets(t *testing.T) {
	two := append(record(23, 250), record(23, 250)...)
	for name, c := range map[string]struct {
		b    []byte
		want bool
	}{
		"two tickets":          {two, true},
		"one":                  {record(23, 60), true},
		"nothing":              {nil, false},
		"cut":                  {two[:300], false},
		"a header alone":       {two[:5], false},
		"half a header":        {two[:3], false},
		"a handshake":          {record(22, 250), false},
		"text":                 {[]byte("HTTP/1.1 200 OK\r\n\r\n"), false},
		"a large record":       {record(23, 1500), false},
		"a record, then text":  {append(record(23, 250), "hello"...), false},
		"zeros":                {make([]byte, 10), false},
		"an unknown version":   {[]byte{23, 3, 9, 0, 0}, false},
		"an alert of TLS, too": {record(21, 2), false},
	} {
		if got := areTickets(c.b); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// What is looked at stays where it is.
func TestKernelTickets(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	sent := append(record(23, 250), record(23, 250)...)
	if _, err := server.Write(sent); err != nil {
		t.Fatal(err)
	}
	f, err := New("/proc")
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Process(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	asker, err := f.Ask(p)
	if err != nil {
		t.Fatal(err)
	}
	defer asker.Close()
	told := 0
	for _, s := range p.Sockets {
		if is, err := asker.Tickets(s); err == nil && is {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d sockets have tickets unread, want the client", told)
	}
	got := make([]byte, len(sent))
	if n, err := client.Read(got); err != nil || !bytes.Equal(got[:n], sent) {
		t.Errorf("read %d bytes, %v: they are not what was sent", n, err)
	}
}
