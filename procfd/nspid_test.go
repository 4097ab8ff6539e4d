package procfd

import (
	"slices"
	"testing"
)

func TestParseNSpid(t *testing.T) {
	tests := []struct {
		text string
		want []int
		ok   bool
	}{
		{"Name:\tx\nNSpid:\t42\n", nil, true},
		{"Name:\tx\nNSpid:\t42\t7\nNSpgid:\t1\n", []int{7}, true},
		{"Name:\tx\nNSpid:\t42\t7\t1\n", []int{7, 1}, true},
		{"Name:\tx\nNSpid:\t42\t7", nil, false}, // of 71, perhaps
		{"Name:\tx\nNSpid:\t42\tx\n", nil, false},
		{"Name:\tx\nNSpid:\t42\t-1\n", nil, false},
		{"Name:\tNSpid:\t1\t2\nPid:\t3\n", nil, false},
		{"", nil, false},
	}
	for _, test := range tests {
		got, ok := parseNSpid([]byte(test.text))
		if !slices.Equal(got, test.want) || ok != test.ok {
			t.Errorf("%q: %v, %t", test.text, got, ok)
		}
	}
}

func FuzzParseNSpid(f *testing.F) {
	f.Add([]byte("Name:\tx\nNSpid:\t42\t7\n"))
	f.Add([]byte("\nNSpid:\n\nNSpid:\t1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		inner, ok := parseNSpid(b)
		if !ok && inner != nil {
			t.Errorf("%v of what is not whole", inner)
		}
	})
}
