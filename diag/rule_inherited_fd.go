package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

var inheritedFD = &Rule{
	Name:     "inherited-fd",
	Title:    "connections that a process has from its parent, and does not know of",
	Severity: Leak,
	Doc: Doc{
		Means: "A process was started with descriptors that were not meant for it. When the one that made the connections closes them, the copies keep them open: " +
			"the peer is sent no FIN, and nobody will ever read, write or close. While both hold them, neither's close ends them: that is the risk.",
		Proof: "Only this process has a descriptor on the connection; its last payload moved before the process was started (the younger of tcp_info.last_data_sent and " +
			"last_data_recv against the start time in /proc/PID/stat), so the process has never used it; no epoll set of the process has it and no thread " +
			"sleeps on it; nothing has moved for the grace; and it is older than the process, or came in on a port on which others listen and the process does not.",
		Imitates: "A worker that is given connections waits for them, or moves payload. inetd and sshd hand connections over as descriptors 0, 1 and 2. " +
			"Listening sockets are shared by workers on purpose. A child that works for long on the one request that it was forked or started for looks the same: " +
			"a single such connection is a risk, unless another program has it on a descriptor over 3. " +
			"A daemon that opened its connections and then forked into the background is their maker: what is close-on-exec has come through no exec, and is none where the parent runs " +
			"another program; the rest of an orphan is a risk, unless others listen on its port. " +
			"Where a process could not be asked for its descriptors, or it is not told what a thread waits for (io_uring), nothing is said.",
		Todo: "Mend the program that starts the process: open sockets close-on-exec, and close in a forked child what it does not serve. To free what is held now, end the child.",
		Advice: map[string]string{
			"": "Open sockets with SOCK_CLOEXEC (socket, accept4) in the program that starts the process, and close in a forked child what it does not serve.",
			"node": "Leave child_process.spawn with its default stdio, which passes no sockets, " +
				"and send a connection with child.send(message, socket) without keepOpen, only to who serves it.",
			"go": "Put into exec.Cmd.ExtraFiles only what the child needs, and open descriptors of your own with unix.SOCK_CLOEXEC: " +
				"those of package net are close-on-exec unless File() and ExtraFiles hand them on.",
			"java":   "Start programs with ProcessBuilder, which closes what is inherited, and not from native code that forks.",
			"python": "Leave close_fds=True, the default of subprocess, and os.set_inheritable alone; with multiprocessing use the spawn or forkserver start method.",
			"ruby":   "Leave close_on_exec of sockets on, do not pass close_others: false to spawn, and close connections first in the block of fork.",
			"php":    "Close every connection that the child does not serve right after pcntl_fork.",
		},
	},
	Check: checkInheritedFD,
}

// clockTick is more than the ticks of 10 ms by which a start time, the uptime and a clock of tcp_info are off together.
const clockTick = 50 * time.Millisecond

func checkInheritedFD(p *Pass) {
	inheritedBy(p, p.Proc)
	var shared []*HeldSocket
	for i := range p.Proc.Held {
		if h := &p.Proc.Held[i]; len(h.Others) > 0 && sharedHere(p, h) {
			shared = append(shared, h)
		}
	}
	for _, g := range groupByPeer(shared, p.inheritedKey) {
		p.Report(sharedFinding(p, g))
	}
	for _, child := range p.Proc.Kin {
		if reportsFor(p.Proc, child) {
			inheritedBy(p, child)
		}
	}
}

// inheritedKey groups by peer. Where the counters do not tell who opened a connection, a listener on its port does, whoever's.
func (p *Pass) inheritedKey(h *HeldSocket) peerKey {
	return keyTo(settleDirection(h.Direction, h.Local.Port(), p.Proc.Space.listens), h.Peer, h.Local.Port())
}

// reportsFor: what a descendant keeps is told once. It is told on the descendant itself when that is judged, and otherwise on
// the nearest ancestor, which is the one with the fewest descendants.
func reportsFor(p, child *Proc) bool {
	for _, q := range p.Space.Procs {
		if q == child {
			return false
		}
		if q != p && slices.Contains(q.Kin, child) &&
			cmp.Or(cmp.Compare(len(q.Kin), len(p.Kin)), cmp.Compare(q.PID, p.PID)) < 0 {
			return false
		}
	}
	return true
}

// inheritedBy reports what holder, a process or a descendant of one, has inherited and keeps.
func inheritedBy(p *Pass, holder *Proc) {
	if !holder.Alone {
		return
	}
	var list []*HeldSocket
	for i := range holder.Held {
		if h := &holder.Held[i]; leftWith(p, holder, h) {
			list = append(list, h)
		}
	}
	if len(list) == 1 && mayServe(p, holder, list[0]) {
		reportInherited(p, holder, list, "it may be what the process was started to serve")
		return
	}
	var sure, own []*HeldSocket
	for _, h := range list {
		if holder.PPID <= 1 && !acceptedElsewhere(holder, h) {
			own = append(own, h) // an orphan may be a daemon, which has forked itself after it had opened what it holds
		} else {
			sure = append(sure, h)
		}
	}
	p.claim(sure)
	reportInherited(p, holder, sure, "")
	reportInherited(p, holder, own, "it may have made "+plural(len(own), "it", "them")+" itself before it went into the background")
}

// reportInherited: a leak, or a risk where there is a doubt.
func reportInherited(p *Pass, holder *Proc, list []*HeldSocket, doubt string) {
	for _, g := range groupByPeer(list, p.inheritedKey) {
		p.Report(inheritedFinding(p, holder, g, doubt))
	}
}

// firstPassed is the descriptor on which systemd gives a connection to the program that serves it (SD_LISTEN_FDS_START).
const firstPassed = 3

// mayServe: its only connection may be what a process was started for. It has read the request, which shows in no clock,
// and works on it.
func mayServe(p *Pass, holder *Proc, h *HeldSocket) bool {
	parent := parentOf(p, holder)
	return parent == "" || parent == holder.Exe || h.FD() <= firstPassed
}

// leftWith: inherited, and not used since its holder began.
func leftWith(p *Pass, holder *Proc, h *HeldSocket) bool {
	if h.CloseOnExec == FlagOn {
		// It did not come through exec, so the program that runs made it, and has forked since: to become a daemon, if it has
		// another parent now.
		if parent := parentOf(p, holder); parent != "" && holder.Exe != "" && parent != holder.Exe {
			return false
		}
	}
	return h.Watch == procfd.Abandoned && len(h.Others) == 0 && !p.Claimed(h) &&
		MayBeLeft(holder, h, p.Thresholds, p.Uptime)
}

// MayBeLeft reports whether a process has inherited a socket, as far as clocks tell, and has not used it since: it is for
// choosing of which sockets more is to be asked. uptime is the host's. The holder's uptime is that at the end of the dump, and the
// socket was read before: what is true whenever that was is believed.
//
// One that was read later has clocks that ran on while the holder's did not, so it is believed only as far as that does not
// matter; and of one that was counted first, it is known that there was nothing to say.
//
// A socket that is older than its holder was made by another. So was one that came in on a port on which others listen, and the
// holder does not: that needs no clock.
func MayBeLeft(holder *Proc, h *HeldSocket, t Thresholds, uptime time.Duration) bool {
	switch h.State {
	case netlinkss.Estab, netlinkss.CloseWait, netlinkss.FinWait2:
	default:
		return false
	}
	idle := Idle(h.Socket, uptime)
	if h.FDs[0] <= 2 || h.Counted || !idle.AtLeast(t.Grace) || holder.Uptime <= 0 || usedSince(holder, h, idle.D) {
		return false
	}
	return Age(h.Socket, uptime).AtLeast(holder.Uptime+lateOf(holder, h)+clockTick) || acceptedElsewhere(holder, h)
}

// usedSince reports whether payload may have moved since the holder began.
func usedSince(holder *Proc, h *HeldSocket, idle time.Duration) bool {
	if h.late {
		return idle+clockTick < holder.Uptime+lateOf(holder, h)
	}
	return idle+tookOf(holder, h)+clockTick < holder.Uptime
}

// lateOf is how much later than the holder's clock that of the socket was read, at the most.
func lateOf(holder *Proc, h *HeldSocket) time.Duration {
	if h.late {
		return holder.Space.Late
	}
	return 0
}

// tookOf is how long before the end of the dump the socket was read, at the most.
func tookOf(holder *Proc, h *HeldSocket) time.Duration {
	space := holder.Space
	if h.Space != nil {
		space = h.Space
	}
	if h.readFrom > 0 && space.Ended > 0 {
		return min(max(space.Ended-h.readFrom, 0), space.Took)
	}
	return space.Took
}

// acceptedElsewhere: it came in on a port on which others listen, and the holder does not.
func acceptedElsewhere(holder *Proc, h *HeldSocket) bool {
	port := h.Local.Port()
	if !holder.Space.listens[port] || h.Direction == Connected {
		return false
	}
	for i := range holder.Held {
		if l := &holder.Held[i]; l.State == netlinkss.Listen && l.Local.Port() == port {
			return false
		}
	}
	return true
}

// parentOf is the executable of a process's parent, "" when it is not known.
func parentOf(p *Pass, holder *Proc) string {
	if holder.Parent == "" && holder != p.Proc && holder.PPID == p.Proc.PID {
		return p.Proc.Exe
	}
	return holder.Parent
}

func inheritedFinding(p *Pass, holder *Proc, g *peerGroup[*HeldSocket], doubt string) *Finding {
	f := &Finding{
		Severity: Leak, Peer: g.Peer(), Direction: g.direction, LocalPort: g.localPort, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
		Why: "A descriptor that a process inherits keeps the connection open like any other: the kernel sends no FIN before the last copy is closed.",
	}
	if parentOf(p, holder) != holder.Exe || holder.Exe == "" {
		f.Advice = p.Rule.Doc.Advice[""] // what has to be mended is the parent, of which no more is known
	}
	var idle spanRange
	ages := make([]time.Duration, 0, len(g.items))
	for _, h := range g.items {
		s := sampleOf(h, p.Uptime)
		s.PID = holder.PID
		f.Samples = append(f.Samples, s)
		ages = append(ages, s.Idle.D)
		idle.add(s.Idle)
	}
	f.Onset = p.onset(ages, p.Thresholds.Grace, "the younger of tcp_info.last_data_sent and last_data_recv")
	connections := count(len(g.items), "connection", "connections")
	since := FormatDuration(holder.Uptime)
	if holder == p.Proc {
		f.Message = fmt.Sprintf("%s alone holds %s %s that it was started with, %s ago, and has not used since; idle for %s",
			Subject(holder.Process), connections, g.towards(), since, idle.String())
	} else {
		f.Message = fmt.Sprintf("%s has left %s %s to its descendant %s, which alone holds %[6]s, was started %[5]s ago and has not used %[6]s; idle for %[7]s",
			Subject(p.Proc.Process), connections, g.towards(), Subject(holder.Process), since, plural(len(g.items), "it", "them"), idle.String())
		f.Advice = p.Advice() // here the parent is known
	}
	if doubt != "" {
		f.Severity = Risk
		f.Message += "; " + doubt
	}
	f.Evidence = []Evidence{
		{"connections", strconv.Itoa(len(g.items)), p.Proc.joined()},
		{"holder", Subject(holder.Process), "/proc/PID/fd of every process that could be seen"},
		{"holder running for", since, "/proc/PID/stat: starttime"},
		{"idle", idle.String(), "the younger of tcp_info.last_data_sent and last_data_recv"},
		{"close-on-exec", closeOnExecOf(g.items), "flags in /proc/PID/fdinfo"},
		{"waits for them", "nothing", "the epoll sets in /proc/PID/fdinfo and the system calls in /proc/PID/task/TID/syscall"},
		{"threshold", FormatDuration(p.Thresholds.Grace), "--grace"},
	}
	if parent := parentOf(p, holder); parent != "" {
		f.Evidence = append(f.Evidence, Evidence{"parent", parent, "/proc/PPID/exe"})
	}
	f.Evidence = append(f.Evidence, g.evidence()...)
	return f
}

// closeOnExecOf counts the descriptors that a program which is started would get, too.
func closeOnExecOf(items []*HeldSocket) string {
	missing, set := 0, 0
	for _, h := range items {
		switch h.CloseOnExec {
		case FlagOff:
			missing++
		case FlagOn:
			set++
		}
	}
	if missing+set == 0 {
		return "not known"
	}
	return fmt.Sprintf("missing on %d of %d", missing, missing+set)
}

// sharedHere: several processes hold a connection, and this is the first of them that is judged.
func sharedHere(p *Pass, h *HeldSocket) bool {
	if !isConnection(h.State) || h.Passing || handedOver(h.FDs) || p.Proc.Runtime == "sshd" {
		return false
	}
	others := othersOf(p.Proc, h)
	if len(others) == 0 || isSSHD(p.Proc.Name) && !slices.ContainsFunc(others, func(o Holder) bool { return !isSSHD(o.Name) }) {
		return false
	}
	return !slices.ContainsFunc(p.Proc.Space.Procs, func(q *Proc) bool {
		return q.PID < p.Proc.PID && slices.ContainsFunc(others, func(o Holder) bool { return o.PID == q.PID })
	})
}

// isSSHD: its monitor keeps the connection that the session serves.
func isSSHD(name string) bool { return strings.HasPrefix(name, "sshd") }

// handedOver: as its stdin, stdout and stderr a process is given a connection on purpose.
func handedOver(fds []int) bool { return fds[len(fds)-1] <= 2 }

// othersOf are the other processes that hold a connection, by number, with the first of their descriptors that is over 2.
func othersOf(p *Proc, h *HeldSocket) []Holder {
	var list []Holder
	for _, o := range h.Others {
		if o.PID != p.PID && o.FD > 2 {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.Task, b.Task), cmp.Compare(a.FD, b.FD))
	})
	return slices.CompactFunc(list, func(a, b Holder) bool { return a.PID == b.PID })
}

// maxOthers is how many holders a sentence names.
const maxOthers = 3

func sharedFinding(p *Pass, g *peerGroup[*HeldSocket]) *Finding {
	f := &Finding{
		Severity: Risk, Peer: g.Peer(), Direction: g.direction, LocalPort: g.localPort, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
		Why: "The kernel ends a connection when the last descriptor on it is closed: while another process has one, close sends no FIN.",
	}
	var all []Holder
	for _, h := range g.items {
		f.Samples = append(f.Samples, sampleOf(h, p.Uptime))
		all = append(all, othersOf(p.Proc, h)...)
	}
	slices.SortFunc(all, func(a, b Holder) int { return cmp.Compare(a.PID, b.PID) })
	all = slices.CompactFunc(all, func(a, b Holder) bool { return a.PID == b.PID })
	names := make([]string, 0, maxOthers)
	for _, o := range all[:min(len(all), maxOthers)] {
		names = append(names, fmt.Sprintf("%s[%d]", o.Name, o.PID))
	}
	others := strings.Join(names, ", ")
	if more := len(all) - maxOthers; more > 0 {
		others += " and " + strconv.Itoa(more) + " more"
	}
	f.Message = fmt.Sprintf("%s shares %s %s with %s: close in one of them does not end %s",
		Subject(p.Proc.Process), count(len(g.items), "connection", "connections"), g.towards(), others, plural(len(g.items), "it", "them"))
	f.Evidence = []Evidence{
		{"connections", strconv.Itoa(len(g.items)), p.Proc.joined()},
		{"other holders", others, "/proc/PID/fd of the processes that were looked at"},
	}
	f.Evidence = append(f.Evidence, g.evidence()...)
	return f
}
