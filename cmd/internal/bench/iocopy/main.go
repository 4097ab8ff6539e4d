//go:build linux

// Command iocopy is the relay that one writes first in Go: a goroutine per direction with [io.Copy], a FIN passed on, and no
// time-out:
//
//	iocopy 127.0.0.1:9000 127.0.0.1:5432
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "iocopy: error: want an address to listen on and a target")
		os.Exit(2)
	}
	ln, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "iocopy: error:", err)
		os.Exit(2)
	}
	serve(ln, os.Args[2])
}

// serve joins what comes to connections of its own. When descriptors run out it waits for some to be freed.
func serve(ln net.Listener, target string) {
	for {
		client, err := ln.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "iocopy: warning:", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go join(client.(*net.TCPConn), target)
	}
}

func join(client *net.TCPConn, target string) {
	defer client.Close()
	conn, err := net.Dial("tcp", target)
	if err != nil {
		fmt.Fprintln(os.Stderr, "iocopy: warning:", err)
		return
	}
	defer conn.Close()
	server := conn.(*net.TCPConn)
	done := make(chan struct{})
	go func() {
		pass(server, client)
		close(done)
	}()
	pass(client, server)
	<-done
}

// pass copies to the end of src, and passes that on.
func pass(dst, src *net.TCPConn) {
	if _, err := io.Copy(dst, src); err != nil { // whoever waits at the other side must not wait for ever
		dst.Close()
		src.Close()
		return
	}
	_ = dst.CloseWrite() // it fails when the peer has gone
}
