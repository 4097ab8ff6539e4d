package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// What the axes of several plots count.
const (
	ofSockets     = "sockets"
	ofDescriptors = "descriptors"
	ofConnections = "connections"
)

// processPlots are those of one look at a process.
func processPlots(r *diag.Result, p *diag.Proc) []*Plot {
	plots := []*Plot{idlePlot(r, p), peerPlot(r, p), kindPlot(p)}
	return slices.DeleteFunc(plots, func(p *Plot) bool { return p == nil })
}

// idleBounds are where the buckets of idle times end; the last has no end.
var idleBounds = [...]time.Duration{
	time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
}

// fewConnections is from how many on they make a picture.
const fewConnections = 2

// idleBuckets are where the buckets begin: at 0, at the threshold, and at each bound beyond it.
func idleBuckets(threshold time.Duration) (from []time.Duration, labels []string) {
	from, labels = []time.Duration{0, threshold}, []string{"< " + diag.FormatDuration(threshold)}
	for _, end := range idleBounds {
		if end > threshold {
			labels = append(labels, diag.FormatDuration(from[len(from)-1])+"–"+diag.FormatDuration(end))
			from = append(from, end)
		}
	}
	return from, append(labels, "≥ "+diag.FormatDuration(from[len(from)-1]))
}

// idlePlot counts connections in ESTAB by how long nothing has moved on them, apart by whether the kernel has a timer on them. Below
// the threshold they are one bucket, for those of which there is nothing to say are counted and not kept. Nil when none is beyond it.
func idlePlot(r *diag.Result, p *diag.Proc) *Plot {
	threshold, _ := r.Thresholds.IdleIn(p.Space)
	from, labels := idleBuckets(threshold)
	layers := timerLayers(countsOf(p), len(labels))
	beyond, unknown, bounds := 0, 0, 0
	for i := range p.Held {
		h := &p.Held[i]
		if h.State != netlinkss.Estab || h.Counted {
			continue
		}
		values := layers[timerLayer(h.Timer)].Values
		switch idle := diag.Idle(h.Socket, r.Snapshot.Host.Uptime); {
		case !idle.Known():
			unknown++
			values[0]--
		case idle.D >= threshold:
			beyond++
			if !idle.Exact {
				bounds++
			}
			values[0]--
			values[bucketOf(from, idle.D)]++
		}
	}
	if beyond == 0 {
		return nil
	}
	plot := &Plot{
		Kind: Histogram, Name: "idle", Title: "Connections in ESTAB by idle time", Of: ofConnections, Axis: "idle for", PID: p.PID, Shown: ToWide,
		Labels: labels, Lines: layers,
	}
	if bounds > 0 {
		plot.Axis = "idle for, at the least"
	}
	if unknown > 0 {
		plot.Note = fmt.Sprintf("Left out: %s whose idle times are not known.", plural(unknown, "connection"))
	}
	return plot
}

// timerLayers have all connections in ESTAB in the first of n buckets. The last layer is for those whose timers are not told.
func timerLayers(c counts, n int) []PlotLine {
	layers := []PlotLine{{Name: "no timer"}, {Name: "timer"}, {Name: "timer not told"}}
	for i, first := range []int{c.noTimer, c.timer, c.estab - c.noTimer - c.timer} {
		layers[i].Values = make([]float64, n)
		layers[i].Values[0] = float64(first)
	}
	return layers
}

// timerLayer is the layer of a connection.
func timerLayer(t netlinkss.Timer) int {
	switch t {
	case netlinkss.TimerOff:
		return 0
	case netlinkss.TimerUnknown:
		return 2
	}
	return 1
}

// bucketOf is the last bucket that begins at d or before.
func bucketOf(from []time.Duration, d time.Duration) int {
	at := 0
	for i, begin := range from {
		if d >= begin {
			at = i
		}
	}
	return at
}

// peerPlot counts leaked sockets by the address of the other side, the most first.
func peerPlot(r *diag.Result, p *diag.Proc) *Plot {
	counts, all := map[string]int{}, 0
	for _, f := range r.Findings {
		if f.Proc != p || f.Severity != diag.Leak {
			continue
		}
		for i := range f.Samples {
			label := "no peer"
			if peer := f.Samples[i].Peer; peer.IsValid() && peer.Port() != 0 {
				label = directionWords[f.Direction.String()] + addrOf(peer.Addr())
			}
			counts[label]++
			all++
		}
	}
	if all < fewConnections {
		return nil
	}
	plot := &Plot{Kind: Bars, Name: "peer", Title: "Leaked sockets by peer", Of: ofSockets, Axis: "peer", PID: p.PID, Shown: ToWide}
	line := PlotLine{Name: ofSockets}
	for _, label := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	}) {
		plot.Labels = append(plot.Labels, label)
		line.Values = append(line.Values, float64(counts[label]))
	}
	plot.Lines = []PlotLine{line}
	return plot
}

// kindPlot counts descriptors by what they are of.
func kindPlot(p *diag.Proc) *Plot {
	plot := &Plot{Kind: Bars, Name: "fds", Title: "Descriptors by kind", Of: ofDescriptors, Axis: "kind", PID: p.PID, Shown: ToNobodyElse}
	kinds := make([]int, 0, procfd.NumKinds)
	for k, n := range p.ByKind {
		if n > 0 {
			kinds = append(kinds, k)
		}
	}
	if p.Open < 0 || len(kinds) == 0 {
		return nil
	}
	slices.SortStableFunc(kinds, func(a, b int) int { return cmp.Compare(p.ByKind[b], p.ByKind[a]) })
	line := PlotLine{Name: ofDescriptors}
	for _, k := range kinds {
		plot.Labels = append(plot.Labels, procfd.Kind(k).String())
		line.Values = append(line.Values, float64(p.ByKind[k]))
	}
	plot.Lines = []PlotLine{line}
	return plot
}

// onsetPlot is when the sockets of a finding were left behind; nil when there is nothing to see in it.
func onsetPlot(f *diag.Finding) []*Plot {
	o := f.Onset
	if o == nil || !drawn(o) {
		return nil
	}
	plot := &Plot{Kind: Histogram, Name: "onset", Title: "When they were left", Of: ofSockets, Axis: "left", PID: f.Proc.PID, Shown: ToNobodyElse}
	if lowerBound(o.Source) {
		plot.Axis = "left, at the least"
	}
	line := PlotLine{Name: ofSockets}
	for i, n := range o.Buckets {
		plot.Labels = append(plot.Labels, diag.FormatDuration(max(o.Oldest-time.Duration(i)*o.Width, 0))+" ago")
		line.Values = append(line.Values, float64(n))
	}
	plot.Lines = []PlotLine{line}
	plot.Note = "Each bar is " + diag.FormatDuration(o.Width) + "."
	return []*Plot{plot}
}

// statePlots are those of one count of a host.
func (v tcpstat) statePlots() []*Plot {
	all := v.s.Tally.IPv4.Sum(&v.s.Tally.IPv6)
	plot := &Plot{Kind: Bars, Name: "state", Title: "Sockets by state and timer", Of: ofSockets, Axis: "state", Shown: ToNobodyElse}
	var states []int
	for s := range all {
		if all.State(netlinkss.State(s)) > 0 {
			states = append(states, s)
			plot.Labels = append(plot.Labels, stateName(s))
		}
	}
	for t := range diag.NumTimers {
		line := PlotLine{Name: "timer " + netlinkss.Timer(t).String()}
		if t == diag.NumTimers-1 {
			line.Name = "timer unknown"
		}
		for _, s := range states {
			line.Values = append(line.Values, float64(all[s][t]))
		}
		plot.Lines = append(plot.Lines, line)
	}
	return []*Plot{plot}
}

// groupPlots are the largest groups, ESTAB without a timer apart.
func (v tcpstat) groupPlots() []*Plot {
	plot := &Plot{Kind: Bars, Name: "group", Title: "The largest groups", Of: ofSockets, Axis: groupHead(v.s.Tally.By), Shown: ToNobodyElse}
	without, with, other := PlotLine{Name: "ESTAB, no timer"}, PlotLine{Name: "ESTAB, timer"}, PlotLine{Name: "other states"}
	for i := range v.s.Groups[:min(len(v.s.Groups), mostBars)] {
		g := &v.s.Groups[i]
		plot.Labels = append(plot.Labels, v.s.Tally.Key(g))
		without.Values = append(without.Values, float64(g.EstabNoTimer))
		with.Values = append(with.Values, float64(g.EstabTimer))
		other.Values = append(other.Values, float64(g.Sockets-g.Estab))
	}
	if rest := v.s.Distinct - len(plot.Labels); rest > 0 {
		plot.Note = "Left out: " + plural(rest, "smaller group") + "."
	}
	plot.Lines = []PlotLine{without, with, other}
	if v.s.Tally.NoTimers > 0 {
		return nil // it tells the sockets apart by their timers
	}
	return []*Plot{plot}
}
