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
	// knownMost is as many sockets of a namespace as may wait for the descriptors of a process of which most are known.
	knownMost = 100_000
	// manyDescriptors: from so many on, only those sockets are kept of which there may be something to say.
	manyDescriptors = 20_000
)

// joinSockets lists descriptors and sockets, and puts them together. Of one process they are listed at the same time; of many,
// or where there are many of either, the descriptors come first, with all processors at work on each.
func (l *look) joinSockets(ctx context.Context, procs []*procfd.Process) (*diag.Join, error) {
	if l.iterated() {
		return l.joinIterated(ctx, procs)
	}
	var ports []uint16
	if len(procs) == 1 {
		ports = l.ports(procs[0])
	}
	f, idle := l.feed(ctx, procs, len(ports) > 0)
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
	uptime, took := l.Source.FS.Uptime(), time.Since(began)
	if err := f.stop(idle); err != nil {
		return nil, err
	}
	l.over(f.join, took, uptime)
	l.listed = ports
	if len(ports) > 0 && len(f.join.Unlisted()) > manyUnlisted {
		l.Source.Detail("the ports did not cover the process: reading every socket")
		l.listed = nil
		return f.join, l.more(ctx, f.join, netlinkss.Request{States: netlinkss.AllStates &^ netlinkss.Listen.Mask()}, ports)
	}
	return f.join, nil
}

// over ends the reading of the sockets, which took so long; uptime is the host's behind it.
func (l *look) over(join *diag.Join, took, uptime time.Duration) {
	l.space.Took, l.space.Ended = took, uptime
	for _, p := range l.judged() {
		p.Uptime = p.At(uptime) // beside the clocks of its sockets, and not of when it was found
	}
	join.Late()
}

// nobodys lists what nobody holds and is told of the processes, as far as the first list, which had some ports only, left it out.
func (l *look) nobodys(ctx context.Context) error {
	if l.iterated() {
		_, queues := l.join.PortsOfNobodys() // the rest was listed
		return l.queued(ctx, queues, nil)
	}
	if len(l.listed) == 0 {
		return nil
	}
	left := func(ports []uint16) []uint16 {
		return slices.DeleteFunc(ports, func(port uint16) bool { return slices.Contains(l.listed, port) })
	}
	all, queues := l.join.PortsOfNobodys()
	all, queues = left(all), left(queues)
	gone := netlinkss.TimeWait.Mask() | netlinkss.FinWait1.Mask() | netlinkss.FinWait2.Mask() | netlinkss.LastAck.Mask() | netlinkss.Closing.Mask()
	switch {
	case len(all) == 0:
		return nil
	case len(all) <= netlinkss.MaxPorts:
		return l.more(ctx, l.join, netlinkss.Request{States: gone | waitingStates, Ports: all}, l.listed)
	}
	if err := l.more(ctx, l.join, netlinkss.Request{States: gone}, l.listed); err != nil {
		return err
	}
	return l.queued(ctx, queues, l.listed)
}

// waitingStates are those of connections that wait to be accepted.
const waitingStates = 1<<netlinkss.Estab | 1<<netlinkss.CloseWait

// queued lists the connections on the ports of listeners with a queue.
func (l *look) queued(ctx context.Context, ports, before []uint16) error {
	for part := range slices.Chunk(ports, netlinkss.MaxPorts) {
		if err := l.more(ctx, l.join, netlinkss.Request{States: waitingStates, Ports: part}, before); err != nil {
			return err
		}
	}
	return nil
}

// more adds a list to a join, but for those sockets of which a port is among the ones that were listed before.
func (l *look) more(ctx context.Context, join *diag.Join, r netlinkss.Request, before []uint16) error {
	r.Attrs = netlinkss.AttrInfo
	err := visit(l.list.Dump(ctx, r), func(s *netlinkss.Socket) {
		if !slices.Contains(before, s.Local.Port()) && !slices.Contains(before, s.Peer.Port()) {
			join.Add(s)
		}
	})
	return l.incomplete(err)
}

// incomplete makes a gap of a list that ended early.
func (l *look) incomplete(err error) error {
	if gap, ok := Incomplete(err); ok {
		l.space.Gaps = append(l.space.Gaps, gap)
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return ErrInterrupted
	}
	return err
}

// feed walks over the descriptors, or begins to: then idle is to be closed when nothing else is at work any more. filtered: not all
// sockets will be listed.
func (l *look) feed(ctx context.Context, procs []*procfd.Process, filtered bool) (f *feed, idle chan struct{}) {
	f, idle = &feed{look: l, walked: make(chan walked, 1)}, make(chan struct{})
	open := l.Source.FS.CountDescriptors(procs[0].PID)
	most := partsFrom
	if l.known.knows(procs[0]) {
		most = knownMost
	}
	few := filtered || l.list.size(netlinkss.Request{}) < most
	if len(procs) == 1 && few && open <= overlapMost && open < l.Source.siftFrom() {
		go func() { f.walked <- l.walk(ctx, procs, f.reader(procs[0], idle)) }()
		return f, idle
	}
	close(idle)
	f.begin(l.walk(ctx, procs, func(p *procfd.Process) error { return l.Source.FS.ReadDescriptors(p, idle) }))
	f.sift()
	return f, nil
}

// reader reads the descriptors of a process while its sockets are listed, or once they are if most are known from the look before.
func (f *feed) reader(p *procfd.Process, idle <-chan struct{}) func(*procfd.Process) error {
	before := f.known.before(p)
	if before == nil {
		return func(p *procfd.Process) error { return f.Source.FS.ReadDescriptors(p, idle) }
	}
	return func(p *procfd.Process) error {
		<-idle
		return f.Source.FS.ReadDescriptorsAgain(p, before.Process, f.known.living(before, f.waiting))
	}
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

// manyUnlisted is from how many descriptors without a socket another dump is cheaper than asking each.
const manyUnlisted = 1000

// walked is a join with processes whose descriptors were read.
type walked struct {
	join *diag.Join
	err  error
}

// walk reads the descriptors of processes and of their descendants. One that was selected and has ended since is left
// out. One by itself is read by read. Of the space it touches the processes alone, as the join does.
func (l *look) walk(ctx context.Context, procs []*procfd.Process, read func(*procfd.Process) error) walked {
	errs := make([]error, len(procs))
	if len(procs) == 1 {
		errs[0] = read(procs[0])
	} else {
		order := l.told.largestFirst(procs)
		beside(len(procs), func(i int) { errs[order[i]] = l.readDescriptors(ctx, procs[order[i]]) })
	}
	var there []*procfd.Process
	for i, p := range procs {
		if errors.Is(errs[i], procfd.ErrGone) && l.Source.FS.SameProcess(p) {
			errs[i] = l.readDescriptors(ctx, p) // it was something of it that had gone
		}
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
	explain(l.Source.FS, there)
	join := diag.NewJoin(l.space, there)
	l.kin(ctx, join)
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
	left    bool // not all that was listed has waited
}

// dump feeds one list of sockets. A list that ends early is a gap and not an error.
func (f *feed) dump(ctx context.Context, r netlinkss.Request) error {
	err := f.list(ctx, r)
	f.left = f.left || err != nil || len(r.Ports) > 0
	return f.incomplete(err)
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
			part.Clock(f.Source.FS.Uptime())
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
		f.left = true
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
		if !f.left {
			f.whole = f.waiting
		}
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
