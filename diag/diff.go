package diag

import (
	"errors"
	"iter"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// Side is one of two looks that [Compare] takes.
type Side struct {
	Name   string  // of the file, say
	Result *Result // judged; nil where there are sockets alone, as in a dump of ss
	// Sockets yields every socket of the side once; the *Socket may be used again for the next. nil: those that Result has kept.
	Sockets iter.Seq[*netlinkss.Socket]
	// Whole: Sockets are all those of the namespace, not only those of processes.
	Whole bool
	// NoTimers, NoInodes: the list does not tell these, as some texts do not. They read as off and 0.
	NoTimers, NoInodes bool
	At                 time.Time // the zero time: that of Result, or not known
	// Gaps are those beside Result's. They are read after the last socket, so who yields them may add to them meanwhile.
	Gaps []Gap
}

// NotKnown is a number that could not be told.
const NotKnown = -1

// Change is one thing that was counted on both sides.
type Change struct {
	Key string // in lower case, with "_" between words; the name of a state as ss has it
	N   [2]int // [NotKnown]: it could not be told
	// Unlike: the sides do not count the same sockets, so the difference means nothing.
	Unlike bool
}

// Delta is how much more there is after than before; not ok when that is not known.
func (c Change) Delta() (n int, ok bool) {
	if c.Unlike || c.N[0] == NotKnown || c.N[1] == NotKnown {
		return 0, false
	}
	return c.N[1] - c.N[0], true
}

// Verdict is whether it got worse.
type Verdict uint8

// The verdicts.
const (
	Same    Verdict = iota
	Better          // fewer leaked sockets than before
	Unclear         // not worse as far as could be seen
	Worse
)

// String is same, better, unclear or worse.
func (v Verdict) String() string { return [...]string{"same", "better", "unclear", "worse"}[v%4] }

// Diff is what has changed between two looks.
type Diff struct {
	Sides    [2]DiffSide
	Interval time.Duration // from the one to the other; negative when the first is the younger, 0 when it is not known

	Verdict Verdict
	Worse   bool     // the verdict is [Worse]
	Reasons []string // for the verdict, the weightiest first; each number in them is in one of the lists below
	Notes   []string // what to know when reading the numbers

	Leaks     []LeakChange    // what the verdict is from, where both sides were judged
	States    []Change        // by state; [DarkState] is what the kernel lists nowhere
	Timers    []Change        // ESTAB without a timer and with one, then all sockets by timer
	Suspects  []Change        // what sockets alone tell: see [SuspectCloseWait]
	IdleLimit time.Duration   // that of [SuspectIdle]
	Peers     []PeerChange    // the largest change first, at most [MaxDiffPeers]
	PeersRest PeersRest       // those beyond
	Unkept    [2]int          // connections that were counted, and whose peers were not kept
	Kinds     []Change        // descriptors by kind, of all processes
	Processes []ProcessChange // the largest change of descriptors first
	Findings  []FindingChange // by peer, the worst first

	Turnover Turnover
	Residue  []Residue // what is leaked first, then the most sockets
	// ResidueLeaked and ResidueIdle count the sockets of Residue, and those of groups that were too many to list.
	ResidueLeaked, ResidueIdle int

	Gaps []Gap // of the comparison itself; those of the sides are in Sides

	unheld bool // neither side tells which sockets are held
}

// DiffSide says what one side was.
type DiffSide struct {
	Name    string
	At      time.Time // the zero time: not known
	Host    procfd.Host
	Judged  bool // there was a diagnosis
	Whole   bool // the sockets counted are all those of the namespace
	Sockets int  // that were counted
	Gaps    []Gap
}

// Partial reports whether something could not be seen that may hide a leak.
func (s *DiffSide) Partial() bool { return partial(s.Gaps) }

// PeerChange counts the connections with one peer, TIME-WAIT left out: by address for those that were accepted or of which it is
// not known who opened them, by address and port for those that were opened from here.
type PeerChange struct {
	Peer      string
	Direction Direction
	N         [2]int // [NotKnown]: nothing could be seen on that side
	Unlike    bool   // as in [Change]
}

// PeersRest sums the peers that are not listed.
type PeersRest struct {
	Peers int    // how many they are; [NotKnown]: they were too many to tell
	N     [2]int // as in [PeerChange]
}

// comparison is a [Diff] in the making.
type comparison struct {
	*Diff
	sides    [2]*sideCount
	peers    peerCounts
	residue  residues
	matches  []*match
	of       [2]map[*Proc]*match
	together bool // both sides are of one host since it was started, so cookies and process numbers mean the same
	unlike   bool // the sides do not count the same sockets
}

// Compare tells what has changed between a look and a later one. It needs some 30 bytes for each connection of a, and what a million
// groups take at the most. The error says that a side has nothing to compare.
func Compare(a, b *Side) (*Diff, error) {
	c := &comparison{Diff: &Diff{}}
	for i, s := range [2]*Side{a, b} {
		if s == nil || s.Result == nil && s.Sockets == nil {
			return nil, errors.New("a side has neither a diagnosis nor sockets")
		}
		c.sides[i] = newSideCount(s)
	}
	c.IdleLimit = c.idleLimit()
	c.scope()
	c.place()
	c.matchProcesses()
	c.residue.start(c)
	for s := range c.sides[0].sockets {
		c.count(0, s)
		c.residue.remember(s)
	}
	for s := range c.sides[1].sockets {
		c.count(1, s)
		c.residue.meet(s)
	}
	c.describe()
	c.listCounts()
	c.listPeers()
	c.listKinds()
	c.listProcesses()
	c.listFindings()
	c.listResidue()
	c.judge()
	return c.Diff, nil
}

// scope has both sides count the same sockets, if that can be done.
func (c *comparison) scope() {
	a, b := c.sides[0], c.sides[1]
	if a.whole == b.whole {
		return
	}
	if a.Result == nil || b.Result == nil {
		c.unlike = true
		c.Gaps = append(c.Gaps, Gap{
			What: "the change of what sockets alone tell",
			Why:  "one side has all sockets of its namespace, the other those of some processes",
		})
		return
	}
	for _, s := range c.sides {
		if s.whole {
			s.countKept()
		}
	}
	c.Notes = append(c.Notes, "one side has all sockets of its namespace, the other those of some processes: those of processes are compared")
}

// bootSlack is how far the clock of a host may be set while it runs before two looks are taken for two boots of it.
const bootSlack = 10 * time.Minute

// place settles when and where the sides were taken.
func (c *comparison) place() {
	a, b := c.sides[0], c.sides[1]
	c.together = true
	if !a.at.IsZero() && !b.at.IsZero() {
		c.Interval = b.at.Sub(a.at)
	}
	if c.Interval < 0 && a.host.Name != b.host.Name {
		c.Notes = append(c.Notes, "what stands as before is younger than what stands as after")
	}
	switch {
	case a.host.Name != "" && b.host.Name != "" && a.host.Name != b.host.Name:
		c.together = false
		c.Notes = append(c.Notes, "the sides are of different hosts: "+a.host.Name+" and "+b.host.Name)
	case a.uptime > 0 && b.uptime > 0 && c.Interval != 0 && (b.uptime-a.uptime-c.Interval).Abs() > bootSlack:
		c.together = false
		c.Notes = append(c.Notes, "the host was started anew between the two")
	}
	if a.host.Kernel != "" && b.host.Kernel != "" && a.host.Kernel != b.host.Kernel {
		c.Notes = append(c.Notes, "the sides are of different kernels: "+a.host.Kernel+" and "+b.host.Kernel)
	}
}

// describe says what the sides were, when all of their sockets have come.
func (c *comparison) describe() {
	for i, s := range c.sides {
		d := DiffSide{Name: s.Name, At: s.at, Host: s.host, Judged: s.Result != nil, Whole: s.whole, Sockets: s.total()}
		if s.Result != nil {
			d.Gaps = append(d.Gaps, s.Result.Gaps...)
		}
		d.Gaps = append(append(d.Gaps, s.Gaps...), s.lacks()...)
		c.Sides[i] = d
	}
}
