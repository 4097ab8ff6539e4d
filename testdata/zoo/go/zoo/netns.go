package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// inNetns is allAtOnce in a network namespace of its own. It needs root.
func inNetns(z *zoo) truth {
	return inNewNetns(z, "all-at-once")
}

// otherNetns holds sockets of a namespace that none of its threads but one is in: the tables of the process do not have
// them, and those of the thread do.
func otherNetns(z *zoo) truth {
	made := make(chan struct{})
	go func() {
		runtime.LockOSThread() // for ever: the namespace is the thread's
		newNetns()
		ln := silentListen(z.host)
		for range z.n {
			c := dial(address(ln))
			keep(c)
			a, err := ln.Accept()
			check(err)
			a.Close()
			toTheEnd(c)
		}
		close(made)
		select {}
	}()
	<-made
	return truth{Leaks: map[string]int{closeWaitRule: z.n}, Held: map[string]int{closeWait: z.n, listening: 1}}
}

// newNetns takes the calling thread to a new network namespace and its loopback up.
func newNetns() {
	check(unix.Unshare(unix.CLONE_NEWNET))
	fd := open(unix.AF_INET, unix.SOCK_DGRAM, 0)
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	check(err)
	lo.SetUint16(unix.IFF_UP)
	check(unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
}
