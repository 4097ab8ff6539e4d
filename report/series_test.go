package report

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sockleak/sockleak/diag"
)

// Of many processes people see the first in full: those that leak the most, and those that have ended behind all others. Programs get
// all of them, and so does who asks for all.
func TestManyTracks(t *testing.T) {
	r := overAWhile()
	for i := range 20 {
		r.Series.Tracks = append(r.Series.Tracks, &diag.Track{PID: 9000 + i, Name: "more", Ended: i == 0})
	}
	v := series{r}
	list := v.tracks()
	if list[0].PID != 4242 || !list[20].Ended || !list[21].Ended || list[19].Ended {
		t.Errorf("the first is %d; the last two have ended: %v %v", list[0].PID, list[20].Ended, list[21].Ended)
	}
	for top, want := range map[int]int{0: 22, 5: mostTracks} {
		out := string(write(t, "table", v, Options{Top: top}))
		if got := strings.Count(out, " over time\n"); got != want {
			t.Errorf("top %d: %d processes, want %d:\n%s", top, got, want, out)
		}
		if told := strings.Contains(out, "… and 14 more processes: --top 0 shows all."); told != (top == 5) {
			t.Errorf("top %d: that there are more is told: %v", top, told)
		}
	}
	var doc wireSeries
	if err := json.Unmarshal(write(t, "jsonl", v, Options{Top: 5}), &doc); err != nil || len(doc.Tracks) != 22 {
		t.Errorf("%d tracks in JSON, %v", len(doc.Tracks), err)
	}
}

// A row of what was measured has what its values say, and nothing where they say nothing.
func TestLineRow(t *testing.T) {
	nan := math.NaN()
	s := &diag.Series{Times: []time.Time{noon, noon.Add(15 * time.Second), noon.Add(30 * time.Second)}}
	for _, tt := range []struct {
		kind   diag.LineKind
		values []float64
		want   string
	}{
		{diag.LineState, []float64{10, 4, 40}, "10 40 +30 4 40 +60 - -"},
		{diag.LineState, []float64{nan, 4, 40}, "4 40 +36 4 40 +144 - -"},
		{diag.LineState, []float64{10, 4, nan}, "10 - - 4 10 - - -"},
		{diag.LineState, []float64{nan, nan, nan}, "- - - - - - - -"},
		{diag.LineCPU, []float64{nan, 0.5, 0.25}, "50.0 % 25.0 % - 25.0 % 50.0 % - - -"},
		{diag.LineRSS, []float64{2048, 2048, 1024}, "2.0 KiB 1.0 KiB −1.0 KiB 1.0 KiB 2.0 KiB −2.0 KiB - -"},
	} {
		var got []string
		for _, c := range lineRow(s, &diag.Track{}, &diag.Line{LineKey: diag.LineKey{Kind: tt.kind}, Values: tt.values})[6:] {
			got = append(got, c.Text)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%v: %s, want %s", tt.values, s, tt.want)
		}
	}
}

// What was never measured is a view of nothing, and no panic.
func TestSeriesOfNothing(t *testing.T) {
	for _, f := range Formats() {
		for i, v := range []Value{SeriesOf(clean()), StatSeries(stat(), nil), SeriesOf(&diag.Result{Snapshot: &diag.Snapshot{}, Series: &diag.Series{}})} {
			if out := write(t, f.Name, v, Options{}); len(out) == 0 {
				t.Error(fmt.Sprint(i), "is empty as", f.Name)
			}
		}
	}
}
