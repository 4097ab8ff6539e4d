//go:build linux

package lab

import "testing"

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		figures []float64
		want    Spread[float64]
	}{
		{nil, Spread[float64]{}},
		{[]float64{3}, Spread[float64]{3, 3, 3}},
		{[]float64{9, 1, 2}, Spread[float64]{2, 1, 9}},
		{[]float64{4, 1, 9, 2}, Spread[float64]{3, 1, 9}},
	} {
		if got := SpreadOf(c.figures); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.figures, got, c.want)
		}
	}
}
