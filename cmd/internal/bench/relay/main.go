//go:build linux

// Command relay measures sockleak proxy beside the relays that it competes with, and beside no relay, on loopback in the same run:
//
//	go run ./cmd/internal/bench/relay                        # all relays, all figures, 5 rounds
//	go run ./cmd/internal/bench/relay -figures churn,idle -relays haproxy,"sockleak proxy"
//
// It measures round by round: every figure of one relay after the other, beginning with another relay in every round. Each time the
// relay is started anew, as a process of its own. It prints the median and the ends of what the rounds gave, and of the ratio to
// haproxy in the same round. The processor time is the relay's own, with all its processes.
//
// The generator and the backend are two threads that share the processors with the relay, so a throughput is of all three
// together. They compare what comes back with what was sent, in length where it is a stream, and no connection may fail. A relay that fails or
// is stuck ends the run with an error, after the others were measured.
//
// As root it runs in a network namespace of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = lab.Run(ctx, c.where, c.build, c.bench)
	}
	lab.Exit(err)
}

// config is what the flags say.
type config struct {
	where           lab.Where
	rounds          int
	duration        time.Duration
	idle, slowLimit int
	relays          []*relay
	figures         []*figure
	sockleak, json  string
	markdown        bool

	dir         string // where the programs are
	descriptors int    // how many a process may have
	versions    map[string]string
}

func parse(args []string) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("relay", flag.ContinueOnError)
	f.IntVar(&c.rounds, "rounds", 5, "how many times everything is measured")
	seconds := f.Float64("seconds", 2, "how long each measurement takes, after a warm-up")
	f.IntVar(&c.idle, "idle", 5000, "how many connections are idle")
	f.IntVar(&c.slowLimit, "slow-limit", 500, "how many connections are idle at a relay that has a process for each")
	f.StringVar(&c.sockleak, "sockleak", "", "measure this sockleak, instead of one built from here: `FILE`")
	relayNames := f.String("relays", "", "only these relays, with commas: "+list(relays(), relayName))
	figureNames := f.String("figures", "", "only these figures, with commas: "+list(figures(), figureName))
	f.StringVar(&c.where.Netns, "netns", "auto", "a network namespace of its own: yes, no, or auto, which is yes for root")
	f.BoolVar(&c.markdown, "markdown", false, "print the tables as Markdown")
	f.StringVar(&c.json, "json", "", "write every single figure to `FILE`")
	if err := f.Parse(args); err != nil {
		return nil, errors.Join(lab.ErrReported, err)
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("no argument is wanted, got %q", f.Arg(0))
	}
	c.duration = time.Duration(*seconds * float64(time.Second))
	var err, figureErr error
	c.relays, err = choose("-relays", relays(), relayName, *relayNames)
	c.figures, figureErr = choose("-figures", figures(), figureName, *figureNames)
	return c, errors.Join(err, figureErr, c.check())
}

func relayName(r *relay) string   { return r.name }
func figureName(f *figure) string { return f.name }

func list[T any](all []T, name func(T) string) string {
	var names []string
	for _, x := range all {
		names = append(names, name(x))
	}
	return strings.Join(names, ",")
}

// choose takes the named of all, in their own order; all when none is named.
func choose[T any](flag string, all []T, name func(T) string, names string) ([]T, error) {
	if names == "" {
		return all, nil
	}
	wanted := strings.Split(names, ",")
	for _, w := range wanted {
		if !slices.ContainsFunc(all, func(x T) bool { return name(x) == w }) {
			return nil, fmt.Errorf("%s: %q is none of %s", flag, w, list(all, name))
		}
	}
	return slices.DeleteFunc(all, func(x T) bool { return !slices.Contains(wanted, name(x)) }), nil
}

func (c *config) check() (err error) {
	if c.descriptors, err = limitDescriptors(); err != nil {
		return err
	}
	most := c.descriptors/2 - 100 // this process has both ends
	switch {
	case c.rounds < 1:
		return errors.New("-rounds must be 1 or more")
	case c.duration < 50*time.Millisecond || c.duration > time.Minute:
		return errors.New("-seconds must be 0.05 to 60")
	case c.idle < 1 || c.idle > most:
		return fmt.Errorf("-idle must be 1 to %d: a process may have %d descriptors", most, c.descriptors)
	case c.slowLimit < 1:
		return errors.New("-slow-limit must be 1 or more")
	}
	for _, r := range c.relays {
		err = errors.Join(err, r.check())
	}
	return errors.Join(err, c.where.Check())
}

// build builds the programs into a directory, or copies the one that is given.
func (c *config) build(ctx context.Context, dir string) error {
	// Another user runs them, too.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	programs := []string{"internal/bench/iocopy"}
	if c.sockleak == "" {
		programs = append(programs, "sockleak")
	} else if err := copyProgram(filepath.Join(dir, "sockleak"), c.sockleak); err != nil {
		return err
	}
	return lab.Build(ctx, dir, programs...)
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// goThreads is more than there are threads in any figure.
const goThreads = 32

// bench measures and prints.
func (c *config) bench(ctx context.Context, dir string, private bool) error {
	// One of Go's processors for every thread: none waits for another.
	runtime.GOMAXPROCS(max(goThreads, runtime.NumCPU()))
	c.dir, c.versions = dir, versions(ctx, c.relays)
	sections := c.sections()
	fmt.Println(c.conditions(private))
	before, _ := loadNow()
	if err := c.measure(ctx, sections); err != nil {
		return err
	}
	after, known := loadNow()
	if err := c.print(sections); err != nil {
		return err
	}
	d := c.document(sections, private)
	if known {
		d.Others = new(others(before, after))
		fmt.Printf("Others on this machine had about %.0f %% of its processors meanwhile.\n", 100**d.Others)
	}
	if c.json != "" {
		if err := d.write(c.json); err != nil {
			return err
		}
	}
	return failed(sections)
}

// print prints a table for each figure that any relay has.
func (c *config) print(sections []*section) error {
	for _, s := range sections {
		write := s.table(c).WriteText
		if c.markdown {
			write = s.table(c).WriteMarkdown
		}
		if len(s.rows) == 0 {
			continue
		}
		if err := write(os.Stdout); err != nil {
			return err
		}
	}
	return nil
}

// conditions says under what conditions all is measured.
func (c *config) conditions(private bool) string {
	where := "In the machine's own network namespace"
	if private {
		where = "In a network namespace of its own"
	}
	var programs strings.Builder
	for _, r := range c.relays {
		if v := c.versions[r.name]; v != "" {
			fmt.Fprintf(&programs, ", %s %s", r.name, v)
		}
	}
	return fmt.Sprintf("%s; rounds: %d of %s; %d processors; Linux %s, %s%s\n", where, c.rounds, c.duration, runtime.NumCPU(), lab.Kernel(), runtime.Version(), &programs)
}

var version = regexp.MustCompile(`\d+\.\d+[^\s,]*`)

// versions asks the relays that are not built here.
func versions(ctx context.Context, relays []*relay) map[string]string {
	asked := map[string]string{}
	for _, r := range relays {
		if len(r.needs) == 0 {
			continue
		}
		flag := "-v"
		if r.needs[0].what == "socat" {
			flag = "-V"
		}
		out, err := exec.CommandContext(ctx, r.needs[0].what, flag).CombinedOutput()
		if err == nil {
			asked[r.name] = version.FindString(string(out))
		}
	}
	return asked
}
