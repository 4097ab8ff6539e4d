package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// jobs are the programs that a script has in the background, and its servers.
type jobs struct {
	env    []string
	byName map[string]*job
}

type jobsKey struct{}

// job is a running program.
type job struct {
	cmd         *exec.Cmd
	out, stderr watched
	done        chan struct{}
	err         error    // of Wait, once done is closed
	keys        *os.File // nil without a terminal
}

// watched is a buffer that tells when it grows.
type watched struct {
	mu   sync.Mutex
	b    bytes.Buffer
	grew chan struct{}
}

func newWatched() watched { return watched{grew: make(chan struct{}, 1)} }

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.grew <- struct{}{}:
	default:
	}
	return w.b.Write(b)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// newJobs sees to it that nothing outlives the script, however it ends.
func newJobs(e *testscript.Env) *jobs {
	js := &jobs{env: e.Vars, byName: map[string]*job{}}
	e.Defer(func() {
		for _, j := range js.byName {
			_ = j.cmd.Process.Kill() // it may have ended
			<-j.done
		}
	})
	return js
}

func jobNamed(ts *testscript.TestScript, name string) *job {
	j := ts.Value(jobsKey{}).(*jobs).byName[name]
	if j == nil {
		ts.Fatalf("nothing was started as %q", name)
	}
	return j
}

func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM ARG…")
	}
	startJob(ts, args[0], args[1:], nil)
}

// startJob starts a program with stdin, or with an empty one where that is nil.
func startJob(ts *testscript.TestScript, name string, args []string, stdin *os.File) {
	js := ts.Value(jobsKey{}).(*jobs)
	j := &job{cmd: exec.Command(args[0], args[1:]...), out: newWatched(), stderr: newWatched(), done: make(chan struct{})}
	j.cmd.Dir, j.cmd.Env = ts.MkAbs("."), js.env
	if stdin != nil {
		j.cmd.Stdin = stdin
	}
	j.cmd.Stdout, j.cmd.Stderr = &j.out, &j.stderr
	// If one of its children held on to stderr, that would be a process left behind, which "nobody" finds.
	j.cmd.WaitDelay = time.Second
	ts.Check(j.cmd.Start())
	js.byName[name] = j
	go func() {
		j.err = j.cmd.Wait()
		close(j.done)
	}()
}

func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await NAME REGEXP [VAR]")
	}
	j, re := jobNamed(ts, args[0]), regexp.MustCompile("(?m)"+args[1])
	limit := time.After(scriptLimit)
	for {
		if m := re.FindStringSubmatch(j.stderr.String()); m != nil {
			if len(args) == 3 {
				ts.Setenv(args[2], m[1])
			}
			return
		}
		select {
		case <-j.stderr.grew:
		case <-j.done:
			ts.Fatalf("%s ended (%v) and did not say %s:\n%s", args[0], j.err, re, j.stderr.String())
		case <-limit:
			ts.Fatalf("%s did not say %s in %s:\n%s", args[0], re, scriptLimit, j.stderr.String())
		}
	}
}

func scriptSend(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": os.Interrupt, "KILL": os.Kill}
	if neg || len(args) != 2 || signals[args[1]] == nil {
		ts.Fatalf("usage: send NAME TERM|INT|KILL")
	}
	ts.Check(jobNamed(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

func scriptEnded(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ended NAME STATUS")
	}
	j := jobNamed(ts, args[0])
	select {
	case <-j.done:
	case <-time.After(scriptLimit):
		ts.Fatalf("%s did not end in %s", args[0], scriptLimit)
	}
	// As if it had been the last command: its output comes with the status of a program that only repeats it.
	fmt.Fprint(ts.Stdout(), j.out.String())
	fmt.Fprint(ts.Stderr(), j.stderr.String())
	if errors.Is(j.err, exec.ErrWaitDelay) {
		ts.Fatalf("a process that %s started holds its output open", args[0])
	}
	if strings.Contains(j.stderr.String(), "panic:") || strings.Contains(j.stderr.String(), "DATA RACE") {
		ts.Fatalf("%s:\n%s", args[0], j.stderr.String())
	}
	if status := fmt.Sprint(j.cmd.ProcessState.ExitCode()); status != args[1] {
		ts.Fatalf("exit status %s of %s, want %s:\n%s", status, args[0], args[1], j.stderr.String())
	}
}

// scriptDark keeps the socket until the script ends.
func scriptDark(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: dark")
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	ts.Check(err)
	ts.Defer(func() { syscall.Close(fd) })
}

// scriptEcho is a server on a free port that sends back what it gets, and ends when its peer does.
func scriptEcho(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: echo VAR")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			open.Go(func() {
				defer stop()
				defer conn.Close()
				// Without splice(2), whose pipes package net keeps until the collector comes by. An error ends it as an end does.
				_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
			})
		}
	})
	ts.Defer(func() {
		ln.Close()
		cancel()
		open.Wait()
	})
	ts.Setenv(args[0], ln.Addr().String())
}

// scriptTalk waits until somebody listens, sends more than the buffers on the way hold and wants it back. Then it
// closes, or with -half says that it is done and reads to the end, or with -hold leaves the connection open until
// the script ends.
func scriptTalk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: talk [-half|-hold] ADDR")
	}
	var conn net.Conn
	waitFor(ts, "a listener", func() (ok bool) {
		var err error
		network, addr := "tcp", args[len(args)-1]
		if path, ok := strings.CutPrefix(addr, "unix:"); ok {
			network, addr = "unix", ts.MkAbs(path)
		}
		conn, err = net.Dial(network, addr)
		return err == nil
	})
	if args[0] == "-hold" {
		ts.Defer(func() { conn.Close() })
	} else {
		defer conn.Close()
	}
	ts.Check(conn.SetDeadline(time.Now().Add(scriptLimit)))
	sent := bytes.Repeat([]byte("sockleak\x00\xff"), 100_000)
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		if args[0] == "-half" && err == nil {
			err = conn.(interface{ CloseWrite() error }).CloseWrite()
		}
		wrote <- err
	}()
	got := make([]byte, len(sent))
	_, readErr := io.ReadFull(conn, got)
	ts.Check(errors.Join(<-wrote, readErr))
	if !bytes.Equal(got, sent) {
		ts.Fatalf("other bytes came back than were sent")
	}
	if args[0] == "-half" {
		rest, err := io.ReadAll(conn)
		ts.Check(err)
		if len(rest) > 0 {
			ts.Fatalf("%d bytes more came back than were sent", len(rest))
		}
	}
}

// scriptGet fetches a URL; the answer's body is the last command's stdout.
func scriptGet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: get URL")
	}
	client := http.Client{Timeout: scriptLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(args[0])
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s", body)
}

// scriptGuest is a client that says nothing, or with -talks a word and hears it again, and then ends its side and stays
// until the script ends; or resets; or sends 64 KiB, reads until as much has come or the other side has ended, and closes.
func scriptGuest(ts *testscript.TestScript, neg bool, args []string) {
	talks := len(args) > 0 && args[0] == "-talks"
	if talks {
		args = args[1:]
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: guest [-talks] ends|resets|reads ADDR")
	}
	dialed, err := net.Dial("tcp", args[1])
	ts.Check(err)
	conn := dialed.(*net.TCPConn)
	ts.Defer(func() { conn.Close() })
	ts.Check(conn.SetDeadline(time.Now().Add(scriptLimit)))
	if talks {
		sendAndHear(ts, conn, 100)
	}
	switch args[0] {
	case "ends":
		ts.Check(conn.CloseWrite())
	case "resets":
		ts.Check(errors.Join(conn.SetLinger(0), conn.Close()))
	case "reads":
		sendAndHear(ts, conn, 64<<10)
		ts.Check(conn.Close())
	default:
		ts.Fatalf("a guest ends, resets or reads")
	}
}

// sendAndHear sends bytes that fit into the buffers on the way, and reads as many or to the end, which must be theirs.
func sendAndHear(ts *testscript.TestScript, conn net.Conn, n int) {
	sent := bytes.Repeat([]byte("guest\x00\xff\n"), n/8+1)[:n]
	_, err := conn.Write(sent)
	ts.Check(err)
	got, err := io.ReadAll(io.LimitReader(conn, int64(n)))
	ts.Check(err)
	if len(got) == 0 || !bytes.HasPrefix(sent, got) {
		ts.Fatalf("%d bytes came back that were not sent", len(got))
	}
}
