package procfd

import (
	"bytes"
	"strconv"
)

// Kind is what a descriptor is open on, told from its link in /proc/PID/fd.
type Kind uint8

// The kinds, in the order in which they are shown.
const (
	KindSocket Kind = iota
	KindPipe
	KindEpoll
	KindEventfd
	KindTimerfd
	KindSignalfd
	KindInotify
	KindIOUring
	KindPidfd
	KindMemfd
	KindDevice
	KindFile
	KindOther
	NumKinds
)

var kindNames = [NumKinds]string{
	"socket", "pipe", "epoll", "eventfd", "timerfd", "signalfd", "inotify", "io_uring", "pidfd", "memfd",
	"device", "file", "other",
}

// String is the kind's name in lower case.
func (k Kind) String() string {
	if k < NumKinds {
		return kindNames[k]
	}
	return "unknown(" + strconv.Itoa(int(k)) + ")"
}

// anonKinds are the names of anonymous inodes; the kernel writes some in brackets and some not.
var anonKinds = map[string]Kind{
	"eventpoll": KindEpoll,
	"eventfd":   KindEventfd,
	"timerfd":   KindTimerfd,
	"signalfd":  KindSignalfd,
	"inotify":   KindInotify,
	"io_uring":  KindIOUring,
	"pidfd":     KindPidfd,
}

// parseLink reads the target of a descriptor's link: its kind, and the inode of a socket or a pipe.
func parseLink(target []byte) (Kind, uint64) {
	if inode, ok := socketInode(target); ok {
		return KindSocket, inode
	}
	if digits, ok := bytes.CutPrefix(target, []byte("pipe:[")); ok {
		inode, _ := bracketed(digits)
		return KindPipe, inode
	}
	if name, ok := bytes.CutPrefix(target, []byte("anon_inode:")); ok {
		if k, ok := anonKinds[string(bytes.Trim(name, "[]"))]; ok {
			return k, 0
		}
		return KindOther, 0
	}
	switch {
	case bytes.HasPrefix(target, []byte("/memfd:")):
		return KindMemfd, 0
	case bytes.HasPrefix(target, []byte("/dev/")):
		return KindDevice, 0
	case bytes.HasPrefix(target, []byte("/")):
		return KindFile, 0
	}
	return KindOther, 0
}

// socketInode reads "socket:[N]".
func socketInode(target []byte) (uint64, bool) {
	digits, ok := bytes.CutPrefix(target, []byte("socket:["))
	if !ok {
		return 0, false
	}
	return bracketed(digits)
}

// bracketed reads "N]".
func bracketed(digits []byte) (uint64, bool) {
	if len(digits) < 2 || digits[len(digits)-1] != ']' {
		return 0, false
	}
	var n uint64
	for _, c := range digits[:len(digits)-1] {
		if c < '0' || c > '9' || n > 1<<59 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}
