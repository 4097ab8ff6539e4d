package diag

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// clientLeg and upstreamLeg are the two legs of a connection that carried 50 bytes to the server and 100 back, the answer at that
// time before the look.
func clientLeg(fd int, at time.Duration) leg {
	return leg{
		held: &HeldSocket{FDs: []int{fd}}, direction: Accepted, traffic: traffic{read: 50, written: 100},
		lastRead: at + 20*time.Millisecond, lastWritten: at,
	}
}

func upstreamLeg(fd int, at time.Duration) leg {
	return leg{
		held: &HeldSocket{FDs: []int{fd}}, direction: Connected, traffic: traffic{read: 100, written: 50},
		lastRead: at, lastWritten: at + 20*time.Millisecond,
	}
}

// leftOf are the descriptors of the legs that were left.
func leftOf(took time.Duration, ended, open []leg) (fds []int) {
	for i := range ended {
		ended[i].ended = true
	}
	p := newPairing(ended, took)
	for _, l := range open {
		p.add(l, true)
	}
	for _, h := range p.left() {
		fds = append(fds, h.FD())
	}
	slices.Sort(fds)
	return fds
}

func TestPairing(t *testing.T) {
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		took        time.Duration
		ended, open []leg
		want        []int
	}{
		"together":   {0, []leg{clientLeg(1, time.Hour)}, []leg{upstreamLeg(2, time.Hour)}, []int{2}},
		"at once":    {0, []leg{clientLeg(1, time.Hour), clientLeg(2, time.Hour)}, []leg{upstreamLeg(3, time.Hour), upstreamLeg(4, time.Hour)}, []int{3, 4}},
		"apart":      {0, []leg{clientLeg(1, time.Hour)}, []leg{upstreamLeg(2, time.Hour+51*ms)}, nil},
		"long look":  {500 * ms, []leg{clientLeg(1, time.Hour)}, []leg{upstreamLeg(2, time.Hour+550*ms)}, []int{2}},
		"but longer": {500 * ms, []leg{clientLeg(1, time.Hour)}, []leg{upstreamLeg(2, time.Hour+551*ms)}, nil},
		"an hour":    {time.Hour, []leg{clientLeg(1, time.Hour)}, []leg{upstreamLeg(2, time.Hour+1001*ms)}, nil},
		// 1 and 2, 2 and 3 are near enough, 1 and 3 are not.
		"chain":      {0, []leg{clientLeg(1, time.Hour), clientLeg(2, time.Hour+40*ms)}, []leg{upstreamLeg(3, time.Hour+80*ms)}, []int{3}},
		"chain, far": {0, []leg{clientLeg(1, time.Hour), clientLeg(2, time.Hour+10*ms)}, []leg{upstreamLeg(3, time.Hour-40*ms), upstreamLeg(4, time.Hour-60*ms)}, []int{3}},
		"used once":  {0, []leg{clientLeg(1, time.Hour)}, []leg{upstreamLeg(2, time.Hour), upstreamLeg(3, time.Hour)}, nil},
		"lives":      {0, []leg{clientLeg(1, time.Hour)}, []leg{upstreamLeg(2, time.Hour), clientLeg(3, time.Hour)}, nil},
		"lives apart": {
			0, []leg{clientLeg(1, time.Hour)}, []leg{upstreamLeg(2, time.Hour), clientLeg(3, 2*time.Hour), upstreamLeg(4, 2*time.Hour)}, []int{2},
		},
		"upstream ended": {0, []leg{upstreamLeg(1, time.Hour)}, []leg{clientLeg(2, time.Hour)}, []int{2}},
		"both kinds": {
			0, []leg{upstreamLeg(1, time.Hour), clientLeg(2, 2*time.Hour)}, []leg{clientLeg(3, time.Hour), upstreamLeg(4, 2*time.Hour)}, []int{3, 4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := leftOf(tt.took, tt.ended, tt.open); !slices.Equal(got, tt.want) {
				t.Errorf("left %v, want %v", got, tt.want)
			}
			shuffle := rand.New(rand.NewPCG(1, 2)).Shuffle
			for range 10 {
				shuffle(len(tt.ended), func(i, k int) { tt.ended[i], tt.ended[k] = tt.ended[k], tt.ended[i] })
				shuffle(len(tt.open), func(i, k int) { tt.open[i], tt.open[k] = tt.open[k], tt.open[i] })
				if got := leftOf(tt.took, tt.ended, tt.open); !slices.Equal(got, tt.want) {
					t.Errorf("in another order: left %v, want %v", got, tt.want)
				}
			}
		})
	}
	if newPairing(nil, 0) != nil || newPairing([]leg{{direction: Accepted, ended: true}}, 0) != nil {
		t.Error("there is something to pair where nothing has ended, or nothing was said")
	}
}

// The worst that a proxy can do is to carry the same on all its connections.
func BenchmarkPairing(b *testing.B) {
	for _, size := range benchSizes {
		var ended, open []leg
		for i := range size.n {
			at := time.Hour + time.Duration(i)*time.Millisecond
			ended, open = append(ended, clientLeg(i, at)), append(open, upstreamLeg(size.n+i, at))
		}
		b.Run("pairs="+size.name, func(b *testing.B) {
			b.ReportAllocs()
			defer perSocket(b, size.n)()
			for b.Loop() {
				if got := len(leftOf(0, ended, open)); got != size.n {
					b.Fatalf("%d left", got)
				}
			}
		})
	}
}
