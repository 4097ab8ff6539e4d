package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// spread is one count over several network namespaces.
type spread struct {
	*Count
	request netlinkss.Request
	sizes   map[uint64]size // of those that are listed
	sum     procfd.Sockstat

	mu     sync.Mutex
	next   int
	quiet  int // namespaces of listeners alone
	places []Netns
	lost   []string // namespaces that could not be read
	cause  error    // of the first
	gaps   map[diag.Gap]int
	sorts  []string // of lists: sock_diag, /proc/net/tcp
}

// size is how many sockets a namespace has.
type size struct {
	hashed   int // but those in TIME-WAIT and SYN-RECV; -1: not known
	timeWait int
}

func (s size) total() int { return s.hashed + s.timeWait }

// fewSockets: a namespace with so many may have listeners alone.
const fewSockets = 1000

// readAll tallies every namespace, on all processors. A namespace in which there is no socket is not listed: each list is a walk over
// the table of the whole host.
func (c *Count) readAll(ctx context.Context, stat *diag.Stat, places []Netns, req netlinkss.Request) error {
	s := &spread{Count: c, request: req, sizes: map[uint64]size{}, gaps: map[diag.Gap]int{}, places: slices.Clone(places)}
	s.measure()
	workers := min(runtime.GOMAXPROCS(0), max(len(s.places), 1))
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for i := range workers {
		wait.Go(func() { errs[i] = s.work(ctx) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if len(s.lost) > 0 && len(s.lost) == len(s.places) {
		return s.cause
	}
	s.tell(stat, len(places))
	return nil
}

// measure asks how many sockets there are in each namespace. The largest come first, so that nobody waits for one in the end.
func (s *spread) measure() {
	every := !s.Filter.States.Has(netlinkss.BoundInactive) // these are in no number
	for _, n := range s.places {
		s.sizes[n.Netns] = size{hashed: -1}
		st, err := s.Source.sockstat(n.Place)
		if err != nil || st.InUse < 0 || st.TW < 0 {
			s.sum = procfd.Sockstat{InUse: -1, InUse6: -1, TW: -1}
			continue
		}
		s.sizes[n.Netns] = size{st.InUse + max(st.InUse6, 0), st.TW}
		if s.sum.InUse >= 0 {
			s.sum.InUse, s.sum.InUse6, s.sum.TW = s.sum.InUse+st.InUse, s.sum.InUse6+max(st.InUse6, 0), s.sum.TW+st.TW
		}
	}
	s.places = slices.DeleteFunc(s.places, func(n Netns) bool { return every && s.sizes[n.Netns] == size{} })
	slices.SortStableFunc(s.places, func(a, b Netns) int { return cmp.Compare(s.sizes[b.Netns].total(), s.sizes[a.Netns].total()) })
}

// sockstat reads the counters of a namespace; where nobody lives in it, from within.
func (s *Source) sockstat(at Place) (st procfd.Sockstat, err error) {
	if at.Path == "" || at.PID != 0 {
		return s.FS.Sockstat(at.PID)
	}
	err = netlinkss.InNetns(at.Path, func() (err error) {
		st, err = s.FS.SockstatHere()
		return err
	})
	return st, err
}

// work lists one namespace after the other.
func (s *spread) work(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.next == len(s.places) {
			s.mu.Unlock()
			return nil
		}
		n := &s.places[s.next]
		s.next++
		s.mu.Unlock()
		err := s.count(ctx, n)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.lose(n, err)
		}
	}
}

// count lists one namespace.
func (s *spread) count(ctx context.Context, n *Netns) error {
	list, err := s.Source.Open(n.Place)
	if err != nil {
		return err
	}
	defer list.Close()
	request, alone, err := s.listeners(ctx, list, n)
	if err == nil && !alone {
		err = list.Each(ctx, request, func() func(*netlinkss.Socket) { return s.tallyOf(n).Add })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, gap := range list.Gaps {
		s.gaps[gap]++
	}
	if list.After != nil {
		for _, gap := range list.After(s.By) {
			s.gaps[gap]++
		}
	}
	if !slices.Contains(s.sorts, list.Name) {
		s.sorts = append(s.sorts, list.Name)
	}
	if gap, ok := Incomplete(err); ok {
		s.gaps[gap]++
		return nil
	}
	return err
}

// tallyOf is an empty tally for a namespace.
func (s *spread) tallyOf(n *Netns) *diag.Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tally()
	t.Netns = uint32(n.Netns)
	return t
}

// listeners counts those of a namespace first, which stand in a small table of their own. Where they are as many as there are sockets,
// there is no need to walk over the large one, which all namespaces share; what is left is to ask for otherwise.
func (s *spread) listeners(ctx context.Context, list *Sockets, n *Netns) (left netlinkss.Request, alone bool, err error) {
	size, asked := s.sizes[n.Netns], s.Filter.States
	if list.Conn == nil || size.hashed < 0 || size.total() > fewSockets || asked.Has(netlinkss.SynRecv) || asked.Has(netlinkss.BoundInactive) {
		return s.request, false, nil
	}
	t, seen := s.tallyOf(n), 0
	request := s.request
	request.States, request.Ports = netlinkss.Listen.Mask(), nil
	for sock, err := range list.Dump(ctx, request) {
		if err != nil {
			return left, false, err
		}
		seen++
		t.Add(sock) // it filters
	}
	left = s.request
	if left.States == 0 {
		left.States = netlinkss.AllStates
	}
	left.States &^= netlinkss.Listen.Mask()
	if alone = seen == size.hashed && size.timeWait == 0; alone {
		s.mu.Lock()
		s.quiet++
		s.mu.Unlock()
	}
	return left, alone || left.States == 0, nil
}

// lose notes a namespace that could not be read. One that has ended since it was found has no sockets any more.
func (s *spread) lose(n *Netns, err error) {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, procfd.ErrGone) || errors.Is(err, netlinkss.ErrNotNetns) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = append(s.lost, n.String())
	s.cause = cmp.Or(s.cause, err)
}

// String is what people call it.
func (n *Netns) String() string { return cmp.Or(n.Label, fmt.Sprintf("net:[%d]", n.Netns)) }

// tell says where the sockets are from, and what could not be read.
func (s *spread) tell(stat *diag.Stat, found int) {
	slices.Sort(s.sorts)
	stat.Source = cmp.Or(strings.Join(s.sorts, ", "), "sock_diag")
	stat.Where = fmt.Sprintf("%d network namespaces, %d of them without a TCP socket", found, found-len(s.places))
	if s.quiet > 0 {
		stat.Where += fmt.Sprintf(", %d with listeners alone (SYN-RECV not looked for)", s.quiet)
	}
	stat.Sockstat = &procfd.Sockstat{InUse: s.sum.InUse, InUse6: s.sum.InUse6, TW: s.sum.TW, Orphan: -1, Alloc: -1}
	if host, err := s.Source.FS.Sockstat(0); err == nil {
		stat.Sockstat.Orphan, stat.Sockstat.Alloc = host.Orphan, host.Alloc
	}
	// Orphans that are about to go are allocated, and not in use any more.
	hidden := stat.Sockstat.Alloc - s.sum.InUse - s.sum.InUse6 - max(stat.Sockstat.Orphan, 0)
	if s.sum.InUse >= 0 && len(s.lost) == 0 && hidden > 0 {
		stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, diag.Gap{
			What: "TCP sockets that are listed nowhere", Count: hidden, Minor: true,
			Why: "they are closed or merely bound, or of a network namespace that a socket or a descriptor alone keeps: leakscan --all tells which",
		})
	}
	if n := len(s.lost); n > 0 {
		const some = 3
		names := strings.Join(s.lost[:min(n, some)], ", ")
		if n > some {
			names += ", …"
		}
		why := s.cause.Error()
		if errors.Is(s.cause, os.ErrPermission) {
			why += ": needs CAP_SYS_ADMIN, or root"
		}
		stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, diag.Gap{What: "sockets of network namespaces", Count: n, Why: names + ": " + why})
	}
	for gap, n := range s.gaps {
		if n > 1 {
			gap.Why = fmt.Sprintf("%s (in %d network namespaces)", gap.Why, n)
		}
		stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, gap)
	}
}
