package main

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/procfd"
)

// sourceFlags say where sockets and processes are read from.
func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "source", Value: "auto", Usage: "`SOURCE` of sockets: auto, diag (sock_diag), bpf (and BPF iterators over descriptors), proc (/proc/net/tcp: no idle times, no ages)"},
		&cli.StringFlag{Name: "from", Usage: "read `FILE` instead of the kernel: a recording, a dump of ss -D, or the text of ss, netstat or /proc/net/tcp; - is stdin"},
		&cli.StringFlag{Name: "proc-root", Value: "/proc", Usage: "the proc filesystem at `DIR`"},
	}
}

// netnsFlag chooses network namespaces.
func netnsFlag(what string) cli.Flag {
	return &cli.StringFlag{Name: "netns", Usage: what + " in the network namespace `WHERE`: a name of ip netns, the path of its file, a process in it, or " + scan.AllNetns, DefaultText: "this one"}
}

func (p *program) source(c *cli.Context) (*scan.Source, error) {
	s := &scan.Source{Kind: c.String("source"), From: c.String("from"), Detail: p.ui.detail}
	if !contains([]string{"auto", "diag", "bpf", "proc"}, s.Kind) {
		return nil, hint(usage("unknown source %q", s.Kind), "the sources are auto, diag, bpf and proc")
	}
	if s.From != "" && c.IsSet("source") {
		return nil, hint(usage("--from and --source contradict each other"), "give one of them")
	}
	if s.From == "" && runtime.GOOS != "linux" {
		return nil, linuxOnly("to look at the sockets of this host")
	}
	var err error
	if s.From, err = p.readable(s.From); err != nil {
		return nil, err
	}
	if s.From != "" && !c.IsSet("proc-root") && runtime.GOOS != "linux" {
		s.FS = procfd.None()
		return s, nil
	}
	if s.FS, err = procfd.New(c.String("proc-root")); err != nil {
		return nil, hint(err, "--proc-root names a mounted proc filesystem, /proc as a rule")
	}
	return s, nil
}

// linuxOnly is for what needs the kernel's sockets.
func linuxOnly(what string) error {
	return hint(fmt.Errorf("%s works on Linux only", what), "leakscan, tcpstat and diff read files here: take one with `sockleak record FILE` on the host, or with `ss -tanoie > FILE`, and give it to --from")
}

// liveSource is the kernel, as the flags' defaults have it.
func liveSource(u *ui) (*scan.Source, error) {
	fs, err := procfd.New("/proc")
	if err != nil {
		return nil, err
	}
	return &scan.Source{Kind: "auto", FS: fs, Detail: u.detail}, nil
}

// readable is a file that can be read from its beginning as often as is needed: name itself, or what stdin ("-") or a pipe has had.
func (p *program) readable(name string) (string, error) {
	switch name {
	case "":
		return "", nil
	case "-":
		if isTerminal(p.stdin) {
			p.ui.progress("reading stdin up to its end: paste the list, then Ctrl-D")
		}
		return p.spool("stdin", p.stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", hint(err, scan.FromHint)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode().IsRegular() || info.IsDir() {
		return name, nil // what is wrong with it, its reader tells
	} else if info.Mode()&os.ModeDevice != 0 && name != "/dev/stdin" {
		return "", hint(usage("%s is a device", name), scan.FromHint)
	}
	return p.spool(name, f)
}

// mostSpooled is how many bytes of a pipe are kept.
const mostSpooled = 2 << 30

// spool keeps what comes in a file without a name, which goes with the process.
func (p *program) spool(name string, from io.Reader) (file string, err error) {
	f, err := os.CreateTemp("", "sockleak-*")
	if err != nil {
		return "", err
	}
	p.spooled = append(p.spooled, f)
	at := f.Name()
	if runtime.GOOS != "windows" { // where an open file keeps its name
		if err := os.Remove(at); err != nil {
			return "", err
		}
		at = fmt.Sprintf("/dev/fd/%d", f.Fd())
	}
	n, err := io.Copy(f, io.LimitReader(from, mostSpooled))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	if n == mostSpooled {
		return "", hint(fmt.Errorf("%s has more than %d bytes", name, n), "a file of that size can be read, a pipe cannot")
	}
	return at, nil
}
