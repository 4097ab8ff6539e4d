package record

import (
	"fmt"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// collector takes one sample apart.
type collector struct {
	*Writer
	socketRow // that is being made, and not one for each
	heldRow
	sample *Sample
	up     time.Duration
	now    now
	spaces map[*diag.Space]uint32 // from 1 on
	list   []*diag.Space
	procs  map[*diag.Proc]procSlot
	again  map[[2]uint64]uint8     // by number and start: how many there were
	asked  map[diag.Options]uint32 // words of sockets of which nothing else is special
}

type procSlot struct {
	slot  uint32
	fresh bool
	row   procRow
}

// darkNetns is what a row of a dark socket has for a namespace: it is not known.
const darkNetns = ^uint64(0)

func (c *collector) collect(key bool) error {
	s := c.sample.Snapshot
	c.up = s.Host.Uptime
	look := time.Duration(0)
	if !s.Began.IsZero() {
		look = s.At.Sub(s.Began)
	}
	c.now = nowOf(c.up, look)
	c.spaces, c.procs = map[*diag.Space]uint32{}, map[*diag.Proc]procSlot{}
	c.again, c.asked = map[[2]uint64]uint8{}, map[diag.Options]uint32{}
	c.sockets.begin(key)
	clear(c.sockets.quiet)
	c.held.begin(key)
	c.dark.begin(key)
	c.Writer.procs.begin(key)
	if err := c.snapshot(s); err != nil {
		return err
	}
	if err := c.rest(); err != nil {
		return err
	}
	clear(c.sockets.pointers)
	return c.end()
}

// snapshot takes all processes, and then what they hold: a process may be named before it comes.
func (c *collector) snapshot(s *diag.Snapshot) error {
	for _, space := range s.Spaces {
		c.space(space)
	}
	var all []*diag.Proc
	for _, space := range s.Spaces {
		for i, p := range space.Procs {
			if err := c.admit(&all, p, int32Of(i)); err != nil {
				return err
			}
		}
	}
	for _, p := range all {
		if err := c.holds(p); err != nil {
			return fmt.Errorf("%s: %w", diag.Subject(p.Process), err)
		}
	}
	return nil
}

// space is the number of a namespace, from 1 on; 0 of nil.
func (c *collector) space(s *diag.Space) uint32 {
	if s == nil {
		return 0
	}
	n, ok := c.spaces[s]
	if !ok {
		c.list = append(c.list, s)
		n = uint32(len(c.list))
		c.spaces[s] = n
	}
	return n
}

// admit gives a process and its kin their slots.
func (c *collector) admit(all *[]*diag.Proc, p *diag.Proc, rank int32) (err error) {
	known, ok := c.procs[p]
	if ok {
		if rank >= 0 { // it was kin before it was a process of the space
			known.row.rank = rank
			c.procs[p] = known
		}
		return nil
	}
	row := procRowOf(p, c.up)
	row.rank, row.space = rank, c.space(p.Space)
	id := [2]uint64{uint64(p.PID), p.Start}
	row.again = c.again[id]
	c.again[id]++
	known.row = row
	if known.slot, known.fresh, err = c.Writer.procs.find(&known.row, known.row.hash(), nil); err != nil {
		return err
	}
	c.procs[p] = known
	*all = append(*all, p)
	for _, kin := range p.Kin {
		if err := c.admit(all, kin, -1); err != nil {
			return err
		}
	}
	return nil
}

// holds takes what a process holds, and then the process.
func (c *collector) holds(p *diag.Proc) error {
	known := c.procs[p]
	netns := uint64(0)
	if p.Space != nil {
		netns = p.Space.Netns
	}
	for i := range p.Held {
		if err := c.hold(known.slot, netns, &p.Held[i]); err != nil {
			return err
		}
	}
	for i := range p.Dark {
		if err := c.darken(known.slot, &p.Dark[i]); err != nil {
			return err
		}
	}
	var err error
	if known.row.who, err = c.words.word(whoOf(p)); err != nil {
		return err
	}
	if known.row.loose, err = c.loose(p, netns); err != nil {
		return err
	}
	return c.Writer.procs.put(known.slot, known.fresh, &known.row)
}

// hold takes one socket that a process holds.
func (c *collector) hold(proc uint32, netns uint64, h *diag.HeldSocket) (err error) {
	if len(h.FDs) == 0 {
		return errNoDescriptor
	}
	if h.Space != nil {
		netns = h.Space.Netns
	}
	from, late := h.Reading()
	row := &c.heldRow
	*row = heldRow{
		proc: proc, fd: int32Of(h.FDs[0]), task: int32Of(h.Task), flags: heldFlags(h, late), space: c.space(h.Space),
		read: readOf(from, c.up),
	}
	if row.sock, err = c.socket(netns, h.Socket); err != nil {
		return err
	}
	if h.End != nil {
		if row.end, err = c.socket(netns, h.End.Socket); err != nil {
			return err
		}
		row.end++
	}
	if row.more, err = c.more(h); err != nil {
		return err
	}
	slot, fresh, err := c.held.find(row, row.hash(), nil)
	if err != nil {
		return err
	}
	if was := c.held.row(slot); !fresh && c.sockets.quiet.has(row.sock) && was.read < row.read {
		row.read = was.read // no later than what the clocks are of: see clock.go
	}
	return c.held.put(slot, fresh, row)
}

// more is the word of what a held socket has that few have; 0: nothing.
func (c *collector) more(h *diag.HeldSocket) (n uint32, err error) {
	if len(h.FDs) == 1 && h.Options == nil && h.End == nil && len(h.Others) == 0 {
		return 0, nil
	}
	more := wireMore{Others: wireHolders(h.Others), Options: h.Options}
	if len(h.FDs) > 1 {
		more.FDs = h.FDs
	}
	if h.End != nil {
		more.Holders = wireHolders(h.End.Holders)
	}
	if len(more.FDs)+len(more.Others)+len(more.Holders) > 0 {
		return c.words.word(&more)
	}
	if h.Options == nil { // nobody has the other end
		return 0, nil
	}
	n, ok := c.asked[*h.Options]
	if !ok {
		n, err = c.words.word(&more)
		c.asked[*h.Options] = n
	}
	return n, err
}

// socket is the slot of a socket, which others may refer to as well.
func (c *collector) socket(netns uint64, s *netlinkss.Socket) (uint32, error) {
	slot, err := c.row(netns, s, s)
	if err == nil {
		c.sockets.point(slot, s)
	}
	return slot, err
}

// row takes a socket; is: it may have been taken before in this sample.
func (c *collector) row(netns uint64, s, is *netlinkss.Socket) (uint32, error) {
	row := &c.socketRow
	*row = socketRow{}
	if err := row.set(s, c.kind(netns, s), &c.zones, c.now); err != nil {
		return 0, err
	}
	t := &c.sockets
	t.is = is
	slot, fresh, err := t.find(row, row.hash(), t.isTaken)
	if err != nil || t.taken(slot) {
		return slot, err
	}
	if !fresh && row.settle(t.row(slot), c.now) {
		t.quiet.add(slot)
	}
	return slot, t.put(slot, fresh, row)
}

func (c *collector) darken(proc uint32, d *diag.DarkSocket) (err error) {
	row := darkRow{
		proc: proc, fd: int32Of(d.FD), task: int32Of(d.Task), inode: d.Inode, alive: uint8(d.Alive), direction: uint8(d.Direction),
		errno: uint32(d.Err),
	}
	if d.Told {
		row.told = 1
	}
	if row.sock, err = c.row(darkNetns, darkSocket(d), nil); err != nil {
		return err
	}
	slot, fresh, err := c.dark.find(&row, row.hash(), nil)
	if err != nil {
		return err
	}
	return c.dark.put(slot, fresh, &row)
}

// loose is the word of what few processes have; 0: nothing.
func (c *collector) loose(p *diag.Proc, netns uint64) (uint32, error) {
	w := wireLoose{Destinations: p.Destinations, Passed: p.Passed(), Gaps: wireGaps(p.Gaps)}
	if p.ByProto != [procfd.NumProtos]int{} {
		w.Protocols = p.ByProto[:]
	}
	slots := func(list []*netlinkss.Socket) (all []uint32, err error) {
		for _, s := range list {
			slot, err := c.socket(netns, s)
			if err != nil {
				return nil, err
			}
			all = append(all, slot)
		}
		return all, nil
	}
	var err error
	for i := range p.Queues {
		q := wireQueue{Task: p.Queues[i].Listener.Task, FD: p.Queues[i].Listener.FD(), Others: p.Queues[i].Others}
		if q.Waiting, err = slots(p.Queues[i].Waiting); err != nil {
			return 0, err
		}
		w.Queues = append(w.Queues, q)
	}
	if legs, took, ok := p.Again(); ok {
		w.Again = &wireAgain{Took: took}
		if w.Again.Legs, err = slots(legs); err != nil {
			return 0, err
		}
	}
	for _, kin := range p.Kin {
		w.Kin = append(w.Kin, c.procs[kin].slot)
	}
	if len(w.Queues)+len(w.Destinations)+len(w.Passed)+len(w.Kin)+len(w.Gaps)+len(w.Protocols) == 0 && w.Again == nil {
		return 0, nil
	}
	return c.words.word(&w)
}

// rest takes the sockets that nobody of the snapshot holds.
func (c *collector) rest() error {
	if c.sample.Rest == nil {
		return nil
	}
	for netns, s := range c.sample.Rest {
		if _, err := c.row(netns, s, nil); err != nil {
			return err
		}
	}
	return nil
}

// end writes what is left, and the line that makes the sample whole.
func (c *collector) end() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	for _, write := range []func() error{
		c.references,
		func() error { return finish(c.Writer, c.sockets.tracker) },
		func() error { return finish(c.Writer, c.Writer.procs) },
		func() error { return finish(c.Writer, c.held) },
		func() error { return finish(c.Writer, c.dark) },
		func() error { return c.object(line) },
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

func finish[R comparable](w *Writer, t *tracker[R]) error {
	return t.end(func(gone []byte) error { return flush(w, t, gone) })
}

func (c *collector) line() (*wireSample, error) {
	s := c.sample.Snapshot
	host, err := c.words.word(wireHost{text(s.Host.Name), text(s.Host.Kernel), wireGaps(s.Gaps)})
	if err != nil {
		return nil, err
	}
	line := &wireSample{
		Sample: c.samples + 1, At: s.At.UTC(), Set: c.setting.since(s.At, c.up), Up: c.up, Host: host, Rest: c.sample.Rest != nil,
	}
	if !s.Began.IsZero() {
		line.Began = s.Began.UTC()
	}
	for i, space := range c.list {
		word, err := c.words.word(wireSpace{
			Netns: space.Netns, Sysctls: space.Sysctls, Source: text(space.TimeWaitSource), Listed: text(space.Source), Listens: space.Listens(), Gaps: wireGaps(space.Gaps),
		})
		if err != nil {
			return nil, err
		}
		line.Spaces = append(line.Spaces, wireSpaceLine{
			Space: word, TimeWait: space.TimeWait, Orphans: space.Orphans, Took: space.Took, Ended: space.Ended, Late: space.Late,
			Foreign: i >= len(s.Spaces),
		})
	}
	return line, nil
}
