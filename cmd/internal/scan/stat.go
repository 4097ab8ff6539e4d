package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Count counts the sockets of the reader's namespace, of others, or of a recorded dump, as often as it is asked to. Every sample uses
// the memory of the one before.
type Count struct {
	Source *Source
	Where  string // as [Source.Netns] takes it; "": the reader's own
	By     diag.GroupBy
	Filter diag.Filter
	Idle   bool   // idle times are wanted, see [diag.Tally]
	Order  string // of the groups
	Top    int    // how many of them are listed; 0: all

	list    *Sockets
	tallies []*diag.Tally // one for each list that is read beside the others
	spills  []*Spill
	used    int                        // of tallies, in this sample
	load    func() (wait func() error) // see begin, once in a sample
	early   *early                     // nil: nothing was read
	between func(*early)               // of a test: is called when it was
}

// Arrange has the next samples grouped by another key, and in another order.
func (c *Count) Arrange(by diag.GroupBy, order string) {
	if c.Order = order; by == c.By {
		return
	}
	for _, s := range c.spills {
		s.Close()
	}
	c.By, c.tallies, c.spills = by, nil, nil
}

// Close frees what the samples have used. They are not to be used any more.
func (c *Count) Close() {
	for _, s := range c.spills {
		s.Close()
	}
	if c.list != nil {
		c.list.Close()
	}
}

// Sample counts once. The result is valid until the next one.
func (c *Count) Sample(ctx context.Context) (*diag.Stat, error) {
	start := time.Now()
	stat := &diag.Stat{}
	stat.Snapshot.At = start
	c.load = sync.OnceValue(func() func() error { return c.begin(ctx) })
	err := c.collect(ctx, stat)
	if err2 := c.load()(); err == nil {
		err = err2
	}
	if err != nil {
		return nil, err
	}
	stat.Tally = c.tallies[0]
	for _, t := range c.tallies[1:c.used] {
		stat.Tally.Merge(t)
	}
	if n := stat.Tally.NoClocks; n > 0 && (strings.Contains(stat.Source, sockDiag) || c.Source.From != "") {
		stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, diag.Gap{
			What: "TCP_INFO of connections", Count: n, Why: "the list came without it, so their idle times are not known: ss -i records it",
		})
	}
	gaps, err := c.name(ctx, stat.Tally)
	if err != nil {
		return nil, err
	}
	stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, gaps...)
	if c.By == diag.ByProcess && c.Source.owners != nil {
		stat.Source += ", processes by " + diag.SourceIterators
	}
	if stat.Groups, stat.Distinct, err = stat.Tally.Groups(c.Order, c.Top); err != nil {
		return nil, err
	}
	stat.Took = time.Since(start)
	return stat, nil
}

// collect tallies what is to be counted, and says what it was and what it lacks.
func (c *Count) collect(ctx context.Context, stat *diag.Stat) error {
	c.used = 0
	if c.Where == "" {
		return c.collectOne(ctx, stat, c.Source.hostNetns())
	}
	places, gaps, err := c.Source.Netns(ctx, c.Where)
	if err != nil {
		return err
	}
	stat.Snapshot.Host = c.Source.FS.Host()
	c.Filter.Uptime = stat.Snapshot.Host.Uptime
	if c.Where != AllNetns {
		stat.Where = "network namespace " + places[0].String()
		return c.collectOne(ctx, stat, places[0].Place)
	}
	if c.Source.FS.OneNetns() {
		gaps = append(gaps, gapOneNetns)
	}
	stat.Snapshot.Gaps = gaps
	if err := c.readAll(ctx, stat, places, c.request()); err != nil {
		return err
	}
	if c.used == 0 {
		c.tally() // of no namespace
	}
	c.tallies[0].Names = map[uint64]string{}
	for _, n := range places {
		c.tallies[0].Names[n.Netns] = n.Label
	}
	return nil
}

// collectOne keeps the list open from sample to sample.
func (c *Count) collectOne(ctx context.Context, stat *diag.Stat, at Place) error {
	if c.list != nil && c.Source.From == "" && c.list.place.Netns != at.Netns { // a name leads elsewhere by now
		c.list.Close()
		c.list = nil
	}
	if c.list == nil {
		list, err := c.Source.Open(at)
		if err != nil {
			return deniedHint(err)
		}
		c.list = list
	}
	if (c.By == diag.ByProcess || c.By == diag.ByNetns) && c.Source.From != "" && c.list.sample == nil {
		return hint.Add(fmt.Errorf("--by %s: %s is no recording", c.By, c.Source.From), "sockleak record keeps who holds which socket, and in which network namespace it is")
	}
	stat.Source = c.list.Name
	stat.Snapshot.Gaps = slices.Clone(c.list.Gaps)
	c.host(stat)
	if c.list.besides = 0; c.iterates() {
		c.list.besides = 1 // who holds what is read beside the list
	}
	gaps, err := c.read(ctx)
	stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, gaps...)
	if c.list.After != nil {
		stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, c.list.After(c.By)...)
	}
	return err
}

func deniedHint(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return hint.Add(err, "to enter a network namespace needs CAP_SYS_ADMIN, or root")
	}
	return err
}

// host says where the sockets are, if they are not recorded.
func (c *Count) host(stat *diag.Stat) {
	if s := c.list.sample; s != nil {
		stat.Snapshot.Host, stat.Snapshot.At = s.Snapshot.Host, s.Snapshot.At
		c.Filter.Uptime = stat.Snapshot.Host.Uptime
		return
	}
	if c.Source.From != "" {
		stat.Snapshot.At = time.Time{} // nobody knows
		return
	}
	stat.Snapshot.Host = c.Source.FS.Host()
	c.Filter.Uptime = stat.Snapshot.Host.Uptime
	st, err := c.Source.sockstat(c.list.place)
	if err != nil {
		stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, diag.Gap{What: "sockstat", Why: err.Error(), Minor: true})
		return
	}
	stat.Sockstat = &st
}

// request asks for what is counted.
func (c *Count) request() netlinkss.Request {
	req := netlinkss.Request{States: c.Filter.States}
	if c.Idle {
		req.Attrs = netlinkss.AttrInfo
	}
	if c.By == diag.ByCgroup || c.By == diag.ByContainer {
		req.Attrs |= netlinkss.AttrCgroupID
	}
	if c.Filter.Port != 0 {
		req.Ports = []uint16{c.Filter.Port}
	}
	return req
}

// read tallies the list, and says what it lacks.
func (c *Count) read(ctx context.Context) ([]diag.Gap, error) {
	err := c.list.Each(ctx, c.request(), func() func(*netlinkss.Socket) {
		c.load() // beside the list, and behind the look for an idle processor
		t := c.tally()
		if c.By != diag.ByNetns {
			return t.Add
		}
		return func(s *netlinkss.Socket) {
			t.Netns = uint32(c.list.place.Netns)
			t.Add(s)
		}
	})
	if err == nil {
		return nil, nil
	}
	gap, ok := Incomplete(err)
	if !ok {
		return nil, err
	}
	return []diag.Gap{gap}, nil
}

// name finds out what the groups are of which the list does not tell it.
func (c *Count) name(ctx context.Context, t *diag.Tally) ([]diag.Gap, error) {
	switch c.By {
	case diag.ByProcess:
		return c.own(ctx, t)
	case diag.ByCgroup, diag.ByContainer:
		return c.nameCgroups(t)
	}
	return nil, nil
}

// own finds the processes of what was counted.
func (c *Count) own(ctx context.Context, t *diag.Tally) ([]diag.Gap, error) {
	if c.list != nil && c.list.sample != nil {
		return ownRecorded(t, c.list.sample.Snapshot), nil
	}
	if c.early == nil {
		wanted := procfd.NewWanted(t.IPv4.Total() + t.IPv6.Total())
		t.Wanted(wanted.Add)
		return c.ownRest(ctx, t, wanted, nil)
	}
	e := c.early
	c.early = nil
	if c.between != nil {
		c.between(e)
	}
	e.identify(c.Source.FS)
	rest := procfd.NewWanted(0) // what was opened since, and what those had that have ended
	t.Wanted(func(inode uint64) (n int, added bool) {
		if at, ok := e.owner(inode); ok {
			return at, true
		}
		n, added = rest.Add(inode)
		return len(e.owners) + n, added
	})
	return c.ownRest(ctx, t, rest, e.owners)
}

// ownRest finds the processes of sockets that are numbered behind those of which the processes are known, by whose places these are.
func (c *Count) ownRest(ctx context.Context, t *diag.Tally, wanted *procfd.Wanted, known []procfd.Owner) ([]diag.Gap, error) {
	owned := &procfd.Owned{}
	if wanted.Len() > 0 {
		var err error
		if owned, err = c.Source.FS.Owners(ctx, wanted, c.inodes(ctx)); err != nil {
			return nil, err
		}
	}
	of := make([]int32, len(known)+wanted.Len())
	places := map[procfd.Owner]int32{}
	for i, o := range known {
		of[i], places[o] = int32(i), int32(i)
	}
	owners := slices.Clone(known)
	at := make([]int32, len(owned.Processes)) // among owners
	for i, o := range owned.Processes {
		place, again := places[o]
		if !again {
			place = int32(len(owners))
			owners = append(owners, o)
		}
		at[i] = place
	}
	wanted.Each(func(n, process int) {
		if of[len(known)+n] = -1; process >= 0 {
			of[len(known)+n] = at[process]
		}
	})
	t.Own(owners, of)
	c.Source.Detail("who holds %d of these sockets was looked for behind the list", wanted.Len())
	return ownerGaps(owned, func() *Rights { return RightsOf(c.Source.FS) }), nil
}

// ownerGaps says why sockets have no owner, and what would show it; rights are asked for where something is missing.
func ownerGaps(o *procfd.Owned, rights func() *Rights) []diag.Gap {
	if o.Missing == 0 {
		return nil
	}
	denied, needs, why := 0, toRead, error(nil)
	for _, u := range o.Unread {
		if errors.Is(u.Err, fs.ErrPermission) {
			denied++
			if u.Descriptors == 0 {
				needs |= toList
			}
		} else {
			why = u.Err
		}
	}
	gap := diag.Gap{What: "processes of sockets", Count: o.Missing}
	switch gap.Why = rights().unowned(denied, needs); {
	case gap.Why != "":
	case why != nil:
		gap.Why = fmt.Sprintf("the descriptors of %s could not be read: %v", processes(len(o.Unread)), why)
	default:
		gap.Why = "no process has a descriptor on them: they were closed meanwhile, are in a message that nobody has received, or registered with io_uring"
	}
	return []diag.Gap{gap}
}

func processes(n int) string {
	if n == 1 {
		return "one process"
	}
	return fmt.Sprintf("%d processes", n)
}

// tally is an empty one, of the last sample if there is one left.
func (c *Count) tally() *diag.Tally {
	if c.used == len(c.tallies) {
		spill := &Spill{Detail: c.Source.Detail}
		c.spills = append(c.spills, spill)
		c.tallies = append(c.tallies, &diag.Tally{By: c.By, Idle: c.Idle, Spill: spill})
	}
	t := c.tallies[c.used]
	c.used++
	t.Reset()
	t.Filter = c.Filter
	return t
}

// Incomplete turns the end of a list that is not whole into a gap: what came before it stands.
func Incomplete(err error) (diag.Gap, bool) {
	if !isIncomplete(err) {
		return diag.Gap{}, false
	}
	return diag.Gap{What: "sockets", Why: err.Error()}, true
}

func isIncomplete(err error) bool {
	return errors.Is(err, netlinkss.ErrInterrupted) || errors.Is(err, netlinkss.ErrTruncated)
}
