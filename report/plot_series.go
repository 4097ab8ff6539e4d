package report

import (
	"slices"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// overTime says which lines of a track stand in one plot, in the order of a report.
var overTime = []struct {
	name, title string
	of          string
	unit        Unit
	kinds       []diag.LineKind
}{
	{"states", "TCP sockets by state", ofSockets, Count, []diag.LineKind{diag.LineState}},
	{"timers", "Connections in ESTAB by timer", ofConnections, Count, []diag.LineKind{diag.LineTimer}},
	{"groups", "Sockets by group", ofSockets, Count, []diag.LineKind{diag.LineGroup}},
	{"leaked", "Leaked sockets", ofSockets, Count, []diag.LineKind{diag.LineLeaked}},
	{"descriptors", "Descriptors", ofDescriptors, Count, []diag.LineKind{diag.LineOpen, diag.LineFDs}},
	{"memory", "Memory", "bytes", Bytes, []diag.LineKind{diag.LineRSS, diag.LinePSS}},
	{"cpu", "CPU", "% of one processor", Share, []diag.LineKind{diag.LineCPU}},
}

// fewSamples is from how many samples on there is something to see in a course.
const fewSamples = 2

// trackPlots are what was measured of one process, or of a host, over time.
func trackPlots(s *diag.Series, t *diag.Track) []*Plot {
	if len(s.Times) < fewSamples {
		return nil
	}
	var plots []*Plot
	for _, o := range overTime {
		plot := &Plot{Kind: LinesOverTime, Name: o.name, Title: o.title, Of: o.of, Unit: o.unit, PID: t.PID, Times: s.Times}
		for _, kind := range o.kinds {
			for _, l := range t.OfKind(kind) {
				plot.Lines = append(plot.Lines, PlotLine{lineName(l.LineKey), l.Values})
			}
		}
		if o.name == "descriptors" && t.Limit != 0 && t.Limit != procfd.NoLimit {
			plot.Note = "The soft limit is " + number(t.Limit).Text + "."
		}
		if len(plot.Lines) > 0 {
			plots = append(plots, plot)
		}
	}
	return plots
}

// lineName is what a line counts, where its plot says of what.
func lineName(k diag.LineKey) string {
	switch k.Kind {
	case diag.LineOpen:
		return "all open"
	case diag.LineRSS:
		return "RSS"
	case diag.LinePSS:
		return "PSS"
	case diag.LineCPU:
		return "CPU"
	}
	return k.Name
}

// lineWords are what a line counts, by itself.
func lineWords(k diag.LineKey) string {
	switch k.Kind {
	case diag.LineOpen:
		return "descriptors"
	case diag.LineFDs:
		return k.Name + " descriptors"
	case diag.LineTimer:
		return "ESTAB, " + k.Name
	case diag.LineLeaked:
		return "leaked sockets"
	}
	return lineName(k)
}

// lineKindNames are the kinds as programs read them.
var lineKindNames = [diag.NumLineKinds]string{
	diag.LineOpen: "open", diag.LineFDs: "fds", diag.LineState: "state", diag.LineTimer: "timer", diag.LineGroup: "group",
	diag.LineLeaked: "leaked", diag.LineRSS: "rss", diag.LinePSS: "pss", diag.LineCPU: "cpu",
}

// lineUnits are the units as programs read them.
var lineUnits = [...]string{Count: "count", Bytes: "bytes", Share: "share"}

func unitOf(kind diag.LineKind) Unit {
	for _, o := range overTime {
		if slices.Contains(o.kinds, kind) {
			return o.unit
		}
	}
	return Count
}
