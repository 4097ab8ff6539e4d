//go:build linux

package pipe

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"
)

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proxy")
	addr := "unix:" + path
	stale := must[net.Listener](t)(net.Listen("unix", path)).(*net.UnixListener)
	stale.SetUnlinkOnClose(false)
	if _, err := Listen(t.Context(), addr, Config{}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("listen where somebody listens: %v", err)
	}
	check(t, stale.Close())
	ln := must[*Listener](t)(Listen(t.Context(), addr, Config{})) // nobody does any more
	if ln.Addr() != addr {
		t.Errorf("address %q, want %q", ln.Addr(), addr)
	}
	check(t, ln.Close())
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
	check(t, os.WriteFile(path, nil, 0o600))
	if _, err := Listen(t.Context(), addr, Config{}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("listen at a file: %v", err)
	}
	check(t, os.Remove(path)) // it is still there
}

func TestListenersOfOneProxy(t *testing.T) {
	target := echo(t)
	cfg := Config{Targets: []string{target}}
	one := must[*Listener](t)(Listen(t.Context(), "127.0.0.1:0", cfg))
	two := must[*Listener](t)(Listen(t.Context(), "[::1]:0", cfg))
	p := must[*Proxy](t)(New(cfg))
	served := make(chan error, 1)
	ctx, cancel := contextOf(t)
	go func() { served <- p.Serve(ctx, one, two) }()
	for _, ln := range []*Listener{one, two} {
		check(t, roundTrip(ln.Addr(), []byte("hello")))
	}
	cancel()
	check(t, <-served)
}

// TestProxyProtocol has the field's own library read what the target gets.
func TestProxyProtocol(t *testing.T) {
	target := listen(t)
	cfg := Config{Targets: []string{target.Addr().String()}, ProxyProtocol: true}
	for name, addr := range map[string]string{
		"IPv4": "127.0.0.1:0", "IPv6": "[::1]:0", "unix": "unix:" + filepath.Join(t.TempDir(), "proxy"), "abstract": "unix:@" + t.Name(),
	} {
		t.Run(name, func(t *testing.T) {
			r := startAt(t, addr, cfg)
			network, path := "tcp", r.addr
			if p, ok := unixPath(path); ok {
				network, path = "unix", p
			}
			client := must[net.Conn](t)(net.Dial(network, path))
			defer func() { _ = client.Close() }()
			must[int](t)(client.Write([]byte("hello")))
			server := proxyproto.NewConn(must[net.Conn](t)(target.Accept()), proxyproto.WithPolicy(proxyproto.REQUIRE))
			defer func() { _ = server.Close() }()
			got := make([]byte, 5)
			must[int](t)(io.ReadFull(server, got))
			if string(got) != "hello" {
				t.Errorf("behind the header: %q", got)
			}
			header := server.ProxyHeader()
			if header == nil || header.Version != 2 || header.Command != proxyproto.PROXY {
				t.Fatalf("header %+v", header)
			}
			if network == "tcp" && (header.SourceAddr.String() != client.LocalAddr().String() || header.DestinationAddr.String() != r.addr) {
				t.Errorf("from %s to %s, want %s and %s", header.SourceAddr, header.DestinationAddr, client.LocalAddr(), r.addr)
			}
			if network == "unix" && header.TransportProtocol != proxyproto.UnixStream {
				t.Errorf("protocol %v, want a unix stream", header.TransportProtocol)
			}
			eventually(t, "counted", func() bool { return r.Stats().BytesUp == 5 }) // the header is no payload
		})
	}
}
