package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockleak/sockleak/diag"
)

// A plot has as many lines as an eye can follow: those that move the most, in their order; nothing of the others is lost in the sum.
func TestPlotFoldsLines(t *testing.T) {
	p := &Plot{Kind: LinesOverTime, Times: make([]time.Time, 3)}
	for k := range 20 {
		p.Lines = append(p.Lines, PlotLine{fmt.Sprint(k), []float64{float64(k), float64(k), float64(k + k%7)}})
	}
	p.Lines = append(p.Lines, PlotLine{"zero", make([]float64, 3)}, PlotLine{"unknown", []float64{math.NaN(), math.NaN(), math.NaN()}})
	d := p.drawn()
	var names []string
	sums, want := make([]float64, 3), make([]float64, 3)
	for _, l := range d.Lines {
		names = append(names, l.Name)
		for i, v := range l.Values {
			sums[i] += v
		}
	}
	for _, l := range p.Lines[:20] {
		for i, v := range l.Values {
			want[i] += v
		}
	}
	if got := []string{"5", "6", "11", "12", "13", "18", "19", "12 others, summed"}; !slices.Equal(names, got) {
		t.Errorf("lines %q, want %q", names, got)
	}
	if !slices.Equal(sums, want) {
		t.Errorf("summed up %v, want %v", sums, want)
	}
	if len(p.Lines) != 22 || p.Lines[0].Values[2] != 0 {
		t.Error("drawing a plot has changed it")
	}
	p.Lines = append(p.Lines, PlotLine{"in part", []float64{1, math.NaN(), 1}})
	if rest := p.drawn().Lines[mostLines-1]; !math.IsNaN(rest.Values[1]) || math.IsNaN(rest.Values[0]) {
		t.Errorf("the sum of what is not known in part is %v", rest.Values)
	}
}

func TestPlotFoldsBars(t *testing.T) {
	p := &Plot{Kind: Bars, Lines: []PlotLine{{Name: "a"}, {Name: "b"}}}
	for i := range 30 {
		p.Labels = append(p.Labels, fmt.Sprint(i))
		p.Lines[0].Values = append(p.Lines[0].Values, 1)
		p.Lines[1].Values = append(p.Lines[1].Values, float64(i))
	}
	d := p.drawn()
	if len(d.Labels) != mostBars || d.Labels[mostBars-1] != "19 others" {
		t.Errorf("bars %q", d.Labels)
	}
	if a, b := d.Lines[0].Values[mostBars-1], d.Lines[1].Values[mostBars-1]; a != 19 || b != 380 {
		t.Errorf("the others are %v and %v, want 19 and 380", a, b)
	}
	if len(p.Lines[0].Values) != 30 {
		t.Error("drawing a plot has changed it")
	}
}

// A course in letters has the last of what each letter stands for, and a dot for what is not known.
func TestSparks(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		values []float64
		room   int
		want   string
	}{
		{nil, 8, ""},
		{[]float64{5}, 8, "▁"},
		{[]float64{0, 1, 2, 3, 4, 5, 6, 7}, 8, "▁▂▃▄▅▆▇█"},
		{[]float64{7, 0, 7, 1}, 2, "▁▂"}, // the second and the fourth, of 0 to 7
		{[]float64{nan, 1, nan, 2}, 8, "·▁·█"},
		{[]float64{nan, nan}, 8, "··"},
	} {
		if got := sparks(tt.values, tt.room); got != tt.want {
			t.Errorf("%v in %d: %s, want %s", tt.values, tt.room, got, tt.want)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, tt := range []struct {
		unit Unit
		v    float64
		want string
	}{
		{Count, 28636, "28636"}, {Count, 0.25, "0.3"}, {Count, math.NaN(), "-"}, {Count, math.Inf(1), "-"},
		{Bytes, 0, "0 B"}, {Bytes, 212 << 20, "212.0 MiB"}, {Bytes, -2048, "−2.0 KiB"}, {Share, 0.125, "12.5 %"}, {Share, 2, "200.0 %"},
	} {
		if got := tt.unit.text(tt.v); got != tt.want {
			t.Errorf("%v of unit %d is %q, want %q", tt.v, tt.unit, got, tt.want)
		}
	}
	for _, tt := range []struct {
		unit      Unit
		v         float64
		want, raw string
	}{
		{Count, 12, "+12", "12"}, {Count, -12.5, "−12.5", "-12.5"}, {Count, 0, "=", "0"}, {Count, 0.01, "+<0.1", "0.01"},
		{Count, -0.01, "−<0.1", "-0.01"}, {Bytes, -1024, "−1.0 KiB", "-1024"}, {Bytes, 3 << 20, "+3.0 MiB", "3145728"}, {Count, math.NaN(), "-", ""},
	} {
		if c := signed(tt.unit, tt.v); c.Text != tt.want || c.Raw != tt.raw {
			t.Errorf("a change of %v is %q, %q, want %q, %q", tt.v, c.Text, c.Raw, tt.want, tt.raw)
		}
	}
}

// Each connection in ESTAB is in one bucket of idle times, also those that were counted and not kept; what is not known is told.
func TestIdlePlot(t *testing.T) {
	from, labels := idleBuckets(2 * time.Hour)
	if want := []string{"< 2h00m", "2h00m–6h00m", "6h00m–1d00h", "1d00h–7d00h", "≥ 7d00h"}; !slices.Equal(labels, want) {
		t.Errorf("buckets %q, want %q", labels, want)
	}
	for d, want := range map[time.Duration]int{0: 0, 2*time.Hour - 1: 0, 2 * time.Hour: 1, 6*time.Hour - 1: 1, 6 * time.Hour: 2, 1000 * time.Hour: 4} {
		if got := bucketOf(from, d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
	for _, usual := range []diag.Usual{{}, {Timer: 3, NoTimer: 4}} {
		r := leaking()
		p := r.Procs()[0]
		p.Usual = usual
		plot := idlePlot(r, p)
		want := countsOf(p)
		for i, n := range []int{want.noTimer, want.timer} {
			sum := 0.0
			for _, v := range plot.Lines[i].Values {
				sum += v
			}
			if int(sum) != n {
				t.Errorf("%v: %v connections with %s, want %d", usual, sum, plot.Lines[i].Name, n)
			}
		}
	}
	if plot := idlePlot(clean(), clean().Procs()[0]); plot != nil {
		t.Errorf("of no connection there is the plot %+v", plot)
	}
}

// The peers of leaked sockets are as many as the verdict has.
func TestPeerPlot(t *testing.T) {
	r := leaking()
	n := 0.0
	for _, p := range r.Procs() {
		if plot := peerPlot(r, p); plot != nil {
			for _, v := range plot.Lines[0].Values {
				n += v
			}
		}
	}
	if verdict := (leakscan{r}).verdict().Heading; !strings.HasPrefix(verdict, fmt.Sprintf("%v leaked sockets", n)) {
		t.Errorf("%v sockets, and the verdict is %q", n, verdict)
	}
}

// CSV has every number of a plot, not only those that are drawn.
func TestPlotsInCSV(t *testing.T) {
	rows := readCSV(t, write(t, "csv", SeriesOf(overAWhile()), Options{Top: 1}))
	at := func(key string) int { return slices.Index(rows[0], key) }
	groups := map[string]int{}
	for _, row := range rows[1:] {
		if row[0] == "plot" && row[at("plot")] == "groups" {
			groups[row[at("line")]]++
			if _, err := time.Parse(time.RFC3339, row[at("at")]); err != nil || row[at("pid")] != "4242" {
				t.Fatalf("a sample %q", row)
			}
		}
	}
	if len(groups) != 12 {
		t.Errorf("%d groups: %v", len(groups), groups)
	}
	for name, n := range groups {
		if n != sampled {
			t.Errorf("%d samples of %s", n, name)
		}
	}
}

// TestPairPlots: both halves stay, also where one is zero throughout; what is not known is no zero; unlike sides are not compared.
func TestPairPlots(t *testing.T) {
	p := newPairPlot("x", "X", "things", "thing")
	p.add("new", [2]int{0, 7})
	p.add("neither", [2]int{0, 0})
	p.add("unseen", [2]int{0, diag.NotKnown})
	d := p.plots(false)[0].drawn()
	if d == nil || len(d.Lines) != 2 || !slices.Equal(d.Labels, []string{"new"}) || d.Lines[1].Values[0] != 7 {
		t.Fatalf("%+v", d)
	}
	p.add("half", [2]int{diag.NotKnown, 3})
	if got, want := p.drawn().summary(), "new 0 to 7, half - to 3."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if p.plots(true) != nil {
		t.Error("sides that count unlike sockets are drawn beside each other")
	}
	q := newPairPlot("x", "X", "things", "thing")
	q.add("unseen before", [2]int{diag.NotKnown, 3})
	if q.plots(false) != nil {
		t.Error("a side of which nothing is known is drawn")
	}
	for range mostBars {
		p.add("more", [2]int{1, 2})
	}
	if d := p.drawn(); len(d.Labels) != mostBars || len(d.Lines[0].Values) != mostBars || d.Lines[1].Values[mostBars-1] != 2*3 {
		t.Errorf("%+v", d)
	}
}
