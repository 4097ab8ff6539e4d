package scan

import (
	"context"
	"errors"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// Stat counts the sockets of the reader's namespace, or of a recorded dump, and lists the first top groups in the named order; 0
// lists all.
func (s *Source) Stat(ctx context.Context, tally *diag.Tally, order string, top int) (*diag.Stat, error) {
	start := time.Now()
	stat := &diag.Stat{Tally: tally}
	stat.Snapshot.At = start
	list, err := s.Open("", 0)
	if err != nil {
		return nil, err
	}
	defer list.Close()
	stat.Source, stat.Snapshot.Gaps = list.Name, list.Gaps
	if s.From == "" {
		stat.Snapshot.Host = s.FS.Host()
		if st, err := s.FS.Sockstat(0); err == nil {
			stat.Sockstat = &st
		} else {
			stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, diag.Gap{What: "sockstat", Why: err.Error(), Minor: true})
		}
	}
	tally.Filter.Uptime = stat.Snapshot.Host.Uptime
	gaps, err := count(ctx, list, tally)
	if err != nil {
		return nil, err
	}
	stat.Snapshot.Gaps = append(stat.Snapshot.Gaps, gaps...)
	if stat.Groups, stat.Distinct, err = tally.Groups(order, top); err != nil {
		return nil, err
	}
	stat.Took = time.Since(start)
	return stat, nil
}

// count tallies a list, and says what it lacks.
func count(ctx context.Context, list *Sockets, tally *diag.Tally) (gaps []diag.Gap, err error) {
	req := netlinkss.Request{States: tally.Filter.States}
	if tally.Idle {
		req.Attrs = netlinkss.AttrInfo
	}
	if tally.Filter.Port != 0 {
		req.Ports = []uint16{tally.Filter.Port}
	}
	for sock, err := range list.Dump(ctx, req) {
		if err != nil {
			gap, ok := Incomplete(err)
			if !ok {
				return nil, err
			}
			gaps = append(gaps, gap)
			break
		}
		tally.Add(sock)
	}
	if n := tally.NoClocks; n > 0 && len(list.Gaps) == 0 {
		gaps = append(gaps, diag.Gap{
			What: "TCP_INFO of connections", Count: n, Why: "the list came without it, so their idle times are not known: ss -i records it",
		})
	}
	return gaps, nil
}

// Incomplete turns the end of a list that is not whole into a gap: what came before it stands.
func Incomplete(err error) (diag.Gap, bool) {
	if !isIncomplete(err) {
		return diag.Gap{}, false
	}
	return diag.Gap{What: "sockets", Why: err.Error()}, true
}

func isIncomplete(err error) bool {
	return errors.Is(err, netlinkss.ErrInterrupted) || errors.Is(err, netlinkss.ErrTruncated)
}
