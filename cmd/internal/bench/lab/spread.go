//go:build linux

package lab

import (
	"cmp"
	"fmt"
	"slices"
)

// Spread is the middle of some figures and their ends. The zero value is of none.
type Spread[T ~int64 | ~float64] struct{ Median, Least, Most T }

// SpreadOf returns the spread of figures in any order.
func SpreadOf[T ~int64 | ~float64](figures []T) (s Spread[T]) {
	if len(figures) == 0 {
		return s
	}
	sorted := slices.SortedFunc(slices.Values(figures), cmp.Compare[T])
	n := len(sorted)
	return Spread[T]{(sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[0], sorted[n-1]}
}

// With writes a spread: the median, and in brackets the ends.
func With[T ~int64 | ~float64](s Spread[T], f func(T) string) string {
	return fmt.Sprintf("%s (%s to %s)", f(s.Median), f(s.Least), f(s.Most))
}
