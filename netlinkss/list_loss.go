package netlinkss

import (
	"bytes"
	"fmt"
)

// Loss is something that a list lacks.
type Loss struct {
	What  string
	Count int // rows
	Why   string
}

// What [Loss.What] says, for those who act on it.
const (
	LossUnread    = "rows that could not be read"
	LossCut       = "rows that are cut"
	LossOther     = "rows of other protocols"
	LossStateless = "rows without a state"
	LossAddresses = "addresses"
	LossClocks    = "idle times"
	LossTimers    = "timers"
	LossInodes    = "inodes"
	LossUIDs      = "uids"
	LossCookies   = "cookies"
	LossHolders   = "holders"
	LossDevices   = "devices"
)

// tallyOfLosses counts what a list lacks, as it is read.
type tallyOfLosses struct {
	kind                                                                       string
	sockets, unread, cut, other, stateless                                     int
	clocks, addresses, timers, inodes, uids, cookies, holders, devices, header int

	named bool // some row has a holder
	first string
}

// add counts a socket, and what its row lacks.
func (t *tallyOfLosses) add(s *Socket, lack Lack) {
	t.sockets++
	if s.InfoLen() < InfoHasClocks && connection(s) {
		t.clocks++
	}
	for _, c := range [...]struct {
		bit Lack
		n   *int
	}{
		{LackLocal | LackPeer, &t.addresses}, {LackTimer, &t.timers}, {LackUID, &t.uids}, {LackInode, &t.inodes},
		{LackCookie, &t.cookies}, {LackDevice, &t.devices},
	} {
		if lack&c.bit != 0 {
			*c.n++
		}
	}
	switch {
	case lack&LackHolders == 0:
		t.named = true
	case s.State == TimeWait || s.State == SynRecv || s.Inode == 0 && lack&LackInode == 0: // nobody holds it
	default:
		t.holders++
	}
}

// connection: TCP_INFO has clocks of it.
func connection(s *Socket) bool {
	switch s.State {
	case Estab, FinWait1, FinWait2, CloseWait, LastAck, Closing:
		return s.Timer != TimerTimeWait
	}
	return false
}

// bad counts a row that could not be read, and keeps the first.
func (t *tallyOfLosses) bad(number int, line []byte) {
	if t.unread++; t.first == "" {
		t.first = fmt.Sprintf("line %d: %.200q", number, bytes.TrimSpace(line))
	}
}

// nothing is why a text without a socket is no list; nil for one that has its column names and no rows.
func (t *tallyOfLosses) nothing() error {
	switch {
	case t.sockets > 0:
		return nil
	case t.unread > 0:
		return malformed("not one row could be read; %s", t.first)
	case t.stateless > 0:
		return malformed("not one row has a state: %s", whyStateless)
	case t.cut > 0:
		return malformed("not one row is whole")
	case t.other > 0:
		return malformed("not one row is of TCP, %d of other protocols", t.other)
	case t.header == 0:
		return malformed("it has no rows")
	}
	return nil
}

const whyStateless = "ss leaves the column out where it was asked for one state alone, and the command is not above its output"

func (t *tallyOfLosses) list() (losses []Loss) {
	add := func(what string, n int, why string) {
		if n > 0 {
			losses = append(losses, Loss{what, n, why})
		}
	}
	add(LossUnread, t.unread, "the first is "+t.first)
	add(LossCut, t.cut, "the text ends, or its lines are cut, in the middle of them")
	add(LossOther, t.other, "only TCP is read")
	add(LossStateless, t.stateless, whyStateless)
	add(LossAddresses, t.addresses, "they are names, or cut: "+t.says("ss -n prints numbers", "netstat -n -W prints whole numbers"))
	add(LossClocks, t.clocks, "there is no TCP_INFO, or an old one: "+t.says("ss -i prints it", ""))
	add(LossTimers, t.timers, t.whyTimers())
	add(LossInodes, t.inodes, "which sockets a process holds is not told: "+t.says("ss -e tells", "netstat -e -e tells"))
	add(LossUIDs, t.uids, t.says("ss -e prints them", "netstat -n -e -e prints them"))
	add(LossCookies, t.cookies, "a socket cannot be known again in another list: "+t.says("ss -e prints them", ""))
	add(LossHolders, t.holders, t.whyHolders())
	add(LossDevices, t.devices, "sockets are bound to devices by name, without their numbers")
	return losses
}

// says is what the programs would print, by the kind of list; netstat "" where it has no way.
func (t *tallyOfLosses) says(ss, netstat string) string {
	if t.kind == KindNetstat && netstat != "" {
		return netstat
	}
	return ss
}

func (t *tallyOfLosses) whyTimers() string {
	if t.kind == KindProcNet {
		return WhyNoTimers
	}
	return "whether a timer runs is not told: " + t.says("ss -o tells", "netstat -o tells")
}

func (t *tallyOfLosses) whyHolders() string {
	switch {
	case t.kind == KindDump:
		return "a dump names no processes"
	case t.named:
		return "nobody holds them, or it was not seen who does: " + t.says("ss -p", "netstat -p") + " sees all processes as root alone"
	}
	return t.says("ss -p prints them", "netstat -p prints them")
}
