package procfd

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// roleEnv makes the test binary a child of a test. The child does what it is told on its standard
// input and answers on its standard output; it ends when its input does.
const roleEnv = "PROCFD_TEST_ROLE"

var roles = map[string]func(){
	"serve":          serve,
	"no main thread": serveWithoutMainThread,
	"no ptrace":      serveWithoutPtrace,
	"own mounts":     serveWithOwnMounts,
	"other numbers":  lookWithOtherNumbers,
}

type request struct {
	Op   string
	Args []int
}

type reply struct {
	Errno  syscall.Errno
	Error  string // what went wrong when it was no error number
	Values []int
	Seen   *seen `json:",omitempty"`
}

// serve answers until its input ends. Standard input and output are pipes that block, so that the
// runtime opens no descriptors for them.
func serve() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var req request
		if err := in.Decode(&req); err != nil {
			return
		}
		if err := out.Encode(obey(req)); err != nil {
			return
		}
	}
}

func obey(req request) (r reply) {
	op, ok := ops[req.Op]
	if !ok {
		r.Error = "no such operation: " + req.Op
		return r
	}
	if err := op(&r, req.Args); err != nil && !errors.As(err, &r.Errno) {
		r.Error = err.Error()
	}
	return r
}

func init() {
	if os.Getenv(roleEnv) == "no main thread" {
		runtime.LockOSThread() // during init only, this is the main thread
	}
}

var endMainThread = make(chan struct{})

// serveWithoutMainThread ends the main thread and no other when it is told to, which leaves the process
// with a zombie as its leader. The runtime takes the thread for one in a long system call.
func serveWithoutMainThread() {
	go func() {
		serve()
		os.Exit(0)
	}()
	<-endMainThread
	unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

// serveWithoutPtrace is root without CAP_SYS_PTRACE: it starts again without it.
func serveWithoutPtrace() {
	runtime.LockOSThread()
	err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_PTRACE, 0, 0, 0)
	if err == nil {
		os.Setenv(roleEnv, "serve")
		err = unix.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	panic(err)
}

// child is a process that does what a test tells it.
type child struct {
	t   testing.TB
	pid int
	cmd *exec.Cmd
	in  io.Closer
	enc *json.Encoder
	dec *json.Decoder
}

// start runs a child, as another user when cred is not nil. It ends with the test at the latest.
func start(t testing.TB, role string, cred *syscall.Credential) *child {
	t.Helper()
	// By this name it can be run from a directory that the other user may not enter.
	cmd := exec.Command("/proc/self/exe")
	// The race detector has a process wait for a second before it ends, which none of these needs.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	if err := cmd.Start(); err != nil {
		in.Close()
		out.Close()
		if cred != nil && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL)) {
			t.Skipf("cannot become user %d: %v", cred.Uid, err)
		}
		t.Fatal(err)
	}
	c := &child{t: t, pid: cmd.Process.Pid, cmd: cmd, in: in, enc: json.NewEncoder(in), dec: json.NewDecoder(out)}
	t.Cleanup(c.end)
	c.do("ready") // from here on it is the test binary, and quiet
	return c
}

// end closes the child's input, and waits for it to end of that.
func (c *child) end() {
	if c.cmd.ProcessState != nil {
		return
	}
	c.in.Close()
	defer c.deadline()()
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("child: %v", err)
	}
}

// deadline ends a child that does not answer, so that the test fails and not hangs.
func (c *child) deadline() (met func()) {
	overdue := time.AfterFunc(30*time.Second, func() {
		c.t.Error("the child does nothing any more")
		c.cmd.Process.Kill()
	})
	return func() { overdue.Stop() }
}

// ask has the child do something, and returns what came of it.
func (c *child) ask(op string, args ...int) reply {
	c.t.Helper()
	defer c.deadline()()
	must(c.t, c.enc.Encode(request{op, args}))
	var r reply
	must(c.t, c.dec.Decode(&r))
	if r.Error != "" {
		c.t.Fatalf("child: %s %v: %s", op, args, r.Error)
	}
	return r
}

// try has the child do something that may be refused, with no or one result.
func (c *child) try(op string, args ...int) (int, error) {
	c.t.Helper()
	r := c.ask(op, args...)
	if r.Errno != 0 {
		return -1, r.Errno
	}
	if len(r.Values) == 0 {
		return 0, nil
	}
	return r.Values[0], nil
}

// do has the child do something that must succeed.
func (c *child) do(op string, args ...int) int {
	c.t.Helper()
	v, err := c.try(op, args...)
	if err != nil {
		c.t.Fatalf("child: %s %v: %v", op, args, err)
	}
	return v
}

// socketFD is a socket of the child as the child sees it.
func (c *child) socketFD(fd int) SocketFD {
	c.t.Helper()
	return SocketFD{FD: fd, Inode: uint64(c.do("inode", fd))}
}

// asker opens an Asker of the child.
func (c *child) asker() *Asker {
	c.t.Helper()
	return newAsker(c.t, c.pid)
}

func newAsker(t testing.TB, pid int) *Asker {
	t.Helper()
	a, err := liveFS(t).Ask(live(t, pid))
	must(t, err)
	t.Cleanup(func() { a.Close() })
	return a
}
