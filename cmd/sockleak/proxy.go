//go:build linux

package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/pipe"
)

func (p *program) proxyCommand() *cli.Command {
	return &cli.Command{
		Name:      "proxy",
		Usage:     "a TCP pipe, fixed or with the bug that leaks",
		UsageText: "sockleak proxy --listen ADDR --target ADDR [--target ADDR]... [--mode fixed|leaky]",
		Description: "leaky joins two sockets and passes on data and the close, and nothing else: no keepalive, no time-out, no half-close.\n" +
			"fixed bounds every wait. A duration of 0 switches its limit off.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "listen", Usage: "listen on `ADDR`: HOST:PORT (port 0 takes a free one) or unix:PATH; not needed when LISTEN_FDS passes listeners on"},
			&cli.StringSliceFlag{Name: "target", Usage: "connect to `ADDR`: HOST:PORT or unix:PATH; several, with commas or given again, are taken in turn (required)"},
			&cli.StringFlag{Name: "mode", Value: pipe.Fixed.String(), Usage: "`MODE`: fixed, leaky"},
			&cli.StringFlag{Name: "leak", Value: pipe.NoTimeout.String(), Usage: "the bug of the leaky mode, `LEAK`: " + join(leakNames())},
			&cli.DurationFlag{Name: "keepalive", Value: 60 * time.Second, Usage: "silence of `DURATION` before the kernel probes the peer"},
			&cli.DurationFlag{Name: "keepalive-interval", Value: 15 * time.Second, Usage: "`DURATION` between unanswered probes"},
			&cli.IntFlag{Name: "keepalive-count", Value: 4, Usage: "`N` unanswered probes end a connection"},
			&cli.DurationFlag{Name: "idle-timeout", Value: 60 * time.Second, Usage: "close both sides when nothing moved either way for `DURATION`"},
			&cli.DurationFlag{Name: "half-close-timeout", Value: 30 * time.Second, Usage: "bound of `DURATION` on the other direction once one has ended, from the last byte on"},
			&cli.DurationFlag{Name: "user-timeout", Value: 120 * time.Second, Usage: "TCP_USER_TIMEOUT: how long sent data may stay unacknowledged, `DURATION`"},
			&cli.DurationFlag{Name: "connect-timeout", Value: 10 * time.Second, Usage: "bound of `DURATION` on connecting to the target"},
			&cli.DurationFlag{Name: "lifetime", Usage: "end every connection after `DURATION`, however busy it is (default: no limit)"},
			&cli.IntFlag{Name: "max-connections", Usage: "at most `N` at once, others wait in the backlog (default: what the descriptor limit leaves room for)"},
			&cli.BoolFlag{Name: "proxy-protocol", Usage: "tell the target who the client is (PROXY protocol, version 2)"},
			&cli.DurationFlag{Name: "drain", Value: 10 * time.Second, Usage: "how long open connections may go on after SIGTERM, `DURATION`"},
			&cli.StringFlag{Name: "stats", Usage: "serve the counts over HTTP on `HOST:PORT`: JSON as /stats, Prometheus as /metrics"},
			&cli.StringFlag{Name: "log", Value: "text", Usage: "`FORMAT` of what is said on stderr: text, json"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "say nothing"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "a line for every connection when it has ended"},
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
	format := c.String("log")
	if format != "text" && format != "json" {
		return hint(usage("unknown log format %q", format), "the formats are text and json")
	}
	log, flush := newProxyLog(p.ui, format)
	defer flush()
	cfg.Logf = log.warn
	if p.ui.verbose {
		cfg.Closed = log.connection
	}
	// One processor is left over on purpose: see pipe.Config.Loops.
	cfg.Loops = runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(cfg.Loops + 1)
	proxy, err := pipe.New(cfg)
	if err != nil {
		return hint(err, "sockleak proxy --help lists the flags")
	}
	lns, err := listeners(c, cfg)
	if err != nil {
		return err
	}
	if addr := c.String("stats"); addr != "" {
		bound, stop, err := serveStats(c.Context, addr, proxy.Stats)
		if err != nil {
			return errors.Join(hint(err, "--stats takes HOST:PORT of an address of this host with a free port"), closeAll(lns))
		}
		defer stop()
		log.progress("stats on http://"+bound+"/stats and /metrics", slog.String("stats", bound))
	}
	log.listening(cfg.Mode, lns, cfg.Targets)
	defer context.AfterFunc(c.Context, func() { log.draining(cfg, proxy.Stats().Active) })()
	err = proxy.Serve(c.Context, lns...)
	log.summary(proxy.Stats())
	return err
}

// listeners returns those that were inherited, or else makes those of --listen.
func listeners(c *cli.Context, cfg pipe.Config) ([]*pipe.Listener, error) {
	lns, err := pipe.Inherited(cfg)
	if err != nil {
		return nil, hint(err, "LISTEN_FDS must count listening stream sockets; unset it and LISTEN_PID to use --listen")
	}
	addrs := c.StringSlice("listen")
	switch {
	case len(lns) > 0 && len(addrs) > 0:
		return nil, errors.Join(hint(usage("--listen, and %d inherited listeners", len(lns)), "LISTEN_FDS says where to listen: leave --listen out"), closeAll(lns))
	case len(lns) == 0 && len(addrs) == 0:
		return nil, needListen()
	}
	for _, addr := range addrs {
		ln, err := pipe.Listen(c.Context, addr, cfg)
		if err != nil {
			return nil, errors.Join(hint(err, "--listen takes HOST:PORT of an address of this host with a free port, or unix:PATH"), closeAll(lns))
		}
		lns = append(lns, ln)
	}
	return lns, nil
}

func needListen() error {
	return hint(usage("proxy needs --listen"), "sockleak proxy --listen 127.0.0.1:9000 --target 10.0.0.7:5432")
}

func closeAll(lns []*pipe.Listener) error {
	var err error
	for _, ln := range lns {
		err = errors.Join(err, ln.Close())
	}
	return err
}

func pipeConfig(c *cli.Context) (pipe.Config, error) {
	var cfg pipe.Config
	if c.NArg() > 0 {
		return cfg, hint(usage("proxy takes no argument, got %q", c.Args().First()), "the addresses are --listen and --target")
	}
	if !c.IsSet("listen") && os.Getenv("LISTEN_FDS") == "" {
		return cfg, needListen()
	}
	if !c.IsSet("target") {
		return cfg, hint(usage("proxy needs --target"), "sockleak proxy --listen 127.0.0.1:9000 --target 10.0.0.7:5432")
	}
	mode, err := pipe.ParseMode(c.String("mode"))
	if err != nil {
		return cfg, hint(usage("unknown mode %q", c.String("mode")), "the modes are fixed and leaky")
	}
	leak, err := pipe.ParseLeak(c.String("leak"))
	if err != nil {
		return cfg, hint(usage("unknown leak %q", c.String("leak")), "the leaks are %s", join(leakNames()))
	}
	if c.IsSet("leak") && mode != pipe.Leaky {
		return cfg, hint(usage("--leak %s in %s mode", leak, mode), "add --mode leaky")
	}
	cfg = pipe.Config{
		Targets: c.StringSlice("target"), Mode: mode, Leak: leak, KeepAliveCount: c.Int("keepalive-count"),
		MaxConnections: c.Int("max-connections"), ProxyProtocol: c.Bool("proxy-protocol"), Lifetime: c.Duration("lifetime"),
	}
	if cfg.MaxConnections < 0 {
		return cfg, hint(usage("--max-connections %d", cfg.MaxConnections), "give a number of connections, 1 or more")
	}
	if cfg.Lifetime < 0 {
		return cfg, hint(usage("--lifetime %s", cfg.Lifetime), "give a duration such as 1h; 0 is no limit")
	}
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

func leakNames() []string {
	names := []string{}
	for _, l := range pipe.Leaks() {
		names = append(names, l.String())
	}
	return names
}
