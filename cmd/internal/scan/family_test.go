package scan

import (
	"slices"
	"testing"
)

func familyOf(parent map[int]int) *family {
	f := &family{parent: parent, children: map[int][]int{}}
	for child, p := range parent {
		f.children[p] = append(f.children[p], child)
	}
	for _, list := range f.children {
		slices.Sort(list)
	}
	return f
}

func TestFamily(t *testing.T) {
	f := familyOf(map[int]int{1: 0, 10: 1, 11: 10, 12: 10, 13: 12, 20: 1})
	if got, want := f.descendants(10), []int{11, 12, 13}; !slices.Equal(got, want) {
		t.Errorf("descendants of 10: %v, want %v", got, want)
	}
	if got := f.descendants(99); len(got) != 0 {
		t.Errorf("descendants of nobody: %v", got)
	}
	for _, c := range []struct {
		a, b int
		want bool
	}{{10, 13, true}, {13, 10, true}, {1, 13, false}, {13, 1, false}, {20, 13, false}, {11, 12, false}, {10, 10, false}, {99, 13, false}} {
		if got := f.circle([]int{c.b}).related(c.a); got != c.want {
			t.Errorf("related(%d, %d) = %t", c.a, c.b, got)
		}
	}
}

func TestFamilyPassesTo(t *testing.T) {
	f := familyOf(map[int]int{1: 0, 10: 1, 11: 10, 12: 11, 20: 1})
	for _, c := range []struct {
		a, b int
		want bool
	}{{10, 11, true}, {11, 10, true}, {12, 10, true}, {10, 12, false}, {1, 10, false}, {20, 10, false}, {10, 10, false}} {
		if got := f.passesTo(c.a, c.b); got != c.want {
			t.Errorf("passesTo(%d, %d) = %t", c.a, c.b, got)
		}
	}
}

func TestFamilySiblings(t *testing.T) {
	f := familyOf(map[int]int{1: 0, 10: 1, 11: 10, 12: 10, 20: 1})
	for _, c := range []struct {
		a, b int
		want bool
	}{{11, 12, true}, {10, 11, false}, {10, 20, false}, {11, 20, false}, {99, 98, false}} {
		if got := f.circle([]int{c.b}).siblings(c.a); got != c.want {
			t.Errorf("siblings(%d, %d) = %t", c.a, c.b, got)
		}
	}
}

// The table is read while processes come and go, and numbers are used again: a ring must not hold anybody up.
func TestFamilyRing(t *testing.T) {
	f := familyOf(map[int]int{10: 12, 11: 10, 12: 11})
	if got, want := f.descendants(10), []int{11, 12}; !slices.Equal(got, want) {
		t.Errorf("descendants in a ring: %v, want %v", got, want)
	}
	if f.isAncestor(99, 10) {
		t.Error("99 is nobody's ancestor")
	}
	if c := f.circle([]int{10}); !c.related(11) || c.related(99) {
		t.Error("11 is in one ring with 10, and 99 is not")
	}
}
