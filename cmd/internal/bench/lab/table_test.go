//go:build linux

package lab

import "testing"

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{7: "7", 1000: "1,000", 30_005: "30,005", 1_000_000: "1,000,000"} {
		if got := Grouped(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
