package procfd

import (
	"strings"
	"testing"
)

var linkTests = []struct {
	target string
	kind   Kind
	inode  uint64
}{
	{"socket:[1]", KindSocket, 1},
	{"socket:[4294967295]", KindSocket, 1<<32 - 1},
	{"socket:[1152921504606846976]", KindSocket, 1 << 60},
	{"pipe:[77]", KindPipe, 77},
	{"pipe:[77", KindPipe, 0},
	{"anon_inode:[eventpoll]", KindEpoll, 0},
	{"anon_inode:[eventfd]", KindEventfd, 0},
	{"anon_inode:[timerfd]", KindTimerfd, 0},
	{"anon_inode:[signalfd]", KindSignalfd, 0},
	{"anon_inode:inotify", KindInotify, 0},
	{"anon_inode:[io_uring]", KindIOUring, 0},
	{"anon_inode:[pidfd]", KindPidfd, 0},
	{"/memfd:wayland (deleted)", KindMemfd, 0},
	{"/dev/null", KindDevice, 0},
	{"/dev/pts/0", KindDevice, 0},
	{"/", KindFile, 0},
	{"/var/log/x.log (deleted)", KindFile, 0},
	{"/home/socket:[5]", KindFile, 0},
	{"/devices", KindFile, 0},

	// The kernel writes none of the following for a socket.
	{"", KindOther, 0},
	{"socket:[]", KindOther, 0},
	{"socket:[12", KindOther, 0},
	{"socket:[-1]", KindOther, 0},
	{"socket:[1x]", KindOther, 0},
	{"socket:[1] ", KindOther, 0},
	{"socket:[18446744073709551616]", KindOther, 0},
	{"socket:", KindOther, 0},
	{"anon_inode:", KindOther, 0},
	{"anon_inode:[bpf-map]", KindOther, 0},
	{"anon_inode:[eventfd2]", KindOther, 0},
	{"net:[4026531840]", KindOther, 0},
	{"(unreachable)/etc/hosts", KindOther, 0},
	{"\xff\x00\n", KindOther, 0},
}

func TestParseLink(t *testing.T) {
	for _, tt := range linkTests {
		if kind, inode := parseLink([]byte(tt.target)); kind != tt.kind || inode != tt.inode {
			t.Errorf("%q: %v %d, want %v %d", tt.target, kind, inode, tt.kind, tt.inode)
		}
	}
}

func TestKindString(t *testing.T) {
	seen := map[string]bool{}
	for k := Kind(0); k < NumKinds; k++ {
		name := k.String()
		if name == "" || strings.ToLower(name) != name || strings.HasPrefix(name, "unknown") || seen[name] {
			t.Errorf("kind %d is named %q", uint8(k), name)
		}
		seen[name] = true
	}
	if got := NumKinds.String(); got != "unknown(13)" {
		t.Errorf("a kind that is none is named %q", got)
	}
}

func FuzzParseLink(f *testing.F) {
	for _, tt := range linkTests {
		f.Add([]byte(tt.target))
	}
	f.Fuzz(func(t *testing.T, target []byte) {
		kind, inode := parseLink(target)
		if kind >= NumKinds {
			t.Errorf("%q: kind %d", target, uint8(kind))
		}
		if isSocket := strings.HasPrefix(string(target), "socket:["); inode != 0 && kind != KindSocket && kind != KindPipe || kind == KindSocket && !isSocket {
			t.Errorf("%q: %v with inode %d", target, kind, inode)
		}
	})
}
