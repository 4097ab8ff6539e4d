package diag

import (
	"sync"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Recall takes from a further dump sockets that were counted as usual and turned out to matter.
//
// The clocks of that dump are later ones. Where clocks of several connections are compared, those of all come from it: see [again].
type Recall struct {
	join *Join
	mu   sync.Mutex
	legs map[*Proc]map[traffic]bool // what the connections wanted have carried
	want map[uint32]bool            // sockets, by their first descriptor
	held map[*Proc]bool             // who was given some
}

// again is what connections of one process carried when they were read a second time, by cookie.
type again struct {
	legs map[uint64]*netlinkss.Socket
	took time.Duration
}

func (j *Join) newRecall() *Recall {
	return &Recall{join: j, legs: map[*Proc]map[traffic]bool{}, want: map[uint32]bool{}, held: map[*Proc]bool{}}
}

// Legs is for the connections that half-closed-pair may have to tell apart: in processes of which some connection has ended, those
// that have carried what it has. Nil when there are none. Before [Join.Space].
func (j *Join) Legs(grace time.Duration) *Recall {
	r := j.newRecall()
	usual := make([]bool, len(j.procs))
	for _, part := range j.parts {
		for i, u := range part.usual {
			usual[i] = usual[i] || u.Timer+u.NoTimer > 0
		}
	}
	for i, p := range j.space.Procs {
		if !usual[i] {
			continue
		}
		if want := endedTraffic(p, grace); want != nil {
			r.legs[p] = want
		}
	}
	if len(r.legs) == 0 {
		return nil
	}
	return r
}

// endedTraffic is what the connections of a process that may have ended have carried, and what the other leg of each would have.
func endedTraffic(p *Proc, grace time.Duration) (want map[traffic]bool) {
	add := func(t traffic) {
		if t.read+t.written == 0 {
			return
		}
		if want == nil {
			want = map[traffic]bool{}
		}
		want[t], want[t.mirrored()] = true, true
	}
	for i := range p.Held {
		h := &p.Held[i]
		if t, ok := trafficOf(h.Socket); ok && h.State == netlinkss.CloseWait && sentQuiet(h, grace, 0) {
			add(t)
		}
	}
	for i := range p.Dark {
		for _, t := range trafficsOfDead(&p.Dark[i]) {
			add(t)
		}
	}
	return want
}

// Shared is for sockets that other processes than those of the join have a descriptor on. Nil when all of them were kept.
// After [Join.Space].
func (j *Join) Shared(inodes []uint64) *Recall {
	r := j.newRecall()
	for _, inode := range inodes {
		if first, ok := j.index.found(inode); ok && j.index.fds[first].facts&factKept == 0 && !j.twice[first] {
			r.want[first] = true
		}
	}
	if len(r.want) == 0 {
		return nil
	}
	return r
}

// Add takes one socket of the dump. Several goroutines may call it.
func (r *Recall) Add(s *netlinkss.Socket) {
	j := r.join
	first, ok := j.index.find(uint64(s.Inode))
	if !ok || !j.index.is(first, s.Cookie) || j.twice[first] {
		return
	}
	if len(r.legs) > 0 {
		r.leg(first, s)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.want[first] {
		r.hold(first, s, true)
	}
}

// leg takes a connection that has carried what is wanted.
func (r *Recall) leg(first uint32, s *netlinkss.Socket) {
	t, ok := trafficOf(s)
	if !ok {
		return
	}
	j := r.join
	j.index.procs(first, func(proc int32) {
		p := j.procs[proc]
		if !r.legs[p][t] {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if p.again == nil {
			p.again = &again{legs: map[uint64]*netlinkss.Socket{}}
		}
		if p.again.legs[s.Cookie] == nil {
			p.again.legs[s.Cookie] = j.keep(s)
			r.hold(first, p.again.legs[s.Cookie], false)
		}
	})
}

// hold keeps a socket that was counted alone.
func (r *Recall) hold(first uint32, s *netlinkss.Socket, reused bool) {
	j := r.join
	if j.index.fds[first].facts&factKept != 0 {
		return
	}
	j.index.fds[first].facts |= factKept
	j.hold(first, s, reused, HeldSocket{})
	p := j.procs[j.index.fds[first].process()] // a usual socket has one holder
	p.Held[len(p.Held)-1].Counted = true
	r.held[p] = true
}

// Done ends the recall of legs. began is when its dump did, took how long it lasted.
func (r *Recall) Done(began time.Time, took time.Duration) {
	for p := range r.legs {
		if p.again == nil {
			p.again = &again{}
		}
		p.again.took = took
		for i := range p.Dark {
			p.Dark[i].until(began)
		}
	}
}

// until lets the clocks of a dead connection run on to when others were read.
func (d *DarkSocket) until(t time.Time) {
	later := t.Sub(d.Asked)
	if d.Asked.IsZero() || later <= 0 {
		return
	}
	d.Asked = t
	d.Info.LastDataSent += uint32(later / time.Millisecond)
	d.Info.LastDataRecv += uint32(later / time.Millisecond)
}

// Settle puts the sockets of a recall after [Join.Space] in their places, and returns whose they are.
func (r *Recall) Settle() []*Proc {
	var list []*Proc
	for _, p := range r.join.procs {
		if !r.held[p] {
			continue
		}
		list = append(list, p)
		r.join.place(p)
	}
	return list
}

// place puts what was added to a process's sockets in its place. Its queues follow their listeners.
func (j *Join) place(p *Proc) {
	listeners := make([]procfd.SocketFD, 0, len(p.Queues))
	for i := range p.Queues {
		listeners = append(listeners, p.Queues[i].Listener.SocketFD())
	}
	j.settleHeld(p)
	settleDirections(p)
	for i, fd := range listeners {
		p.Queues[i].Listener = p.heldBy(fd)
	}
}
