//go:build !linux

package netlinkss

import (
	"context"
	"iter"
	"net/netip"
)

// Conn is a sock_diag socket; only Linux has them.
type Conn struct{}

// Dial returns [ErrNotSupported]: only Linux has sock_diag.
func Dial(*Config) (*Conn, error) { return nil, opError("open netlink socket", ErrNotSupported) }

// Tap does nothing.
func (*Conn) Tap(func([]byte)) {}

// Repeats is 0.
func (*Conn) Repeats() int { return 0 }

// Close does nothing.
func (*Conn) Close() error { return nil }

// NetnsCookie returns [ErrNotSupported].
func (*Conn) NetnsCookie() (uint64, error) { return 0, ErrNotSupported }

// Dump yields [ErrNotSupported].
func (*Conn) Dump(context.Context, Request) iter.Seq2[*Socket, error] {
	return func(yield func(*Socket, error) bool) { yield(nil, ErrNotSupported) }
}

// Split returns [ErrNotSupported].
func (*Conn) Split(_ context.Context, r Request) (low, high Request, ok bool, err error) {
	return r, r, false, ErrNotSupported
}

// Lookup returns [ErrNotSupported].
func (*Conn) Lookup(context.Context, Request, Family, netip.AddrPort, netip.AddrPort, uint32, uint64) (*Socket, error) {
	return nil, ErrNotSupported
}

// InNetns returns [ErrNotSupported] but for the caller's own namespace.
func InNetns(path string, f func() error) error {
	if path == "" {
		return f()
	}
	return ErrNotSupported
}
