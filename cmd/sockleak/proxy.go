package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/pipe"
)

func (p *program) proxyCommand() *cli.Command {
	return &cli.Command{
		Name:      "proxy",
		Usage:     "a TCP pipe, fixed or with the bug that leaks",
		UsageText: "sockleak proxy --listen ADDR --target ADDR [--mode fixed|leaky]",
		Description: "leaky joins two sockets and passes on data and the close, and nothing else: no keepalive, no time-out, no half-close.\n" +
			"fixed bounds every wait. A duration of 0 switches its limit off.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "listen on `HOST:PORT` (required; port 0 takes a free one)"},
			&cli.StringFlag{Name: "target", Usage: "connect to `HOST:PORT` (required)"},
			&cli.StringFlag{Name: "mode", Value: pipe.Fixed.String(), Usage: "`MODE`: fixed, leaky"},
			&cli.DurationFlag{Name: "keepalive", Value: 60 * time.Second, Usage: "silence of `DURATION` before the kernel probes the peer"},
			&cli.DurationFlag{Name: "keepalive-interval", Value: 15 * time.Second, Usage: "`DURATION` between unanswered probes"},
			&cli.IntFlag{Name: "keepalive-count", Value: 4, Usage: "`N` unanswered probes end a connection"},
			&cli.DurationFlag{Name: "idle-timeout", Value: 60 * time.Second, Usage: "close both sides when nothing moved either way for `DURATION`"},
			&cli.DurationFlag{Name: "half-close-timeout", Value: 30 * time.Second, Usage: "bound of `DURATION` on the other direction once one has ended, from the last byte on"},
			&cli.DurationFlag{Name: "user-timeout", Value: 120 * time.Second, Usage: "TCP_USER_TIMEOUT: how long sent data may stay unacknowledged, `DURATION`"},
			&cli.DurationFlag{Name: "connect-timeout", Value: 10 * time.Second, Usage: "bound of `DURATION` on connecting to the target"},
			&cli.DurationFlag{Name: "drain", Value: 10 * time.Second, Usage: "how long open connections may go on after SIGTERM, `DURATION`"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "say nothing"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "a line for every failed connection"},
		},
		OnUsageError: usageError,
		Action:       p.proxy,
	}
}

func (p *program) proxy(c *cli.Context) error {
	p.ui.quiet, p.ui.verbose = c.Bool("quiet"), c.Bool("verbose")
	cfg, err := pipeConfig(c)
	if err != nil {
		return err
	}
	if p.ui.verbose {
		cfg.Logf = p.ui.detail
	}
	proxy, err := pipe.New(cfg)
	if err != nil {
		return hint(err, "sockleak proxy --help lists the flags")
	}
	ln, err := pipe.Listen(c.Context, c.String("listen"), cfg)
	if err != nil {
		return hint(err, "--listen takes HOST:PORT of an address of this host with a free port")
	}
	p.ui.progress("%s pipe listening on %s, target %s", cfg.Mode, ln.Addr(), cfg.Target)
	if err := proxy.Serve(c.Context, ln); err != nil {
		return err
	}
	s := proxy.Stats()
	p.ui.progress("pipe closed: %d connections, %d bytes up, %d bytes down, %d timed out, %d failed, %d cut at the end",
		s.Accepted, s.BytesUp, s.BytesDown, s.TimedOut, s.Failed+s.DialErrors, s.Cut)
	return nil
}

func pipeConfig(c *cli.Context) (pipe.Config, error) {
	var cfg pipe.Config
	if c.NArg() > 0 {
		return cfg, hint(usage("proxy takes no argument, got %q", c.Args().First()), "the addresses are --listen and --target")
	}
	for _, name := range []string{"listen", "target"} {
		if c.String(name) == "" {
			return cfg, hint(usage("proxy needs --%s", name), "sockleak proxy --listen 127.0.0.1:9000 --target 10.0.0.7:5432")
		}
	}
	mode, err := pipe.ParseMode(c.String("mode"))
	if err != nil {
		return cfg, hint(usage("unknown mode %q", c.String("mode")), "the modes are fixed and leaky")
	}
	cfg = pipe.Config{Target: c.String("target"), Mode: mode, KeepAliveCount: c.Int("keepalive-count")}
	if cfg.KeepAliveCount < 1 {
		return cfg, hint(usage("--keepalive-count %d", cfg.KeepAliveCount), "give a number of probes, 1 or more")
	}
	for name, field := range map[string]*time.Duration{
		"keepalive": &cfg.KeepAlive, "keepalive-interval": &cfg.KeepAliveInterval, "idle-timeout": &cfg.IdleTimeout,
		"half-close-timeout": &cfg.HalfCloseTimeout, "user-timeout": &cfg.UserTimeout, "connect-timeout": &cfg.ConnectTimeout, "drain": &cfg.Drain,
	} {
		d := c.Duration(name)
		if d < 0 {
			return cfg, hint(usage("--%s %s", name, d), "give a duration such as 60s; 0 switches the limit off")
		}
		if *field = d; d == 0 {
			*field = -1 // off; the zero of the package is its default
		}
	}
	if cfg.KeepAliveInterval < 0 {
		return cfg, hint(usage("--keepalive-interval 0s"), "--keepalive 0 switches keepalive off")
	}
	return cfg, nil
}
