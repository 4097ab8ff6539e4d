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
	plots := []*Plot{idlePlot(r, p), peerPlot(p), kindPlot(p)}
	return slices.DeleteFunc(plots, func(p *Plot) bool { return p == nil })
}

// idleBounds are where the buckets of idle times end; the last has no end.
var idleBounds = [...]time.Duration{
	time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
}

var idleLabels = [...]string{"< 1s", "1s–10s", "10s–1m", "1m–10m", "10m–1h", "1h–6h", "6h–1d", "1d–7d", "≥ 7d"}

// fewConnections is from how many on they make a picture.
const fewConnections = 2

// idlePlot counts connections in ESTAB by how long nothing has moved on them, apart by whether the kernel has a timer on them.
func idlePlot(r *diag.Result, p *diag.Proc) *Plot {
	with, without, untold := make([]float64, len(idleLabels)), make([]float64, len(idleLabels)), make([]float64, len(idleLabels))
	known, unknown, bounds := 0, p.Usual.Timer+p.Usual.NoTimer, 0
	for i := range p.Held {
		h := &p.Held[i]
		if h.State != netlinkss.Estab || h.Counted {
			continue
		}
		idle := diag.Idle(h.Socket, r.Snapshot.Host.Uptime)
		if !idle.Known() {
			unknown++
			continue
		}
		known++
		if !idle.Exact {
			bounds++
		}
		switch at := idleBucket(idle.D); h.Timer {
		case netlinkss.TimerUnknown:
			untold[at]++
		case netlinkss.TimerOff:
			without[at]++
		default:
			with[at]++
		}
	}
	if known < fewConnections {
		return nil
	}
	plot := &Plot{
		Kind: Histogram, Name: "idle", Title: "Connections in ESTAB by idle time", Of: ofConnections, Axis: "idle for", PID: p.PID, Shown: ToWide,
		Labels: idleLabels[:], Lines: []PlotLine{{"no timer", without}, {"timer", with}},
	}
	if slices.Max(untold) > 0 {
		plot.Lines = append(plot.Lines, PlotLine{"timer not told", untold})
	}
	if bounds > 0 {
		plot.Axis = "idle for, at the least"
	}
	if unknown > 0 {
		plot.Note = fmt.Sprintf("Left out: %s whose idle times were not kept, or are not known.", plural(unknown, "connection"))
	}
	return plot
}

func idleBucket(d time.Duration) int {
	for i, end := range idleBounds {
		if d < end {
			return i
		}
	}
	return len(idleBounds)
}

// peerPlot counts connections by the address of the other side, the most first.
func peerPlot(p *diag.Proc) *Plot {
	c := compared{byPeer: map[comparePeer]int64{}}
	c.countPeers(p)
	plot := &Plot{Kind: Bars, Name: "peer", Title: "Connections by peer", Of: ofConnections, Axis: "peer", PID: p.PID, Shown: ToWide}
	if n := c.byPeer[unknownPeer]; n > 0 {
		delete(c.byPeer, unknownPeer)
		plot.Note = fmt.Sprintf("Left out: %s whose peers were not kept.", plural(int(n), "connection"))
	}
	line, all := PlotLine{Name: ofConnections}, 0.0
	for _, peer := range slices.SortedFunc(maps.Keys(c.byPeer), func(a, b comparePeer) int {
		return cmp.Or(cmp.Compare(c.byPeer[b], c.byPeer[a]), cmp.Compare(a.peer, b.peer), cmp.Compare(a.direction, b.direction))
	}) {
		plot.Labels = append(plot.Labels, directionWords[peer.direction]+peer.peer)
		line.Values = append(line.Values, float64(c.byPeer[peer]))
		all += float64(c.byPeer[peer])
	}
	if all < fewConnections {
		return nil
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
