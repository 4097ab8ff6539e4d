package diag

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Match is how the processes of both sides belong together.
type Match uint8

// The matches.
const (
	MatchSame      Match = iota // one process, by number and start
	MatchRestarted              // one of the same program, or one that is taken for it
	MatchAlike                  // several of these, which are summed
	MatchGone                   // there is none on the second side
	MatchNew                    // or on the first
)

// String is same, restarted, alike, gone or new.
func (m Match) String() string {
	return [...]string{"same", "restarted", "alike", "gone", "new"}[m%5]
}

// ProcessChange is a process on both sides, or several that are alike.
type ProcessChange struct {
	Name    string
	Match   Match
	PIDs    [2][]int
	Open    [2]int // descriptors; [NotKnown]
	Sockets [2]int // of TCP that are held, closed ones included; [NotKnown]
	Leaked  [2]int // in findings of severity leak; [NotKnown]
	RSS     [2]int // bytes; [NotKnown]
	// CPU is what they have used since they were started; 0: not known.
	CPU [2]time.Duration
	// OpenPerMinute, SocketsPerMinute and RSSPerMinute are NaN but for the same process.
	OpenPerMinute, SocketsPerMinute, RSSPerMinute float64
	// CPUShare is that of one processor between the sides, NaN but for the same process.
	CPUShare float64
}

// Subject names the processes in a sentence: node[4242], node[123 → 456], nginx (4 → 8 processes).
func (p *ProcessChange) Subject() string {
	one := func(side int) string { return p.Name + "[" + strconv.Itoa(p.PIDs[side][0]) + "]" }
	switch p.Match {
	case MatchSame, MatchNew:
		if len(p.PIDs[1]) == 1 {
			return one(1)
		}
	case MatchGone:
		if len(p.PIDs[0]) == 1 {
			return one(0)
		}
	case MatchRestarted:
		return p.Name + "[" + strconv.Itoa(p.PIDs[0][0]) + " → " + strconv.Itoa(p.PIDs[1][0]) + "]"
	}
	return p.Name + " (" + strconv.Itoa(len(p.PIDs[0])) + " → " + strconv.Itoa(len(p.PIDs[1])) + " processes)"
}

// match are processes that belong together.
type match struct {
	how    Match
	by     string // as in likeness
	procs  [2][]*Proc
	leaked [2]int
}

// likeness is what makes two processes alike, the strictest first. By the last two another program may be taken for it, which is said.
var likeness = []struct {
	key func(*Proc) string
	by  string // "": it is one and the same program
}{
	{func(p *Proc) string { return likeKey(p.Exe, p.Name, p.Cgroup, strings.Join(p.Args, " ")) }, ""},
	{func(p *Proc) string { return likeKey(p.Exe, p.Name, strings.Join(p.Args, " ")) }, ""},
	{func(p *Proc) string { return likeKey(p.Name, p.Cgroup) }, ""},
	{func(p *Proc) string { return likeKey(p.Exe, p.Name) }, "executable and name"},
	{func(p *Proc) string { return p.Name }, "name alone"},
}

// likeKey is "" where a part is not known.
func likeKey(parts ...string) string {
	if slices.Contains(parts, "") {
		return ""
	}
	return strings.Join(parts, "\x00")
}

// matchProcesses finds each process of the one side on the other: itself, or those that are most alike.
func (c *comparison) matchProcesses() {
	var left [2][]*Proc
	for i, s := range c.sides {
		c.of[i] = map[*Proc]*match{}
		if s.Result != nil {
			left[i] = s.Result.Procs()
		}
	}
	if c.together {
		c.matchSame(&left)
	}
	for _, like := range likeness {
		c.matchAlike(&left, like.key, like.by)
	}
	for i, how := range [2]Match{MatchGone, MatchNew} {
		for _, p := range left[i] {
			m := &match{how: how}
			m.procs[i] = []*Proc{p}
			c.matched(m)
		}
	}
}

func (c *comparison) matched(m *match) {
	c.matches = append(c.matches, m)
	for i, procs := range m.procs {
		for _, p := range procs {
			c.of[i][p] = m
		}
	}
}

// unmatched leaves those that belong to nobody yet.
func (c *comparison) unmatched(left *[2][]*Proc) {
	for i := range left {
		left[i] = slices.DeleteFunc(left[i], func(p *Proc) bool { return c.of[i][p] != nil })
	}
}

func (c *comparison) matchSame(left *[2][]*Proc) {
	byKey := map[procKey]*Proc{}
	for _, p := range left[0] {
		byKey[procKey{p.PID, p.Start}] = p
	}
	for _, p := range left[1] {
		if was := byKey[procKey{p.PID, p.Start}]; was != nil && c.of[0][was] == nil {
			c.matched(&match{how: MatchSame, procs: [2][]*Proc{{was}, {p}}})
		}
	}
	c.unmatched(left)
}

func (c *comparison) matchAlike(left *[2][]*Proc, like func(*Proc) string, by string) {
	byKey := map[string]*match{}
	var order []*match
	for i := range left {
		for _, p := range left[i] {
			key := like(p)
			if key == "" {
				continue
			}
			m := byKey[key]
			if m == nil {
				m = &match{how: MatchAlike, by: by}
				byKey[key] = m
				order = append(order, m)
			}
			m.procs[i] = append(m.procs[i], p)
		}
	}
	for _, m := range order {
		if len(m.procs[0]) == 0 || len(m.procs[1]) == 0 {
			continue
		}
		if len(m.procs[0]) == 1 && len(m.procs[1]) == 1 {
			m.how = MatchRestarted
		}
		c.matched(m)
	}
	c.unmatched(left)
}

// name is that of the last process; they may have several where a program was renamed.
func (m *match) name() string {
	for _, procs := range [2][]*Proc{m.procs[1], m.procs[0]} {
		if len(procs) > 0 {
			return procs[0].Name
		}
	}
	return ""
}

// change measures the processes.
func (m *match) change(interval time.Duration) ProcessChange {
	nan := math.NaN()
	p := ProcessChange{
		Name: m.name(), Match: m.how, Leaked: m.leaked, OpenPerMinute: nan, SocketsPerMinute: nan, RSSPerMinute: nan, CPUShare: nan,
	}
	for i, procs := range m.procs {
		for _, q := range procs {
			p.PIDs[i] = append(p.PIDs[i], q.PID)
			p.Open[i] = plus(p.Open[i], q.Open)
			p.Sockets[i] = plus(p.Sockets[i], tcpOf(q))
			p.RSS[i] = plus(p.RSS[i], rssOf(q))
			p.CPU[i] += q.CPU
		}
		if len(procs) == 0 {
			p.Open[i], p.Sockets[i], p.RSS[i] = NotKnown, NotKnown, NotKnown
		}
		if p.Leaked[i] == 0 && m.unjudged(i) {
			p.Leaked[i] = NotKnown
		}
	}
	if m.how == MatchSame && interval > 0 {
		p.OpenPerMinute = perMinute(p.Open, interval)
		p.SocketsPerMinute = perMinute(p.Sockets, interval)
		p.RSSPerMinute = perMinute(p.RSS, interval)
		if p.CPU[0] > 0 && p.CPU[1] >= p.CPU[0] {
			p.CPUShare = float64(p.CPU[1]-p.CPU[0]) / float64(interval)
		}
	}
	return p
}

// rssOf is not known where the list has no memory: no process has none.
func rssOf(p *Proc) int {
	if p.RSS == 0 {
		return NotKnown
	}
	return int(min(p.RSS, math.MaxInt64>>20))
}

// plus is not known when one of both is not.
func plus(a, b int) int {
	if a < 0 || b < 0 {
		return NotKnown
	}
	return a + b
}

// apartBy is how far two numbers are apart that may not be known: then it is all of the one that is.
func apartBy(n [2]int) int { return distance([2]int{max(n[0], 0), max(n[1], 0)}) }

// perMinute is NaN when one of both is not known.
func perMinute(n [2]int, interval time.Duration) float64 {
	if n[0] < 0 || n[1] < 0 {
		return math.NaN()
	}
	return float64(n[1]-n[0]) / interval.Minutes()
}

// tcpOf counts the TCP sockets that a process holds; not known when its descriptors could not be read.
func tcpOf(p *Proc) int {
	if p.unread() {
		return NotKnown
	}
	n := p.Usual.Timer + p.Usual.NoTimer + len(p.Dark)
	for i := range p.Held {
		if !p.Held[i].Counted {
			n++
		}
	}
	return n
}

// listProcesses has the largest change of descriptors first.
func (c *comparison) listProcesses() {
	for i, s := range c.sides {
		if s.Result == nil {
			continue
		}
		for _, f := range s.Result.Findings {
			if m := c.of[i][f.Proc]; m != nil && f.Severity == Leak {
				m.leaked[i] += f.Sockets
			}
		}
	}
	for _, m := range c.matches {
		p := m.change(c.Interval)
		c.Processes = append(c.Processes, p)
		switch {
		case m.by != "":
			c.Notes = append(c.Notes, "taken for the same program, by "+m.by+": "+p.Subject())
		case m.how == MatchRestarted:
			c.Notes = append(c.Notes, "restarted: "+m.name()+", pid "+strconv.Itoa(p.PIDs[0][0])+" → "+strconv.Itoa(p.PIDs[1][0]))
		}
	}
	slices.SortStableFunc(c.Processes, func(a, b ProcessChange) int {
		return cmp.Or(
			cmp.Compare(apartBy(b.Leaked), apartBy(a.Leaked)), cmp.Compare(apartBy(b.Open), apartBy(a.Open)),
			cmp.Compare(max(b.Open[0], b.Open[1]), max(a.Open[0], a.Open[1])), cmp.Compare(a.Name, b.Name),
		)
	})
}
