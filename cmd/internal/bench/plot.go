//go:build linux

package main

import (
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-analyze/charts"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

// writePlot plots the median wall times over the sizes, the times in powers of ten. The sizes stand at even distances, which is the
// same scale where each is as many times the one before.
func writePlot(file string, sections []*section, sizes []int) error {
	names, logs := curves(sections)
	o := charts.NewLineChartOptionWithData(logs)
	o.Theme = bothThemes()
	o.Legend.SeriesNames = names
	o.XAxis.Title, o.XAxis.Labels = "sockets", nil // it has had some for the series
	for _, n := range sizes {
		o.XAxis.Labels = append(o.XAxis.Labels, lab.Grouped(n))
	}
	least, most := decades(logs)
	o.YAxis[0].Min, o.YAxis[0].Max, o.YAxis[0].LabelCount = new(least), new(most), int(most-least)+1
	o.YAxis[0].ValueFormatter = func(log float64) string {
		return time.Duration(math.Round(math.Pow(10, log))).String()
	}
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: 800, Height: 450})
	if err := p.LineChart(o); err != nil {
		return err
	}
	svg, err := p.Bytes()
	if err != nil {
		return err
	}
	return os.WriteFile(file, svg, 0o644)
}

// bothThemes has no background, and colours that stand out from white and from black.
func bothThemes() charts.ColorPalette {
	grey := charts.Color{R: 128, G: 128, B: 128, A: 255}
	return charts.MakeTheme(charts.ThemeOption{
		AxisStrokeColor: grey, AxisSplitLineColor: charts.Color{R: 128, G: 128, B: 128, A: 80},
		BackgroundColor: charts.ColorTransparent, TextColor: grey, TextColorLegend: grey,
		SeriesColors: []charts.Color{
			grey,
			{R: 47, G: 129, B: 247, A: 255}, {R: 219, G: 109, B: 40, A: 255}, {R: 46, G: 160, B: 67, A: 255}, {R: 191, G: 75, B: 180, A: 255},
		},
	})
}

// curves are the rows that have figures, as powers of ten in nanoseconds.
func curves(sections []*section) (names []string, logs [][]float64) {
	for i, r := range sections[0].Rows {
		var curve []float64
		seen := false
		for _, s := range sections {
			log := charts.GetNullValue()
			if len(s.Rows[i].Runs) > 0 {
				seen, log = true, math.Log10(float64(s.Rows[i].summary(s.floor()).wall.Median))
			}
			curve = append(curve, log)
		}
		if seen {
			names, logs = append(names, strings.TrimPrefix(r.Name, "sockleak ")), append(logs, curve)
		}
	}
	return names, logs
}

// decades are the powers of ten around all values.
func decades(logs [][]float64) (least, most float64) {
	all := slices.DeleteFunc(slices.Concat(logs...), func(v float64) bool { return v == charts.GetNullValue() })
	return math.Floor(slices.Min(all)), math.Ceil(slices.Max(all))
}
