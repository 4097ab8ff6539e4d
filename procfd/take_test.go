package procfd

import (
	"errors"
	"os"
	"slices"
	"testing"
)

// A list of another source makes of a process what its directory does.
func TestTakeDescriptors(t *testing.T) {
	f, err := New("/proc")
	if err != nil {
		t.Skip(err)
	}
	p, err := f.Identify(os.Getpid())
	must(t, err)
	list := []Descriptor{
		{FD: 9, Kind: KindSocket, Inode: 109, Proto: ProtoUnix}, {FD: 4, Kind: KindSocket, Inode: 104}, {FD: 5, Kind: KindPipe, Inode: 7}, {FD: 6, Kind: KindPipe, Inode: 7},
		{FD: 8, Kind: KindEpoll}, {FD: 7, Kind: KindEpoll}, {FD: 3, Kind: KindIOUring}, {FD: 2, Kind: KindDevice}, {FD: 10, Kind: KindSocket, Inode: 110, Proto: NumProtos + 1},
	}
	must(t, f.TakeDescriptors(p, slices.Values(list), 2))
	sockets := []SocketFD{{FD: 4, Inode: 104}, {FD: 9, Inode: 109}, {FD: 10, Inode: 110}}
	kinds := [NumKinds]int{KindSocket: 3, KindPipe: 2, KindEpoll: 2, KindIOUring: 1, KindDevice: 1}
	protos := [NumProtos]int{ProtoTCP: 1, ProtoUnix: 1}
	if p.Open != 9 || p.ByKind != kinds || p.ByProto != protos || p.PipePairs != 1 || !slices.Equal(p.Sockets, sockets) || !slices.Equal(p.Epolls, []int{7, 8}) || !slices.Equal(p.Urings, []int{3}) {
		t.Errorf("%+v", p)
	}
	p.Start++ // another process by now
	if err := f.TakeDescriptors(p, slices.Values(list), 2); !errors.Is(err, ErrGone) {
		t.Errorf("of a process that has ended: %v", err)
	}
}

func TestProto(t *testing.T) {
	if got := ProtoMPTCP.String() + " " + ProtoOther.String() + " " + Proto(99).String(); got != "MPTCP other unknown(99)" {
		t.Error(got)
	}
}
