package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"
)

// pair is two commands that answer the same question.
type pair struct {
	a, b []string
	// floorOf: b is this program, which does no more than the kernel's part for that process.
	floorOf string
	slow    bool // a fifth of the rounds will do
}

// run runs both in turns and prints their medians.
func (p pair) run(rounds int) error {
	if _, err := exec.LookPath(p.b[0]); err != nil {
		fmt.Printf("%s: left out, %s is not installed\n", short(p.a), p.b[0])
		return nil
	}
	var a, b []time.Duration
	var ratios []float64
	for i := -1; i < rounds; i++ { // one warm-up
		ta, err := wall(p.a)
		if err != nil {
			return err
		}
		tb, err := wall(p.b, floorEnv+"="+p.floorOf)
		if err != nil {
			return err
		}
		if i >= 0 {
			a, b, ratios = append(a, ta), append(b, tb), append(ratios, tb.Seconds()/ta.Seconds())
		}
	}
	name, takes := short(p.b), p.b[0]
	if p.floorOf != "" {
		name, takes = "one dump and one readlink each", "the floor"
	}
	fmt.Printf("%-36s %s\n%-36s %s\n", short(p.a), spread(a), name, spread(b))
	slices.Sort(ratios)
	fmt.Printf("%-36s %.2f times as long (%.2f to %.2f)\n\n", "  "+takes+" takes", ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
	return nil
}

// wall is how long a command takes with its output thrown away. Any exit status will do: a scan that
// finds a leak has 1.
func wall(args []string, env ...string) (time.Duration, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	// No Stdout: /dev/null, without a goroutine that copies.
	start := time.Now()
	err := cmd.Run()
	d := time.Since(start)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return 0, fmt.Errorf("%s: %w", short(args), err)
	}
	return d, nil
}

func spread(d []time.Duration) string {
	slices.Sort(d)
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
	return fmt.Sprintf("%10s  (%s to %s)", ms(d[len(d)/2]), ms(d[0]), ms(d[len(d)-1]))
}
