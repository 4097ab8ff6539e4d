package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// SeriesOf is the view of what was measured over time, with the diagnosis of the last look. r.Series is what was measured; without
// one the view says that there is no sample.
func SeriesOf(r *diag.Result) Value { return series{r} }

type series struct{ r *diag.Result }

// mostTracks is how many processes people see in full, unless all rows are wanted.
const mostTracks = 8

func (v series) document(o Options) *Document {
	r := v.r
	d := &Document{Title: titleAt("leakscan over time", r.Snapshot)}
	scan := leakscan{r}
	verdict := scan.verdict()
	verdict.Table = findingTable(r.Findings)
	verdict.Text = []string{samplesOver(r.Series) + "."}
	d.Sections = append(d.Sections, verdict)
	shown := v.tracks()
	left := 0
	if !o.data && o.Top > 0 && len(shown) > mostTracks {
		left = len(shown) - mostTracks
		shown = shown[:mostTracks]
	}
	standing := standings(r)
	for _, t := range shown {
		d.Sections = append(d.Sections, trackSections(r, t, standing, o)...)
	}
	if left > 0 {
		d.Sections = append(d.Sections, Section{Text: []string{fmt.Sprintf("… and %s: --top 0 shows all.", plural(left, "more process"))}})
	}
	d.Sections = append(d.Sections, findingSections(r.Findings, o)...)
	if o.data { // the columns are the same whatever was found
		d.Sections = append(d.Sections, Section{Table: &Table{Name: "socket", Columns: sampleColumns(false)}}, Section{Table: gapTable()}, Section{Table: plotTable(nil)})
	}
	d.Sections = append(d.Sections, gapSection(r.Gaps)...)
	return d
}

// tracks are those of the series, what leaks the most at the end first, and what has ended behind the others.
func (v series) tracks() []*diag.Track {
	list := slices.Clone(tracksOf(v.r.Series))
	last := func(t *diag.Track, kind diag.LineKind, name string) float64 {
		if l := t.Line(kind, name); l != nil && !math.IsNaN(l.Last()) {
			return l.Last()
		}
		return 0
	}
	ended := func(t *diag.Track) int {
		if t.Ended {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b *diag.Track) int {
		return cmp.Or(cmp.Compare(ended(a), ended(b)),
			cmp.Compare(last(b, diag.LineLeaked, "leaked"), last(a, diag.LineLeaked, "leaked")),
			cmp.Compare(last(b, diag.LineOpen, "open"), last(a, diag.LineOpen, "open")))
	})
	return list
}

func tracksOf(s *diag.Series) []*diag.Track {
	if s == nil {
		return nil
	}
	return s.Tracks
}

func samplesOver(s *diag.Series) string {
	if s == nil || len(s.Times) == 0 {
		return "no sample"
	}
	return fmt.Sprintf("%s over %s", plural(len(s.Times), "sample"), diag.FormatDuration(s.Span()))
}

// trackSections are a process as it is now, what was measured of it in plots, and in numbers.
func trackSections(r *diag.Result, t *diag.Track, standings []*standing, o Options) []Section {
	measured := Section{Heading: trackName(t) + " over time", Plots: besideTable(trackPlots(r.Series, t)), Table: lineTable(r.Series, t)}
	for _, st := range standings {
		if st.proc.PID != t.PID || st.proc.Start != t.Start {
			continue
		}
		process := processSection(st)
		measured.Plots = append(measured.Plots, processPlots(r, st.proc)...)
		if o.data {
			return []Section{process, measured}
		}
		process.Heading += " · over time"
		process.Plots, process.Table = measured.Plots, measured.Table
		return []Section{process}
	}
	if t.Ended {
		measured.Text = []string{"It was not in the last sample."}
	}
	return []Section{measured}
}

// besideTable are plots whose courses stand in a table.
func besideTable(plots []*Plot) []*Plot {
	for _, p := range plots {
		p.Shown = ToPrograms
	}
	return plots
}

// trackName names what a track is of.
func trackName(t *diag.Track) string {
	if t.PID == 0 {
		return "this host"
	}
	return fmt.Sprintf("%s[%d]", t.Name, t.PID)
}

// courseWidth is how wide the course of a line is in a table, in letters.
const courseWidth = 16

// lineTable has a row for each line of a track.
func lineTable(s *diag.Series, t *diag.Track) *Table {
	table := &Table{Name: "line", Columns: []Column{
		{Key: "pid", Data: true}, {Key: "name", Data: true}, {Key: "kind", Data: true}, {Key: "unit", Data: true},
		{Key: "line", Head: "Measured"},
		{Key: "course", Head: "Course", Spare: 4, Drawing: true},
		{Key: "first", Head: "First", Right: true},
		{Key: "last", Head: "Last", Right: true},
		{Key: "change", Head: "Change", Right: true},
		{Key: "least", Head: "Least", Right: true, Spare: 2},
		{Key: "most", Head: "Most", Right: true, Spare: 3},
		{Key: "per_minute", Head: "A minute", Right: true},
		{Key: "born", Head: "Came", Right: true, Spare: 1},
		{Key: "died", Head: "Went", Right: true, Spare: 1},
	}}
	for kind := range diag.NumLineKinds {
		for _, l := range t.OfKind(kind) {
			table.Rows = append(table.Rows, lineRow(s, t, l))
		}
	}
	return table
}

func lineRow(s *diag.Series, t *diag.Track, l *diag.Line) []Cell {
	u := unitOf(l.Kind)
	first := slices.IndexFunc(l.Values, func(v float64) bool { return !math.IsNaN(v) })
	row := []Cell{
		number(t.PID), text(t.Name), text(lineKindNames[l.Kind]), text(lineUnits[u]), {Text: lineWords(l.LineKey), Raw: l.Name},
		{Text: sparks(l.Values, courseWidth)},
	}
	least, most, ok := extent(l.Values)
	if !ok {
		return append(row, unknown(8)...)
	}
	change, perMinute := math.NaN(), math.NaN()
	if last := l.Last(); !math.IsNaN(last) && l.Kind != diag.LineCPU { // a share comes and goes
		change = last - l.Values[first]
		if span := s.Times[len(s.Times)-1].Sub(s.Times[first]); span > 0 {
			perMinute = change / span.Minutes()
		}
	}
	return append(row, u.cell(l.Values[first]), u.cell(l.Last()), signed(u, change), u.cell(least), u.cell(most), signed(u, perMinute),
		Count.cell(lastKnown(l.Born)), Count.cell(lastKnown(l.Died)))
}

// signed is a change, with its sign.
func signed(u Unit, v float64) Cell {
	c := u.cell(v)
	switch {
	case c.Raw == "":
		return c
	case c.Text == u.text(0) || c.Text == "-0":
		c.Text = "="
		if v != 0 { // which is not nothing
			c.Text = sign(v) + "<" + u.text(0.1)
		}
	case v > 0:
		c.Text = "+" + c.Text
	case u == Count:
		c.Text = "−" + u.text(-v)
	}
	c.Raw = strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64)
	return c
}

func sign(v float64) string {
	if v < 0 {
		return "−"
	}
	return "+"
}

// StatSeries is the view of a host's sockets over time, with the last count. A series of nil is none.
func StatSeries(last *diag.Stat, s *diag.Series) Value { return statSeries{last, s} }

type statSeries struct {
	last   *diag.Stat
	series *diag.Series
}

func (v statSeries) document(o Options) *Document {
	d := &Document{Title: titleAt("tcpstat over time", &v.last.Snapshot)}
	for _, t := range tracksOf(v.series) {
		all := v.last.Tally.IPv4.Sum(&v.last.Tally.IPv6).Total()
		d.Sections = append(d.Sections, Section{
			Heading: plural(all, "TCP socket") + " at the last of " + samplesOver(v.series), Plots: besideTable(trackPlots(v.series, t)), Table: lineTable(v.series, t),
		})
	}
	d.Sections = append(d.Sections, tcpstat{v.last}.document(o).Sections...)
	return d
}

// seriesSchema changes when a field changes its meaning or goes; new fields may come:
//
//	{"schema":"sockleak.series/1", "taken_at":RFC3339 of the last look, "host":…, "kernel":…, "took_ms":…, "span_ms":…,
//	 "times":[RFC3339, …],
//	 "tracks":[{"pid":… (0: the host), "start":…, "name":…, "soft_limit":…|null, "ended":…,
//	            "lines":[{"kind":"open|fds|state|timer|group|leaked|rss|pss|cpu", "name":…, "unit":"count|bytes|share",
//	                      "values":[number|null, …], "born":[…]|null, "died":[…]|null}]}],
//	 "leakscan":{sockleak.leakscan/1 of the last look}|null, "tcpstat":{sockleak.tcpstat/1}|null}
//
// values, born and died have one number for each of times; null is not known.
const seriesSchema = "sockleak.series/1"

// wireSeries has one of Leakscan and Tcpstat: the document of the last look.
type wireSeries struct {
	wireHead
	SpanMS   int64       `json:"span_ms"`
	Times    []string    `json:"times"` // of the samples
	Tracks   []wireTrack `json:"tracks"`
	Leakscan any         `json:"leakscan"`
	Tcpstat  any         `json:"tcpstat"`
}

// wireTrack is a process, or with pid 0 a host.
type wireTrack struct {
	PID   int        `json:"pid"`
	Start uint64     `json:"start"` // ticks of 10 ms since boot
	Name  string     `json:"name"`
	Limit *uint64    `json:"soft_limit"`
	Ended bool       `json:"ended"`
	Lines []wireLine `json:"lines"`
}

// wireLine has a value for each time. Born and died are counts since the first sample, null for what is no group of sockets.
type wireLine struct {
	Kind   string       `json:"kind"`
	Name   string       `json:"name"`
	Unit   string       `json:"unit"` // count, bytes, or share of one processor
	Values wireNumbers  `json:"values"`
	Born   *wireNumbers `json:"born"`
	Died   *wireNumbers `json:"died"`
}

// wireNumbers are null where they are not known.
type wireNumbers []float64

// MarshalJSON writes each number in its shortest form.
func (n wireNumbers) MarshalJSON() ([]byte, error) {
	b := []byte{'['}
	for i, v := range n {
		if i > 0 {
			b = append(b, ',')
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, v, 'f', -1, 64)
		}
	}
	return append(b, ']'), nil
}

func (v series) wire(o Options) any {
	r := v.r
	w := wireSeriesOf(r.Series, r.Snapshot, r.Took)
	w.Leakscan = leakscan{r}.wire(o)
	return w
}

func (v statSeries) wire(o Options) any {
	w := wireSeriesOf(v.series, &v.last.Snapshot, v.last.Took)
	w.Tcpstat = tcpstat{v.last}.wire(o)
	return w
}

func wireSeriesOf(s *diag.Series, at *diag.Snapshot, took time.Duration) *wireSeries {
	w := &wireSeries{
		wireHead: wireHead{Schema: seriesSchema, TakenAt: momentOf(at.At), Host: at.Host.Name, Kernel: at.Host.Kernel, TookMS: took.Milliseconds()},
		Times:    []string{}, Tracks: []wireTrack{},
	}
	if s == nil {
		return w
	}
	w.SpanMS = s.Span().Milliseconds()
	for _, t := range s.Times {
		w.Times = append(w.Times, rfc3339(t))
	}
	for _, t := range s.Tracks {
		w.Tracks = append(w.Tracks, wireTrackOf(t))
	}
	return w
}

func wireTrackOf(t *diag.Track) wireTrack {
	w := wireTrack{PID: t.PID, Start: t.Start, Name: t.Name, Limit: limitOf(t.Limit), Ended: t.Ended, Lines: []wireLine{}}
	for _, l := range t.Lines {
		line := wireLine{Kind: lineKindNames[l.Kind], Name: l.Name, Unit: lineUnits[unitOf(l.Kind)], Values: l.Values}
		if l.Kind == diag.LineGroup {
			line.Born, line.Died = (*wireNumbers)(&l.Born), (*wireNumbers)(&l.Died)
		}
		w.Lines = append(w.Lines, line)
	}
	return w
}

// limitOf is null where there is none, or none is known.
func limitOf(n uint64) *uint64 {
	if n == 0 || n == procfd.NoLimit {
		return nil
	}
	return &n
}
