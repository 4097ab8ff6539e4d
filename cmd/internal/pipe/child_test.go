//go:build linux

package pipe

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv makes this binary a proxy of its own process: for limits and counters that are a process's, and for network
// namespaces.
const childEnv = "PIPE_TEST_CHILD"

// An order is the first thing that a child is told.
type order struct {
	Config      Config // without functions
	Listen      string // "": on the one that is passed on by LISTEN_FDS
	Descriptors uint64 // RLIMIT_NOFILE; 0: untouched
}

// A status is what a child tells of itself when it is asked, and when it ends.
type status struct {
	Err      string // why there is no proxy
	Addr     string
	Stats    Stats
	Ended    []Cause
	Holdings map[string]int
	RSS      int64         // bytes
	CPU      time.Duration // used so far
	TCP      map[string]int
}

// childMain serves as ordered on stdin until that ends, and answers each line there with its status.
func childMain() int {
	in, out := gob.NewDecoder(os.Stdin), gob.NewEncoder(os.Stdout)
	c := new(child)
	err := c.open(in)
	first := status{}
	if err != nil {
		first.Err = err.Error()
	} else {
		first = c.status()
	}
	if err := errors.Join(err, out.Encode(first)); err != nil {
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { err = c.Serve(ctx, c.ln) })
	var question bool
	for in.Decode(&question) == nil {
		if err := out.Encode(c.status()); err != nil {
			break
		}
	}
	cancel()
	wg.Wait()
	last := c.status()
	if err != nil {
		last.Err = err.Error()
	}
	_ = out.Encode(last)
	return 0
}

// A child is the proxy in the child process.
type child struct {
	*Proxy
	ln *Listener

	mu    sync.Mutex
	ended []Cause
}

func (c *child) open(in *gob.Decoder) error {
	var o order
	if err := in.Decode(&o); err != nil {
		return err
	}
	if o.Descriptors > 0 {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: o.Descriptors, Max: o.Descriptors}); err != nil {
			return err
		}
	}
	o.Config.Closed = func(e Connection) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ended = append(c.ended, e.Cause)
	}
	if err := c.listen(o); err != nil {
		return err
	}
	var err error
	c.Proxy, err = New(o.Config)
	return err
}

func (c *child) listen(o order) (err error) {
	if o.Listen != "" {
		c.ln, err = Listen(context.Background(), o.Listen, o.Config)
		return err
	}
	// As a service manager does, which knows the process when it sets the environment.
	err = errors.Join(os.Setenv("LISTEN_FDS", "1"), os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())))
	if err != nil {
		return err
	}
	lns, err := Inherited(o.Config)
	if err == nil && len(lns) != 1 {
		err = fmt.Errorf("%d inherited listeners, want one", len(lns))
	}
	if err == nil {
		c.ln = lns[0]
	}
	return err
}

func (c *child) status() status {
	c.mu.Lock()
	ended := append([]Cause(nil), c.ended...)
	c.mu.Unlock()
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		panic(err)
	}
	return status{
		Addr: c.ln.Addr(), Stats: c.Stats(), Ended: ended, Holdings: holdings(), RSS: residentBytes(),
		CPU: time.Duration(use.Utime.Nano() + use.Stime.Nano()), TCP: sockstat(),
	}
}

// residentBytes returns the memory of this process, without shared files.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text))
	resident, _ := strconv.ParseInt(f[1], 10, 64)
	shared, _ := strconv.ParseInt(f[2], 10, 64)
	return (resident - shared) * int64(os.Getpagesize())
}

// sockstat returns the TCP line of /proc/net/sockstat: inuse, orphan, tw, alloc and mem. It is empty if the descriptors
// are used up.
func sockstat() map[string]int {
	n := map[string]int{}
	text, _ := os.ReadFile("/proc/self/net/sockstat")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == "TCP:" {
			for i := 1; i+1 < len(f); i += 2 {
				n[f[i]], _ = strconv.Atoi(f[i+1])
			}
		}
	}
	return n
}

// A remote is a child as its parent sees it.
type remote struct {
	tb   testing.TB
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *os.File
	enc  *gob.Encoder
	dec  *gob.Decoder
	addr string
}

// spawn starts a proxy in a process of its own, which ends with the test. launch starts the command, for instance in
// another network namespace; nil: here.
func spawn(tb testing.TB, o order, launch func(*exec.Cmd) error) *remote {
	tb.Helper()
	cmd := exec.Command(must[string](tb)(filepath.EvalSymlinks("/proc/self/exe")))
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	r := &remote{tb: tb, cmd: cmd, in: must[io.WriteCloser](tb)(cmd.StdinPipe())}
	r.out = must[io.ReadCloser](tb)(cmd.StdoutPipe()).(*os.File)
	r.enc, r.dec = gob.NewEncoder(r.in), gob.NewDecoder(r.out)
	if launch == nil {
		launch = (*exec.Cmd).Start
	}
	check(tb, launch(cmd))
	tb.Cleanup(func() {
		_ = r.in.Close()
		slow := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer slow.Stop()
		_ = cmd.Wait()
	})
	check(tb, r.enc.Encode(o))
	r.addr = r.answer().Addr
	return r
}

func (r *remote) answer() (s status) {
	r.tb.Helper()
	check(r.tb, r.out.SetReadDeadline(time.Now().Add(patience)))
	check(r.tb, r.dec.Decode(&s))
	if s.Err != "" {
		r.tb.Fatal(s.Err)
	}
	return s
}

// status asks the proxy how it is.
func (r *remote) status() status {
	r.tb.Helper()
	check(r.tb, r.enc.Encode(true))
	return r.answer()
}

// await asks until the answer is as wanted, and returns it.
func (r *remote) await(what string, ok func(status) bool) (s status) {
	r.tb.Helper()
	if !within(patience, func() bool { s = r.status(); return ok(s) }) {
		r.tb.Fatalf("after %s still not: %s: %+v", patience, what, s)
	}
	return s
}

// stop ends the proxy as SIGTERM would, and returns its last words.
func (r *remote) stop() status {
	r.tb.Helper()
	check(r.tb, r.in.Close())
	return r.answer()
}
