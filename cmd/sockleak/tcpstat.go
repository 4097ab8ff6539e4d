package main

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/report"
)

func (p *program) tcpstatCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "by", Value: diag.ByPeer.String(), Usage: "group by `KEY`: " + join(diag.GroupByNames())},
		&cli.StringSliceFlag{Name: "state", Usage: "only sockets in `STATE`, as ss spells it (repeatable): " + join(netlinkss.StateWords())},
		&cli.StringFlag{Name: "peer", Usage: "only peers in `CIDR`"},
		&cli.StringFlag{Name: "local", Usage: "only local addresses in `CIDR`"},
		&cli.IntFlag{Name: "port", Usage: "only sockets with this `PORT` on either side"},
		&cli.DurationFlag{Name: "min-idle", Usage: "only sockets on which no payload moved for `DURATION`"},
	}
	return &cli.Command{
		Name:         "tcpstat",
		Usage:        "TCP states, timers and queues of this host: totals, then the largest groups",
		UsageText:    "sockleak tcpstat [flags]",
		Flags:        append(append(flags, sourceFlags()...), outputFlags(diag.GroupSorts(), 20)...),
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
		return hint(usage("tcpstat takes no argument, got %q", c.Args().First()), "leakscan %s scans a process", c.Args().First())
	}
	src, err := p.source(c)
	if err != nil {
		return err
	}
	tally, err := tallyFlags(c)
	if err != nil {
		return err
	}
	stat, err := src.stat(c.Context, tally)
	if err != nil {
		return err
	}
	return p.write(out, report.Tcpstat(stat))
}

// stat counts the sockets of the reader's namespace, or of a recorded dump.
func (s *source) stat(ctx context.Context, tally *diag.Tally) (*diag.Stat, error) {
	start := time.Now()
	stat := &diag.Stat{Tally: tally}
	stat.Snapshot.At = start
	list, err := s.open("", 0)
	if err != nil {
		return nil, err
	}
	defer list.close()
	stat.Source, stat.Snapshot.Gaps = list.name, list.gaps
	if s.from == "" {
		stat.Snapshot.Host = s.fs.Host()
		if st, err := s.fs.Sockstat(0); err == nil {
			stat.Sockstat = &st
		} else {
			stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, diag.Gap{What: "sockstat", Why: err.Error(), Minor: true})
		}
	}
	tally.Filter.Uptime = stat.Snapshot.Host.Uptime
	req := netlinkss.Request{States: tally.Filter.States, Attrs: netlinkss.AttrInfo}
	if tally.Filter.Port != 0 {
		req.Ports = []uint16{tally.Filter.Port}
	}
	for sock, err := range list.dump(ctx, req) {
		if err != nil {
			if gap, ok := incomplete(err); ok {
				stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, gap)
				break
			}
			return nil, err
		}
		tally.Add(sock)
	}
	if n := tally.NoClocks; n > 0 && len(list.gaps) == 0 {
		stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, diag.Gap{
			What: "TCP_INFO of connections", Count: n, Why: "the list came without it, so their idle times are not known: ss -i records it",
		})
	}
	stat.Took = time.Since(start)
	return stat, nil
}

// incomplete turns the end of a list that is not whole into a gap: what came before it stands.
func incomplete(err error) (diag.Gap, bool) {
	if errors.Is(err, netlinkss.ErrInterrupted) || errors.Is(err, netlinkss.ErrTruncated) {
		return diag.Gap{What: "sockets", Why: err.Error()}, true
	}
	return diag.Gap{}, false
}

func tallyFlags(c *cli.Context) (*diag.Tally, error) {
	by, err := diag.ParseGroupBy(c.String("by"))
	if err != nil {
		return nil, hint(err, "the groupings are %s", join(diag.GroupByNames()))
	}
	t := &diag.Tally{By: by}
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
