package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// families are the programs whose connections have more than one holder, had, or have none for a while.
var families = map[string]func(*zoo) truth{
	"inherited":          func(z *zoo) truth { return inherited(z, "guest-caller", true, cat) },
	"inherited-mute":     func(z *zoo) truth { return inherited(z, "guest-mute", false, sleeper) },
	"inherited-parent":   inheritedParent,
	"inherited-child":    inheritedChild,
	"inherited-dialed":   inheritedDialed,
	"shared":             shared,
	"fork-per-connect":   forkPerConnection,
	"inetd":              inetd,
	"duplicate":          duplicate,
	"passed":             passed,
	"passed-to-nobody":   passedToNobody,
	"child-sleeps":       func(*zoo) truth { return truth{} },
	"child-serves":       childServes,
	"child-serves-polls": childServesPassed,
}

// spawn starts a role in a process of its own, which ends with this one, and returns when it is ready.
func spawn(attr *syscall.SysProcAttr, role string, n int, peer, host string, files ...*os.File) (int, truth) {
	cmd := exec.Command("/proc/self/exe", role, fmt.Sprint(n), peer, host)
	cmd.SysProcAttr, cmd.ExtraFiles, cmd.Stderr = attr, files, os.Stderr
	in, err := cmd.StdinPipe()
	check(err)
	keep(in)
	out, err := cmd.StdoutPipe()
	check(err)
	keep(out)
	check(cmd.Start())
	var t truth
	check(json.NewDecoder(out).Decode(&t))
	return cmd.Process.Pid, t
}

// cat is a process of another program that has files, and sleeps in a read of its stdin, which ends with this process.
func cat(files ...*os.File) int {
	cmd := exec.Command("cat")
	cmd.ExtraFiles = files
	in, err := cmd.StdinPipe()
	check(err)
	keep(in)
	check(cmd.Start())
	return cmd.Process.Pid
}

// sleeper is cat as a process of this program.
func sleeper(files ...*os.File) int {
	pid, _ := spawn(nil, "child-sleeps", 0, "", "", files...)
	return pid
}

// guestsOf are the connections of guests, who live in a process of their own, to a new listener. They are older than what
// is started afterwards.
func guestsOf(z *zoo, guest string, keepalive bool) []*net.TCPConn {
	ln := silentListen(z.host)
	came := make(chan *net.TCPConn)
	go func() {
		for range z.n {
			a, err := ln.Accept()
			check(err)
			c := a.(*net.TCPConn)
			check(c.SetKeepAlive(keepalive))
			if guest == "guest-caller" {
				_, err = io.CopyN(c, c, 6)
				check(err)
			}
			came <- c
		}
	}()
	go spawn(nil, guest, z.n, address(ln), "")
	conns := make([]*net.TCPConn, z.n)
	for i := range conns {
		conns[i] = <-came
	}
	<-time.After(3 * beat)
	return conns
}

// handOver turns connections into files that a child can be given. The copies of this process are closed by closeAll.
func handOver(conns []*net.TCPConn) []*os.File {
	files := make([]*os.File, len(conns))
	for i, c := range conns {
		f, err := c.File()
		check(err)
		files[i] = f
		c.Close()
	}
	return files
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// inherited starts a child that has to do with other things and is given its connections by mistake: when this process
// closes them, the child keeps them alive, and does not know.
func inherited(z *zoo, guest string, keepalive bool, start func(...*os.File) int) truth {
	files := handOver(guestsOf(z, guest, keepalive))
	child := start(files...)
	closeAll(files)
	t := truth{
		Leaks: map[string]int{inheritedRule: z.n}, Children: []int{child},
		Held: map[string]int{listening: 1, estabKA: z.n},
	}
	if !keepalive {
		t.Held = map[string]int{listening: 1, estab: z.n}
	}
	return t
}

// inheritedParent is looked at alone: who asks for it asks for what its child keeps.
func inheritedParent(z *zoo) truth {
	t := inherited(z, "guest-caller", true, sleeper)
	t.Unscanned, t.Children = t.Children, nil
	return t
}

func inheritedChild(z *zoo) truth {
	t := inherited(z, "guest-caller", true, sleeper)
	t.Unscanned = []int{os.Getpid()}
	return t
}

// inheritedDialed gives connections that it has made itself to another program.
func inheritedDialed(z *zoo) truth {
	conns := make([]*net.TCPConn, z.n)
	for i := range conns {
		conns[i] = dialPolitely(z.peer)
	}
	<-time.After(3 * beat)
	files := handOver(conns)
	child := cat(files...)
	closeAll(files)
	return truth{Leaks: map[string]int{inheritedRule: z.n}, Children: []int{child}, Held: map[string]int{estabKA: z.n}}
}

// dialPolitely connects with keepalive, says a line and hears it back.
func dialPolitely(addr string) *net.TCPConn {
	c := dial(addr).(*net.TCPConn)
	check(c.SetKeepAlive(true))
	keep(c)
	say(c)
	var line [6]byte
	_, err := io.ReadFull(c, line[:])
	check(err)
	return c
}

// shared keeps its connections, and so does its child: neither's close would end them.
func shared(z *zoo) truth {
	conns := guestsOf(z, "guest-caller", true)
	files := make([]*os.File, z.n)
	for i, c := range conns {
		f, err := c.File()
		check(err)
		files[i] = f
		keep(c)
	}
	child := sleeper(files...)
	closeAll(files)
	return truth{
		Leaks: none, Risks: map[string]int{inheritedRule: z.n}, Unscanned: []int{child},
		Held: map[string]int{listening: 1, estabKA: 2 * z.n},
	}
}

// forkPerConnection starts a child for each connection, which serves it: it sleeps in a read.
func forkPerConnection(z *zoo) truth {
	files := handOver(guestsOf(z, "guest-caller", true))
	t := truth{Leaks: none, Held: map[string]int{listening: 1, estabKA: z.n}}
	for _, f := range files {
		pid, _ := spawn(nil, "child-serves", 0, "", "", f)
		t.Children = append(t.Children, pid)
		f.Close()
	}
	return t
}

// childServes echoes what comes from descriptor 3, by system calls that sleep.
func childServes(*zoo) truth {
	go func() {
		b := make([]byte, 4<<10)
		for {
			n, err := unix.Read(3, b)
			if n <= 0 || err != nil {
				_ = unix.Close(3)
				return
			}
			_, err = unix.Write(3, b[:n])
			check(err)
		}
	}()
	return truth{}
}

// inetd starts a child for each connection, which is its stdin, its stdout and its stderr.
func inetd(z *zoo) truth {
	t := truth{Leaks: none, Held: map[string]int{listening: 1, estabKA: 3 * z.n}}
	files := handOver(guestsOf(z, "guest-caller", true))
	for _, f := range files {
		cmd := exec.Command("cat")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, f
		check(cmd.Start())
		t.Children = append(t.Children, cmd.Process.Pid)
		f.Close()
	}
	return t
}

// duplicate keeps what File returns beside the connection: Close of one leaves the other.
func duplicate(z *zoo) truth {
	for range z.n {
		f, err := dialPolitely(z.peer).File()
		check(err)
		keep(f)
	}
	return truth{Leaks: none, Risks: map[string]int{duplicateRule: z.n}, Held: map[string]int{estabKA: 2 * z.n}}
}

// pass sends connections through a socket that may be sent descriptors.
func pass(via int, files []*os.File) {
	for _, f := range files {
		check(unix.Sendmsg(via, []byte("x"), unix.UnixRights(int(f.Fd())), nil, 0))
		f.Close()
	}
}

func socketpair() [2]int {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(err)
	return fds
}

// passedToNobody sends its connections to who does not receive them: they are open, and nobody holds them.
func passedToNobody(z *zoo) truth {
	conns := make([]*net.TCPConn, z.n)
	for i := range conns {
		conns[i] = dialPolitely(z.peer)
	}
	pass(socketpair()[0], handOver(conns))
	return truth{Leaks: none, Gaps: true, Held: none}
}

// passed sends its connections to a child, which serves them.
func passed(z *zoo) truth {
	files := handOver(guestsOf(z, "guest-caller", true))
	fds := socketpair()
	pass(fds[0], files)
	theirs := os.NewFile(uintptr(fds[1]), "")
	child, _ := spawn(nil, "child-serves-polls", z.n, "", "", theirs)
	theirs.Close()
	return truth{Leaks: none, Children: []int{child}, Held: map[string]int{listening: 1, estabKA: z.n}}
}

// childServesPassed echoes what comes from the connections that come from descriptor 3.
func childServesPassed(z *zoo) truth {
	for range z.n {
		rights := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := unix.Recvmsg(3, make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
		check(err)
		messages, err := unix.ParseSocketControlMessage(rights[:n])
		check(err)
		fds, err := unix.ParseUnixRights(&messages[0])
		check(err)
		f := os.NewFile(uintptr(fds[0]), "")
		c, err := net.FileConn(f)
		check(err)
		f.Close()
		go func() { _, _ = io.Copy(c, c); c.Close() }()
	}
	return truth{}
}
