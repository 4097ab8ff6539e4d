package diag

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/sockleak/sockleak/netlinkss"
)

// cutInfo leaves so much of tcp_info as an older kernel gives.
func cutInfo(n int) func([]*netlinkss.Socket) {
	return func(list []*netlinkss.Socket) {
		for _, s := range list {
			whole := unsafe.Slice((*byte)(unsafe.Pointer(&s.Info)), unsafe.Sizeof(s.Info))
			s.SetInfo(append([]byte(nil), whole[:min(n, s.InfoLen())]...))
		}
	}
}

// leakedOf is how many sockets leak, by process.
func leakedOf(r *Result) map[string]int {
	leaked := map[string]int{}
	for _, f := range r.Findings {
		if f.Severity == Leak {
			leaked[fmt.Sprint(f.Proc.Name, f.Proc.PID)] += f.Sockets
		}
	}
	return leaked
}

// Older kernels give less of tcp_info: what that would have told may be missed, and nothing is called a leak for want of it. The lengths
// are those of Linux 3.10, 4.1, 4.4, 4.6, 4.9, 4.18, 4.19, 5.4, 6.2 and 6.7.
func TestShortTCPInfo(t *testing.T) {
	files, err := filepath.Glob("../testdata/rule/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	// These have counters move while the clocks stand, to see that each counter is looked at. No kernel does.
	odd := []string{"close-wait/moved", "close-wait/three-looks", "fin-wait-2/answer-still-comes"}
	found := map[int]int{}
	for _, file := range files {
		if slices.ContainsFunc(odd, func(name string) bool { return strings.HasSuffix(file, name+".txtar") }) {
			continue
		}
		f := readFixture(t, file)
		whole := leakedOf(Check(f.looked(asDumped, nil), f.thresholds, Rules()))
		for _, n := range []int{0, 104, 120, 136, 144, 160, 192, 208, 224, 232, 240} {
			g := readFixture(t, file) // the sockets are cut in place
			for who, sockets := range leakedOf(Check(g.looked(cutInfo(n), nil), g.thresholds, Rules())) {
				found[n] += sockets
				if sockets > whole[who] {
					t.Errorf("%s: with %d bytes of tcp_info %d sockets of %s leak, with all of it %d", file, n, sockets, who, whole[who])
				}
			}
		}
	}
	t.Logf("leaked sockets by the length of tcp_info: %v", found)
	if found[224] == 0 || found[104] == 0 {
		t.Error("with less than everything nothing is found at all")
	}
}
