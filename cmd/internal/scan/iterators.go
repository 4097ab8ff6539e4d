package scan

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// iterators are the kernel's BPF iterators, a source of descriptors and of what they are open on. Any number of goroutines may use them.
type iterators interface {
	// sieve has those connections told in short from now on, on which something has moved since idle, and since grace or since their process
	// began. The zero values: none.
	sieve(idle, grace time.Duration) error
	// read lists the descriptors of a process, most of them at the most as far as is known; alone as in [procfd.Inodes].
	read(ctx context.Context, fs *procfd.FS, p *procfd.Process, most int, alone bool) ([]heldRows, error)
}

// inodesOf is [procfd.Inodes] of iterators.
type inodesOf func(ctx context.Context, pid, most int, alone bool, take func(inode uint64)) error

// heldRows are sockets that one process has, as iterators have told them.
type heldRows interface {
	// each goes through them. What f is given is valid during its call.
	each(f heldVisitor)
}

// heldVisitor takes sockets.
type heldVisitor struct {
	brief func(*diag.Brief)          // a connection that is told in short
	full  func(*toldSocket)          // a TCP socket
	other func(uint64, procfd.Proto) // what is none, or one of MPTCP, by inode
}

// toldSocket is a TCP socket, of whatever network namespace.
type toldSocket struct {
	netlinkss.Socket
	netns uint64        // inode
	err   syscall.Errno // pending; 0: none
}

// SourceBPF is the name of that source.
const SourceBPF = "bpf"

// iteratorsFrom is from how many sockets or descriptors on the iterators pay for being loaded.
const iteratorsFrom = 10_000

// iterate begins to load the iterators where they are asked for, or pay. wait is to be called before they are used.
func (s *Scan) iterate() (wait func() error) {
	src := s.Source
	if src.From != "" || src.iterators != nil || src.noIterators || src.Kind != SourceBPF && (src.Kind != "auto" || !s.manyDescriptors()) {
		return func() error { return nil }
	}
	return src.load(func() (err error) {
		src.iterators, err = openIterators(src.FS)
		return err
	})
}

// load begins to load programs. What they cannot tell then is told by the other source, unless this one was asked for.
func (s *Source) load(open func() error) (wait func() error) {
	loaded := make(chan error, 1)
	go func() { loaded <- open() }()
	return func() error {
		err := <-loaded
		if s.noIterators = err != nil; err == nil {
			s.Detail("descriptors from BPF iterators")
			return nil
		}
		if s.Kind == SourceBPF {
			return hint.Add(err, "--source auto reads /proc where there are no BPF iterators; sockleak doctor says what they need")
		}
		s.Detail("descriptors from /proc: %v", err)
		return nil
	}
}

// manyDescriptors reports whether the processes have so many that the iterators pay.
func (s *Scan) manyDescriptors() bool {
	if s.everybody {
		return s.Source.manySockets()
	}
	n := 0
	for _, pid := range s.PIDs {
		n += s.Source.FS.CountDescriptors(pid)
	}
	if n == 0 { // not told, before Linux 6.2
		return s.Source.manySockets()
	}
	return n >= iteratorsFrom
}

// iterates reports whether iterators are to tell the processes: they are asked for, or pay.
func (c *Count) iterates() bool {
	src := c.Source
	return c.By == diag.ByProcess && src.From == "" &&
		(src.owners != nil || !src.noIterators && (src.Kind == SourceBPF || src.Kind == "auto" && src.manySockets()))
}

// iterate begins to load the iterators for a count by process. wait is to be called before they are used.
func (c *Count) iterate() (wait func() error) {
	src := c.Source
	if src.owners != nil || !c.iterates() {
		return func() error { return nil }
	}
	return src.load(func() (err error) {
		src.owners, err = openOwners(src.FS)
		return err
	})
}

// begin loads the iterators and has them tell who holds what, beside the list of sockets. wait is to be called when the list is read.
func (c *Count) begin(ctx context.Context) (wait func() error) {
	loaded, read := c.iterate(), make(chan struct{})
	var err error
	go func() {
		defer close(read)
		if err = loaded(); err == nil && c.Source.owners != nil && c.iterates() {
			c.early = readEarly(ctx, c.Source)
		}
	}()
	return func() error {
		<-read
		return err
	}
}

// inodes is what tells of processes which sockets they have, nil: their directories.
func (c *Count) inodes(ctx context.Context) procfd.Inodes {
	if c.Source.owners == nil {
		return nil
	}
	return func(pid, most int, alone bool, take func(uint64)) error {
		return c.Source.owners(ctx, pid, most, alone, take)
	}
}

// manySockets reports whether there are so many in the reader's own network namespace that the iterators pay.
func (s *Source) manySockets() bool {
	st, err := s.FS.Sockstat(0)
	return err == nil && max(st.InUse, 0)+max(st.InUse6, 0) >= iteratorsFrom
}

// iterated reports whether the iterators are the source of this look.
func (l *look) iterated() bool { return l.Source.iterators != nil && l.list.Conn != nil }

// told is what iterators have told of the sockets of a look.
type told struct {
	mu     sync.Mutex
	sizes  map[int]tableSize // by PID
	rows   []heldRows
	missed bool // a process had to be read without them
	unlike map[*procfd.Process]bool
	// Of what the join does not take: closed TCP sockets and those of other namespaces, and what is no TCP socket, by inode.
	apart map[uint64]*toldSocket
	other map[uint64]procfd.Proto
	mptcp bool // there are connections of MPTCP, which are told by lists alone
}

var errLeader = errors.New("its main thread has ended")

// readDescriptors reads the descriptors of a process, from the iterators if they are the source.
func (l *look) readDescriptors(ctx context.Context, p *procfd.Process) error {
	fs := l.Source.FS
	if !l.iterated() {
		return fs.ReadDescriptors(p, nil)
	}
	var rows []heldRows
	err := errLeader
	if p.State != 'Z' { // else each thread shows the process's table as one of its own
		size := l.told.sizes[p.PID]
		rows, err = l.Source.iterators.read(ctx, fs, p, size.open, size.alone)
	}
	if ctx.Err() != nil {
		return ErrInterrupted
	}
	l.told.mu.Lock()
	if err == nil {
		l.told.rows = append(l.told.rows, rows...)
	}
	l.told.mu.Unlock()
	if err == nil || errors.Is(err, procfd.ErrGone) {
		return err
	}
	l.Source.Detail("%s from /proc: %v", diag.Subject(p), err)
	if err = fs.ReadDescriptors(p, nil); err == nil {
		l.told.mu.Lock()
		l.told.missed = l.told.missed || len(p.Sockets) > 0
		l.told.unlike[p] = true
		l.told.mu.Unlock()
	}
	return err
}

// restStates are those of the sockets that the iterators are not asked for: nearly all of them are nobody's.
const restStates = netlinkss.AllStates &^ (1<<netlinkss.Listen | 1<<netlinkss.Estab | 1<<netlinkss.CloseWait | 1<<netlinkss.SynSent)

// joinIterated is joinSockets where iterators tell the descriptors and what they are open on. What nobody has is listed beside it.
// Connections that wait to be accepted are in neither: see nobodys.
func (l *look) joinIterated(ctx context.Context, procs []*procfd.Process) (*diag.Join, error) {
	began := time.Now()
	l.told = told{unlike: map[*procfd.Process]bool{}, apart: map[uint64]*toldSocket{}, other: map[uint64]procfd.Proto{}}
	sifting := !l.Deep && l.order(procs) >= l.Source.siftFrom()
	idle, grace := time.Duration(0), time.Duration(0)
	if sifting {
		grace = l.Thresholds.Grace
		idle, _ = l.Thresholds.IdleIn(l.space)
	}
	if err := l.Source.iterators.sieve(idle, grace); err != nil {
		return nil, err
	}
	before := l.Source.FS.Uptime()
	w := l.walk(ctx, procs, func(p *procfd.Process) error { return l.readDescriptors(ctx, p) })
	if w.err != nil {
		return nil, w.err
	}
	f := &feed{look: l, join: w.join, sifting: sifting}
	if sifting {
		l.Source.Detail("keeping only the sockets of which there may be something to say")
		f.join.Sift(l.Thresholds, l.host.Uptime)
	}
	if err := f.dump(ctx, netlinkss.Request{Attrs: netlinkss.AttrInfo, States: netlinkss.Listen.Mask()}); err != nil {
		return nil, err
	}
	if err := l.feedTold(ctx, f, before); err != nil {
		return nil, err
	}
	l.over(f.join, time.Since(began), l.Source.FS.Uptime())
	if l.told.missed || l.told.mptcp {
		l.Source.Detail("the iterators did not tell every socket: reading the list")
		return f.join, l.more(ctx, f.join, netlinkss.Request{States: netlinkss.AllStates &^ netlinkss.Listen.Mask()}, nil)
	}
	return f.join, nil
}

// tableSize is how many descriptors a process has, 0: not known; alone as in [procfd.Inodes].
type tableSize struct {
	open  int
	alone bool
}

// largeTable is from how many descriptors on two threads are quicker than one.
const largeTable = 2048

// order notes how many descriptors the processes have, and returns their sum, or the sockets of the namespace where the kernel does not tell
// (before Linux 6.2).
func (l *look) order(procs []*procfd.Process) (n int) {
	l.told.sizes = make(map[int]tableSize, len(procs))
	var large []int
	for _, p := range procs {
		open := l.Source.FS.CountDescriptors(p.PID)
		l.told.sizes[p.PID] = tableSize{open: open}
		n += open
		if open >= largeTable {
			large = append(large, p.PID)
		}
	}
	slices.SortStableFunc(large, func(a, b int) int { return l.told.sizes[b].open - l.told.sizes[a].open })
	alone := func(pid int) { l.told.sizes[pid] = tableSize{l.told.sizes[pid].open, true} }
	switch {
	case len(large) == 0:
	case l.told.sizes[large[0]].open > n/2:
		alone(large[0])
	case len(large)%2 == 1: // the last would be read when the other processor has nothing to do any more
		alone(large[len(large)-1])
	}
	if n == 0 {
		n = l.list.size(netlinkss.Request{})
	}
	return n
}

// largestFirst is an order in which to read processes.
func (t *told) largestFirst(procs []*procfd.Process) []int {
	order := make([]int, len(procs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return t.sizes[procs[b].PID].open - t.sizes[procs[a].PID].open })
	return order
}

// feedTold joins what the iterators have told, on all processors, and beside that what only a list tells. before is the host's uptime when
// the first was read.
func (l *look) feedTold(ctx context.Context, f *feed, before time.Duration) error {
	rest, left := f.join.Part(), make(chan error, 1)
	go func() {
		if l.noRest() {
			left <- nil
			return
		}
		n := 0
		left <- visit(l.list.Dump(ctx, netlinkss.Request{Attrs: netlinkss.AttrInfo, States: restStates}), func(s *netlinkss.Socket) {
			if n%diag.ClockEvery == 0 {
				rest.Clock(l.Source.FS.Uptime())
			}
			n++
			rest.Add(s)
		})
	}()
	all := l.told.rows
	workers := min(runtime.GOMAXPROCS(0), len(all))
	parts := make(chan *diag.Part, workers)
	for range workers {
		part := f.join.Part()
		part.At(before)
		parts <- part
	}
	var mu sync.Mutex
	var doubtful []diag.Brief
	beside(len(all), func(i int) {
		if ctx.Err() != nil {
			return
		}
		part := <-parts
		defer func() { parts <- part }()
		all[i].each(heldVisitor{
			brief: func(b *diag.Brief) {
				if !part.AddBrief(b) {
					mu.Lock()
					defer mu.Unlock()
					doubtful = append(doubtful, *b)
				}
			},
			full: func(s *toldSocket) {
				if s.State != netlinkss.Unconn && s.netns == l.netns() {
					part.Add(&s.Socket)
					return
				}
				l.told.mu.Lock()
				defer l.told.mu.Unlock()
				clone := *s
				l.told.apart[uint64(s.Inode)] = &clone
			},
			other: func(inode uint64, proto procfd.Proto) {
				l.told.mu.Lock()
				defer l.told.mu.Unlock()
				if proto != procfd.ProtoMPTCP {
					l.told.other[inode] = proto
				} else if !f.join.Listed(inode) { // as a listener is
					l.told.mptcp = true
				}
			},
		})
	})
	l.told.rows = nil
	if err := l.incomplete(<-left); err != nil {
		return err
	}
	return l.lookUp(ctx, f.join, doubtful)
}

// noRest reports whether there is nothing that only a list tells. Each list is a walk over the table of the whole host.
func (l *look) noRest() bool {
	st, err := l.Source.sockstat(l.list.place)
	return err == nil && st.TW == 0 && st.Orphan == 0
}

// manyDoubtful is from how many sockets on another dump is cheaper than looking each up.
const manyDoubtful = 5000

// lookUp adds sockets that were told in short and are not usual.
func (l *look) lookUp(ctx context.Context, join *diag.Join, list []diag.Brief) error {
	if len(list) >= manyDoubtful {
		return l.more(ctx, join, netlinkss.Request{States: netlinkss.AllStates &^ netlinkss.Listen.Mask()}, nil)
	}
	for i := range list {
		b := &list[i]
		s, err := l.list.Conn.Lookup(ctx, netlinkss.Request{Attrs: netlinkss.AttrInfo}, b.Family, b.Local, b.Peer, 0, b.Cookie)
		if ctx.Err() != nil {
			return ErrInterrupted
		}
		if err == nil { // else it was closed meanwhile, or the descriptor is asked by itself
			join.Add(s)
		}
	}
	return nil
}

// netns is the inode of the namespace that is looked at.
func (l *look) netns() uint64 {
	if l.space.Netns != 0 {
		return l.space.Netns
	}
	return l.Source.FS.Netns()
}
