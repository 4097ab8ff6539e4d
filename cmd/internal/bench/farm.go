package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// holderEnv makes this program a holder of so many connections.
const holderEnv = "SOCKLEAK_BENCH_CONNECTIONS"

// holderSockets is the most that one holder has: both ends of 9,500 connections.
const holderSockets = 19_000

// farm is a set of processes that hold connections.
type farm struct {
	holders []*holder
	sockets int
}

type holder struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// smallSockets is what each of the processes has that are there for their number.
const smallSockets = 20

// plant starts as many holders as the sockets need, the first with as many as it may have, and small ones until there are so many
// processes. The farm is to be closed after an error, too.
func plant(sockets, processes int) (*farm, error) {
	f := &farm{}
	large := (sockets + holderSockets - 1) / holderSockets
	small := max(min(processes-large, (sockets-holderSockets)/smallSockets), 0)
	sockets -= small * smallSockets
	for left := sockets; left > 1; {
		n := min(left, holderSockets) / 2 * 2
		if err := f.add(n / 2); err != nil {
			return f, err
		}
		left -= n
	}
	for range small {
		if err := f.add(smallSockets / 2); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *farm) add(connections int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), holderEnv+"="+strconv.Itoa(connections))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // its end is the holder's
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	f.holders = append(f.holders, &holder{cmd, stdin})
	f.sockets += 2 * connections
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		return fmt.Errorf("a holder of %d connections did not get ready: %q", connections, line)
	}
	return nil
}

func (f *farm) pid() int { return f.holders[0].cmd.Process.Pid }

func (f *farm) descriptors() int {
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.pid()))
	if err != nil {
		return -1
	}
	return len(names)
}

func (f *farm) close() {
	for _, h := range f.holders {
		h.stdin.Close()
	}
	for _, h := range f.holders {
		_ = h.cmd.Wait() // its status says nothing
	}
}

// hold opens the connections, both ends of each, and keeps them until stdin ends.
func hold() error {
	n, err := strconv.Atoi(os.Getenv(holderEnv))
	if err != nil {
		return err
	}
	lim := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	lim.Cur = lim.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	ln, err := listen()
	if err != nil {
		return err
	}
	for i := range n {
		if err := connect(ln, i); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i, n, err)
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// listen listens on every loopback address, on a free port.
func listen() (int, error) {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{}}); err != nil {
		return 0, err
	}
	return ln, unix.Listen(ln, 128)
}

// farmPeers is how many peer addresses the connections are spread over.
const farmPeers = 200

// connect opens one connection and accepts it. Raw system calls: a netpoller that watches every socket would be half of the
// work. One in four has keepalive.
func connect(ln, i int) error {
	sa, err := unix.Getsockname(ln)
	if err != nil {
		return err
	}
	port := sa.(*unix.SockaddrInet4).Port
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if i%4 == 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
			return err
		}
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 1, byte(1 + i%farmPeers)}}); err != nil {
		return err
	}
	_, _, err = unix.Accept4(ln, unix.SOCK_CLOEXEC)
	return err
}

func short(args []string) string {
	s := strings.Join(args, " ")
	if i := strings.LastIndex(args[0], "/"); i >= 0 {
		s = args[0][i+1:] + s[len(args[0]):]
	}
	return s
}
