// Package doctor looks at what a host and the rights of who runs the program there allow, and says what will work.
//
// [Read] reads, and [Judge] judges what was read: it asks nothing of the host.
package doctor

import (
	"time"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/procfd"
)

// Facts are what was read. An error of nil is a success.
type Facts struct {
	At     time.Time
	Took   time.Duration
	Host   procfd.Host
	Rights scan.Rights

	SockDiag error // the first step of sock_diag that failed
	InfoLen  int   // bytes of TCP_INFO that the kernel gives
	CgroupID bool
	Filter   bool  // the kernel compares ports
	Lookup   error // of one socket
	Bound    bool  // bound sockets are listed
	IPv6     bool
	Cookie   error // SO_NETNS_COOKIE
	ProcNet  error // /proc/net/tcp
	Borrow   error // pidfd_getfd, of the reader itself
	Counts   bool  // /proc/PID/fd tells how many descriptors there are

	Iterators error // of loading them
	BTF       bool
	Lockdown  string // none, integrity, confidentiality; "" where it is not told
	Unpriv    string // kernel.unprivileged_bpf_disabled
	Modules   map[string]Module
	MayLoad   bool // kernel.modules_disabled is 0, and there is a modprobe
	Container string
	FileCaps  bool   // on the binary
	UIDMap    string // "" when it is not told

	Mount      error // of reading how proc is mounted
	Soft, Hard uint64
	Cgroup     string // v1, v2, both, or none

	Processes int // that were seen
	Denied    int // of them that may not be read
	Foreign   int // network namespaces beside the reader's own
	Enter     error
	Namespace error // of searching for them
}

// Module is where a module of the kernel is.
type Module string

// Where a module can be.
const (
	Loaded  Module = "loaded"
	BuiltIn Module = "built in"
	File    Module = "a file, not loaded"
	Absent  Module = "not found"
)
