package scan

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// suspects are the sockets of this network namespace that look leaked, and that none of the processes has which could be read. They
// are no findings: whose they are is not known, and the list tells the user who made them alone.
type suspects struct {
	thresholds        diag.Thresholds
	idle              time.Duration // of ESTAB
	uptime            time.Duration
	users             map[uint32]bool // nil: whoever
	held              map[uint64]bool // by inode: seen to be held
	silent, closeWait int
	byUser            map[uint32]int
}

// unseenSuspects counts them where processes could not be read: those of their users, or all where every process was wanted. Who may
// see nothing else learns from it whether to ask for more.
func (s *Scan) unseenSuspects(ctx context.Context, snap *diag.Snapshot) []diag.Gap {
	if s.sawAll(snap) {
		return nil
	}
	c := s.suspectsOf(snap)
	if c == nil {
		return nil
	}
	list, err := s.Source.Open(Place{})
	if err != nil {
		return nil // which the namespaces' own lists have told
	}
	defer list.Close()
	if list.Conn == nil {
		return nil // without clocks nothing looks leaked
	}
	request := netlinkss.Request{Attrs: netlinkss.AttrInfo, States: netlinkss.Estab.Mask() | netlinkss.CloseWait.Mask()}
	if err := visit(list.Dump(ctx, request), c.add); err != nil {
		return nil // a number that is too small says too little
	}
	return c.gap()
}

// sawAll reports whether there were as many sockets in the reader's own network namespace, before they were read and now, as were found with
// their holders.
func (s *Scan) sawAll(snap *diag.Snapshot) bool {
	own := s.Source.FS.Netns()
	for _, space := range snap.Spaces {
		if space.Netns == own && own != 0 && s.inUse > 0 && s.found[own] == s.inUse {
			return s.socketsNow() == s.inUse
		}
	}
	return false
}

// socketsNow is how many sockets there are in the reader's own network namespace but for those in TIME-WAIT and SYN-RECV; 0: not known.
func (s *Scan) socketsNow() int {
	st, err := s.Source.FS.Sockstat(0)
	if err != nil || s.Source.From != "" {
		return 0
	}
	return max(st.InUse, 0) + max(st.InUse6, 0)
}

// suspectsOf is an empty count; nil when everything was seen that was wanted.
func (s *Scan) suspectsOf(snap *diag.Snapshot) *suspects {
	if s.Source.From != "" || s.Source.Kind == "proc" {
		return nil
	}
	c := &suspects{thresholds: s.Thresholds, uptime: s.Source.FS.Uptime(), users: map[uint32]bool{}, held: map[uint64]bool{}, byUser: map[uint32]int{}}
	c.idle, _ = s.Thresholds.IdleIn(&diag.Space{Sysctls: s.Source.FS.NetSysctls()})
	unread := s.barred > 0
	for _, space := range snap.Spaces {
		for _, p := range space.Procs {
			if isUnread(p.Process) {
				unread, c.users[p.UID] = true, true
			}
		}
	}
	if s.everybody {
		c.users = nil
		r := RightsOf(s.Source.FS)
		unread = unread || r.Hidden() != "" || r.Confined.PID
	}
	if !unread {
		return nil
	}
	for _, space := range snap.Spaces {
		for _, p := range space.Procs {
			for _, fd := range p.Sockets {
				c.held[fd.Inode] = true
			}
		}
	}
	return c
}

// isUnread reports whether it is not known which sockets a process holds.
func isUnread(p *procfd.Process) bool {
	return slices.ContainsFunc(p.Gaps, func(g procfd.Gap) bool { return g.Denied() && strings.HasPrefix(g.What, "descriptors") })
}

func (c *suspects) add(s *netlinkss.Socket) {
	if s.Inode == 0 || c.held[uint64(s.Inode)] || c.users != nil && !c.users[s.UID] {
		return
	}
	idle, answered := diag.Idle(s, c.uptime), time.Duration(s.Info.LastAckRecv)*time.Millisecond
	switch {
	case s.State == netlinkss.CloseWait && idle.AtLeast(c.thresholds.Grace) && answered >= c.thresholds.Grace: // a FIN renews the second alone
		c.closeWait++
	case s.State == netlinkss.Estab && s.Timer == netlinkss.TimerOff && idle.AtLeast(c.idle):
		c.silent++
	default:
		return
	}
	c.byUser[s.UID]++
}

// mostUsers is how many users are told with their numbers.
const mostUsers = 3

// gap is none when there are no suspects.
func (c *suspects) gap() []diag.Gap {
	if c.silent+c.closeWait == 0 {
		return nil
	}
	users := slices.SortedFunc(maps.Keys(c.byUser), func(a, b uint32) int { return cmp.Or(c.byUser[b]-c.byUser[a], cmp.Compare(a, b)) })
	var of []string
	for i, uid := range users {
		if i == mostUsers && len(users) > mostUsers+1 {
			of = append(of, fmt.Sprintf("%d others", len(users)-mostUsers))
			break
		}
		of = append(of, fmt.Sprintf("uid %d: %d", uid, c.byUser[uid]))
	}
	return []diag.Gap{{
		What: "holders of sockets that look leaked", Count: c.silent + c.closeWait,
		Why: fmt.Sprintf("of this network namespace %d in CLOSE-WAIT were silent for ≥ %s, and %d in ESTAB without a timer for ≥ %s (%s); who holds them is a process that was "+
			"not read", c.closeWait, diag.FormatDuration(c.thresholds.Grace), c.silent, diag.FormatDuration(c.idle), strings.Join(of, ", ")),
	}}
}
