package main

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/procfd"
)

// sourceFlags say where sockets and processes are read from.
func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "source", Value: "auto", Usage: "`SOURCE` of sockets: auto, diag (sock_diag), proc (/proc/net/tcp: no idle times, no ages)"},
		&cli.StringFlag{Name: "from", Usage: "read `FILE` instead of the kernel: a recording, a dump of ss -D, or the text of ss, netstat or /proc/net/tcp; - is stdin"},
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
	if s.From == "-" {
		name, err := p.spool()
		if err != nil {
			return nil, err
		}
		s.From = name
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

// spool keeps what comes from stdin in a file without a name, since it is read more than once. The file goes with the process.
func (p *program) spool() (name string, err error) {
	if isTerminal(p.stdin) {
		p.ui.progress("reading stdin up to its end: paste the list, then Ctrl-D")
	}
	f, err := os.CreateTemp("", "sockleak-*")
	if err != nil {
		return "", err
	}
	p.spooled = f
	if err := os.Remove(f.Name()); err != nil {
		return "", err
	}
	if _, err := io.Copy(f, p.stdin); err != nil {
		return "", fmt.Errorf("read stdin: %w", err)
	}
	return fmt.Sprintf("/dev/fd/%d", f.Fd()), nil
}
