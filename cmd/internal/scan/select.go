package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// Everybody takes every process but the reader itself.
func (s *Scan) Everybody() error {
	pids, err := s.Source.FS.PIDs()
	if err != nil {
		return err
	}
	self := selfPID(s.Source.FS)
	s.PIDs = slices.DeleteFunc(pids, func(pid int) bool { return pid == self })
	s.Selected, s.everybody = true, true
	return nil
}

// ByName finds processes by what they call themselves and by their executable's name.
func (s *Scan) ByName(names []string) error {
	pids, err := s.Source.FS.PIDs()
	if err != nil {
		return err
	}
	s.sought = true
	before, self, nameless := len(s.PIDs), selfPID(s.Source.FS), 0
	for _, pid := range pids {
		comm, exe, err := s.Source.FS.Names(pid)
		switch {
		case pid == self:
		case slices.Contains(names, comm) || exe != "" && slices.Contains(names, filepath.Base(exe)):
			s.PIDs = append(s.PIDs, pid)
		case errors.Is(err, fs.ErrPermission):
			nameless++
		}
	}
	gap := s.nameless(nameless)
	if len(s.PIDs) == before {
		return hint.Add(fmt.Errorf("no process is named %q", strings.Join(names, ", ")), "%s", s.unmatched(gap,
			"the name is compared whole with the command (ps -o comm) and the executable's file name"))
	}
	if nameless > 0 {
		s.Gaps = append(s.Gaps, gap)
	}
	return nil
}

// nameless is a gap for processes of which the executable may not be read: they may be called so.
func (s *Scan) nameless(n int) diag.Gap {
	if n == 0 {
		return diag.Gap{}
	}
	return diag.Gap{
		What: "executables of processes that go by another name", Count: n,
		Why: "permission denied, so it is not known whether they are named so: " + RightsOf(s.Source.FS).Remedy(toList|toRead, ""),
	}
}

// unmatched is a hint why nothing was found: what hides some, or else how it was looked for.
func (s *Scan) unmatched(gap diag.Gap, otherwise string) string {
	if hidden := RightsOf(s.Source.FS).Hidden(); hidden != "" {
		return hidden
	}
	if gap.Count > 0 {
		return fmt.Sprintf("%d %s: %s", gap.Count, gap.What, gap.Why)
	}
	return otherwise
}

// ByPort finds the processes that hold a socket on a local port, of the reader's network namespace or of those given.
func (s *Scan) ByPort(ctx context.Context, port uint16, in []Netns) error {
	if in == nil {
		in = []Netns{{}}
	}
	inodes := map[uint64]bool{}
	var cut error // a list ended early, or was not to be had
	for i := range in {
		err := s.onPort(ctx, port, in[i].Place, inodes)
		gap, ok := Incomplete(err)
		switch {
		case ok:
			s.Gaps = append(s.Gaps, gap)
		case err != nil && len(in) == 1:
			return deniedHint(err)
		case err != nil && ctx.Err() == nil:
			s.Gaps = append(s.Gaps, diag.Gap{What: "sockets of the network namespace " + in[i].String(), Why: err.Error()})
		}
		cut = cmp.Or(cut, err)
	}
	return s.holdersOn(port, inodes, cut)
}

// onPort adds the inodes of the sockets on a local port of a namespace.
func (s *Scan) onPort(ctx context.Context, port uint16, at Place, inodes map[uint64]bool) error {
	list, err := s.Source.Open(at)
	if err != nil {
		return err
	}
	defer list.Close()
	for sock, err := range list.Dump(ctx, netlinkss.Request{Ports: []uint16{port}}) {
		if err != nil {
			return err
		}
		if sock.Local.Port() == port && sock.Inode != 0 {
			inodes[uint64(sock.Inode)] = true
		}
	}
	return nil
}

// holdersOn finds who holds the sockets on a port. cut: not all of them may be known.
func (s *Scan) holdersOn(port uint16, inodes map[uint64]bool, cut error) (err error) {
	pids, missing, denied := []int(nil), 0, 0
	if len(inodes) > 0 {
		if pids, missing, denied, err = s.Source.FS.Holders(inodes); err != nil {
			return err
		}
	}
	s.PIDs = append(s.PIDs, pids...)
	why := ""
	if missing > 0 {
		why = RightsOf(s.Source.FS).unowned(denied, toList|toRead)
	}
	switch {
	case why != "" && len(pids) == 0:
		return hint.Add(fmt.Errorf("the process on port %d may not be seen", port), "%s", why)
	case why != "":
		s.Gaps = append(s.Gaps, diag.Gap{What: fmt.Sprintf("holders of sockets on port %d", port), Count: missing, Why: why})
	case len(pids) == 0 && cut != nil:
		return cut
	case len(pids) == 0:
		return hint.Add(fmt.Errorf("no process holds a socket on local port %d", port), "ss -tan 'sport = %d' lists the sockets of this network namespace; --netns all searches every one", port)
	}
	return nil
}

// FirstLooks notes the /proc dates of the descriptors behind the findings, which the wide table shows.
func (s *Scan) FirstLooks(r *diag.Result) {
	for _, f := range r.Findings {
		for i := range f.Samples {
			if f.Samples[i].PID != f.Proc.PID {
				continue // a descendant's
			}
			if at, err := s.Source.FS.FirstLookedAt(f.Proc.Process, f.Samples[i].SocketFD()); err == nil {
				f.Samples[i].FirstLooked = at
			}
		}
	}
}
