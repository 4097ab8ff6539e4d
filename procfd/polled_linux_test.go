//go:build amd64 || arm64 || riscv64 || loong64

package procfd

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A thread in poll or select tells for what, to who may read its memory. It is a thread of the test's own.
func TestKernelPolled(t *testing.T) {
	for name, wait := range map[string]func(fd, end int) error{
		"poll": func(fd, end int) error {
			_, err := unix.Poll([]unix.PollFd{{Fd: -1}, {Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(end), Events: unix.POLLIN}}, -1)
			return err
		},
		"select": func(fd, end int) error {
			var read unix.FdSet
			read.Set(fd)
			read.Set(end)
			_, err := unix.Select(max(fd, end)+1, &read, nil, nil, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			must(t, err)
			defer unix.Close(pair[0])
			defer unix.Close(pair[1])
			other, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			must(t, err)
			defer unix.Close(other[0])
			defer unix.Close(other[1])
			done := make(chan bool)
			go func() {
				runtime.LockOSThread() // and it ends with its thread
				for wait(pair[0], other[0]) == unix.EINTR {
					continue // the runtime's own signal
				}
				close(done)
			}()
			defer func() {
				_, _ = unix.Write(other[1], []byte{0})
				<-done
			}()
			waited := func(fd int) Watch {
				f, err := New(liveRoot)
				must(t, err)
				p, err := f.Process(os.Getpid())
				must(t, err)
				w, err := f.Waits(p)
				must(t, err)
				for _, s := range p.Sockets {
					if s.FD == fd {
						return w.Watched(s)
					}
				}
				t.Fatalf("descriptor %d is no socket", fd)
				return WatchUnknown
			}
			for deadline := time.Now().Add(5 * time.Second); waited(pair[0]) != Watched; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("descriptor %d is %v", pair[0], waited(pair[0]))
				}
			}
			if got := waited(pair[1]); got == Watched {
				t.Errorf("the other end is %v, and nobody waits for it", got)
			}
		})
	}
}
