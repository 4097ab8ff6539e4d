package record

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// state is what a reader knows behind a sample.
type state struct {
	zones   *zones
	words   dictionary
	kinds   []trait
	sockets *table[socketRow]
	held    *table[heldRow]
	dark    *table[darkRow]
	procs   *table[procRow]
}

func newState() *state {
	z := &zones{}
	s := &state{zones: z, sockets: newSocketTable(z), held: newHeldTable(), dark: newDarkTable(), procs: newProcTable()}
	s.sockets.check = s.hasKind
	return s
}

func (s *state) hasKind(row *socketRow) error {
	if row.trait == 0 || int(row.trait) > len(s.kinds) {
		return fmt.Errorf("sockets: there is no kind %d", row.trait)
	}
	return nil
}

// clear begins a key.
func (s *state) clear() {
	s.words, s.kinds = dictionary{}, s.kinds[:0]
	*s.zones = zones{}
	s.sockets.clear()
	s.held.clear()
	s.dark.clear()
	s.procs.clear()
}

// take takes the value of a line.
func (s *state) take(l *lexer, name string) error {
	switch name {
	case "words":
		return s.words.add(l)
	case "kinds":
		return s.addKinds(l)
	case "sockets":
		return s.sockets.read(l)
	case "held":
		return s.held.read(l)
	case "dark":
		return s.dark.read(l)
	case "procs":
		return s.procs.read(l)
	}
	return fmt.Errorf("unknown line %.40q", name)
}

func (s *state) addKinds(l *lexer) error {
	var list []trait
	if err := json.Unmarshal(l.b[l.i:], &list); err != nil {
		return err
	}
	l.i = len(l.b)
	if len(s.kinds)+len(list) > maxSockets {
		return fmt.Errorf("more than %d kinds of sockets", maxSockets)
	}
	s.kinds = append(s.kinds, list...)
	return nil
}

// restorer puts one sample together.
type restorer struct {
	*state
	now      now
	up       time.Duration
	spaces   []*diag.Space
	procs    map[uint32]*diag.Proc // by slot
	pointers []*netlinkss.Socket   // by slot
	block    []netlinkss.Socket    // room for sockets
	fds      []int                 // room for lists of one descriptor
}

func (s *state) restore(w *wireSample) (*Sample, error) {
	host, err := wordAs[wireHost](&s.words, w.Host)
	if err != nil {
		return nil, err
	}
	r := &restorer{state: s, now: nowOf(w.Up, 0), up: w.Up, procs: map[uint32]*diag.Proc{}}
	r.pointers = make([]*netlinkss.Socket, s.sockets.slots())
	snap := &diag.Snapshot{At: w.At.UTC().Add(-w.Set), Gaps: gapsOf(host.Gaps)}
	if !w.Began.IsZero() {
		snap.Began = w.Began.UTC().Add(-w.Set)
	}
	snap.Host.Name, snap.Host.Kernel, snap.Host.Uptime = string(host.Name), string(host.Kernel), w.Up
	for i := range w.Spaces {
		space, err := r.space(&w.Spaces[i])
		if err != nil {
			return nil, err
		}
		r.spaces = append(r.spaces, space)
		if !w.Spaces[i].Foreign {
			snap.Spaces = append(snap.Spaces, space)
		}
	}
	for _, step := range []func() error{r.who, r.holds, r.darks, r.looses} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	sample := &Sample{Snapshot: snap}
	if w.Rest {
		sample.Rest = r.rest
	}
	return sample, nil
}

func (r *restorer) space(l *wireSpaceLine) (*diag.Space, error) {
	w, err := wordAs[wireSpace](&r.words, l.Space)
	if err != nil {
		return nil, err
	}
	space := &diag.Space{
		Netns: w.Netns, Sysctls: w.Sysctls, TimeWaitSource: string(w.Source), Source: string(w.Listed), Gaps: gapsOf(w.Gaps),
		TimeWait: l.TimeWait, Orphans: l.Orphans, Took: l.Took, Ended: l.Ended, Late: l.Late,
	}
	space.SetListens(w.Listens)
	return space, nil
}

// spaceOf is the namespace of a number, nil of 0.
func (r *restorer) spaceOf(n uint32) (*diag.Space, error) {
	if n == 0 {
		return nil, nil
	}
	if int(n) > len(r.spaces) {
		return nil, fmt.Errorf("there is no namespace %d", n)
	}
	return r.spaces[n-1], nil
}

// who makes the processes, and gives them to their namespaces.
func (r *restorer) who() error {
	type ranked struct {
		rank int32
		proc *diag.Proc
	}
	bySpace := map[*diag.Space][]ranked{}
	err := r.state.procs.each(func(slot uint32, row *procRow) error {
		w, err := wordAs[wireWho](&r.words, row.who)
		if err != nil {
			return err
		}
		p := &diag.Proc{}
		w.restore(p)
		row.restore(p, r.up)
		if p.Space, err = r.spaceOf(row.space); err != nil {
			return err
		}
		r.procs[slot] = p
		if row.rank >= 0 {
			if p.Space == nil {
				return fmt.Errorf("process %d is in no namespace", p.PID)
			}
			bySpace[p.Space] = append(bySpace[p.Space], ranked{row.rank, p})
		}
		return nil
	})
	for space, list := range bySpace {
		slices.SortFunc(list, func(a, b ranked) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.proc.PID, b.proc.PID)) })
		space.Procs = each(list, func(one ranked) *diag.Proc { return one.proc })
	}
	return err
}

// proc is the process in a slot.
func (r *restorer) proc(slot uint32) (*diag.Proc, error) {
	if p := r.procs[slot]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("there is no process in slot %d", slot)
}

// socket is the socket in a slot, the same one whoever asks.
func (r *restorer) socket(slot uint32) (*netlinkss.Socket, error) {
	if !r.sockets.live.has(slot) {
		return nil, fmt.Errorf("there is no socket in slot %d", slot)
	}
	if s := r.pointers[slot]; s != nil {
		return s, nil
	}
	if len(r.block) == cap(r.block) {
		r.block = make([]netlinkss.Socket, 0, 128)
	}
	r.block = r.block[:len(r.block)+1]
	s := &r.block[len(r.block)-1]
	r.pointers[slot] = s
	r.fill(s, slot)
	return s, nil
}

func (r *restorer) fill(s *netlinkss.Socket, slot uint32) *trait {
	row := r.sockets.row(slot)
	kind := &r.kinds[row.trait-1]
	row.restore(s, kind, r.zones, r.now)
	return kind
}

// holds gives the processes what they hold.
func (r *restorer) holds() error {
	counts := map[uint32]int{}
	_ = r.held.each(func(_ uint32, row *heldRow) error { counts[row.proc]++; return nil })
	err := r.held.each(func(_ uint32, row *heldRow) error {
		p, err := r.proc(row.proc)
		if err != nil {
			return err
		}
		if p.Held == nil {
			p.Held = make([]diag.HeldSocket, 0, counts[row.proc])
		}
		p.Held = append(p.Held, diag.HeldSocket{})
		return r.hold(&p.Held[len(p.Held)-1], row)
	})
	for _, p := range r.procs {
		slices.SortStableFunc(p.Held, func(a, b diag.HeldSocket) int {
			return cmp.Or(cmp.Compare(a.Task, b.Task), cmp.Compare(a.FD(), b.FD()))
		})
	}
	return err
}

func (r *restorer) hold(h *diag.HeldSocket, row *heldRow) (err error) {
	row.restore(h, r.up)
	r.fds = append(r.fds, int(row.fd))
	n := len(r.fds)
	h.FDs = r.fds[n-1 : n : n]
	if h.Socket, err = r.socket(row.sock); err != nil {
		return err
	}
	if h.Space, err = r.spaceOf(row.space); err != nil {
		return err
	}
	more := &wireMore{}
	if row.more != 0 {
		if more, err = wordAs[wireMore](&r.words, row.more); err != nil {
			return err
		}
	}
	if len(more.FDs) > 0 {
		h.FDs = slices.Clip(more.FDs)
	}
	h.Others, h.Options = holdersOf(more.Others), more.Options
	if row.end == 0 {
		return nil
	}
	h.End = &diag.End{Holders: holdersOf(more.Holders)}
	h.End.Socket, err = r.socket(row.end - 1)
	return err
}

func (r *restorer) darks() error {
	err := r.dark.each(func(_ uint32, row *darkRow) error {
		p, err := r.proc(row.proc)
		if err != nil {
			return err
		}
		s, err := r.socket(row.sock)
		if err != nil {
			return err
		}
		p.Dark = append(p.Dark, diag.DarkSocket{
			FD: int(row.fd), Task: int(row.task), Inode: row.inode, Cookie: s.Cookie, Alive: diag.Alive(row.alive), Local: s.Local, Peer: s.Peer,
			Info: s.Info, Direction: diag.Direction(row.direction), Told: row.told != 0, Err: syscall.Errno(row.errno),
		})
		return nil
	})
	for _, p := range r.procs {
		slices.SortStableFunc(p.Dark, func(a, b diag.DarkSocket) int { return cmp.Or(cmp.Compare(a.Task, b.Task), cmp.Compare(a.FD, b.FD)) })
	}
	return err
}

// looses gives the processes what few of them have. What they hold must be in its order.
func (r *restorer) looses() error {
	return r.state.procs.each(func(slot uint32, row *procRow) error {
		if row.loose == 0 {
			return nil
		}
		w, err := wordAs[wireLoose](&r.words, row.loose)
		if err != nil {
			return err
		}
		p := r.procs[slot]
		copy(p.ByProto[:], w.Protocols)
		p.Destinations, p.Gaps = slices.Clone(w.Destinations), gapsOf(w.Gaps)
		p.SetPassed(w.Passed)
		for _, kin := range w.Kin {
			child, err := r.proc(kin)
			if err != nil {
				return err
			}
			p.Kin = append(p.Kin, child)
		}
		if err := r.queues(p, w.Queues); err != nil || w.Again == nil {
			return err
		}
		legs, err := r.all(w.Again.Legs)
		p.SetAgain(legs, w.Again.Took)
		return err
	})
}

func (r *restorer) queues(p *diag.Proc, list []wireQueue) error {
	for _, q := range list {
		i, ok := slices.BinarySearchFunc(p.Held, q, func(h diag.HeldSocket, q wireQueue) int {
			return cmp.Or(cmp.Compare(h.Task, q.Task), cmp.Compare(h.FD(), q.FD))
		})
		if !ok {
			return fmt.Errorf("there is no listener on descriptor %d", q.FD)
		}
		waiting, err := r.all(q.Waiting)
		if err != nil {
			return err
		}
		p.Queues = append(p.Queues, diag.AcceptQueue{Listener: &p.Held[i], Waiting: waiting, Others: q.Others})
	}
	return nil
}

func (r *restorer) all(slots []uint32) (list []*netlinkss.Socket, err error) {
	for _, slot := range slots {
		s, err := r.socket(slot)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// rest walks the sockets that nobody of the snapshot refers to.
func (r *restorer) rest(yield func(uint64, *netlinkss.Socket) bool) {
	var s netlinkss.Socket
	for slot := range r.sockets.slots() {
		if !r.sockets.live.has(slot) || int(slot) < len(r.pointers) && r.pointers[slot] != nil {
			continue
		}
		s = netlinkss.Socket{}
		if kind := r.fill(&s, slot); !yield(kind.Netns, &s) {
			return
		}
	}
}
