//go:build linux

package pipe

import (
	"cmp"
	"sync"
)

// halfClose is the bug of two copies that wait for each other. As a Go program it is
//
//	var wg sync.WaitGroup
//	wg.Go(func() { io.Copy(server, client) })
//	wg.Go(func() { io.Copy(client, server) })
//	wg.Wait()
//	client.Close()
//	server.Close()
//
// The end of the client ends the first copy, and nothing tells the server: server.CloseWrite() is missing. So the server
// waits for more, and the second copy for the server. The client's connection stays in CLOSE-WAIT, the server's in ESTAB,
// and both peers answer keepalive. An error of one copy is waited out in the same way.
func (j *joint) halfClose() error {
	var up, down error
	var wg sync.WaitGroup
	wg.Go(func() { up = j.client.copyTo(&j.server) })
	wg.Go(func() { down = j.server.copyTo(&j.client) })
	wg.Wait()
	return cmp.Or(up, down)
}
