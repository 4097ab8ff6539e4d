package diag

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// What proves that growth is a leak.
const (
	leftGraces = 5  // times the grace: how long a socket must have done nothing to be left
	longGraces = 10 // times the grace: how long descriptors must have climbed that have no clocks
)

var growth = &Rule{
	Name:     "growth",
	Title:    "sockets or descriptors that become ever more while they are watched",
	Severity: Leak,
	Series:   true,
	Doc: Doc{
		Means: "Over a series of samples a group of sockets (accepted on one port, connected to one destination, closed, …) or a kind of descriptor (pipe, eventfd, file, …) climbs steadily and does not come back. " +
			"The other rules say what leaks; this one says how fast, and when the descriptors run out.",
		Proof: "Eight samples or more, twelve more at the least, and a rise through the whole span at a rate that lasts. Of sockets those alone are judged, by cookie, that have stayed for a part of the span: what comes and goes beside them is no noise then. " +
			"Of other descriptors it is the low-water mark. It is a leak when half as many sockets of the group as have come, and twelve at the least, have done nothing for five times the grace (or the idle threshold, if that is shorter) and have no keepalive, " +
			"or leak by another rule. Of descriptors without clocks it is one when they climb for ten times the grace, in a process that was running for as long before, and no group of sockets climbs with them.",
		Imitates: "A burst has most of its rise in few steps. A pool or a collector's saw comes back. A cache or a pool that fills climbs ever more slowly. A load that rises has more connections, and none that stay. " +
			"A level that breathes more slowly than it was watched, a ramp of clients, and a server that begins its day climb as a leak does over that span, so the finding names the span, and is a risk until what came is seen to do nothing.",
		Todo: "Watch for longer to be sure (--interval 10s --count 120), and find out who opens what stays: the samples of the finding are those that came while it was watched.",
		Advice: map[string]string{
			"":       "Close every descriptor on every path, errors and time-outs as well, and give each connection an idle time-out.",
			"node":   "Set socket.setTimeout(60_000, () => socket.destroy()), destroy both sides of a pipe in 'error' and 'close', and use one http.Agent with maxSockets for all requests.",
			"go":     "Close every conn, resp.Body and file in a defer, and use one http.Client with IdleConnTimeout and MaxConnsPerHost for all requests.",
			"java":   "Use try-with-resources for every stream, socket and selector, and one shared HttpClient or pool with a bound and an idle time-out.",
			"python": "Use `with` for every socket, file and session, and one shared requests.Session or aiohttp.ClientSession.",
			"ruby":   "Use the block forms of open and TCPSocket.open, and close in an ensure block.",
			"php":    "Call fclose or socket_close on every path, and let long-running workers end after some requests (pm.max_requests).",
		},
	},
	Check: checkGrowth,
}

func checkGrowth(p *Pass) {
	s := p.History.Series
	if s == nil {
		return
	}
	t := s.Track(p.Proc.PID, p.Proc.Start)
	if t == nil || t.Ended {
		return
	}
	explained := 0.0
	growing(s, t, LineGroup, func(l *Line, trend Trend) {
		explained += trend.PerMinute
		p.Report(groupGrowth(p, t, l, trend))
	})
	growing(s, t, LineFDs, func(l *Line, trend Trend) {
		if l.Name != procfd.KindSocket.String() || explained <= trend.PerMinute/2 {
			p.Report(kindGrowth(p, "descriptors of kind "+l.Name, trend, explained == 0))
		}
	})
}

// growing passes the lines of a kind that climb and are known to the last.
func growing(s *Series, t *Track, kind LineKind, found func(*Line, Trend)) {
	for _, l := range t.OfKind(kind) {
		if math.IsNaN(l.Last()) {
			continue
		}
		if trend := s.Trend(t, l); trend.Shape == ShapeGrowth {
			found(l, trend)
		}
	}
}

// grown are the sockets of a group that climbs.
type grown struct {
	seriesGroup
	samples   []Sample // that came while it was watched and have stayed, but for those of other findings
	left, all int
	elsewhere int // of other findings
}

// where is the group in a sentence.
func (g *grown) where() string {
	switch g.kind {
	case groupAccepted:
		return "accepted on its port " + strconv.Itoa(int(g.port))
	case groupFurther, groupUnknown:
		return "of " + g.String()
	case groupClosed, groupListening, groupOther:
		return "that are " + g.String()
	}
	return g.String()
}

// groupGrowth is the finding of a group of sockets.
func groupGrowth(p *Pass, t *Track, l *Line, trend Trend) *Finding {
	if l.Name == notTCP {
		return kindGrowth(p, "socket descriptors that are not TCP", trend, true)
	}
	g := p.grownOf(t, l, trend.Stayed)
	f := growthFinding(p, "sockets "+g.where(), trend)
	f.Sockets, f.Samples = len(g.samples), g.samples
	switch g.kind {
	case groupAccepted:
		f.Direction, f.LocalPort = Accepted, g.port
	case groupConnected:
		f.Direction, f.Peer = Connected, g.peer.String()
	}
	threshold := p.leftAfter()
	f.Evidence = append(f.Evidence, Evidence{
		"left", fmt.Sprintf("%d of %d, for %s or longer", g.left, g.all, FormatDuration(threshold)), "idle without keepalive, or in a finding of another rule",
	})
	if g.elsewhere > 0 {
		f.Evidence = append(f.Evidence, Evidence{"in other findings", strconv.Itoa(g.elsewhere), "of those that came while it was watched"})
	}
	if need := max(minRise, trend.Rise/2); float64(g.left) >= need {
		f.Severity = Leak
		f.Why = "What comes is not closed, and those that have done nothing for long have no timer that would end them: the kernel keeps each until the process closes it."
		return f
	}
	f.Severity = Risk
	f.Why = "The kernel keeps each until the process closes it. It is not proved that nobody needs them: over this span a pool that fills or a rising number of clients looks the same, " +
		"and few of them have done nothing for " + FormatDuration(threshold) + "."
	return f
}

// leftAfter is how long a socket must have done nothing to be left.
func (p *Pass) leftAfter() time.Duration {
	idle, _ := p.Thresholds.IdleIn(p.Proc.Space)
	return min(idle, leftGraces*p.Thresholds.Grace)
}

// grownOf are the sockets of the last look that are of a line.
func (p *Pass) grownOf(t *Track, l *Line, stayed time.Duration) *grown {
	k := t.sockets
	place, threshold := k.placeNamed(l.Name), p.leftAfter()
	g := &grown{seriesGroup: k.lines[place].group}
	for i := range p.Proc.Held {
		h := &p.Proc.Held[i]
		m, ok := k.memberOf(h, place)
		if !ok {
			continue
		}
		g.all++
		claimed := p.Claimed(h)
		if claimed || lies(p, h, threshold) {
			g.left++
		}
		switch {
		case m.born <= k.began || k.now()-m.born < tick(stayed/bornTick):
		case claimed:
			g.elsewhere++
		default:
			g.samples = append(g.samples, sampleOf(h, p.Uptime))
		}
	}
	if g.kind == groupClosed {
		p.grownDark(g)
	}
	return g
}

// grownDark counts the closed ones: closed-fd has them.
func (p *Pass) grownDark(g *grown) {
	g.all = len(p.Proc.Dark)
	for i := range p.Proc.Dark {
		if d := &p.Proc.Dark[i]; d.Alive != AliveUnknown && p.History.Dark(p.Proc, d).Known() {
			g.left++
			g.elsewhere++
		}
	}
}

// lies: nothing has moved for long, and nothing will find out whether the peer is still there.
func lies(p *Pass, h *HeldSocket, threshold time.Duration) bool {
	return h.State == netlinkss.Estab && h.SendQ == 0 && h.Keepalive == KeepaliveOff && Idle(h.Socket, p.Uptime).AtLeast(threshold)
}

// kindGrowth is the finding of descriptors that have no clocks. alone: no group of sockets climbs.
func kindGrowth(p *Pass, what string, trend Trend, alone bool) *Finding {
	f := growthFinding(p, what, trend)
	long := longGraces * p.Thresholds.Grace
	f.Evidence = append(f.Evidence, Evidence{"running for", FormatDuration(p.Proc.Uptime), "/proc/PID/stat"})
	if alone && trend.Span >= long && p.Proc.Uptime >= 2*trend.Span {
		f.Severity = Leak
		f.Why = "A descriptor stays open until the process closes it, and these have come steadily for as long as they were watched, long after the process began."
		return f
	}
	f.Severity = Risk
	f.Why = "A descriptor stays open until the process closes it. It is not proved that these are not needed: over this span a cache that fills looks the same, or a rising number of clients, each of which needs some."
	return f
}

// growthFinding is what all findings of the rule say.
func growthFinding(p *Pass, what string, trend Trend) *Finding {
	rate := strconv.FormatFloat(trend.PerMinute, 'f', 1, 64)
	interval := fmt.Sprintf("95 %%: %.1f to %.1f", trend.Low, trend.High)
	span := FormatDuration(trend.Span)
	f := &Finding{
		Message: fmt.Sprintf("%s has ever more %s: %s more a minute (%s) for %s, in %d samples, and they do not come back",
			Subject(p.Proc.Process), what, rate, interval, span, trend.Samples),
		Evidence: []Evidence{
			{"rate", rate + " a minute, " + interval, rateSource(trend)},
			{"level", fmt.Sprintf("%.0f, then %.0f", trend.From, trend.To), "the first sample and the last"},
			{"span", span, "the first sample to the last"},
			{"samples", strconv.Itoa(trend.Samples), "in which they were counted"},
		},
	}
	if what, ok := trend.events(); ok {
		f.Evidence = append(f.Evidence, Evidence{"came and went", what, "by cookie; what came and went between two samples is in neither"})
	}
	open, limit := p.Proc.Open, p.Proc.SoftLimit
	if limit == 0 || limit >= 1<<31 || open < 0 || uint64(open) >= limit {
		return f
	}
	if in := eta(int(limit)-open, trend.PerMinute); in > 0 {
		ahead := FormatDuration(in)
		f.Message += fmt.Sprintf("; at this rate the limit of %d descriptors is reached in %s", limit, ahead)
		f.Evidence = append(f.Evidence, Evidence{"soft limit", strconv.FormatUint(limit, 10), "/proc/PID/limits"},
			Evidence{"limit reached in", ahead, "(soft limit − open descriptors) ÷ rate"})
	}
	return f
}

func rateSource(t Trend) string {
	if t.Stayed > 0 {
		return "those that have been seen for " + FormatDuration(t.Stayed) + ", by cookie"
	}
	return "the low-water marks of the level"
}

// events are what came and went in a minute.
func (t Trend) events() (string, bool) {
	return fmt.Sprintf("%.1f and %.1f a minute", t.Born, t.Died), !math.IsNaN(t.Born) && !math.IsNaN(t.Died)
}
