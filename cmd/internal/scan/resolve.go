package scan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// resolver finds out what the descriptors are that the dump did not show.
type resolver struct {
	*look

	netns uint64 // cookie of the namespace that was dumped; 0 when it is not known
	bound map[uint64]bool
	// boundKnown: the kernel tells which sockets are bound and no more.
	boundKnown bool
	// Of the process at hand: sockets that are bound, or failed to connect, and living ones that nothing lists.
	ambiguous, missed int
	foreign           []foreigner
	seenAbroad        map[uint64]error       // other namespaces that were listed, or could not be
	asked             time.Time              // when the last socket was
	spaces            map[uint64]*diag.Space // other namespaces, of sockets that iterators told
}

func (r *resolver) run(ctx context.Context) {
	r.rings()
	unlisted := r.join.Unlisted()
	if len(unlisted) == 0 {
		return
	}
	if r.list.Conn != nil {
		r.netns, _ = r.list.Conn.NetnsCookie()
	}
	for i := 0; i < len(unlisted); {
		end := i
		for end < len(unlisted) && unlisted[end].Proc == unlisted[i].Proc {
			end++
		}
		r.process(ctx, unlisted[i].Proc, unlisted[i:end])
		i = end
	}
}

// process resolves the descriptors of one process.
func (r *resolver) process(ctx context.Context, p *diag.Proc, unlisted []diag.Unlisted) {
	fs := r.Source.FS
	var asker *procfd.Asker
	var askErr, protoErr error
	unread, unasked := 0, 0
	r.ambiguous, r.missed, r.foreign = 0, 0, nil
	inFlight := 0
	for _, u := range unlisted {
		if sock := r.told.apart[u.Inode]; sock != nil {
			r.apart(ctx, u, sock)
			continue
		}
		if proto, ok := r.told.other[u.Inode]; ok {
			if proto == procfd.ProtoUnix {
				inFlight += r.inFlight(p, u)
			}
			continue
		}
		proto, err := fs.Protocol(p.Process, u.SocketFD)
		if err != nil {
			if inode, ok := fs.SocketInode(p.Process, u.SocketFD); !ok || inode != u.Inode {
				continue // closed since
			}
			unread++
			protoErr = err
			continue
		}
		if !isTCP(proto) {
			if strings.HasPrefix(proto, "UNIX") {
				inFlight += r.inFlight(p, u)
			}
			continue
		}
		if asker == nil && askErr == nil {
			asker, askErr = fs.Ask(p.Process)
		}
		var answer *procfd.Answer
		err = askErr
		if askErr == nil {
			answer, err = asker.Socket(u.SocketFD)
			r.asked = time.Now()
		}
		switch {
		case err == nil:
			r.answered(ctx, u, answer)
		case errors.Is(err, procfd.ErrOtherSocket):
		default:
			askErr = err
			if bound, _ := r.isBound(ctx, u); !bound {
				unasked++
				r.join.Dark(u, diag.DarkSocket{})
			}
		}
	}
	if asker != nil {
		r.foreigners(ctx, asker)
		asker.Close()
	}
	if inFlight > 0 {
		r.join.Unread(p, "descriptors on their way to another process", inFlight, "they were sent through a unix socket of it and nobody has received them: what they are is not told")
	}
	if unread > 0 {
		r.join.Unread(p, "kind of sockets", unread, r.unreadable(p, protoErr))
	}
	if r.ambiguous > 0 {
		r.join.Unread(p, "fate of TCP sockets", r.ambiguous, "they are bound and wait, or failed to connect: only sock_diag of Linux 6.8 and later tells")
	}
	if r.missed > 0 {
		r.join.Unread(p, "sockets", r.missed, "they are alive, but neither the list of sockets nor a look-up shows them")
	}
	if unasked > 0 {
		r.join.Unread(p, "state of unlisted TCP sockets", unasked, r.unasked(p, askErr))
	}
}

// inFlight is how many descriptors wait in a unix socket to be received. They are open, and in nobody's table.
func (r *resolver) inFlight(p *diag.Proc, u diag.Unlisted) int {
	info, err := r.Source.FS.FDInfo(p.Process, u.SocketFD)
	if err != nil {
		return 0
	}
	return max(info.SCMFDs, 0)
}

// rings names the sockets that io_uring keeps open without a descriptor.
func (r *resolver) rings() {
	for _, p := range r.space.Procs {
		if len(p.Urings) == 0 {
			continue
		}
		listed := map[uint64]bool{}
		for _, s := range p.Sockets {
			listed[s.Inode] = true
		}
		hidden := 0
		for _, fd := range p.Urings {
			info, err := r.Source.FS.FDInfo(p.Process, procfd.SocketFD{FD: fd})
			if err != nil {
				continue
			}
			if len(info.UringSockets) == 0 && !since(r.host.Kernel, 6, 8) {
				hidden += max(info.UringFiles, 0) // it is not told what they are
			}
			for _, inode := range info.UringSockets {
				if !listed[inode] {
					listed[inode] = true
					hidden++
				}
			}
		}
		if hidden > 0 {
			r.join.Unread(p, "files registered with io_uring", hidden, "a ring keeps them open without a descriptor, and their state was not read")
		}
	}
}

// isTCP: accepted sockets of an MPTCP listener keep its name, whatever they speak.
func isTCP(proto string) bool {
	return proto == "TCP" || proto == "TCPv6" || proto == "MPTCP" || proto == "MPTCPv6"
}

// answered sorts a TCP socket that was asked: dark, of another namespace, or alive and passed over.
func (r *resolver) answered(ctx context.Context, u diag.Unlisted, a *procfd.Answer) {
	if r.netns != 0 && a.NetnsCookie != 0 && a.NetnsCookie != r.netns {
		r.foreign = append(r.foreign, foreigner{u, a})
		return
	}
	sock := socketOf(a)
	if sock.InfoLen() == 0 {
		r.join.Dark(u, diag.DarkSocket{Cookie: a.Cookie, Local: a.Local, Peer: a.Peer})
		return
	}
	if sock.State != netlinkss.Unconn {
		r.alive(ctx, u, a, sock)
		return
	}
	sock.Local, sock.Peer = a.Local, a.Peer
	r.closed(ctx, u, sock, a.IsMPTCP() && r.listens(u.Proc, a.Local.Port()), nil)
}

// apart takes a socket that iterators have told of: a closed one, or one of another namespace.
func (r *resolver) apart(ctx context.Context, u diag.Unlisted, s *toldSocket) {
	if r.Source.FS.Closed(procfd.Holder{PID: u.Proc.PID, FD: u.FD, Task: u.Task, Inode: u.Inode}) {
		return
	}
	r.asked = time.Now()
	if s.netns == r.look.netns() {
		r.closed(ctx, u, &s.Socket, false, s)
		return
	}
	if s.State != netlinkss.Unconn {
		r.join.AddForeign(r.spaceOf(u, s.netns), &s.Socket)
		return
	}
	r.closedAbroad(u, &s.Socket, s)
}

// spaceOf is another namespace, of which one socket is known.
func (r *resolver) spaceOf(u diag.Unlisted, netns uint64) *diag.Space {
	if space := r.spaces[netns]; space != nil {
		return space
	}
	space := &diag.Space{Netns: netns, Source: diag.SourceIterators}
	r.spaces[netns] = space
	asker, err := r.Source.FS.Ask(u.Proc.Process)
	if err != nil {
		return space // the thresholds are the kernel's defaults
	}
	defer asker.Close()
	file, err := asker.Netns(u.SocketFD)
	if err != nil {
		return space
	}
	defer file.Close()
	_ = netlinkss.InNetns(netnsFile(file), func() error {
		space.Sysctls = r.Source.FS.NetSysctls()
		return nil
	})
	return space
}

// closed takes a socket in CLOSE; was tells that it was a connection where its counters do not.
func (r *resolver) closed(ctx context.Context, u diag.Unlisted, sock *netlinkss.Socket, was bool, told *toldSocket) {
	d := r.darkOf(sock, told)
	if established(sock) || was {
		d.Alive = diag.Dead
	} else if sock.Local.Port() != 0 {
		bound, known := r.isBound(ctx, u)
		if !known {
			r.ambiguous++
		}
		if bound || !known {
			return // bound and waiting to listen or to connect
		}
	}
	r.join.Dark(u, d)
}

// darkOf is a socket in CLOSE that never was a connection, for all that is known yet.
func (r *resolver) darkOf(sock *netlinkss.Socket, told *toldSocket) diag.DarkSocket {
	d := diag.DarkSocket{Cookie: sock.Cookie, Alive: diag.NeverConnected, Local: sock.Local, Peer: sock.Peer, Info: sock.Info, Asked: r.asked}
	if told != nil {
		d.Told, d.Err = true, told.err
	}
	return d
}

// listens reports whether the process listens on a port. Of a dead MPTCP connection TCP_INFO is empty, and then that tells
// that it was one.
func (r *resolver) listens(p *diag.Proc, port uint16) bool {
	for i := range p.Held {
		if h := &p.Held[i]; h.State == netlinkss.Listen && h.Local.Port() == port {
			return true
		}
	}
	return false
}

// established reports whether a closed socket ever was: a handshake counts as one delivery, on both sides. A connect
// that was refused leaves a peer and an incoming segment, too.
func established(s *netlinkss.Socket) bool {
	if s.InfoLen() >= netlinkss.InfoHasDelivered {
		return s.Info.Delivered > 0
	}
	return s.Info.BytesAcked > 0 || s.Info.BytesReceived > 0
}

// socketOf makes a record of what the socket said of itself.
func socketOf(a *procfd.Answer) *netlinkss.Socket {
	s := &netlinkss.Socket{
		Family: netlinkss.Family(a.Domain), State: netlinkss.Unconn, Local: a.Local, Peer: a.Peer,
		Cookie: a.Cookie, Inode: uint32(a.Inode),
	}
	if len(a.Info) > 0 {
		s.SetInfo(a.Info)
		s.State = netlinkss.State(s.Info.State)
	}
	return s
}

// alive takes a socket that the dump passed over, and that an exact look-up finds. Of a listener its own answer
// will do; another socket does not tell its timer and queues, on which verdicts rest, so it is a gap.
func (r *resolver) alive(ctx context.Context, u diag.Unlisted, a *procfd.Answer, sock *netlinkss.Socket) {
	if r.list.Conn != nil && a.Peer.IsValid() {
		found, err := r.list.Conn.Lookup(ctx, netlinkss.Request{Attrs: netlinkss.AttrInfo}, sock.Family, a.Local, a.Peer, 0, a.Cookie)
		if err == nil && uint64(found.Inode) == a.Inode {
			r.join.Found(found)
			return
		}
	}
	if sock.State == netlinkss.Listen {
		r.join.FoundAsked(sock, a.KeepAlive)
		return
	}
	// Under churn, most of these were closed between the question and the look-up.
	if inode, ok := r.Source.FS.SocketInode(u.Proc.Process, u.SocketFD); ok && inode == u.Inode {
		r.missed++
	}
}

// isBound looks the socket up among those that are bound and no more. A socket shows its port still
// after a connect that failed; whether it has it only the kernel's table of bound ones tells, and known says
// whether that could be read. It is read when the first socket asks for it.
func (r *resolver) isBound(ctx context.Context, u diag.Unlisted) (bound, known bool) {
	if r.bound == nil {
		r.bound = map[uint64]bool{}
		r.boundKnown = r.list.Conn != nil && listsBound(r.host.Kernel) && r.readBound(ctx)
	}
	return r.bound[u.Inode], r.boundKnown
}

// readBound reports whether the whole table could be read.
func (r *resolver) readBound(ctx context.Context) bool {
	for s, err := range r.list.Conn.Dump(ctx, netlinkss.Request{States: netlinkss.BoundInactive.Mask()}) {
		if err != nil {
			return false
		}
		// With the port of a peer it has tried to connect, or was connected: an explicit port stays in the table after that.
		if s.Peer.Port() == 0 {
			r.bound[uint64(s.Inode)] = true
		}
	}
	return true
}

// listsBound reports whether a kernel of this release lists bound sockets.
func listsBound(release string) bool { return since(release, 6, 8) }

// since reports whether a kernel's release is that version or a later one. One that cannot be read is.
func since(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return true
	}
	return a > major || a == major && b >= minor
}
