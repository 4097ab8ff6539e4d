package main

// Programs that open, use, hand over, inherit and close sockets as fast as they can, and leak none. They are this test program, started
// with the name of a part in its environment.

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// churnPart names the part that a process plays.
const churnPart = "SOCKLEAK_CHURN_PART"

// What the leaker leaks.
const (
	churnCloseWait = 25
	churnDead      = 10
)

func init() {
	part, ok := os.LookupEnv(churnPart)
	if !ok {
		return
	}
	// Nobody outlives who has started it.
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	parts := map[string]func() error{
		"stage": churnStage, "server": churnServer, "client": churnClient, "leaker": churnLeaker, "giver": churnGiver, "taker": churnTaker,
		"storm": churnStorm, "confined": confined, "crowd": churnCrowd, "holder": churnHolder, "peer": churnPeer,
	}
	if err := parts[part](); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", part, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// playing is this program in a part. What it says is its standard output.
func playing(part string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), churnPart+"="+part)
	cmd.Stderr = os.Stderr
	return cmd
}

// toServer is the address of the server in the second argument.
func toServer() *unix.SockaddrInet4 {
	port, _ := strconv.Atoi(os.Args[1])
	return &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
}

func listenTCP() (fd int, at *unix.SockaddrInet4, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, nil, err
	}
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, nil, err
	}
	if err = unix.Listen(fd, 1024); err != nil {
		return -1, nil, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return -1, nil, err
	}
	return fd, name.(*unix.SockaddrInet4), nil
}

// ready tells who has started this process that it is, and something of it.
func ready(v any) { fmt.Println(v) }

// forEver runs f on threads of their own, until the starter ends.
func forEver(threads int, f func(n int)) {
	for range threads {
		go func() {
			for n := 0; ; n++ {
				f(n)
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// churnServer answers and closes; every third time it closes first.
func churnServer() error {
	ln, at, err := listenTCP()
	if err != nil {
		return err
	}
	ready(at.Port)
	forEver(3, func(n int) {
		fd, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		var b [16]byte
		got, _ := unix.Read(fd, b[:])
		if got > 0 && b[0] != 'f' {
			_, _ = unix.Write(fd, b[:got])
			_, _ = unix.Read(fd, b[:]) // its end
		}
		unix.Close(fd)
	})
	return nil
}

// churnOnce is one connection from socket to close. abort: the end is a reset, which leaves no TIME-WAIT.
func churnOnce(at *unix.SockaddrInet4, first, abort bool) {
	to := *at // which connect writes to
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if abort {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if unix.Connect(fd, &to) != nil {
		return
	}
	word := []byte("please")
	if first {
		word[0] = 'f' // the server closes first
	}
	_, _ = unix.Write(fd, word)
	_, _ = unix.Read(fd, word)
}

func churnClient() error {
	to := toServer()
	ready("")
	forEver(3, func(n int) {
		churnOnce(to, n%7 == 0, n%5 != 0)
		if n%11 == 0 {
			churnOnce(&unix.SockaddrInet4{Port: 1, Addr: [4]byte{127, 0, 0, 1}}, false, true) // refused
		}
		if n%13 == 0 { // a pause without a connection: the host has two processors
			time.Sleep(time.Millisecond)
		}
	})
	return nil
}

// churnLeaker leaks what it is to, and then churns as others do: the numbers of its descriptors are used again and again.
func churnLeaker() error {
	to := toServer()
	ln, at, err := listenTCP()
	if err != nil {
		return err
	}
	for i := range churnCloseWait + churnDead {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, at); err != nil {
			return err
		}
		peer, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
		if err != nil {
			return err
		}
		if i >= churnCloseWait {
			_ = unix.SetsockoptLinger(peer, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
		unix.Close(peer)
	}
	unix.Close(ln)
	ready("")
	forEver(2, func(n int) {
		churnOnce(to, n%7 == 0, true)
		time.Sleep(200 * time.Microsecond)
	})
	return nil
}

// churnGiver accepts connections and hands them to the taker, which is its child.
func churnGiver() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	taker := playing("taker")
	end := os.NewFile(uintptr(pair[1]), "taker's end")
	taker.ExtraFiles = []*os.File{end}
	if _, err := taker.StdinPipe(); err != nil {
		return err
	}
	if err := taker.Start(); err != nil {
		return err
	}
	end.Close()
	ln, at, err := listenTCP()
	if err != nil {
		return err
	}
	ready(at.Port)
	forEver(1, func(int) {
		fd, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0)
		unix.Close(fd)
	})
	return nil
}

func churnTaker() error {
	forEver(2, func(int) {
		b, rights := make([]byte, 16), make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := unix.Recvmsg(3, b, rights, unix.MSG_CMSG_CLOEXEC)
		if err != nil {
			return
		}
		messages, _ := unix.ParseSocketControlMessage(rights[:n])
		for i := range messages {
			fds, _ := unix.ParseUnixRights(&messages[i])
			for _, fd := range fds {
				got, _ := unix.Read(fd, b)
				_, _ = unix.Write(fd, b[:max(got, 0)])
				unix.Close(fd)
			}
		}
	})
	return nil
}

// churnStorm starts children as fast as it can, each of which inherits a connection, lives for a moment and ends.
func churnStorm() error {
	to := toServer()
	ready("")
	forEver(1, func(n int) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return
		}
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Connect(fd, to)
		for range 4 {
			forkBriefly()
		}
		unix.Close(fd)
		for {
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	})
	return nil
}

// forkBriefly starts a copy of this process that does nothing but end a millisecond later. The copy has one thread, and makes system
// calls alone: nothing of package runtime works in it.
//
//go:norace
func forkBriefly() {
	pause := unix.Timespec{Nsec: 1e6}
	pid, errno := rawFork()
	if errno != 0 || pid != 0 {
		return
	}
	rawPause(&pause)
	rawExit()
}
