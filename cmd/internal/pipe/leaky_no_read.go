//go:build linux

package pipe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// headSize is what is read of an answer at the most: the buffer with which net/http reads a response's head.
	headSize = 4 << 10
	// headLinger is how long the client may take to end after the head, as net/http's server waits (rstAvoidanceDelay).
	headLinger = 500 * time.Millisecond
)

// noRead is the bug of an answer that is not read to its end. As a Go program it is
//
//	func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
//	    out, err := http.NewRequestWithContext(r.Context(), r.Method, p.target+r.URL.Path, r.Body)
//	    ...
//	    resp, err := http.DefaultClient.Do(out)
//	    if err != nil {
//	        http.Error(w, err.Error(), http.StatusBadGateway)
//	        return
//	    }
//	    w.WriteHeader(resp.StatusCode)
//	}
//
// where resp.Body is neither read nor closed. The client gets the head and a proper end. The connection to the server
// stays in ESTAB with the rest of the answer in its receive queue; when that is full, the server hangs in a write. A client
// that ends before its answer cancels the request, and a server that ends or fails before it is closed: nothing of these
// stays.
func (j *joint) noRead() error {
	var settled atomic.Bool // answered, or cancelled
	var upload sync.WaitGroup
	upload.Go(func() {
		_ = j.client.copyTo(&j.server) // a client that fails has ended, too
		if settled.CompareAndSwap(false, true) {
			_ = j.server.close() // what it has to say is of no use any more
		}
	})
	head := make([]byte, headSize)
	n, err := j.server.conn.Read(head)
	if n > 0 && settled.CompareAndSwap(false, true) {
		j.dismiss(head[:n])
		upload.Wait()
		_ = j.client.close()
		<-j.over
		return nil
	}
	err = errors.Join(unlessEnd(err), j.close())
	upload.Wait()
	return err
}

// dismiss gives the client the head and an end, and bounds what it may go on sending.
func (j *joint) dismiss(head []byte) {
	_ = j.client.write(head) // a client that fails is dismissed, too
	limit := time.Now().Add(headLinger)
	_ = j.client.conn.CloseWrite()
	_ = j.client.conn.SetReadDeadline(limit)
	_ = j.server.conn.SetWriteDeadline(limit)
}

// unlessEnd is nil for the end of a server, and for the close that cancels its answer.
func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("read from server: %w", err)
}
