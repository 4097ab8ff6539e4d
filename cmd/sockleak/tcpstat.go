package main

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/record"
	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/cmd/internal/screen"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/report"
)

func (p *program) tcpstatCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "by", Value: diag.ByPeer.String(), Usage: "group by `KEY`: " + join(diag.GroupByNames())},
		netnsFlag("sockets"),
		&cli.StringSliceFlag{Name: "state", Usage: "only sockets in `STATE`, as ss spells it (repeatable): " + join(netlinkss.StateWords())},
		&cli.StringFlag{Name: "peer", Usage: "only peers in `CIDR`"},
		&cli.StringFlag{Name: "local", Usage: "only local addresses in `CIDR`"},
		&cli.IntFlag{Name: "port", Usage: "only sockets with this `PORT` on either side"},
		&cli.DurationFlag{Name: "min-idle", Usage: "only sockets on which no payload moved for `DURATION`"},
		&cli.BoolFlag{
			Name: "info", Aliases: []string{"i"}, DefaultText: "with -o other than table, --min-idle and --sort idle",
			Usage: "idle times, from TCP_INFO, which the kernel takes about 1.4 times as long for",
		},
	}
	return &cli.Command{
		Name:         "tcpstat",
		Usage:        "TCP states, timers and queues of this host: totals, then the largest groups",
		UsageText:    "sockleak tcpstat [flags]",
		Flags:        slices.Concat(flags, seriesFlags("a report"), sourceFlags(), outputFlags(join(diag.GroupSorts()), 20)),
		OnUsageError: usageError,
		Action:       p.tcpstat,
	}
}

func (p *program) tcpstat(c *cli.Context) error {
	out, err := p.output(c, diag.GroupSorts())
	if err != nil {
		return err
	}
	if c.NArg() > 0 {
		return unwantedArgument(c)
	}
	src, err := p.source(c)
	if err != nil {
		return err
	}
	count, err := countFlags(c)
	if err != nil {
		return err
	}
	if src.Kind == scan.SourceBPF && count.By != diag.ByProcess {
		return hint(usage("--source %s tells who holds sockets, and is for --by process", src.Kind), "the sockets themselves are listed by sock_diag: --source diag")
	}
	if count.Idle, err = idleFlag(c, out, count.Filter); err != nil {
		return err
	}
	series, err := p.readSeries(c, out)
	if err != nil {
		return err
	}
	count.Source, count.Order, count.Top = src, out.opts.Sort, out.opts.Top
	if count.Where, err = whereFlag(c, src, count.By); err != nil {
		return err
	}
	defer count.Close()
	return p.repeat(c.Context, series, out, p.counts(count))
}

// whereFlag says in which network namespaces sockets are counted: to group by these, all of them.
func whereFlag(c *cli.Context, src *scan.Source, by diag.GroupBy) (string, error) {
	where := c.String("netns")
	switch {
	case c.IsSet("netns") && where == "":
		return "", usage("--netns is empty")
	case where != "" && src.From != "":
		return "", hint(usage("--from and --netns contradict each other"), "--by netns shows which namespaces a recording has")
	case where == "" && by == diag.ByNetns && src.From == "":
		return scan.AllNetns, nil
	}
	return where, nil
}

// counts is a count, or a series of them.
func (p *program) counts(count *scan.Count) sampler {
	measured := &diag.Series{}
	var last *diag.Stat
	take := func(ctx context.Context) (*diag.Stat, error) {
		stat, err := count.Sample(ctx)
		if err == nil {
			last = stat
			measured.AddStat(stat)
		}
		return stat, err
	}
	from := sampler{streams: true, whole: func() report.Value { return report.StatSeries(last, measured) }}
	from.take = func(ctx context.Context) (report.Value, error) {
		stat, err := take(ctx)
		if err != nil {
			return nil, err
		}
		return report.Tcpstat(stat), nil
	}
	from.frame = func(ctx context.Context) (*screen.Frame, error) {
		stat, err := take(ctx)
		if err != nil {
			return nil, err
		}
		return &screen.Frame{Stat: stat, Series: measured, Took: stat.Took}, nil
	}
	from.options = screen.Options{
		Title: "this host", Groupings: currentFirst(count.By.String(), diag.GroupByNames()), Orders: currentFirst(count.Order, diag.GroupSorts()),
		Arrange: func(by, order string) {
			if key, err := diag.ParseGroupBy(by); err == nil { // one of the list
				count.Arrange(key, order)
			}
		},
		Save: func(*screen.Frame) (string, error) { return p.saveHost(count) },
	}
	return from
}

// currentFirst is a list with what is chosen now at its beginning.
func currentFirst(current string, list []string) []string {
	return append([]string{current}, slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == current })...)
}

// saveHost keeps every socket of the host in a file, from a look of its own.
func (p *program) saveHost(count *scan.Count) (string, error) {
	host := count.Source.FS.Host()
	r := &scan.Recorder{Watch: &scan.Watch{Scan: &scan.Scan{Source: count.Source, Selected: true}}, Whole: true}
	sample, _, err := r.Sample(context.Background())
	if err != nil {
		return "", err
	}
	path, err := saveFrame(host.Name, record.Header{Host: host.Name, Kernel: host.Kernel, Whole: true}, sample)
	return path, cmp.Or(err, r.Err())
}

// unwantedArgument guesses what an argument was meant for. A bare number behind --watch is no duration, and so is not taken for its value.
func unwantedArgument(c *cli.Context) error {
	arg := c.Args().First()
	err := usage("tcpstat takes no argument, got %q", arg)
	if c.IsSet(watchFlag) {
		return hint(err, "an interval has its unit, such as --watch 5s")
	}
	return hint(err, "leakscan %s scans a process", arg)
}

// idleFlag says whether idle times are asked for: by --info, by what needs them, and by each format that has a place for them
// whatever is asked.
func idleFlag(c *cli.Context, out *output, filter diag.Filter) (bool, error) {
	need := ""
	switch {
	case filter.MinIdle > 0:
		need = "--min-idle"
	case out.opts.Sort == "idle":
		need = "--sort idle"
	}
	if !c.IsSet("info") {
		return need != "" || out.format != report.Formats()[0].Name, nil
	}
	if !c.Bool("info") && need != "" {
		return false, hint(usage("%s and --info=false contradict each other", need), "leave out --info=false: idle times are read from TCP_INFO")
	}
	return c.Bool("info"), nil
}

func countFlags(c *cli.Context) (*scan.Count, error) {
	by, err := diag.ParseGroupBy(c.String("by"))
	if err != nil {
		return nil, hint(err, "the groupings are %s", join(diag.GroupByNames()))
	}
	t := &scan.Count{By: by}
	for _, word := range c.StringSlice("state") {
		m, err := netlinkss.ParseStates(word)
		if err != nil {
			return nil, hint(err, "the states are %s", join(netlinkss.StateWords()))
		}
		t.Filter.States |= m
	}
	if t.Filter.Peer, err = parsePrefix("peer", c.String("peer")); err != nil {
		return nil, err
	}
	if t.Filter.Local, err = parsePrefix("local", c.String("local")); err != nil {
		return nil, err
	}
	if t.Filter.Port, err = parsePort(c); err != nil {
		return nil, err
	}
	if t.Filter.MinIdle = c.Duration("min-idle"); t.Filter.MinIdle < 0 {
		return nil, hint(usage("--min-idle %s", t.Filter.MinIdle), "give a positive duration such as 5m")
	}
	return t, nil
}

// parsePrefix reads a network, or an address as the network of that one.
func parsePrefix(flag, s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	if !strings.Contains(s, "/") {
		if a, err := netip.ParseAddr(s); err == nil {
			a = a.Unmap().WithZone("")
			return netip.PrefixFrom(a, a.BitLen()), nil
		}
	}
	n, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, hint(usage("--%s %q is no network", flag, s), "give an address or a network such as 10.0.0.0/8 or fd00::/8")
	}
	// What is filtered are IPv4 addresses, of v4-mapped ones, too.
	if a := n.Addr(); a.Is4In6() && n.Bits() >= 96 {
		n = netip.PrefixFrom(a.Unmap(), n.Bits()-96)
	}
	return n.Masked(), nil
}

// parsePort reads --port; 0 when it is not given.
func parsePort(c *cli.Context) (uint16, error) {
	port := c.Int("port")
	if c.IsSet("port") && (port < 1 || port > 65535) {
		return 0, hint(usage("--port %d", port), "a port is a number from 1 to 65535")
	}
	return uint16(port), nil
}
