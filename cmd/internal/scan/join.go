package scan

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Of how many descriptors a look does what.
const (
	// overlapMost: up to so many are listed while the sockets are. What a process may hold waits until they are, at half a kilobyte for
	// each socket of the namespace.
	overlapMost = 20_000
	// manyDescriptors: from so many on, only those sockets are kept of which there may be something to say.
	manyDescriptors = 20_000
)

// joinSockets lists descriptors and sockets, and puts them together. Of one process they are listed at the same time; of many,
// or where there are many, the descriptors come first, with all processors at work on each.
func (l *look) joinSockets(ctx context.Context, procs []*procfd.Process) (*diag.Join, error) {
	probe := *procs[0] // the walk writes to the process itself
	f, idle := l.feed(procs)
	var ports []uint16
	if f.err == nil && len(procs) == 1 {
		ports = l.ports(&probe)
	}
	began := time.Now()
	for _, r := range f.requests(ports) {
		if f.err != nil {
			break
		}
		if err := f.dump(ctx, r); err != nil {
			_ = f.stop(idle)
			return nil, err
		}
	}
	uptime := l.Source.FS.Uptime()
	l.space.Took, l.space.Ended = time.Since(began), uptime
	if err := f.stop(idle); err != nil {
		return nil, err
	}
	for _, p := range l.judged() {
		p.Uptime = p.At(uptime) // beside the clocks of its sockets, and not of when it was found
	}
	if len(ports) == 0 {
		return f.join, nil
	}
	if len(f.join.Unlisted()) > manyUnlisted {
		l.Source.Detail("the ports did not cover the process: reading every socket")
		rest := netlinkss.AllStates &^ (netlinkss.Listen.Mask() | netlinkss.TimeWait.Mask())
		return f.join, f.dump(ctx, netlinkss.Request{Attrs: netlinkss.AttrInfo, States: rest})
	}
	return f.join, l.dumpQueues(ctx, f, ports)
}

// feed walks over the descriptors, or begins to: then idle is to be closed when nothing else is at work any more.
func (l *look) feed(procs []*procfd.Process) (f *feed, idle chan struct{}) {
	f, idle = &feed{look: l, walked: make(chan walked, 1)}, make(chan struct{})
	open := l.Source.FS.CountDescriptors(procs[0].PID)
	if len(procs) == 1 && open <= overlapMost && open < l.Source.siftFrom() {
		go func() { f.walked <- l.walk(procs, idle) }()
		return f, idle
	}
	close(idle)
	f.begin(l.walk(procs, idle))
	f.sift()
	return f, nil
}

// requests are what is to be listed. Listeners stand in a table of their own, which costs nothing to list; where not all of what
// comes after them is listed, or kept, they come first.
func (f *feed) requests(ports []uint16) []netlinkss.Request {
	if len(ports) == 0 && !f.sifting {
		return []netlinkss.Request{{Attrs: netlinkss.AttrInfo}}
	}
	return []netlinkss.Request{
		{Attrs: netlinkss.AttrInfo, States: netlinkss.Listen.Mask()},
		{Attrs: netlinkss.AttrInfo, States: netlinkss.AllStates &^ netlinkss.Listen.Mask(), Ports: ports},
	}
}

// dumpQueues lists what waits on the ports of listeners that the first list left out.
func (l *look) dumpQueues(ctx context.Context, f *feed, listed []uint16) error {
	ports := slices.DeleteFunc(f.join.QueuePorts(), func(port uint16) bool { return slices.Contains(listed, port) })
	for part := range slices.Chunk(ports, netlinkss.MaxPorts) {
		states := netlinkss.Estab.Mask() | netlinkss.CloseWait.Mask()
		if err := f.dump(ctx, netlinkss.Request{Attrs: netlinkss.AttrInfo, States: states, Ports: part}); err != nil {
			return err
		}
	}
	return nil
}

// manyUnlisted is from how many descriptors without a socket another dump is cheaper than asking each.
const manyUnlisted = 1000

// walked is a join with processes whose descriptors were read.
type walked struct {
	join *diag.Join
	err  error
}

// walk reads the descriptors of processes and of their descendants. One that was selected and has ended since is left
// out. Of the space it touches the processes alone, as the join does.
func (l *look) walk(procs []*procfd.Process, idle <-chan struct{}) walked {
	errs := make([]error, len(procs))
	if len(procs) == 1 {
		errs[0] = l.Source.FS.ReadDescriptors(procs[0], idle)
	} else {
		beside(len(procs), func(i int) { errs[i] = l.Source.FS.ReadDescriptors(procs[i], nil) })
	}
	var there []*procfd.Process
	for i, p := range procs {
		if errs[i] == nil {
			errs[i] = ended(p)
		}
		if errors.Is(errs[i], procfd.ErrGone) && l.mayEnd() {
			continue
		}
		if errs[i] != nil {
			return walked{err: goneHint(errs[i])}
		}
		there = append(there, p)
	}
	join := diag.NewJoin(l.space, there)
	l.kin(join)
	return walked{join: join}
}

// feed takes sockets from dumps. While the descriptors are still being walked, what a process could hold waits. That is bounded by how
// long the walk takes.
type feed struct {
	*look
	walked  chan walked
	join    *diag.Join // nil until the walk is over
	sifting bool
	err     error
	waiting [][]netlinkss.Socket
}

// dump feeds one list of sockets. A list that ends early is a gap and not an error.
func (f *feed) dump(ctx context.Context, r netlinkss.Request) error {
	err := f.list(ctx, r)
	if gap, ok := Incomplete(err); ok {
		f.space.Gaps = append(f.space.Gaps, gap)
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return ErrInterrupted
	}
	return err
}

// list lists in two halves side by side if nothing else is at work.
func (f *feed) list(ctx context.Context, r netlinkss.Request) error {
	if f.join == nil {
		return visit(f.look.list.Dump(ctx, r), f.add)
	}
	return f.look.list.Each(ctx, r, f.part)
}

// part takes a share of a list, on a goroutine of its own.
func (f *feed) part() func(*netlinkss.Socket) {
	part, n := f.join.Part(), 0
	return func(s *netlinkss.Socket) {
		if n%diag.ClockEvery == 0 {
			part.Clock(f.look.Source.FS.Uptime())
		}
		n++
		part.Add(s)
	}
}

// waitBlock is how many sockets wait in one piece of memory.
const waitBlock = 128

func (f *feed) add(s *netlinkss.Socket) {
	if f.join == nil {
		select {
		case w := <-f.walked:
			f.begin(w)
		default:
			f.hold(s)
			return
		}
	}
	f.join.Add(s)
}

func (f *feed) hold(s *netlinkss.Socket) {
	if s.Inode == 0 && s.State == netlinkss.SynRecv {
		return
	}
	n := len(f.waiting)
	if n == 0 || len(f.waiting[n-1]) == waitBlock {
		f.waiting = append(f.waiting, make([]netlinkss.Socket, 0, waitBlock))
		n++
	}
	f.waiting[n-1] = append(f.waiting[n-1], *s)
}

// stop tells a walk that goes on that it has the processors to itself, and waits for its end: nobody may read on after that.
func (f *feed) stop(idle chan struct{}) error {
	if idle != nil {
		close(idle)
	}
	if f.join == nil {
		f.begin(<-f.walked)
	}
	return f.err
}

// begin joins what has waited.
func (f *feed) begin(w walked) {
	f.err, f.join = w.err, w.join
	if f.err != nil {
		f.join = diag.NewJoin(f.space, nil) // what still comes is of no use
	}
	for _, block := range f.waiting {
		for i := range block {
			f.join.Take(&block[i])
		}
	}
	f.waiting = nil // what nobody holds of it goes with its block
}

// sift has only those sockets kept of which there may be something to say, if they are many and can be listed once more.
func (f *feed) sift() {
	f.sifting = f.look.list.Conn != nil && !f.Deep && f.join.Descriptors() >= f.Source.siftFrom()
	if f.sifting {
		f.Source.Detail("keeping only the sockets of which there may be something to say")
		f.join.Sift(f.Thresholds, f.host.Uptime)
	}
}

// When a port filter is worth its sampling.
const (
	filterFrom  = 20_000 // sockets in the namespace
	filterShare = 2      // times what the process holds at the most
	samples     = 64
	mostPorts   = 8
)

// ports are those that nearly all sockets of the process have on one side: the port that a server listens
// on, those of the services that a client is connected to. A dump that the kernel filters by them costs a fifth for
// each socket of others. They are told from a few descriptors; what has another port is not lost, it is looked up
// one by one. None: list everything, because there is not much more, or because it may not be told.
func (l *look) ports(p *procfd.Process) []uint16 {
	if l.list.Conn == nil {
		return nil
	}
	open := l.Source.FS.CountDescriptors(p.PID)
	stat, err := l.Source.FS.Sockstat(p.PID)
	all := max(stat.InUse, 0) + max(stat.InUse6, 0) + max(stat.TW, 0)
	if err != nil || open == 0 || stat.TW < 0 || all < filterFrom || all < filterShare*open {
		return nil
	}
	ports := l.samplePorts(p, open)
	if len(ports) > 0 {
		l.Source.Detail("asking the kernel for sockets on ports %v only: process %d has up to %d of %d", ports, p.PID, open, all)
		l.space.TimeWait, l.space.TimeWaitSource = stat.TW, "/proc/net/sockstat"
	}
	return ports
}

// samplePorts looks at descriptors all over the table.
func (l *look) samplePorts(p *procfd.Process, open int) []uint16 {
	asker, err := l.Source.FS.Ask(p)
	if err != nil {
		return nil
	}
	defer asker.Close()
	var seen [][2]uint16
	step := max(open/samples, 1)
	for fd := step / 2; fd < open && len(seen) < samples; fd += step {
		sock, ok := procfd.SocketFD{FD: fd}, false
		if sock.Inode, ok = l.Source.FS.SocketInode(p, sock); !ok {
			continue
		}
		a, err := asker.Socket(sock)
		if err == nil && a.IsTCP() && a.Peer.IsValid() && a.Local.Port() != 0 {
			seen = append(seen, [2]uint16{a.Local.Port(), a.Peer.Port()})
		}
	}
	return coverPorts(seen)
}

// coverPorts picks the ports that cover the samples, the most frequent first; nil when a few ports do not
// cover nearly all of them.
func coverPorts(seen [][2]uint16) []uint16 {
	if len(seen) < samples/4 {
		return nil
	}
	allowed := len(seen) / 32 // not covered
	var ports []uint16
	for len(seen) > allowed {
		count := map[uint16]int{}
		var best uint16
		for _, s := range seen {
			for _, port := range s {
				if count[port]++; count[port] > count[best] || count[port] == count[best] && port < best {
					best = port
				}
			}
		}
		if count[best] < 2 || len(ports) == mostPorts {
			return nil
		}
		ports = append(ports, best)
		seen = slices.DeleteFunc(seen, func(s [2]uint16) bool { return s[0] == best || s[1] == best })
	}
	return ports
}
