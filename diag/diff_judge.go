package diag

import (
	"cmp"
	"slices"
	"strconv"
)

// noise is by how much a number must grow for it to have grown: by more than five, and by more than a tenth of what it was.
func noise(before int) int { return max(5, before/10) }

// reason is a sentence for a verdict.
type reason struct {
	Verdict
	text string
}

// judge says whether it got worse. Where both sides have a diagnosis, by what leaks; else by what sockets alone tell.
func (c *comparison) judge() {
	var list []reason
	if c.judged() {
		list = append(c.judgeLeaks(), c.judgeGrowth()...)
	} else {
		list = c.judgeSuspects()
	}
	if c.Sides[1].Partial() || partial(c.Gaps) {
		list = append(list, reason{Unclear, "not everything could be seen: see the gaps"})
	}
	if c.Interval < 0 && c.sides[0].host.Name == c.sides[1].host.Name {
		list = append(list, reason{Unclear, "what stands as before is younger than what stands as after: the two may be swapped"})
	}
	for _, r := range list {
		c.Verdict = max(c.Verdict, r.Verdict)
	}
	slices.SortStableFunc(list, func(a, b reason) int { return cmp.Compare(b.Verdict, a.Verdict) })
	for _, r := range list {
		c.Reasons = append(c.Reasons, r.text)
	}
	if len(list) == 0 {
		c.Reasons = []string{"no leak was found, before or after"}
		if !c.judged() {
			c.Reasons = []string{"what may be leaked has not grown by more than chance: by five, or a tenth"}
		}
	}
	c.Worse = c.Verdict == Worse
}

// judgeLeaks: a leak that was not there is worse, however small, and so is one that has grown.
func (c *comparison) judgeLeaks() (list []reason) {
	for i := range c.Leaks {
		l := &c.Leaks[i]
		what := l.Rule + " in " + l.Process
		if where := l.Where(); where != "" {
			what += " " + where
		}
		v, text := l.judge()
		list = append(list, reason{v, what + ": " + text})
	}
	return list
}

func (l *LeakChange) judge() (Verdict, string) {
	before, after := strconv.Itoa(l.N[0]), strconv.Itoa(l.N[1])
	switch d := l.N[1] - l.N[0]; {
	case l.Match == MatchGone:
		return Unclear, before + " leaked before, and the process is not there to be judged"
	case l.N[1] == NotKnown:
		return Unclear, before + " leaked before; after, the process could not be read"
	case l.Match == MatchNew:
		return Worse, after + " leaked, and the process was not there before"
	case l.N[0] == NotKnown:
		return Unclear, after + " leaked; before, the process could not be read"
	case l.N[0] == 0:
		return Worse, after + " leaked, none before"
	case l.N[1] == 0:
		return Better, "none leaked, " + before + " before"
	case d > noise(l.N[0]):
		return Worse, after + " leaked, " + before + " before"
	case -d > noise(l.N[0]):
		return Better, after + " leaked, " + before + " before"
	}
	return Same, after + " leaked, " + before + " before, no more than chance apart"
}

// judgeGrowth: a process that leaks, and has more descriptors or sockets than before, got worse.
func (c *comparison) judgeGrowth() (list []reason) {
	for i := range c.Processes {
		p := &c.Processes[i]
		if p.Leaked[1] <= 0 || p.Leaked[0] <= 0 || p.Match != MatchSame && p.Match != MatchRestarted {
			continue
		}
		for _, n := range []struct {
			what  string
			count [2]int
		}{{"descriptors", p.Open}, {"TCP sockets", p.Sockets}} {
			b, a := n.count[0], n.count[1]
			if b >= 0 && a-b > noise(b) {
				list = append(list, reason{Worse, p.Subject() + " leaks, and has " + strconv.Itoa(a) + " " + n.what + ", " + strconv.Itoa(b) + " before"})
			}
		}
	}
	return list
}

// judgeSuspects: connections that only a process can end have grown in number.
func (c *comparison) judgeSuspects() (list []reason) {
	told := false
	for _, s := range c.Suspects {
		d, ok := s.Delta()
		told = told || ok
		text := c.SuspectText(s.Key) + ": " + strconv.Itoa(s.N[1]) + ", " + strconv.Itoa(s.N[0]) + " before"
		switch {
		case !ok || d == 0:
		case d > noise(s.N[0]):
			list = append(list, reason{Worse, text})
		case -d > noise(s.N[0]):
			list = append(list, reason{Better, text})
		}
	}
	if !told {
		list = append(list, reason{Unclear, "the sides do not tell what could be compared: see the gaps"})
	}
	return list
}

// SuspectText is a key of [Diff.Suspects] in words.
func (d *Diff) SuspectText(key string) string {
	switch key {
	case SuspectCloseWait:
		if d.unheld {
			return "CLOSE-WAIT"
		}
		return "CLOSE-WAIT that a process holds"
	case SuspectFinWait2:
		return "FIN-WAIT-2 that a process holds"
	}
	return "ESTAB without keepalive, idle for " + FormatDuration(d.IdleLimit) + " or more"
}
