package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/procfd"
)

// sourceFlags say where sockets and processes are read from.
func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "source", Value: "auto", Usage: "`SOURCE` of sockets: auto, diag (sock_diag), proc (/proc/net/tcp: no idle times, no ages)"},
		&cli.StringFlag{Name: "from", Usage: "read sockets from `FILE`, a dump that 'ss -tani -D FILE' wrote, instead of the kernel"},
		&cli.StringFlag{Name: "proc-root", Value: "/proc", Usage: "the proc filesystem at `DIR`"},
	}
}

func (p *program) source(c *cli.Context) (*scan.Source, error) {
	s := &scan.Source{Kind: c.String("source"), From: c.String("from"), Detail: p.ui.detail}
	if !contains([]string{"auto", "diag", "proc"}, s.Kind) {
		return nil, hint(usage("unknown source %q", s.Kind), "the sources are auto, diag and proc")
	}
	if s.From != "" && c.IsSet("source") {
		return nil, hint(usage("--from and --source contradict each other"), "give one of them")
	}
	if s.From != "" {
		f, err := os.Open(s.From)
		if err != nil {
			return nil, hint(err, scan.FromHint)
		}
		f.Close()
	}
	var err error
	if s.FS, err = procfd.New(c.String("proc-root")); err != nil {
		return nil, hint(err, "--proc-root names a mounted proc filesystem, /proc as a rule")
	}
	return s, nil
}

// liveSource is the kernel, as the flags' defaults have it.
func liveSource(u *ui) (*scan.Source, error) {
	fs, err := procfd.New("/proc")
	if err != nil {
		return nil, err
	}
	return &scan.Source{Kind: "auto", FS: fs, Detail: u.detail}, nil
}
