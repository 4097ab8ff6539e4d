package diag

import (
	"cmp"
	"slices"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

// Rule is one thing that can be wrong with a process's sockets.
type Rule struct {
	Name     string
	Title    string   // one line
	Severity Severity // the worst that it gives
	Doc      Doc
	Check    func(*Pass)
	// Series: it judges what was measured over time, and nothing without that.
	Series bool
	// Unsettled reports whether a second look after [Thresholds.Wait] may prove of the process what the looks so far leave open;
	// nil: never. It sees a Pass as Check does, but before the others have claimed what is theirs, and reports nothing.
	Unsettled func(*Pass) bool
}

// Doc is what `sockleak rules RULE` shows.
type Doc struct {
	Means    string // what it means when the rule holds
	Proof    string // what proves it, with the kernel's fields
	Imitates string // what looks like it and is not, and how that is told apart
	Todo     string // what to do, whatever the program is written in
	// Advice is one imperative sentence per runtime; the key "" is for all others.
	Advice map[string]string
}

// Rules lists every rule. Those that claim sockets come first, the most specific before the others.
func Rules() []*Rule {
	return []*Rule{
		closeWait,
		finWait2,
		closedFD,
		inheritedFD,
		acceptQueue,
		unreadData,
		stalledSend,
		halfClosedPair,
		idleNoKeepalive,
		connectStuck,
		duplicateFD,
		growth,  // after what says what it is that grows
		fdLimit, // after all that leaks, for it tells where that leads
		portExhaustion,
		orphans,
		timeWait,
	}
}

// RuleNamed is the rule of that name, nil for none.
func RuleNamed(name string) *Rule {
	for _, r := range Rules() {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// Thresholds are what a rule measures against.
type Thresholds struct {
	// Idle is for idle-no-keepalive; 0: the tcp_keepalive_time of the process's namespace.
	Idle time.Duration
	// Grace is how long a state may last that the other side has ended.
	Grace time.Duration
	// Settle is how long a second look waits; the grace when that is shorter. 0: no second look.
	Settle time.Duration
}

// The thresholds that hold unless a user says otherwise.
const (
	DefaultGrace  = 60 * time.Second
	DefaultSettle = 3 * time.Second
	// DefaultKeepaliveTime is the kernel's own tcp_keepalive_time, for where it cannot be read.
	DefaultKeepaliveTime = 7200 * time.Second
)

// IdleIn is the idle threshold in a namespace, and its source.
func (t Thresholds) IdleIn(s *Space) (time.Duration, string) {
	switch {
	case t.Idle > 0:
		return t.Idle, "--idle"
	case s.Sysctls.KeepaliveTime > 0:
		return s.Sysctls.KeepaliveTime, "net.ipv4.tcp_keepalive_time"
	}
	return DefaultKeepaliveTime, "the kernel's default tcp_keepalive_time"
}

// IdleOf is the idle threshold of a socket of the process p, which may belong to another namespace.
func (t Thresholds) IdleOf(p *Proc, h *HeldSocket) (time.Duration, string) {
	if h.Space != nil {
		return t.IdleIn(h.Space)
	}
	return t.IdleIn(p.Space)
}

// Wait is how long to wait between two looks; 0 for not at all.
func (t Thresholds) Wait() time.Duration { return min(t.Settle, t.Grace) }

// Pass is one rule at work on one process.
type Pass struct {
	Rule       *Rule
	Proc       *Proc
	History    *History
	Thresholds Thresholds
	Uptime     time.Duration // of the host

	result  *Result
	claimed map[*netlinkss.Socket]bool
}

// Claim takes a socket for a leak of this rule. A rule that comes later in the list and is about the same
// sockets leaves it alone: one socket leaks for one reason, the most specific.
func (p *Pass) Claim(h *HeldSocket) { p.claimed[h.Socket] = true }

// Claimed reports whether an earlier rule has taken a socket, or none is to.
func (p *Pass) Claimed(h *HeldSocket) bool { return h.Passing || p.claimed[h.Socket] }

// claim takes the sockets of a list.
func (p *Pass) claim(list []*HeldSocket) {
	for _, h := range list {
		p.Claim(h)
	}
}

// Report adds a finding. Rule, process and advice are filled in where the rule left them empty.
func (p *Pass) Report(f *Finding) {
	f.Rule = p.Rule.Name
	f.Proc = p.Proc
	for i := range f.Samples {
		if f.Samples[i].PID == 0 {
			f.Samples[i].PID = p.Proc.PID
		}
	}
	if f.Advice == "" {
		f.Advice = p.Advice()
	}
	p.result.Findings = append(p.result.Findings, f)
}

// Gap adds something that the rule could not judge.
func (p *Pass) Gap(g Gap) { p.result.Gaps = append(p.result.Gaps, g) }

// Advice is the rule's advice in the words of the process's own runtime.
func (p *Pass) Advice() string {
	if a, ok := p.Rule.Doc.Advice[p.Proc.Runtime]; ok {
		return a
	}
	return p.Rule.Doc.Advice[""]
}

// Result is a diagnosis.
type Result struct {
	Snapshot   *Snapshot
	Thresholds Thresholds
	Rules      []*Rule // those that judged
	Looks      int
	Series     *Series       // of the history, nil when there is none
	Took       time.Duration // set by the caller, who has the clock
	Findings   []*Finding
	Gaps       []Gap
}

// Check runs the rules over the last look of h. The order of the findings is total: the worst
// severity first, then the rules' order, the largest number of sockets, the process, the peer.
func Check(h *History, t Thresholds, rules []*Rule) *Result {
	last := h.Last()
	if h.Series == nil {
		rules = slices.DeleteFunc(slices.Clone(rules), func(r *Rule) bool { return r.Series })
	}
	r := &Result{Snapshot: last, Thresholds: t, Rules: rules, Looks: len(h.looks), Series: h.Series, Gaps: slices.Clone(last.Gaps)}
	order := map[string]int{}
	for i, rule := range rules {
		order[rule.Name] = i
	}
	for _, space := range last.Spaces {
		r.Gaps = append(r.Gaps, space.Gaps...)
		for _, proc := range space.Procs {
			r.Gaps = append(r.Gaps, proc.Gaps...)
			claimed := map[*netlinkss.Socket]bool{}
			for _, rule := range rules {
				rule.Check(&Pass{Rule: rule, Proc: proc, History: h, Thresholds: t, Uptime: last.Host.Uptime, result: r, claimed: claimed})
			}
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b *Finding) int {
		return cmp.Or(
			cmp.Compare(b.Severity, a.Severity),
			cmp.Compare(order[a.Rule], order[b.Rule]),
			cmp.Compare(b.Sockets, a.Sockets),
			cmp.Compare(a.Proc.PID, b.Proc.PID),
			cmp.Compare(a.Peer, b.Peer),
			cmp.Compare(a.LocalPort, b.LocalPort),
		)
	})
	return r
}

// Worst is the highest severity found; ok is false when nothing was.
func (r *Result) Worst() (s Severity, ok bool) {
	for _, f := range r.Findings {
		s, ok = max(s, f.Severity), true
	}
	return s, ok
}

// Partial reports whether something could not be seen that may hide a leak.
func (r *Result) Partial() bool {
	return partial(r.Gaps)
}

// Procs lists the processes of the result, namespace by namespace.
func (r *Result) Procs() []*Proc {
	var list []*Proc
	for _, s := range r.Snapshot.Spaces {
		list = append(list, s.Procs...)
	}
	return list
}

// Unsettled reports whether a second look would prove what the looks so far leave open, for one of the rules.
func Unsettled(h *History, t Thresholds, rules []*Rule) bool {
	last := h.Last()
	for _, space := range last.Spaces {
		for _, proc := range space.Procs {
			p := &Pass{Proc: proc, History: h, Thresholds: t, Uptime: last.Host.Uptime}
			for _, p.Rule = range rules {
				if p.Rule.Unsettled != nil && p.Rule.Unsettled(p) {
					return true
				}
			}
		}
	}
	return false
}

// anyHeld is a rule's Unsettled that asks of each socket.
func anyHeld(unsettled func(*Pass, *HeldSocket) bool) func(*Pass) bool {
	return func(p *Pass) bool {
		for i := range p.Proc.Held {
			if unsettled(p, &p.Proc.Held[i]) {
				return true
			}
		}
		return false
	}
}

// wouldReach reports whether a span that does not reach the grace would at a second look.
func (p *Pass) wouldReach(s Span) bool {
	return s.Known() && s.D < p.Thresholds.Grace && s.D+p.Thresholds.Wait() >= p.Thresholds.Grace
}
