package scan

import (
	"context"
	"fmt"
	"os"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// foreigner is a TCP socket of another namespace than its process: it was made there, or sent from there.
type foreigner struct {
	diag.Unlisted
	answer *procfd.Answer
}

// foreigners reads the namespaces of the sockets that are not in the process's own. What may not be entered is a gap.
func (r *resolver) foreigners(ctx context.Context, asker *procfd.Asker) {
	files := map[uint64]*os.File{} // of the namespaces, by inode
	members := map[uint64][]foreigner{}
	var order []uint64
	for _, f := range r.foreign {
		file, err := asker.Netns(f.SocketFD)
		if err != nil {
			r.join.Foreign(f.Unlisted)
			continue
		}
		info, err := file.Stat()
		if err != nil {
			file.Close()
			r.join.Foreign(f.Unlisted)
			continue
		}
		ino := inodeOf(info)
		if files[ino] != nil {
			file.Close()
		} else {
			files[ino] = file
			order = append(order, ino)
		}
		members[ino] = append(members[ino], f)
	}
	for _, ino := range order {
		err := r.abroad(ctx, ino, files[ino])
		for _, f := range members[ino] {
			if err == nil && !r.join.Listed(f.Inode) {
				r.unlistedAbroad(f)
			}
		}
		if err != nil {
			for _, f := range members[ino] {
				if !r.join.Listed(f.Inode) {
					r.join.Foreign(f.Unlisted)
				}
			}
		}
		files[ino].Close()
	}
}

// abroad joins the sockets of one other namespace, once for all processes: whose descriptors they are was known before.
func (r *resolver) abroad(ctx context.Context, ino uint64, file *os.File) error {
	if err, seen := r.seenAbroad[ino]; seen {
		return err
	}
	err := r.listAbroad(ctx, ino, file)
	r.seenAbroad[ino] = err
	return err
}

func (r *resolver) listAbroad(ctx context.Context, ino uint64, file *os.File) error {
	// The kernel's own numbers, whatever proc filesystem is read.
	path := netnsFile(file)
	conn, err := netlinkss.Dial(&netlinkss.Config{Netns: path})
	if err != nil {
		return err
	}
	defer conn.Close()
	space := &diag.Space{Netns: ino}
	_ = netlinkss.InNetns(path, func() error {
		space.Sysctls = r.Source.FS.NetSysctls()
		return nil
	})
	for sock, err := range conn.Dump(ctx, netlinkss.Request{Attrs: netlinkss.AttrInfo}) {
		if err != nil {
			return err
		}
		r.join.AddForeign(space, sock)
	}
	return nil
}

// netnsFile is the path of an open network namespace.
func netnsFile(file *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", file.Fd()) }

// unlistedAbroad sorts a socket that its own namespace does not list.
func (r *resolver) unlistedAbroad(f foreigner) {
	sock := socketOf(f.answer)
	if sock.InfoLen() == 0 || sock.State != netlinkss.Unconn {
		r.join.Foreign(f.Unlisted)
		return
	}
	r.closedAbroad(f.Unlisted, sock, nil)
}

// closedAbroad takes a socket in CLOSE of another namespace.
func (r *resolver) closedAbroad(u diag.Unlisted, sock *netlinkss.Socket, told *toldSocket) {
	d := r.darkOf(sock, told)
	switch {
	case established(sock):
		d.Alive = diag.Dead
	case sock.Local.Port() != 0:
		r.ambiguous++
		return
	}
	r.join.Dark(u, d)
}
