//go:build linux

package pipe

import (
	"io"
	"testing"
	"time"
)

// BenchmarkStream is one connection that sends as fast as it can. Client and server share the processors with the proxy.
func BenchmarkStream(b *testing.B) {
	for _, mode := range []Mode{Fixed, Leaky} {
		b.Run(mode.String(), func(b *testing.B) {
			client, server, _ := joined(b, Config{Mode: mode})
			check(b, client.SetDeadline(time.Time{}))
			check(b, server.SetDeadline(time.Time{}))
			chunk := make([]byte, 256<<10)
			// As many chunks may be under way; the leaky mode would take any number.
			window := make(chan struct{}, 16)
			go func() {
				buf := make([]byte, len(chunk))
				for {
					if _, err := io.ReadFull(server, buf); err != nil {
						return
					}
					<-window
				}
			}()
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				window <- struct{}{}
				must[int](b)(client.Write(chunk))
			}
			for range cap(window) {
				window <- struct{}{} // all has arrived when the window can be filled without sending
			}
		})
	}
}

// BenchmarkChurn is a connection with 1 KiB each way, from connect to close.
func BenchmarkChurn(b *testing.B) {
	for _, mode := range []Mode{Fixed, Leaky} {
		b.Run(mode.String(), func(b *testing.B) {
			r := start(b, Config{Targets: []string{echo(b)}, Mode: mode})
			msg := random(1<<10, 14)
			b.ReportAllocs()
			for b.Loop() {
				check(b, roundTrip(r.addr, msg))
			}
		})
	}
}
