package procfd

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// unixSocket opens a socket of this process.
func unixSocket(t testing.TB) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	return fd
}

// inodes are those of the sockets that descriptors of this process are open on.
func inodes(t testing.TB, fds ...int) (list []uint64) {
	t.Helper()
	for _, fd := range fds {
		inode, err := inodeOf(fd)
		must(t, err)
		list = append(list, inode)
	}
	return list
}

func TestReadDescriptorsAgain(t *testing.T) {
	f := liveFS(t)
	same, reused, gone, filed := unixSocket(t), unixSocket(t), unixSocket(t), unixSocket(t)
	ended := inodes(t, reused, gone, filed)
	before, err := f.Process(os.Getpid())
	must(t, err)

	must(t, unix.Close(gone))
	must(t, unix.Close(reused))
	fresh := unixSocket(t) // the lowest free number
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Dup3(null, filed, unix.O_CLOEXEC))
	added := unixSocket(t)
	for _, fd := range []int{same, fresh, filed, added, null} {
		defer unix.Close(fd)
	}

	asked := 0
	again, err := f.Identify(os.Getpid())
	must(t, err)
	must(t, f.ReadDescriptorsAgain(again, before, func(inode uint64) bool {
		asked++
		return !slices.Contains(ended, inode)
	}))
	full, err := f.Process(os.Getpid())
	must(t, err)
	if !slices.Equal(again.Sockets, full.Sockets) || again.ByKind != full.ByKind || again.Open != full.Open {
		t.Errorf("read again:\n%+v %v %d, in full:\n%+v %v %d", again.Sockets, again.ByKind, again.Open, full.Sockets, full.ByKind, full.Open)
	}
	if i := slices.IndexFunc(again.Sockets, func(s SocketFD) bool { return s.FD == fresh }); i < 0 || again.Sockets[i].Inode != inodes(t, fresh)[0] {
		t.Errorf("the socket in place of one that was closed: %+v", again.Sockets)
	}
	if asked == 0 {
		t.Error("nothing was known")
	}
}

// What another process is is not known from the one that had its number.
func TestReadDescriptorsAgainOfAnother(t *testing.T) {
	f := liveFS(t)
	p, err := f.Process(os.Getpid())
	must(t, err)
	other := *p
	other.Start--
	other.Sockets = []SocketFD{{FD: 0, Inode: 77}}
	must(t, f.ReadDescriptorsAgain(p, &other, func(uint64) bool { return true }))
	if slices.ContainsFunc(p.Sockets, func(s SocketFD) bool { return s.Inode == 77 }) {
		t.Errorf("%+v", p.Sockets)
	}
}

func TestKnownFDs(t *testing.T) {
	known := knownFDs([]SocketFD{{FD: 3, Inode: 30}, {FD: 5, Inode: 50}, {FD: 9, Inode: 90}, {FD: 4, Inode: 44, Task: 7}}, func(inode uint64) bool { return inode != 50 })
	got := []uint64{}
	for fd := range 12 {
		got = append(got, known(fd))
	}
	if want := []uint64{0, 0, 0, 30, 0, 0, 0, 0, 0, 90, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func BenchmarkReadDescriptorsAgain(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		dup(b, n)
		f := liveFS(b)
		before, err := f.Process(os.Getpid())
		must(b, err)
		for name, living := range map[string]bool{"known": true, "unknown": false} {
			b.Run(fmt.Sprintf("%s/fds=%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p := &Process{PID: before.PID, Start: before.Start, FDTask: before.PID, NetTask: before.PID}
					must(b, f.ReadDescriptorsAgain(p, before, func(uint64) bool { return living }))
					if len(p.Sockets) < n {
						b.Fatalf("%d sockets", len(p.Sockets))
					}
				}
			})
		}
	}
}
