package procfd

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func (c *child) fdinfo(s SocketFD) FDInfo {
	c.t.Helper()
	info, err := liveFS(c.t).FDInfo(live(c.t, c.pid), s)
	must(c.t, err)
	return info
}

func TestKernelFDInfoFlags(t *testing.T) {
	c := start(t, "serve", nil)
	for _, tt := range []struct {
		flags    int
		nonBlock bool
	}{{0, false}, {unix.SOCK_NONBLOCK, true}} {
		fd := c.do("socket", unix.AF_INET, unix.SOCK_STREAM|tt.flags, 0)
		want := FDInfo{CloseOnExec: true, NonBlock: tt.nonBlock, SCMFDs: -1, UringFiles: -1}
		if got := c.fdinfo(c.socketFD(fd)); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if info := c.fdinfo(SocketFD{FD: 0}); info.CloseOnExec || info.NonBlock {
		t.Errorf("standard input: %+v", info)
	}
	own, _ := c.connectOwn()
	if info := c.fdinfo(own); !info.CloseOnExec {
		t.Errorf("in a table of a thread: %+v", info)
	}
}

func TestKernelFDInfoOtherSocket(t *testing.T) {
	c := start(t, "serve", nil)
	s := c.udp()
	f, p := liveFS(t), live(t, c.pid)
	c.do("dup2", c.udp().FD, s.FD)
	if info, err := f.FDInfo(p, s); !errors.Is(err, ErrOtherSocket) && err != nil { // the inode is told from Linux 5.14 on
		t.Errorf("another socket: %+v, %v", info, err)
	}
	c.do("close", s.FD)
	if info, err := f.FDInfo(p, s); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("closed: %+v, %v", info, err)
	}
}

// Descriptors on their way are open, and in no table.
func TestKernelFDInfoInFlight(t *testing.T) {
	c := start(t, "serve", nil)
	end := c.do("pass", c.udp().FD, c.do("open", int(KindPipe)))
	switch info := c.fdinfo(c.socketFD(end)); info.SCMFDs {
	case 2:
	case -1:
		t.Skip("this kernel does not count them")
	default:
		t.Errorf("%+v, want 2 in flight", info)
	}
}

// A ring keeps the sockets that are registered with it.
func TestKernelFDInfoRing(t *testing.T) {
	c := start(t, "serve", nil)
	ring, err := c.try("open", int(KindIOUring))
	if err != nil {
		t.Skipf("no io_uring: %v", err)
	}
	a, b := c.udp(), c.udp()
	c.do("register", ring, a.FD, -1, c.do("open", int(KindDevice)), b.FD)
	c.do("close", a.FD)
	info := c.fdinfo(SocketFD{FD: ring})
	if info.UringFiles > 0 && len(info.UringSockets) == 0 {
		t.Skip("this kernel does not name registered files")
	}
	want := FDInfo{CloseOnExec: true, NonBlock: info.NonBlock, SCMFDs: -1, UringFiles: 4, UringSockets: []uint64{a.Inode, b.Inode}}
	if !reflect.DeepEqual(info, want) {
		t.Errorf("%+v, want %+v", info, want)
	}
}

// ringInfo is as Linux 6.18 writes it.
const ringInfo = `pos:	0
flags:	02000002
mnt_id:	17
ino:	15446706
SqMask:	0x7
UserFiles:	3
    0: socket:[15446707]
    2: /dev/null
    3: /srv/socket:[5]
UserBufs:	1
    0: 0x7f0000000000/4096
PollList:
  op=6, task_works=0
CqOverflowList:
    1: socket:[77]
NAPI:	disabled
`

func TestParseFDInfo(t *testing.T) {
	for _, tt := range []struct {
		text  string
		want  FDInfo
		inode uint64
	}{
		{"pos:\t0\nflags:\t02004002\n", FDInfo{CloseOnExec: true, NonBlock: true, SCMFDs: -1, UringFiles: -1}, 0},
		{"flags:\t02\nino:\t7\nscm_fds: 3\n", FDInfo{SCMFDs: 3, UringFiles: -1}, 7},
		{"flags:\t0\nscm_fds: -1\nUserFiles:\tmany", FDInfo{SCMFDs: -1, UringFiles: -1}, 0},
		{"flags:\t0\nUserFiles:\t1\n    0: <none>\n", FDInfo{SCMFDs: -1, UringFiles: 1}, 0},
		{ringInfo, FDInfo{CloseOnExec: true, SCMFDs: -1, UringFiles: 3, UringSockets: []uint64{15446707}}, 15446706},
	} {
		got, inode, err := parseFDInfo(strings.NewReader(tt.text))
		if err != nil || inode != tt.inode || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %+v, inode %d, %v; want %+v, %d", tt.text, got, inode, err, tt.want, tt.inode)
		}
	}
	for _, text := range []string{"", "pos:\t0\n", "flags:\t9\n", "flags\n", ":\n"} {
		if got, _, err := parseFDInfo(strings.NewReader(text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func FuzzParseFDInfo(f *testing.F) {
	f.Add(ringInfo)
	f.Add("flags:\t02\nscm_fds: 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		info, inode, err := parseFDInfo(strings.NewReader(text))
		if err != nil && (inode != 0 || !reflect.DeepEqual(info, FDInfo{})) || info.SCMFDs < -1 || info.UringFiles < -1 {
			t.Errorf("%q: %+v, inode %d, %v", text, info, inode, err)
		}
	})
}
