package screen

import (
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// stat is a copy of a host's count.
type stat struct {
	host, kernel, source string
	matrix               diag.Matrix // both families
	by                   diag.GroupBy
	idle                 bool // idle times were asked for
	groups               []group
	distinct             int
}

func (t *taker) statOf(f *diag.Stat) *stat {
	s := &stat{
		host: f.Snapshot.Host.Name, kernel: f.Snapshot.Host.Kernel, source: f.Source,
		matrix: *f.Tally.IPv4.Sum(&f.Tally.IPv6), by: f.Tally.By, idle: f.Tally.Idle, distinct: f.Distinct,
	}
	for i := range f.Groups {
		g := &f.Groups[i]
		s.groups = append(s.groups, group{key: f.Tally.Key(g), tallied: tallied{
			sockets: g.Sockets, estab: g.Estab, noTimer: g.EstabNoTimer, untold: f.Tally.NoTimers, closeWait: g.CloseWait,
			idle: g.OldestIdle, recvQ: g.RecvQ, sendQ: g.SendQ,
		}})
	}
	t.trends.follow(want{by: s.by.String()}, s.groups)
	return s
}

// stateRow is a state with its sockets by timer.
type stateRow struct {
	name   string
	total  int
	timers [diag.NumTimers]int
}

// states are those that occur, and their sum, which is the last.
func (s *stat) states() []stateRow {
	sum := stateRow{name: "total"}
	var rows []stateRow
	for i, timers := range s.matrix {
		n := s.matrix.State(netlinkss.State(i))
		if n == 0 {
			continue
		}
		row := stateRow{name: netlinkss.State(i).String(), total: n, timers: timers}
		if i == diag.NumStates-1 {
			row.name = "unknown"
		}
		rows = append(rows, row)
		sum.total += n
		for k, c := range timers {
			sum.timers[k] += c
		}
	}
	return append(rows, sum)
}
