//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// running is a relay that runs.
type running struct {
	cmd    *exec.Cmd
	port   int
	said   said
	exited chan struct{}
}

// said keeps the beginning of what a program says.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

const saidMost = 2 << 10

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Write(b[:min(len(b), saidMost-s.b.Len())])
	return len(b), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimSpace(s.b.String())
}

// start starts a relay to a port, as a user if one is given, and returns when it relays.
func (r *relay) start(ctx context.Context, c *config, target int, as *syscall.Credential) (*running, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args, err := r.command(site{dir: c.dir, listen: port, target: target, descriptors: c.descriptors})
	if err != nil {
		return nil, err
	}
	run := &running{port: port, exited: make(chan struct{})}
	run.cmd = exec.Command(args[0], args[1:]...)
	run.cmd.Stderr = &run.said
	run.cmd.WaitDelay = time.Second // what it has started may keep its stderr
	// A group of its own, which is what is left to end behind it. nginx's master ends its workers at SIGTERM alone.
	run.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGTERM, Credential: as}
	if err := run.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = run.cmd.Wait() // its status says nothing
		close(run.exited)
	}()
	if err := run.probe(ctx); err != nil {
		err = run.explain(err)
		run.stop()
		return nil, err
	}
	return run, nil
}

// probe exchanges a message through the relay as soon as it listens.
func (run *running) probe(ctx context.Context) error {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		t, err := newTalk(addressOf(run.port), 1, backendCloses)
		if err != nil {
			return err
		}
		err = t.open(ctx, 1)
		t.close()
		if !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
		select {
		case <-run.exited:
			return errors.New("it ended at once")
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("it does not listen: %w", err)
		}
	}
}

// explain adds to an error what the relay said, and whether it lives.
func (run *running) explain(err error) error {
	select {
	case <-run.exited:
		err = fmt.Errorf("%w (it has ended: %s)", err, run.cmd.ProcessState)
	default:
	}
	if s := run.said.String(); s != "" {
		err = fmt.Errorf("%w; stderr: %s", err, s)
	}
	return err
}

// stop ends the relay, and what it has started.
func (run *running) stop() {
	_ = run.cmd.Process.Signal(unix.SIGTERM) // it fails when it has ended
	select {
	case <-run.exited:
	case <-time.After(time.Second):
	}
	_ = unix.Kill(-run.cmd.Process.Pid, unix.SIGKILL)
	<-run.exited
}

// freePort is one that nobody listens on, nor is given by the kernel to who connects.
func freePort() (int, error) {
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		if ln, err := net.Listen("tcp", local(port)); err == nil {
			return port, ln.Close()
		}
	}
	return 0, errors.New("no free port")
}

// mostDescriptors is how many descriptors a process needs here at the most. Some relays take memory for each that they may have.
const mostDescriptors = 20_000

// limitDescriptors gives this process and what it starts so many descriptors, or as many as they may have, and returns how many.
func limitDescriptors() (int, error) {
	lim := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, err
	}
	lim.Cur = min(lim.Max, mostDescriptors)
	return int(lim.Cur), unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: lim.Cur, Max: lim.Cur})
}

// nobody is a user without privileges.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534}
