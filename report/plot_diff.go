package report

import (
	"math"
	"slices"

	"github.com/sockleak/sockleak/diag"
)

// pairPlot shows before beside after; nil where there is nothing to compare.
type pairPlot struct {
	*Plot
}

func newPairPlot(name, title, of, axis string) pairPlot {
	return pairPlot{&Plot{
		Kind: Pairs, Name: name, Title: title, Of: of, Axis: axis, Shown: ToNobodyElse,
		Lines: []PlotLine{{Name: beforeAfter[0]}, {Name: beforeAfter[1]}},
	}}
}

// add takes one thing that was counted on both sides, and leaves it out where it was on neither.
func (p pairPlot) add(label string, n [2]int) {
	if n[0] <= 0 && n[1] <= 0 {
		return
	}
	p.Labels = append(p.Labels, label)
	for i := range n {
		v := float64(n[i])
		if n[i] == diag.NotKnown {
			v = math.NaN()
		}
		p.Lines[i].Values = append(p.Lines[i].Values, v)
	}
}

// plots is the plot where it has something to show.
func (p pairPlot) plots(unlike bool) []*Plot {
	if unlike || len(p.Labels) == 0 || slices.ContainsFunc(p.Lines, func(l PlotLine) bool { _, _, ok := extent(l.Values); return !ok }) {
		return nil
	}
	return []*Plot{p.Plot}
}

// leakPlots are what leaks: by rule and service, and by process where there are several.
func (v diff) leakPlots() []*Plot {
	p := newPairPlot("leak", "Leaked, by rule and service", "leaked", "rule")
	several := slices.ContainsFunc(v.d.Leaks, func(l diag.LeakChange) bool { return l.Process != v.d.Leaks[0].Process })
	for i := range v.d.Leaks {
		l := &v.d.Leaks[i]
		label := l.Rule + " " + l.Where()
		if several {
			label = l.Process + " " + label
		}
		p.add(label, l.N)
	}
	return p.plots(false)
}

// statePlots are the sockets by state, and of those in ESTAB the ones without a timer.
func (v diff) statePlots() []*Plot {
	p, unlike := newPairPlot("state", "Sockets by state", ofSockets, "state"), false
	for _, c := range v.d.States {
		p.add(stateWords(c.Key), c.N)
		unlike = unlike || c.Unlike
	}
	for _, c := range v.d.Timers {
		if c.Key == estabNoTimer {
			p.add(timerWords(c.Key), c.N)
		}
	}
	return p.plots(unlike)
}

// peerPlots are the peers with the largest changes.
func (v diff) peerPlots() []*Plot {
	p, unlike := newPairPlot("peer", "Connections by peer", ofConnections, "peer"), false
	for i := range v.d.Peers[:min(len(v.d.Peers), mostBars)] {
		c := &v.d.Peers[i]
		p.add(directionWords[c.Direction.String()]+c.Peer, c.N)
		unlike = unlike || c.Unlike
	}
	if len(p.Labels) < len(v.d.Peers) || v.d.PeersRest.Peers != 0 {
		p.Note = "Left out: peers with smaller changes."
	}
	return p.plots(unlike)
}

// kindPlots are the descriptors by kind.
func (v diff) kindPlots() []*Plot {
	p, unlike := newPairPlot("fds", "Descriptors by kind", ofDescriptors, "kind"), false
	for _, c := range v.d.Kinds {
		if c.Key != allKinds {
			p.add(c.Key, c.N)
		}
		unlike = unlike || c.Unlike
	}
	return p.plots(unlike)
}
