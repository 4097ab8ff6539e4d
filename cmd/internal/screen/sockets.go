package screen

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/report"
)

// socketList are the sockets of a finding or of a group.
type socketList struct {
	samples []diag.Sample // of a finding; its process is proc
	proc    *diag.Proc

	all     *sockets // of the look
	members []int32  // those of the group
	uptime  time.Duration
	gone    string // why there are none any more
}

func (l *socketList) name() string    { return "sockets" }
func (l *socketList) len() int        { return len(l.samples) + len(l.members) }
func (l *socketList) sorts() []string { return report.SampleSorts() }

func (l *socketList) empty() string {
	if l.gone != "" {
		return l.gone
	}
	return "no socket"
}

// socketID is a socket of a descriptor.
type socketID struct {
	cookie  uint64
	pid, fd int
}

func (l *socketList) id(i int) any {
	if len(l.samples) > 0 {
		s := &l.samples[i]
		return socketID{s.Cookie, s.PID, s.FD}
	}
	r := l.all.at(l.members[i])
	if r.dark != nil {
		return socketID{r.dark.Cookie, r.proc.PID, r.dark.FD}
	}
	return socketID{r.held.Cookie, r.proc.PID, r.held.FD()}
}

func (l *socketList) key(i int, order string) sortKey {
	if len(l.samples) > 0 {
		return sampleKey(&l.samples[i], order)
	}
	return l.all.at(l.members[i]).key(order, l.uptime)
}

func sampleKey(s *diag.Sample, order string) sortKey {
	switch order {
	case "age":
		return most(s.Age.D)
	case "held":
		return most(s.Held.D)
	case "fd":
		return sortKey{a: uint64(s.FD)}
	case "recv-q":
		return most(s.RecvQ)
	case "send-q":
		return most(s.SendQ)
	case "peer":
		return addressKey(s.Peer)
	}
	return most(s.Idle.D)
}

// key is that of the sample that it would be, without making it.
func (r socket) key(order string, uptime time.Duration) sortKey {
	if r.dark != nil {
		s := r.sample(uptime)
		return sampleKey(&s, order)
	}
	switch order {
	case "age":
		return most(diag.Age(r.held.Socket, uptime).D)
	case "held":
		return most(diag.Held(r.held.Socket, uptime).D)
	case "fd":
		return sortKey{a: uint64(r.held.FD())}
	case "recv-q":
		return most(r.held.RecvQ)
	case "send-q":
		return most(r.held.SendQ)
	case "peer":
		return addressKey(r.held.Peer)
	}
	return most(diag.Idle(r.held.Socket, uptime).D)
}

// addressKey sorts addresses, then by the first bytes that are all of an IPv4 one; ports follow.
func addressKey(a netip.AddrPort) sortKey {
	b := a.Addr().As16()
	if a.Addr().Unmap().Is4() {
		return sortKey{b: uint64(binary.BigEndian.Uint32(b[12:]))<<16 | uint64(a.Port())}
	}
	return sortKey{a: binary.BigEndian.Uint64(b[:8]), b: binary.BigEndian.Uint64(b[8:])}
}

func (l *socketList) match(i int, text string) bool {
	if len(l.samples) > 0 {
		s := &l.samples[i]
		return matchSocket(text, s.Local, s.Peer, s.State, s.Timer)
	}
	r := l.all.at(l.members[i])
	if r.dark != nil {
		return matchSocket(text, r.dark.Local, r.dark.Peer, diag.DarkState, "off")
	}
	return matchSocket(text, r.held.Local, r.held.Peer, r.held.State.String(), r.held.Timer.String())
}

// matchSocket allocates nothing: it is asked of every socket.
func matchSocket(text string, local, peer netip.AddrPort, state, timer string) bool {
	return containsAddress(peer, text) || containsAddress(local, text) || has(text, state, timer)
}

func containsAddress(a netip.AddrPort, text string) bool {
	var buf [80]byte
	return a.IsValid() && strings.Contains(string(unmapped(a).AppendTo(buf[:0])), text)
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// rows are as a report has them. Those of a group may be of several processes.
func (l *socketList) rows(p *palette, which []int) ([]column, [][]cell) {
	var seen []diag.Sample
	proc := l.proc
	for _, i := range which {
		if len(l.samples) > 0 {
			seen = append(seen, l.samples[i])
			continue
		}
		r := l.all.at(l.members[i])
		if proc == nil {
			proc = r.proc
		}
		seen = append(seen, r.sample(l.uptime))
	}
	if len(seen) == 0 {
		return nil, nil
	}
	return cellsOf(p, report.SocketTable(proc, seen))
}

// cellsOf are the columns of a report's table that people read.
func cellsOf(p *palette, t *report.Table) ([]column, [][]cell) {
	var columns []column
	rows := make([][]cell, len(t.Rows))
	for i, c := range t.Columns {
		if c.Data || c.Wide {
			continue
		}
		columns = append(columns, column{head: c.Head, right: c.Right, spare: c.Spare, loose: c.Key == "end_holders" || c.Key == "others"})
		if c.Key == "task" {
			columns[len(columns)-1].spare = 1
		}
		for k, row := range t.Rows {
			v := cell{text: p.clean(row[i].Text)}
			if v.text == "-" || v.text == "0" {
				v.style = dim
			}
			rows[k] = append(rows[k], v)
		}
	}
	return columns, rows
}
