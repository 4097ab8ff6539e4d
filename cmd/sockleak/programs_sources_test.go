package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/cmd/internal/scan"
)

// byIterators has a process judged from the kernel's iterators, too: the truth is the same, and so is every socket behind a finding.
func (z *zooBins) byIterators(t *testing.T, c *zooCase, p *zooProcess, by *zooReport) error {
	if !z.iterators || c.as != nil {
		return nil
	}
	for _, more := range [][]string{nil, sifting} {
		flags := slices.Concat(short, []string{"--source", scan.SourceBPF}, more)
		r := z.scan(t, c, p, flags...)
		if err := r.differs(p.truth); err != nil {
			return fmt.Errorf("with %s: %w", strings.Join(flags, " "), err)
		}
		if err := r.sameSockets(by); err != nil {
			return fmt.Errorf("with %s: %w", strings.Join(flags, " "), err)
		}
	}
	return nil
}

// zooFact is what a report says of a socket but for the times.
type zooFact struct {
	rule, severity            string
	pid, fd                   int
	inode                     uint64
	local, peer, state, timer string
	recvQ, sendQ              int
}

// facts are those of a report, with what it says of keepalive.
func (r *zooReport) facts() map[zooFact]string {
	facts := map[zooFact]string{}
	for _, f := range r.Findings {
		for _, s := range f.Samples {
			facts[zooFact{f.Rule, f.Severity, f.PID, s.FD, s.Inode, s.Local, s.Peer, s.State, s.Timer, s.RecvQ, s.SendQ}] = s.Keepalive
		}
	}
	return facts
}

// sameSockets compares the sockets behind the findings of two sources. The one may know of keepalive what another timer hides from the other.
func (r *zooReport) sameSockets(other *zooReport) error {
	mine, theirs := r.facts(), other.facts()
	for f, keepalive := range mine {
		before, ok := theirs[f]
		switch {
		case !ok:
			return fmt.Errorf("%+v, which sock_diag and /proc do not say; they say %+v", f, slices.Collect(maps.Keys(theirs)))
		case keepalive != before && before != "unknown":
			return fmt.Errorf("%+v: keepalive %s, and %s by sock_diag", f, keepalive, before)
		}
	}
	for f := range theirs {
		if _, ok := mine[f]; !ok {
			return fmt.Errorf("%+v is missing, which sock_diag and /proc say; there is %+v", f, slices.Collect(maps.Keys(mine)))
		}
	}
	return nil
}
