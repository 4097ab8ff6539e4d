package diag

import (
	"cmp"
	"slices"
	"time"
)

// Onset is when the sockets of a finding were left behind, and how fast they come. One look tells: each clock counts from the
// moment in which its socket was left.
type Onset struct {
	Oldest, Youngest time.Duration // before the look
	// Buckets counts sockets by when they were left, from the oldest to the youngest, in spans of Width.
	Buckets []int
	Width   time.Duration
	// PerMinute is how fast they came between Oldest and Youngest; 0 when they came at once or in bursts, or are too few to tell.
	PerMinute float64
	// Ongoing: the youngest is about as old as a socket must be to be found at all, so more are likely to come.
	Ongoing bool
	Source  string // of the clocks
}

const (
	onsetBuckets = 24
	rateFrom     = 10 // sockets, for a rate
	rateSlices   = 10 // of the time; as many as rateFilled must have some
	rateFilled   = 7
	rateBurst    = 40 // percent of all in one slice, from which that is a burst
)

// onset describes ages, of sockets that are found from threshold on. Nil when some may be older than the clocks can tell: those of a
// process that has run for longer than they go round.
func (p *Pass) onset(ages []time.Duration, threshold time.Duration, source string) *Onset {
	within := func(uptime time.Duration) bool { return uptime > 0 && uptime < clockWrap }
	if !within(p.Uptime) && !within(p.Proc.Uptime) {
		return nil
	}
	return onsetOf(ages, threshold, source)
}

// onsetOf describes ages, of sockets that are found from threshold on. Nil for fewer than two. ages is sorted.
func onsetOf(ages []time.Duration, threshold time.Duration, source string) *Onset {
	if len(ages) < 2 {
		return nil
	}
	slices.SortFunc(ages, func(a, b time.Duration) int { return cmp.Compare(b, a) })
	o := &Onset{Oldest: ages[0], Youngest: ages[len(ages)-1], Source: source}
	span := o.Oldest - o.Youngest
	o.Width = max((span+onsetBuckets-1)/onsetBuckets, time.Millisecond)
	o.Buckets = histogram(ages, o.Oldest, o.Width, min(int(span/o.Width)+1, onsetBuckets))
	if o.PerMinute = rateOf(ages, span); o.PerMinute > 0 {
		between := time.Duration(float64(time.Minute) / o.PerMinute)
		// What has an even rate keeps it: ten times the usual pause is none.
		o.Ongoing = o.Youngest-threshold <= 10*between
	}
	return o
}

// rateOf is how many came in a minute, of those between the first and the last; 0 when they did not come evenly. One burst among
// them counts for nothing.
func rateOf(ages []time.Duration, span time.Duration) float64 {
	if len(ages) < rateFrom || span < time.Second {
		return 0
	}
	filled, most := 0, 0
	for _, n := range histogram(ages, ages[0], span/rateSlices+1, rateSlices) {
		if n > 0 {
			filled++
		}
		most = max(most, n)
	}
	switch {
	case filled < rateFilled:
		return 0
	case most <= len(ages)*rateBurst/100:
		return float64(len(ages)-1) / span.Minutes()
	case len(ages)-most < rateFrom:
		return 0
	}
	return float64(len(ages)-most) / (span - span/rateSlices).Minutes()
}

// histogram counts ages in n spans of width, beginning with the oldest.
func histogram(ages []time.Duration, oldest, width time.Duration, n int) []int {
	counts := make([]int, n)
	for _, age := range ages {
		counts[min(int((oldest-age)/width), n-1)]++
	}
	return counts
}

// Growth is where the leaks of a process lead, if they go on as they did.
type Growth struct {
	PerMinute float64 // of all leaks whose rate is known and that go on
	// FDsIn is when the soft limit of descriptors is reached; 0: not known.
	FDsIn time.Duration
	// PortsIn is when the local ports towards PortsPeer are used up at the latest, by the leak that is the first; 0: not known. What
	// else takes ports there is counted where it is much ([Proc.Destinations]).
	PortsIn   time.Duration
	PortsPeer string
}

// GrowthOf is where the leaks of p lead.
func (r *Result) GrowthOf(p *Proc) Growth {
	var g Growth
	for _, f := range r.Findings {
		if f.Proc != p || f.Severity != Leak || f.Onset == nil || !f.Onset.Ongoing {
			continue
		}
		g.PerMinute += f.Onset.PerMinute
		size := p.Space.Sysctls.PortHigh - p.Space.Sysctls.PortLow + 1
		if f.Direction != Connected || f.Peer == "" || size <= 1 {
			continue
		}
		left := size - max(f.Sockets, p.portsTaken(f.Peer))
		if in := eta(left, f.Onset.PerMinute); in > 0 && (g.PortsIn == 0 || in < g.PortsIn) {
			g.PortsIn, g.PortsPeer = in, f.Peer
		}
	}
	if p.Open > 0 && p.SoftLimit > uint64(p.Open) && p.SoftLimit < 1<<31 {
		g.FDsIn = eta(int(p.SoftLimit)-p.Open, g.PerMinute)
	}
	return g
}

// portsTaken is how many local ports of one address are taken towards a peer, by whomever; 0 where they are few.
func (p *Proc) portsTaken(peer string) (n int) {
	for _, d := range p.Destinations {
		if key := keyTo(Connected, d.Peer, 0); key.Peer() == peer {
			n = max(n, d.Used)
		}
	}
	return n
}

// etaHorizon is how far ahead a rate is worth anything.
const etaHorizon = 30 * 24 * time.Hour

// eta is when n more have come; 0 when that is too far ahead to say, or they have come.
func eta(n int, perMinute float64) time.Duration {
	if n <= 0 || perMinute <= 0 || float64(n)/perMinute > etaHorizon.Minutes() {
		return 0
	}
	return time.Duration(float64(n) / perMinute * float64(time.Minute))
}
