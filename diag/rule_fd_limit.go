package diag

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/procfd"
)

// fdLimitPercent is the share of the soft limit from which the rule holds.
const fdLimitPercent = 80

var fdLimit = &Rule{
	Name:     "fd-limit",
	Title:    "open descriptors near the soft limit, or on the way there",
	Severity: Risk,
	Doc: Doc{
		Means: "The process has used up 80 % or more of the descriptors that it may open (RLIMIT_NOFILE, soft), or what it leaks uses them up within an hour. At the limit every open, socket and accept fails with EMFILE; " +
			"a server that does not handle that spins or stops accepting.",
		Proof: "The number of entries in /proc/PID/fd against the soft limit in /proc/PID/limits. The rate is that of the leaks that the other rules have found: the clocks of their " +
			"sockets tell when each was left, and it counts where they came evenly and still come. Where a series of samples shows that the open descriptors climb steadily, " +
			"that is the rate; and where they do not climb, there is none.",
		Imitates: "A server that is sized for many connections may be near its limit in health. The rule says so as a risk and not as a leak; the other rules say what leaks. " +
			"What came at once or in bursts has no rate, and what has stopped coming leads nowhere.",
		Todo: "Find what leaks first, and raise the soft limit as the second step.",
		Advice: map[string]string{
			"": "Mend the leak first if there is one; then raise the soft limit (LimitNOFILE= in the unit, ulimit -n in a shell, --ulimit nofile= for a container).",
		},
	},
	Check: checkFDLimit,
}

// fdLimitSoon is how far ahead the limit is a matter of this rule.
const fdLimitSoon = time.Hour

func checkFDLimit(p *Pass) {
	open, limit := p.Proc.Open, p.Proc.SoftLimit
	if open < 0 || limit == 0 || limit == procfd.NoLimit {
		return
	}
	ahead, soon := p.limitAhead()
	if uint64(open)*100 < limit*fdLimitPercent && !soon {
		return
	}
	share := fmt.Sprintf("%.1f %%", float64(open)*100/float64(limit))
	sockets := p.Proc.ByKind[procfd.KindSocket]
	f := &Finding{
		Severity: Risk,
		Sockets:  sockets,
		Message:  fmt.Sprintf("%s has %d of its %d descriptors open (%s)", Subject(p.Proc.Process), open, limit, share),
		Why:      "The kernel refuses every further descriptor at the soft limit with EMFILE.",
		Evidence: []Evidence{
			{"open descriptors", strconv.Itoa(open), "/proc/PID/fd"},
			{"soft limit", strconv.FormatUint(limit, 10), "/proc/PID/limits"},
			{"share", share, "open descriptors ÷ soft limit"},
		},
	}
	if !p.Proc.unread() {
		f.Message += fmt.Sprintf(", %d of them sockets", sockets)
		f.Evidence = append(f.Evidence, Evidence{"sockets", strconv.Itoa(sockets), "links socket:[…] in /proc/PID/fd"})
	}
	f.Evidence = append(f.Evidence, Evidence{"threshold", fmt.Sprintf("%d %%", fdLimitPercent), "rule"})
	if soon {
		rate, in := strconv.FormatFloat(ahead.perMinute, 'f', 1, 64), FormatDuration(ahead.in)
		f.Message += fmt.Sprintf("; %s adds %s a minute, so the limit is reached in %s", ahead.what, rate, in)
		f.Evidence = append(f.Evidence,
			Evidence{"rate", rate + " a minute", ahead.source},
			Evidence{"limit reached in", in, "(soft limit − open descriptors) ÷ rate"})
	}
	p.Report(f)
}

// limitAhead is when the descriptors of a process run out.
type limitAhead struct {
	perMinute    float64
	in           time.Duration
	what, source string
}

// limitAhead reports whether the limit is near: by the growth that was measured, else by the leaks that were found.
func (p *Pass) limitAhead() (a limitAhead, soon bool) {
	found := p.result.GrowthOf(p.Proc)
	a = limitAhead{found.PerMinute, found.FDsIn, "what it leaks", "the leaks found, by when each was left"}
	switch trend := p.openTrend(); {
	case trend.refutes(found.PerMinute):
		return limitAhead{}, false
	case trend.Shape == ShapeGrowth && p.Proc.SoftLimit < 1<<31:
		a = limitAhead{trend.PerMinute, eta(int(p.Proc.SoftLimit)-p.Proc.Open, trend.PerMinute), "what it opens and does not close",
			fmt.Sprintf("the open descriptors in %d samples over %s", trend.Samples, FormatDuration(trend.Span))}
	}
	return a, a.in > 0 && a.in <= fdLimitSoon
}

// refutes: so many a minute would have been seen, and less than half as many have come.
func (t Trend) refutes(perMinute float64) bool {
	expected := perMinute * t.Span.Minutes()
	return t.Samples >= MinSamples && expected >= 2*minRise && t.To-t.From < expected/2
}

// openTrend is what the number of open descriptors did while it was watched.
func (p *Pass) openTrend() (none Trend) {
	s := p.History.Series
	if s == nil {
		return none
	}
	t := s.Track(p.Proc.PID, p.Proc.Start)
	if t == nil || t.Ended || t.Line(LineOpen, "open") == nil {
		return none
	}
	return s.Trend(t, t.Line(LineOpen, "open"))
}
