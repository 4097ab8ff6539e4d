package scan

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"runtime"
	"time"

	"github.com/sockleak/sockleak/bpfiter"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

var (
	errForeignProc = errors.New("BPF iterators know the numbers of the reader's PID namespace alone")
	errOwnTable    = errors.New("a thread has a table of its own, and iterators show one that several threads share once for each")
)

// kernelIterators are those of this host.
type kernelIterators struct{ *bpfiter.Source }

func openIterators(fs *procfd.FS) (iterators, error) {
	if !fs.Native() {
		return nil, errForeignProc
	}
	s, err := bpfiter.Open()
	if err != nil {
		return nil, err
	}
	return kernelIterators{s}, nil
}

// TryIterators loads the iterators, as a large scan does, and unloads them again.
func TryIterators(fs *procfd.FS) error {
	it, err := openIterators(fs)
	if err != nil {
		return err
	}
	it.(kernelIterators).Close()
	return nil
}

func openOwners(fs *procfd.FS) (inodesOf, error) {
	if !fs.Native() {
		return nil, errForeignProc
	}
	s, err := bpfiter.OpenOwners()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, pid, most int, alone bool, take func(uint64)) error {
		return s.Inodes(ctx, bpfiter.Table{PID: pid, Most: most, Halves: alone && runtime.GOMAXPROCS(0) > 1}, take)
	}, nil
}

func (k kernelIterators) sieve(idle, grace time.Duration) error {
	return k.Choose(bpfiter.Sieve{Idle: idle, Grace: grace})
}

func (k kernelIterators) read(ctx context.Context, fs *procfd.FS, p *procfd.Process, most int, alone bool) (told []heldRows, err error) {
	pieces, err := k.Descriptors(ctx, bpfiter.Table{PID: p.PID, Most: most, Halves: alone && runtime.GOMAXPROCS(0) > 1})
	if err != nil {
		return nil, err
	}
	sockets, own := 0, false
	for _, rows := range pieces {
		here := 0
		for row := range rows.All() {
			own = own || row.Own()
			if row.IsSocket() {
				here++
			}
		}
		if here > 0 {
			told = append(told, toldRows{k.Source, rows})
		}
		sockets += here
	}
	if own {
		return nil, errOwnTable
	}
	return told, fs.TakeDescriptors(p, descriptors(pieces), sockets)
}

func descriptors(pieces []bpfiter.Rows) iter.Seq[procfd.Descriptor] {
	return func(yield func(procfd.Descriptor) bool) {
		for _, rows := range pieces {
			for row := range rows.All() {
				if !yield(row.Descriptor()) {
					return
				}
			}
		}
	}
}

// toldRows are the rows of one process.
type toldRows struct {
	*bpfiter.Source
	rows bpfiter.Rows
}

func (r toldRows) each(f heldVisitor) {
	var full bpfiter.Socket
	var to toldSocket
	var brief diag.Brief
	for row := range r.rows.All() {
		switch {
		case row.IsUsual():
			u := r.Usual(row)
			brief = diag.Brief{Family: u.Family, Inode: u.Inode, Cookie: u.Cookie, Local: u.Local, Peer: u.Peer, Idle: u.Idle, Timer: u.Timer, Connected: u.Connected}
			f.brief(&brief)
		case row.IsTCP():
			r.Socket(row, &full)
			to = toldSocket{Socket: full.Socket, netns: full.Netns, err: full.Err}
			if to.State == netlinkss.Unconn && to.Peer.Port() == 0 {
				to.Peer = netip.AddrPort{} // an address without a port is what is left of a connect that failed
			}
			f.full(&to)
		case row.IsSocket():
			f.other(row.Inode(), row.Proto())
		}
	}
}
