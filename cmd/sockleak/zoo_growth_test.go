//go:build zoo

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// growthCase is a program that is watched for a minute.
type growthCase struct {
	name  string
	run   []string // as in [zooCase]
	n     int      // for a role of go/zoo: what comes in ten seconds
	guest bool     // it listens, and n guests a ten seconds come and leave
	// rate is how many a second it leaks; 0: none, and there must be no finding of growth.
	rate float64
	// of is what grows, a word of the message.
	of string
}

// What people's programs do. The rates are those that they keep by their own clocks.
var growthCases = []growthCase{
	{name: "python/leak/0.5 a second", run: []string{"python3", "grows.py", "leak", "0.5"}, rate: 0.5},
	{name: "python/leak/5 a second", run: []string{"python3", "grows.py", "leak", "5"}, rate: 5},
	{name: "node/leak/5 a second", run: []string{"node", "grows.js", "leak", "5"}, rate: 5},
	{name: "node/leak/50 a second", run: []string{"node", "grows.js", "leak", "50"}, rate: 50},
	{name: "go/leak/0.5 a second", run: []string{"grows"}, n: 5, rate: 0.5},
	{name: "go/leak/50 a second", run: []string{"grows"}, n: 500, rate: 50},
	{name: "go/leak/of those who left, 5 a second", run: []string{"grows-forgets"}, n: 50, guest: true, rate: 5},
	{name: "python/leak/pipes", run: []string{"python3", "grows.py", "pipes", "2"}, rate: 4, of: "pipe"}, // two ends each
	{name: "python/leak/eventfds", run: []string{"python3", "grows.py", "eventfds", "3"}, rate: 3, of: "eventfd"},
	{name: "python/healthy/churn", run: []string{"python3", "grows.py", "churn", "200"}},
	{name: "node/healthy/churn", run: []string{"node", "grows.js", "churn", "200"}},
	{name: "go/healthy/churn", run: []string{"grows-churn"}, n: 2000},
	{name: "python/healthy/burst", run: []string{"python3", "grows.py", "burst", "300"}},
	{name: "python/healthy/sawtooth", run: []string{"python3", "grows.py", "sawtooth", "4"}},
	{name: "node/healthy/sawtooth", run: []string{"node", "grows.js", "sawtooth", "7"}},
}

// How a program is watched: a minute in all.
const (
	growthInterval = 1500 * time.Millisecond
	growthCount    = 40
)

func TestGrowth(t *testing.T) {
	z := newZoo(t)
	for _, c := range growthCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := c.open(t, z)
			cmd := exec.Command(z.sockleak, "leakscan", strconv.Itoa(p.pid), "--interval", growthInterval.String(), "--count", strconv.Itoa(growthCount), "--json")
			out, err := cmd.Output()
			if len(out) == 0 {
				t.Fatalf("%s: %v", cmd, err)
			}
			var r growthReport
			must(t, json.Unmarshal(out, &r))
			if err := c.differs(&r); err != nil {
				t.Error(err)
			}
		})
	}
}

// open starts the program, its peer, and who else comes.
func (c *growthCase) open(t *testing.T, z *zooBins) *zooProcess {
	t.Helper()
	zc := &zooCase{name: c.name, run: c.run, n: c.n}
	if !c.guest && c.of == "" {
		zc.peer = "peer-echo"
	}
	p := z.open(t, zc)
	if c.guest {
		visit(t, p.truth.Listen, float64(c.n)/10)
	}
	return p
}

// visit has guests come at a rate, each for a moment, until the test ends.
func visit(t *testing.T, addr string, rate float64) {
	over, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(over); <-done })
	go func() {
		defer close(done)
		for start, i := time.Now(), 0; ; i++ {
			select {
			case <-over:
				return
			case <-time.After(time.Until(start.Add(time.Duration(float64(i) / rate * float64(time.Second))))):
			}
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
			}
		}
	}()
}

// growthReport is what the test reads of the report.
type growthReport struct {
	Leakscan struct {
		Findings []struct {
			Rule     string
			Severity string
			Message  string
			Evidence []struct{ Field, Value string }
		}
	}
}

// differs compares the findings of growth with what the program does.
func (c *growthCase) differs(r *growthReport) error {
	var rates []float64
	var words []string
	for _, f := range r.Leakscan.Findings {
		if f.Rule != "growth" {
			continue
		}
		words = append(words, f.Severity+": "+f.Message)
		for _, e := range f.Evidence {
			if e.Field == "rate" && strings.Contains(f.Message, c.of) {
				perMinute, err := strconv.ParseFloat(strings.Fields(e.Value)[0], 64)
				if err != nil {
					return fmt.Errorf("rate %q: %w", e.Value, err)
				}
				rates = append(rates, perMinute/60)
			}
		}
	}
	switch {
	case c.rate == 0 && len(words) > 0:
		return fmt.Errorf("it grows, by %q", words)
	case c.rate > 0 && !slices.ContainsFunc(rates, func(rate float64) bool { return math.Abs(rate-c.rate) <= c.rate/10 }):
		return fmt.Errorf("a growth of %v a second is wanted, found %v: %q", c.rate, rates, words)
	}
	return nil
}
