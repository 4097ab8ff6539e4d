package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
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

// source opens lists of sockets.
type source struct {
	kind string // auto, diag, proc
	from string
	fs   *procfd.FS
	ui   *ui
}

func (p *program) source(c *cli.Context) (*source, error) {
	s := &source{kind: c.String("source"), from: c.String("from"), ui: p.ui}
	if !contains([]string{"auto", "diag", "proc"}, s.kind) {
		return nil, hint(usage("unknown source %q", s.kind), "the sources are auto, diag and proc")
	}
	if s.from != "" && c.IsSet("source") {
		return nil, hint(usage("--from and --source contradict each other"), "give one of them")
	}
	if s.from != "" {
		f, err := os.Open(s.from)
		if err != nil {
			return nil, hint(err, fromHint)
		}
		f.Close()
	}
	var err error
	if s.fs, err = procfd.New(c.String("proc-root")); err != nil {
		return nil, hint(err, "--proc-root names a mounted proc filesystem, /proc as a rule")
	}
	return s, nil
}

// sockets is an open list of one network namespace's sockets.
type sockets struct {
	name string
	// dump lists what the request asks for. A source that cannot filter lists more.
	dump func(context.Context, netlinkss.Request) iter.Seq2[*netlinkss.Socket, error]
	conn *netlinkss.Conn // nil but for sock_diag
	gaps []diag.Gap
}

func (s *sockets) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}

// open opens the sockets of the namespace in the file netns ("" for the reader's own), which pid lives
// in (0 for the reader).
func (s *source) open(netns string, pid int) (*sockets, error) {
	switch {
	case s.from != "":
		return s.openFile(), nil
	case s.kind == "proc":
		return s.openProc(pid, "not asked, because of --source proc")
	}
	conn, err := netlinkss.Dial(&netlinkss.Config{Netns: netns})
	if err == nil {
		s.ui.detail("sockets from sock_diag of %s", netnsName(netns))
		return &sockets{name: "sock_diag", conn: conn, dump: conn.Dump}, nil
	}
	if s.kind == "diag" {
		return nil, hint(err, "--source auto falls back to /proc/net/tcp")
	}
	return s.openProc(pid, err.Error())
}

func netnsName(path string) string {
	if path == "" {
		return "this network namespace"
	}
	return path
}

const fromHint = "--from takes a dump that `ss -tani -D FILE` wrote"

// readCounter counts what is read.
type readCounter struct {
	io.Reader
	n int64
}

func (r *readCounter) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.n += int64(n)
	return n, err
}

// openFile reads a recorded dump, anew for each request. It does not filter by state: to a dump,
// BOUND-INACTIVE is UNCONN.
func (s *source) openFile() *sockets {
	dump := func(context.Context, netlinkss.Request) iter.Seq2[*netlinkss.Socket, error] {
		return func(yield func(*netlinkss.Socket, error) bool) {
			f, err := os.Open(s.from)
			if err != nil {
				yield(nil, err)
				return
			}
			defer f.Close()
			in := readCounter{Reader: f}
			for sock, err := range netlinkss.Replay(&in) {
				if err != nil {
					yield(nil, hint(fmt.Errorf("%s: %w", s.from, err), fromHint))
					return
				}
				if !yield(sock, nil) {
					return
				}
			}
			if in.n == 0 { // a dump of no sockets has its NLMSG_DONE
				yield(nil, hint(fmt.Errorf("%s: no dump: the file is empty", s.from), fromHint))
			}
		}
	}
	return &sockets{name: s.from, dump: dump}
}

// openProc reads /proc/net/tcp and tcp6, and says what that lacks and why.
func (s *source) openProc(pid int, why string) (*sockets, error) {
	files := []struct {
		family netlinkss.Family
		path   string
	}{{netlinkss.Inet, s.fs.NetPath(pid, "tcp")}, {netlinkss.Inet6, s.fs.NetPath(pid, "tcp6")}}
	f, err := os.Open(files[0].path)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %s; and %w", why, err)
	}
	f.Close()
	s.ui.detail("sockets from %s", files[0].path)
	dump := func(_ context.Context, r netlinkss.Request) iter.Seq2[*netlinkss.Socket, error] {
		return func(yield func(*netlinkss.Socket, error) bool) {
			left := s.mostRows(pid)
			for _, file := range files {
				more := procFile(file.path, file.family, r, func(sock *netlinkss.Socket, err error) bool {
					if left--; left < 0 && err == nil {
						yield(nil, fmt.Errorf("%s: %w: it grows as fast as it is read", file.path, netlinkss.ErrInterrupted))
						return false
					}
					return yield(sock, err)
				})
				if !more {
					return
				}
			}
		}
	}
	return &sockets{name: "/proc/net/tcp", dump: dump, gaps: []diag.Gap{{
		What: "TCP_INFO", Why: fmt.Sprintf("sockets were read from /proc/net/tcp, which has %s (sock_diag: %s)", netlinkss.ProcNetLosses, why),
	}}}, nil
}

// mostRows bounds a read of /proc/net/tcp: the kernel finds its place again by counting, so while sockets come and go faster
// than they are read, the end moves away.
func (s *source) mostRows(pid int) int {
	const enough = 100_000
	st, err := s.fs.Sockstat(pid)
	if err != nil {
		return 100 * enough
	}
	return enough + 2*(max(st.InUse, 0)+max(st.InUse6, 0)+max(st.TW, 0)+max(st.Orphan, 0))
}

// procFile yields one file, and reports whether to go on. A kernel without IPv6 has no tcp6.
func procFile(path string, family netlinkss.Family, r netlinkss.Request, yield func(*netlinkss.Socket, error) bool) bool {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) && family == netlinkss.Inet6 {
		return true
	}
	if err != nil {
		yield(nil, err)
		return false
	}
	defer f.Close()
	for sock, err := range netlinkss.ReadProcNet(f, family) {
		if err != nil {
			yield(nil, err)
			return false
		}
		if r.States != 0 && !r.States.Has(sock.State) {
			continue
		}
		if !yield(sock, nil) {
			return false
		}
	}
	return true
}

// liveSource is the kernel, as the flags' defaults have it.
func liveSource(u *ui) (*source, error) {
	fs, err := procfd.New("/proc")
	if err != nil {
		return nil, err
	}
	return &source{kind: "auto", fs: fs, ui: u}, nil
}
