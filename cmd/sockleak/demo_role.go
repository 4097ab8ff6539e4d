//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/pipe"
	"github.com/sockleak/sockleak/cmd/internal/scan"
)

// The roles of a demo's processes, besides the pipe, which is `sockleak proxy`.
const (
	roleBackend = "backend"
	roleClients = "clients"
)

const (
	// demoAnswer is how many bytes the backend answers where the pipe does not read: more than the pipe passes on, and no more
	// than it can receive unread.
	demoAnswer = 12 << 10
	// demoAsk asks for that, and demoHush for nothing.
	demoAsk, demoHush = '?', '.'
	// demoTold is how often clients that connect say how many they are.
	demoTold = 100 * time.Millisecond
)

// actor is a process of the demo with other ends than the pipe's.
type actor struct {
	ui              *ui
	leak            pipe.Leak
	silent, talking int
}

// demoPartCommand is one process of the demo. It is for the demo alone.
func (p *program) demoPartCommand() *cli.Command {
	return &cli.Command{
		Name:   "demo-part",
		Hidden: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "role"}, &cli.StringFlag{Name: "leak", Value: pipe.NoTimeout.String()}, &cli.StringFlag{Name: "target"},
			&cli.IntFlag{Name: "silent"}, &cli.IntFlag{Name: "talking"},
		},
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			leak, err := pipe.ParseLeak(c.String("leak"))
			if err != nil {
				return err
			}
			a := &actor{ui: p.ui, leak: leak, silent: c.Int("silent"), talking: c.Int("talking")}
			switch c.String("role") {
			case roleBackend:
				return a.backend(c.Context)
			case roleClients:
				return a.clients(c.Context, c.String("target"))
			}
			return usage("unknown role %q", c.String("role"))
		},
	}
}

// backend answers each client until its peer ends, and says so when all have ended that are to.
func (a *actor) backend(ctx context.Context) error {
	cfg := net.ListenConfig{KeepAlive: -1}
	cfg.SetMultipathTCP(false)
	ln, err := cfg.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	a.ui.progress("listening on %s", ln.Addr())
	var ended atomic.Int64
	for {
		conn, err := ln.Accept()
		if err != nil {
			return nil
		}
		go func() {
			defer conn.Close()
			a.answer(conn)
			if n := ended.Add(1); n == int64(a.silent) && ctx.Err() == nil {
				a.ui.progress("ended %d", n)
			}
		}()
	}
}

// answer sends back what comes, or where the pipe is not to read, much for a question and nothing for all else. The peer's end
// and an error end it alike.
func (a *actor) answer(conn net.Conn) {
	b := make([]byte, 1024) // io.Copy would take a pipe for each connection
	for {
		n, err := conn.Read(b)
		if err != nil {
			return
		}
		out := b[:n]
		if a.leak == pipe.NoRead {
			out = nil
			if b[0] == demoAsk {
				out = make([]byte, demoAnswer)
			}
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// clients connect one after the other and begin to talk. Those that are silent later do what the leak needs; the others go on.
// They are not rude: who hangs up on them is hung up on.
func (a *actor) clients(ctx context.Context, target string) error {
	dialer := net.Dialer{KeepAlive: -1, Timeout: demoStepLimit}
	told := time.Now()
	for i := range a.silent + a.talking {
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := a.begin(ctx, conn.(*net.TCPConn), i); err != nil {
			return err
		}
		if time.Since(told) >= demoTold {
			a.ui.progress("clients so far: %d", i+1)
			told = time.Now()
		}
	}
	a.ui.progress("connected %d", a.silent+a.talking)
	<-ctx.Done() // the scan comes while everybody is still there
	return nil
}

// begin is the part of client i, the first ones being those that talk.
func (a *actor) begin(ctx context.Context, conn *net.TCPConn, i int) error {
	talk := func() error { return talk(conn, i) }
	if a.leak == pipe.NoRead {
		talk = func() error { return hush(conn) }
	}
	if i < a.talking {
		if err := talk(); err != nil {
			return err
		}
		go func() {
			for scan.Sleep(ctx, demoTalk) == nil && talk() == nil {
				continue
			}
		}()
		return nil
	}
	if a.leak == pipe.NoRead {
		return ask(conn)
	}
	if err := talk(); err != nil {
		return err
	}
	switch a.leak {
	case pipe.ErrorIgnored:
		return errors.Join(conn.SetLinger(0), conn.Close())
	case pipe.HalfClose:
		if err := conn.CloseWrite(); err != nil {
			return err
		}
	}
	go func() {
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 1)) // the end, or an error, which is one, too
	}()
	return nil
}

// demoBytes is the shortest request. Each client's has a length of its own, so that the two connections that a pipe has for it
// can be told from those that it has for others.
const demoBytes = 256

// talk sends a request and reads its answer, which is as long.
func talk(conn net.Conn, i int) error {
	b := make([]byte, demoBytes+i)
	if _, err := conn.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, b)
	return err
}

// hush sends something that has no answer.
func hush(conn net.Conn) error {
	_, err := conn.Write([]byte{demoHush})
	return err
}

// ask reads an answer, which is complete or ends before that, and closes.
func ask(conn net.Conn) error {
	if _, err := conn.Write([]byte{demoAsk}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, demoAnswer))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return errors.Join(err, conn.Close())
}
