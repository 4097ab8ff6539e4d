//go:build linux

package pipe

import (
	"errors"
	"net"
	"sync"
)

// errorIgnored is the bug of a close that an error skips. As a Java program it is
//
//	void pump(Socket from, Socket to) {
//	    try {
//	        from.getInputStream().transferTo(to.getOutputStream());
//	        from.close();
//	        to.close();
//	    } catch (IOException e) {
//	        log.warn("pump", e);
//	    }
//	}
//
// with a thread for each direction, and a list of sessions for the status page. An end closes both connections. A reset,
// or a time-out of the kernel's, is logged and closes neither: what was reset is gone from every table of the kernel,
// and its descriptor stays; the other connection stays as it is until its own end, which nobody passes on to it.
func (j *joint) errorIgnored() error {
	var up, down bool
	var wg sync.WaitGroup
	wg.Go(func() { up = j.pump(&j.client, &j.server) })
	wg.Go(func() { down = j.pump(&j.server, &j.client) })
	wg.Wait()
	if !up && !down {
		<-j.over
	}
	return nil
}

// pump returns whether it came to the close.
func (j *joint) pump(from, to *jointEnd) bool {
	err := from.copyTo(to)
	if err == nil {
		_ = j.close() // each pump closes both, and either error is as good
		return true
	}
	if !errors.Is(err, net.ErrClosed) { // by the other pump
		j.logf("%v", err)
	}
	return false
}
