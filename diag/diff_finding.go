package diag

import (
	"cmp"
	"slices"
	"strconv"
)

// FindingChange is a finding on both sides, as far as its processes belong together.
type FindingChange struct {
	Rule      string
	Severity  Severity
	Process   string // as [ProcessChange.Subject]
	Peer      string // "": there is not one peer, or these are further ones
	Direction Direction
	LocalPort uint16
	// N are sockets, or findings of rules that are about none. [NotKnown]: the peer is not named by itself on that side, or the processes
	// are not there, or could not be read.
	N [2]int
}

// LeakChange sums the findings of severity leak by what is at fault, whatever the peers: a rule, the processes, and the service.
type LeakChange struct {
	Rule      string
	Process   string
	Direction Direction
	Port      uint16 // the service's: ours for accepted connections, the peer's for others; 0: of several
	N         [2]int // sockets, or findings of rules that are about none. [NotKnown]: the processes are not there, or could not be read
	Match     Match
}

type findingKey struct {
	rule      string
	severity  Severity
	match     *match
	peer      string
	direction Direction
	localPort uint16
}

type leakKey struct {
	rule      string
	match     *match
	direction Direction
	port      uint16
}

// findingsOf calls f for each finding with the processes that it is of, as both sides have them.
func (c *comparison) findingsOf(f func(side int, m *match, found *Finding)) {
	for i, s := range c.sides {
		if s.Result == nil {
			continue
		}
		for _, found := range s.Result.Findings {
			if m := c.of[i][found.Proc]; m != nil {
				f(i, m, found)
			}
		}
	}
}

// size is how many sockets a finding has; of a rule that is about none, it is one thing.
func size(f *Finding) int { return max(f.Sockets, 1) }

// listFindings compares findings by peer, and leaks.
func (c *comparison) listFindings() {
	subjects := map[*match]string{}
	for _, m := range c.matches {
		p := m.change(0)
		subjects[m] = p.Subject()
	}
	byKey := map[findingKey]*[2]int{}
	var order []findingKey
	further := map[findingKey][2]bool{} // by rule, severity and process: there are peers that are not named
	c.findingsOf(func(i int, m *match, f *Finding) {
		key := findingKey{f.Rule, f.Severity, m, f.Peer, f.Direction, f.LocalPort}
		if byKey[key] == nil {
			byKey[key] = &[2]int{}
			order = append(order, key)
		}
		byKey[key][i] += size(f)
		if f.Peer == "" && f.Sockets > 0 {
			all := findingKey{rule: f.Rule, severity: f.Severity, match: m}
			sides := further[all]
			sides[i] = true
			further[all] = sides
		}
	})
	for _, k := range order {
		n := *byKey[k]
		for i, unnamed := range further[findingKey{rule: k.rule, severity: k.severity, match: k.match}] {
			if n[i] == 0 && (unnamed || k.match.unjudged(i)) {
				n[i] = NotKnown
			}
		}
		c.Findings = append(c.Findings, FindingChange{k.rule, k.severity, subjects[k.match], k.peer, k.direction, k.localPort, n})
	}
	slices.SortStableFunc(c.Findings, func(a, b FindingChange) int {
		return cmp.Or(
			cmp.Compare(b.Severity, a.Severity), cmp.Compare(max(b.N[0], b.N[1]), max(a.N[0], a.N[1])), cmp.Compare(a.Rule, b.Rule),
			cmp.Compare(a.Process, b.Process), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.LocalPort, b.LocalPort), cmp.Compare(a.Direction, b.Direction),
		)
	})
	c.listLeaks(subjects)
}

// listLeaks keeps services apart where every finding of the rule in the processes tells its own, on both sides.
func (c *comparison) listLeaks(subjects map[*match]string) {
	mixed := map[leakKey]bool{}
	c.findingsOf(func(_ int, m *match, f *Finding) {
		if _, ok := serviceOf(f); !ok {
			mixed[leakKey{rule: f.Rule, match: m}] = true
		}
	})
	at := map[leakKey]int{}
	c.findingsOf(func(i int, m *match, f *Finding) {
		if f.Severity != Leak {
			return
		}
		key := leakKey{rule: f.Rule, match: m}
		if port, _ := serviceOf(f); !mixed[key] {
			key.direction, key.port = f.Direction, port
		}
		k, ok := at[key]
		if !ok {
			k = len(c.Leaks)
			at[key] = k
			c.Leaks = append(c.Leaks, LeakChange{
				Rule: f.Rule, Process: subjects[m], Direction: key.direction, Port: key.port, Match: m.how,
			})
		}
		c.Leaks[k].N[i] += size(f)
	})
	for key, k := range at {
		for i, n := range c.Leaks[k].N {
			if n == 0 && key.match.unjudged(i) {
				c.Leaks[k].N[i] = NotKnown
			}
		}
	}
	slices.SortStableFunc(c.Leaks, func(a, b LeakChange) int {
		return cmp.Or(
			cmp.Compare(b.N[1]-max(b.N[0], 0), a.N[1]-max(a.N[0], 0)), cmp.Compare(max(b.N[0], b.N[1]), max(a.N[0], a.N[1])), cmp.Compare(a.Rule, b.Rule),
			cmp.Compare(a.Process, b.Process), cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Port, b.Port),
		)
	})
}

// serviceOf is the port by which a finding is known, whoever the peers are; not ok when it has none.
func serviceOf(f *Finding) (port uint16, ok bool) {
	switch f.Direction {
	case Accepted:
		return f.LocalPort, f.LocalPort != 0
	case Connected:
		for i := range f.Samples {
			if port = f.Samples[i].Peer.Port(); port != 0 {
				return port, f.Peer != ""
			}
		}
	}
	return 0, false
}

// unjudged: the processes are not there, or the descriptors of one could not be read.
func (m *match) unjudged(side int) bool {
	procs := m.procs[side]
	return len(procs) == 0 || slices.ContainsFunc(procs, (*Proc).unread)
}

// Where names the service in a sentence, "" when it is of several.
func (l *LeakChange) Where() string {
	switch {
	case l.Port == 0:
		return ""
	case l.Direction == Accepted:
		return "on its port " + strconv.Itoa(int(l.Port))
	}
	return "towards port " + strconv.Itoa(int(l.Port))
}
