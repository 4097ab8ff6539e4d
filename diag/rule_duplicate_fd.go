package diag

import (
	"fmt"
	"strconv"
)

var duplicateFD = &Rule{
	Name:     "duplicate-fd",
	Title:    "several descriptors of one process on one connection",
	Severity: Risk,
	Doc: Doc{
		Means: "The process has a connection open more than once. Closing one descriptor sends nothing and frees nothing: the peer learns of the end when the last copy is closed. " +
			"A copy that is forgotten keeps the connection for ever.",
		Proof: "Two or more links in /proc/PID/fd, or in /proc/PID/task/TID/fd of a thread with a table of its own, that have one socket inode, and a row of a connection with it in the dump.",
		Imitates: "Descriptors 0, 1 and 2 on one connection are how inetd starts a server. A listening socket may be open several times. " +
			"A copy may be wanted for a while, to read and write apart: so it is a risk and not a leak.",
		Todo: "Close the copy as soon as it has been handed on, or end the connection with shutdown, which works on all copies.",
		Advice: map[string]string{
			"": "Close every copy that dup, fcntl(F_DUPFD) or SCM_RIGHTS made, or end the connection with shutdown(SHUT_RDWR), which needs no other descriptor closed.",
			"go": "Close the *os.File that TCPConn.File returns, and the net.Conn that net.FileConn returns: " +
				"each is a copy, and closing one leaves the other open.",
			"python": "Close what socket.dup and socket.fromfd return, and use detach() to hand a descriptor on without a copy.",
			"ruby":   "Close what IO#dup returns, and open a descriptor once with IO.for_fd and autoclose: false.",
		},
	},
	Check: checkDuplicateFD,
}

func checkDuplicateFD(p *Pass) {
	var list []*HeldSocket
	for i := range p.Proc.Held {
		h := &p.Proc.Held[i]
		if isConnection(h.State) && (len(h.FDs) > 1 && !handedOver(h.FDs) || copies(p.Proc, h) > 0) {
			list = append(list, h)
		}
	}
	for _, g := range groupByPeer(list, keyOf) {
		p.Report(duplicateFinding(p, g))
	}
}

// copies is how many descriptors threads with tables of their own have on h, beside [HeldSocket.FDs].
func copies(p *Proc, h *HeldSocket) (n int) {
	for _, o := range h.Others {
		if o.PID == p.PID && o.Task != h.Task {
			n++
		}
	}
	return n
}

func duplicateFinding(p *Pass, g *peerGroup[*HeldSocket]) *Finding {
	f := &Finding{
		Severity: Risk, Peer: g.Peer(), Direction: g.direction, LocalPort: g.localPort, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
		Why: "The kernel ends a connection when the last descriptor on it is closed; close of another one only forgets that one.",
	}
	descriptors, threads := 0, 0
	for _, h := range g.items {
		f.Samples = append(f.Samples, sampleOf(h, p.Uptime))
		n := copies(p.Proc, h)
		threads += n
		descriptors += len(h.FDs) + n
	}
	f.Message = fmt.Sprintf("%s has %d descriptors open on %s %s", Subject(p.Proc.Process), descriptors,
		count(len(g.items), "connection", "connections"), g.towards())
	f.Evidence = []Evidence{
		{"connections", strconv.Itoa(len(g.items)), p.Proc.joined()},
		{"descriptors", strconv.Itoa(descriptors), "/proc/PID/fd: links with one inode"},
	}
	if threads > 0 {
		f.Message += fmt.Sprintf(", %d of them in a table that only a thread has", threads)
		f.Evidence = append(f.Evidence, Evidence{"in a thread's own table", strconv.Itoa(threads), "/proc/PID/task/TID/fd"})
	}
	f.Evidence = append(f.Evidence, g.evidence()...)
	return f
}
