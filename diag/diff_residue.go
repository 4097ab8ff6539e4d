package diag

import (
	"cmp"
	"hash/maphash"
	"math/bits"
	"slices"

	"github.com/sockleak/sockleak/netlinkss"
)

// Residue are sockets that were there both times, in the same state, and on which no byte has moved between: none was sent for the
// first time, acknowledged, received, written or read. Answers to keepalive probes are no bytes, nor is what is sent again.
// Listeners are left out, and what no process holds.
type Residue struct {
	Rule      string // of the finding of the second side that names them, "" for none: they are idle and no more
	Severity  Severity
	Proc      *Proc // that holds them at the second side; nil when it is not known
	Peer      string
	Direction Direction
	LocalPort uint16 // of accepted connections; 0 otherwise
	State     string
	Timer     string // "" when the list does not tell
	Keepalive string
	Sockets   int
	Oldest    Span // the longest idle time
	// Samples are the longest idle of them, at most three. One whose descriptor is not known has no PID.
	Samples []Sample
}

// Leaked reports whether a finding says that they leak.
func (r *Residue) Leaked() bool { return r.Rule != "" && r.Severity == Leak }

// Turnover is what became of the connections that somebody holds, by cookie.
type Turnover struct {
	Known   bool // cookies were there on both sides, and mean the same
	Gone    int  // not seen again: closed, or of a process that was not looked at
	New     int  // not seen before
	Stayed  int  // there both times; the next four are parts of it
	Moved   int  // bytes moved
	Changed int  // in another state now
	Silent  int
	Untold  int // without byte counters
}

const (
	// maxResidue is how many groups a residue has, residueSamples how many samples each.
	maxResidue     = 1 << 14
	residueSamples = 3
)

// seen is a socket of the first side.
type seen struct {
	cookie, moved uint64
	tuple         uint32 // cookies are used again by another boot, or another namespace of an old kernel
	state         netlinkss.State
	counters      uint8 // which moved is made of
	met           bool
}

// What [movedOf] is made of.
const (
	noCounters = iota
	bytesAcked // and received
	bytesSent  // as well
)

// movedOf sums what only grows while a socket lives: bytes written, sent for the first time, acknowledged, received and read. So two
// equal sums are of equal parts. What is acknowledged and what waits in Send-Q is all that was written; what was received, less what
// waits in Recv-Q, is all that was read.
func movedOf(s *netlinkss.Socket) (moved uint64, counters uint8) {
	if !hasCounters(s) {
		return 0, noCounters
	}
	t := &s.Info
	moved = 2*t.BytesAcked + uint64(s.SendQ) + 2*t.BytesReceived - uint64(s.RecvQ)
	if s.InfoLen() < netlinkss.InfoHasBytes {
		return moved, bytesAcked
	}
	return moved + t.BytesSent - t.BytesRetrans, bytesSent
}

// cookieSet finds sockets by cookie in some 35 bytes each. A file chooses its cookies, so the hash has a secret.
type cookieSet struct {
	list   []seen
	slots  []uint32 // the number in the list plus one; 0: free. A power of two
	secret uint64
}

func (c *cookieSet) slot(cookie uint64) *uint32 {
	hi, lo := bits.Mul64(cookie^c.secret, c.secret|1)
	mask := uint64(len(c.slots) - 1)
	for at := (hi ^ lo) & mask; ; at = (at + 1) & mask {
		if s := &c.slots[at]; *s == 0 || c.list[*s-1].cookie == cookie {
			return s
		}
	}
}

func (c *cookieSet) add(s seen) {
	if 4*(len(c.list)+1) > 3*len(c.slots) {
		c.slots = make([]uint32, max(2*len(c.slots), 64))
		for i := range c.list {
			*c.slot(c.list[i].cookie) = uint32(i + 1)
		}
	}
	if at := c.slot(s.cookie); *at == 0 {
		c.list = append(c.list, s)
		*at = uint32(len(c.list))
	}
}

// find is nil for a cookie that is not there.
func (c *cookieSet) find(cookie uint64) *seen {
	if len(c.slots) == 0 {
		return nil
	}
	if at := *c.slot(cookie); at != 0 {
		return &c.list[at-1]
	}
	return nil
}

// residueKey is what the sockets of a group share.
type residueKey struct {
	finding   *Finding // one of those of its rule and severity in a process
	proc      *Proc
	peer      peerID
	localPort uint16
	state     netlinkss.State // 0: closed
	timer     netlinkss.Timer
	keepalive Keepalive
}

// residues finds the residue while the sockets of the second side come.
type residues struct {
	*comparison
	on     bool
	seed   maphash.Seed
	before cookieSet
	groups map[residueKey]*Residue
	held   map[uint64]*HeldSocket // of the second side's diagnosis, by inode
	procs  map[uint64]*Proc
	named  map[uint64]*Finding
	first  map[ruleKey]*Finding
}

type ruleKey struct {
	rule     string
	severity Severity
	proc     *Proc
}

func (r *residues) start(c *comparison) {
	*r = residues{
		comparison: c, on: c.together, seed: maphash.MakeSeed(), groups: map[residueKey]*Residue{}, held: map[uint64]*HeldSocket{},
		procs: map[uint64]*Proc{}, named: map[uint64]*Finding{}, first: map[ruleKey]*Finding{},
	}
	r.before.secret = maphash.Comparable(r.seed, 0)
	after := c.sides[1].Result
	if !r.on || after == nil {
		return
	}
	for _, p := range after.Procs() {
		for _, fd := range p.Sockets {
			r.procs[fd.Inode] = p
		}
		for i := range p.Held {
			inode := uint64(p.Held[i].Inode)
			r.held[inode], r.procs[inode] = &p.Held[i], p
		}
	}
	for _, f := range after.Findings {
		r.name(f)
	}
}

// name remembers the sockets of a finding; the worst come first.
func (r *residues) name(f *Finding) {
	if f.Severity < Risk {
		return
	}
	key := ruleKey{f.Rule, f.Severity, f.Proc}
	if r.first[key] == nil {
		r.first[key] = f
	}
	for i := range f.Samples {
		inode := f.Samples[i].Inode
		if inode == 0 {
			continue
		}
		if was := r.named[inode]; was == nil || was.Severity < f.Severity {
			r.named[inode] = r.first[key]
		}
	}
}

// concerns: a connection that somebody holds, and that can be found again.
func (r *residues) concerns(side int, s *netlinkss.Socket) bool {
	return r.on && s.Cookie != 0 && lasting(s) && (s.Inode != 0 || r.sides[side].NoInodes)
}

func (r *residues) tuple(s *netlinkss.Socket) uint32 {
	local, peer := netlinkss.Unmap(s.Local), netlinkss.Unmap(s.Peer)
	return uint32(printOf(r.seed, local)>>1 ^ printOf(r.seed, peer))
}

func (r *residues) remember(s *netlinkss.Socket) {
	if !r.concerns(0, s) {
		return
	}
	was := seen{cookie: s.Cookie, tuple: r.tuple(s), state: s.State}
	was.moved, was.counters = movedOf(s)
	r.before.add(was)
}

func (r *residues) meet(s *netlinkss.Socket) {
	if !r.concerns(1, s) {
		return
	}
	t := &r.Turnover
	was := r.before.find(s.Cookie)
	if was == nil || was.tuple != r.tuple(s) {
		t.New++
		return
	}
	if was.met {
		return
	}
	was.met = true
	t.Stayed++
	moved, counters := movedOf(s)
	switch {
	case was.state != s.State:
		t.Changed++
	case counters == noCounters || counters != was.counters:
		t.Untold++
	case moved != was.moved:
		t.Moved++
	default:
		t.Silent++
		r.add(s)
	}
}

// add puts a silent socket into its group.
func (r *residues) add(s *netlinkss.Socket) {
	n := r.sides[1]
	inode := uint64(s.Inode)
	h := r.held[inode]
	key := residueKey{finding: r.named[inode], proc: r.procs[inode], state: s.State, timer: s.Timer, keepalive: KeepaliveOf(s)}
	d := n.directionOf(s)
	sample := Sample{State: s.State.String()}
	if key.proc == nil && key.finding != nil {
		key.proc = key.finding.Proc // a descendant holds it
	}
	if h != nil {
		key.keepalive, d = h.Keepalive, h.Direction
	}
	if n.NoTimers {
		key.keepalive, key.timer = KeepaliveUnknown, 0
	}
	key.peer = peerIDOf(s, d)
	if d == Accepted {
		key.localPort = s.Local.Port()
	}
	idle := Idle(s, n.uptime)
	g := r.group(key, idle)
	if g == nil || !g.wants(idle) {
		return
	}
	if h != nil {
		sample = sampleOf(h, n.uptime)
		sample.PID = key.proc.PID
	} else {
		sample = sampleOf(&HeldSocket{Socket: s, FDs: []int{0}, Keepalive: key.keepalive}, n.uptime)
	}
	if n.NoTimers {
		sample.Timer = ""
	}
	g.keep(sample)
}

// group counts a socket in its group; nil when there is no room for that.
func (r *residues) group(key residueKey, idle Span) *Residue {
	if key.finding != nil && key.finding.Severity == Leak {
		r.ResidueLeaked++
	} else {
		r.ResidueIdle++
	}
	g := r.groups[key]
	if g == nil {
		if len(r.groups) >= maxResidue {
			return nil
		}
		g = &Residue{
			Proc: key.proc, Peer: key.peer.String(), Direction: key.peer.direction, LocalPort: key.localPort, State: key.state.String(),
			Timer: key.timer.String(), Keepalive: key.keepalive.String(),
		}
		if key.finding != nil {
			g.Rule, g.Severity = key.finding.Rule, key.finding.Severity
		}
		if r.sides[1].NoTimers {
			g.Timer = ""
		}
		if key.state == 0 {
			g.State = DarkState
		}
		r.groups[key] = g
	}
	g.Sockets++
	g.Oldest = longer(g.Oldest, idle)
	return g
}

// wants reports whether a socket so long idle is one of the samples.
func (r *Residue) wants(idle Span) bool {
	return len(r.Samples) < residueSamples || idle.D > r.Samples[len(r.Samples)-1].Idle.D
}

// keep inserts a sample before those that are less idle.
func (r *Residue) keep(s Sample) {
	at, _ := slices.BinarySearchFunc(r.Samples, s, func(a, b Sample) int {
		return cmp.Or(cmp.Compare(b.Idle.D, a.Idle.D), -1)
	})
	r.Samples = slices.Insert(r.Samples, at, s)
	r.Samples = r.Samples[:min(len(r.Samples), residueSamples)]
}

// addDark takes what was dark both times on the same descriptor of the same process, and has sent nothing between.
func (r *residues) addDark() {
	if !r.on || !r.judged() {
		return
	}
	before := map[darkKey]*DarkSocket{}
	for _, p := range r.sides[0].Result.Procs() {
		for i := range p.Dark {
			d := &p.Dark[i]
			before[darkKey{p.PID, p.Start, d.FD, d.Inode}] = d
		}
	}
	for _, p := range r.sides[1].Result.Procs() {
		for i := range p.Dark {
			d := &p.Dark[i]
			was := before[darkKey{p.PID, p.Start, d.FD, d.Inode}]
			if was == nil || was.Local != d.Local || was.Info.SegsOut != d.Info.SegsOut {
				continue
			}
			key := residueKey{finding: r.named[d.Inode], proc: p, peer: peerID{direction: d.Direction}}
			if d.Peer.IsValid() {
				key.peer = peerIDOf(&netlinkss.Socket{Peer: d.Peer}, d.Direction)
			}
			if g := r.group(key, Span{}); g != nil && g.wants(Span{}) {
				sample := darkSample(d)
				sample.PID = p.PID
				g.keep(sample)
			}
		}
	}
}

// listResidue puts what leaks first.
func (c *comparison) listResidue() {
	r := &c.residue
	t := &c.Turnover
	t.Gone = len(r.before.list) - t.Stayed
	t.Known = r.on && c.haveCookies()
	r.addDark()
	if t.Untold > 0 {
		c.Gaps = append(c.Gaps, Gap{
			What: "whether connections that were there both times have moved a byte", Count: t.Untold, Why: "a side has no byte counters of them",
			Minor: c.judged(),
		})
	}
	listed := 0
	for _, g := range r.groups {
		c.Residue = append(c.Residue, *g)
		listed += g.Sockets
	}
	if rest := c.ResidueLeaked + c.ResidueIdle - listed; rest > 0 {
		c.Gaps = append(c.Gaps, Gap{What: "silent sockets by process and peer", Count: rest, Why: "the groups are too many to list", Minor: true})
	}
	slices.SortFunc(c.Residue, compareResidue)
}

func compareResidue(a, b Residue) int {
	pid := func(r *Residue) int {
		if r.Proc == nil {
			return 0
		}
		return r.Proc.PID
	}
	return cmp.Or(
		cmp.Compare(b.Severity, a.Severity), cmp.Compare(b.Sockets, a.Sockets), cmp.Compare(b.Oldest.D, a.Oldest.D), cmp.Compare(a.Rule, b.Rule),
		cmp.Compare(pid(&a), pid(&b)), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.LocalPort, b.LocalPort),
		cmp.Compare(a.State, b.State), cmp.Compare(a.Timer, b.Timer), cmp.Compare(a.Keepalive, b.Keepalive),
	)
}

// haveCookies says where they are missing.
func (c *comparison) haveCookies() bool {
	const what = "which connections were there both times"
	if !c.together {
		c.Gaps = append(c.Gaps, Gap{What: what, Why: "the sides are not of one run of a host", Minor: true})
		return false
	}
	have := true
	for i, s := range c.sides {
		have = have && !s.blind
		if s.noCookie == 0 {
			continue
		}
		c.Gaps = append(c.Gaps, Gap{
			What: what, Count: s.noCookie, Why: "the list " + [2]string{"before", "after"}[i] + " has no cookies of them, and an address may be another connection's by now",
			Minor: c.judged(),
		})
		have = have && s.noCookie < s.connections
	}
	return have
}
