package procfd

import (
	"cmp"
	"iter"
	"slices"
)

// Descriptor is one of a process, as another source than /proc tells it. Inode is that of a socket or a pipe.
type Descriptor struct {
	FD    int
	Kind  Kind
	Inode uint64
	Proto Proto // of a socket
}

// TakeDescriptors is [FS.ReadDescriptors] where another source lists them: those of the process's own table, of which sockets are on
// sockets.
func (f *FS) TakeDescriptors(p *Process, list iter.Seq[Descriptor], sockets int) error {
	c := fdCount{sockets: make([]SocketFD, 0, sockets)}
	var protos [NumProtos]int
	for d := range list {
		c.count(d)
		if d.Kind == KindSocket && d.Proto < NumProtos {
			protos[d.Proto]++
		}
	}
	slices.SortFunc(c.sockets, func(a, b SocketFD) int { return cmp.Compare(a.FD, b.FD) })
	slices.Sort(c.epolls)
	slices.Sort(c.urings)
	p.Open, p.ByKind, p.Sockets, p.Epolls, p.Urings, p.PipePairs = c.open, c.byKind, c.sockets, c.epolls, c.urings, pairs(c.pipes)
	p.ownEpolls, p.ownUrings, p.ByProto = nil, nil, protos
	if !f.SameProcess(p) {
		return gone(p.PID, ErrGone)
	}
	return nil
}

func (c *fdCount) count(d Descriptor) {
	c.open++
	c.byKind[d.Kind]++
	switch d.Kind {
	case KindSocket:
		c.sockets = append(c.sockets, SocketFD{FD: d.FD, Inode: d.Inode})
	case KindPipe:
		c.pipes = append(c.pipes, d.Inode)
	case KindEpoll:
		c.epolls = append(c.epolls, d.FD)
	case KindIOUring:
		c.urings = append(c.urings, d.FD)
	}
}
