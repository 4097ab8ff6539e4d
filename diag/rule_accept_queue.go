package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/netlinkss"
)

var acceptQueue = &Rule{
	Name:     "accept-queue",
	Title:    "connections that are complete and that nobody accepts",
	Severity: Leak,
	Doc: Doc{
		Means: "The kernel has completed connections to a listening socket, and the process does not call accept. The peers believe that they are connected, send, and wait; " +
			"the kernel keeps each connection and what it was sent until somebody accepts it or the listener is closed. At the backlog, further connects are dropped.",
		Proof: "Rows in ESTAB or CLOSE-WAIT with inode 0 on an address that the process listens on; such a connection has never sent payload, so tcp_info.last_data_sent is its age, " +
			"which is at or over the grace. The listener's Recv-Q is the length of its queue, Send-Q its backlog.",
		Imitates: "A burst fills the queue for a moment: none of it is that old, which is a risk only when the queue is full. Other listeners on the same address (SO_REUSEPORT) " +
			"have queues of their own: what may wait there is not counted, and of several of one process the fullest is named. " +
			"With TCP_DEFER_ACCEPT the clock begins with the first data, so a connection is older than it says. A queue with a backlog of 128 holds 129.",
		Todo: "Find what keeps the process from accept: a blocked event loop, a limit of workers or connections, EMFILE, or a listener that was forgotten, and is to be closed.",
		Advice: map[string]string{
			"": "Keep one thread in accept for as long as the socket listens, also after EMFILE, and close a listener that is not served any more.",
			"node": "Find what blocks the event loop (perf_hooks.monitorEventLoopDelay), move it into worker_threads, " +
				"and call server.close() where no more is wanted; server.maxConnections drops instead of letting wait.",
			"go": "Call Accept in a loop that goes on after a temporary error such as EMFILE, give netutil.LimitListener room, " +
				"and call Listener.Close where no more is wanted.",
			"java":     "Keep a thread in ServerSocket.accept, and raise the limit that stops it (Tomcat: maxConnections and maxThreads).",
			"python":   "Raise the workers or threads (gunicorn --workers, --threads), and keep what blocks out of the asyncio loop with asyncio.to_thread.",
			"ruby":     "Raise the threads or workers of Puma, or keep a thread in TCPServer#accept.",
			"php":      "Raise pm.max_children of php-fpm, and set request_terminate_timeout.",
			"nginx":    "Raise worker_connections and worker_rlimit_nofile, and look for a worker that blocks on the disk (aio threads).",
			"haproxy":  "Raise maxconn of the process and of the frontend.",
			"envoy":    "Raise the limits of the overload manager and of listener connections that stop it from accepting.",
			"postgres": "Look for what keeps the postmaster from forking: memory, or the limit of processes.",
			"redis":    "Find the command that blocks the one thread with SLOWLOG GET.",
		},
	},
	Check: checkAcceptQueue,
}

// queueOf are the accept queues of one process on one address: among several listeners there the kernel shares out who comes.
type queueOf struct {
	listeners []*HeldSocket
	waiting   []*netlinkss.Socket
	length    int // of the queues together
	others    int // of waiting, at the most in the queues of other processes
	full      bool
}

func checkAcceptQueue(p *Pass) {
	for _, q := range queuesOf(p.Proc) {
		old := q.oldest(p.Thresholds.Grace, p.Uptime)
		sure := min(max(len(old)-q.others, 0), q.length)
		switch {
		case sure > 0:
			p.Report(queueLeak(p, q, old, sure))
		case q.full:
			p.Report(queueRisk(p, q))
		}
	}
}

// elsewhere: a process with a lower number, which is judged too, has the same listener, and is told of its queue.
func elsewhere(p *Proc, listener *HeldSocket) bool {
	return slices.ContainsFunc(listener.Others, func(o Holder) bool {
		return o.PID < p.PID && slices.ContainsFunc(p.Space.Procs, func(q *Proc) bool { return q.PID == o.PID })
	})
}

// queuesOf are the queues that are told of p. What waits behind the listeners of others stays theirs.
func queuesOf(p *Proc) []*queueOf {
	byAddress := map[listenAt]*queueOf{}
	var list []*queueOf
	for i := range p.Queues {
		a := &p.Queues[i]
		if elsewhere(p, a.Listener) {
			continue
		}
		at := listenAt{a.Listener.Family, a.Listener.Local}
		q := byAddress[at]
		if q == nil {
			q = &queueOf{waiting: a.Waiting, others: a.Others}
			byAddress[at] = q
			list = append(list, q)
		} else {
			q.others -= int(a.Listener.RecvQ) // the first one's neighbour, and the process's own
		}
		q.listeners = append(q.listeners, a.Listener)
		length, backlog := int(a.Listener.RecvQ), int(a.Listener.SendQ)
		q.length += length
		q.full = q.full || backlog > 0 && length >= backlog
	}
	return list
}

// fullest is the listener whose own queue is the nearest to its own backlog.
func (q *queueOf) fullest() *HeldSocket {
	return slices.MaxFunc(q.listeners, func(a, b *HeldSocket) int {
		return cmp.Or(
			cmp.Compare(uint64(a.RecvQ)*uint64(max(b.SendQ, 1)), uint64(b.RecvQ)*uint64(max(a.SendQ, 1))),
			cmp.Compare(a.RecvQ, b.RecvQ),
		)
	})
}

// filling says how much the queue holds, of several the fullest.
func (q *queueOf) filling() string {
	full := q.fullest()
	which := "the queue holds"
	if n := len(q.listeners); n > 1 {
		which = fmt.Sprintf("the fullest queue of its %d listeners there holds", n)
	}
	return fmt.Sprintf("%s %d, its backlog is %d", which, full.RecvQ, full.SendQ)
}

// waiter is a connection that has waited, and for how long at the least.
type waiter struct {
	*netlinkss.Socket
	age Span
}

// oldest are those that have waited for d, the oldest first. What has sent payload was accepted once, and what was connected
// from here is no guest: neither waits.
func (q *queueOf) oldest(d, uptime time.Duration) []waiter {
	var list []waiter
	for _, s := range q.waiting {
		if s.InfoLen() < netlinkss.InfoHasDataSegs || s.Info.DataSegsOut > 0 || DirectionOf(s) == Connected {
			continue
		}
		if age := Age(s, uptime); age.AtLeast(d) {
			list = append(list, waiter{s, age})
		}
	}
	slices.SortFunc(list, func(a, b waiter) int {
		return cmp.Or(cmp.Compare(b.age.D, a.age.D), a.Peer.Compare(b.Peer), cmp.Compare(a.Cookie, b.Cookie))
	})
	return list
}

func queueLeak(p *Pass, q *queueOf, old []waiter, sure int) *Finding {
	f := queueFinding(q, Leak, sure)
	f.Why = "A connection that is complete stays in the accept queue, with what it was sent, until it is accepted or the listener is closed; there is no time-out."
	// As many of the oldest as may wait elsewhere do so at the worst.
	surely := old[len(old)-sure:]
	ages := make([]time.Duration, 0, sure)
	for _, w := range surely {
		ages = append(ages, w.age.D)
	}
	oldest := surely[0].age
	if sure < len(old) {
		oldest.Exact = false // and then it is not known which
	}
	f.Onset = p.onset(ages, p.Thresholds.Grace, sourceNeverSent)
	f.Message = fmt.Sprintf("%s has left %s on its port %d without accept, the oldest for %s; %s",
		Subject(p.Proc.Process), count(sure, "complete connection", "complete connections"), f.LocalPort, oldest, q.filling())
	f.Evidence = append(q.evidence(sure, len(old)), []Evidence{
		{"oldest", oldest.String(), sourceNeverSent},
		{"threshold", FormatDuration(p.Thresholds.Grace), "--grace"},
	}...)
	if sure < len(old) {
		return f
	}
	ended := 0
	for _, w := range surely {
		h := &HeldSocket{Socket: w.Socket, FDs: q.listeners[0].FDs[:1], Direction: Accepted}
		p.Claim(h)
		f.Samples = append(f.Samples, sampleOf(h, p.Uptime))
		if w.State == netlinkss.CloseWait {
			ended++
		}
	}
	if ended > 0 {
		f.Message += fmt.Sprintf("; on %d of them the peer has given up", ended)
		f.Evidence = append(f.Evidence, Evidence{"ended by the peer", strconv.Itoa(ended), "state CLOSE-WAIT"})
	}
	return f
}

func queueRisk(p *Pass, q *queueOf) *Finding {
	f := queueFinding(q, Risk, q.length)
	f.Why = "At its backlog the kernel completes no more connections to a listener: it drops what comes, and the peers try again until they give up."
	f.Message = fmt.Sprintf("%s has %s on its port %d to accept; %s; none is known to have waited for %s",
		Subject(p.Proc.Process), count(q.length, "connection", "connections"), f.LocalPort, q.filling(), FormatDuration(p.Thresholds.Grace))
	f.Evidence = append(q.evidence(0, 0), Evidence{"threshold", FormatDuration(p.Thresholds.Grace), "--grace"})
	return f
}

func queueFinding(q *queueOf, severity Severity, n int) *Finding {
	return &Finding{Severity: severity, Direction: Accepted, LocalPort: q.listeners[0].Local.Port(), Sockets: n}
}

func (q *queueOf) evidence(sure, old int) []Evidence {
	full, which := q.fullest(), "the listening socket"
	if len(q.listeners) > 1 {
		which = "the listening socket whose queue is the fullest"
	}
	list := []Evidence{
		{"queue", strconv.FormatUint(uint64(full.RecvQ), 10), "Recv-Q of " + which},
		{"backlog", strconv.FormatUint(uint64(full.SendQ), 10), "Send-Q of " + which},
	}
	if old > 0 {
		list = append(list, Evidence{"waiting", strconv.Itoa(old), "sock_diag: inode 0, ESTAB or CLOSE-WAIT, on its address, that old"})
	}
	if sure < old {
		list = append(list, Evidence{"certainly in this queue", strconv.Itoa(sure), "those less what the queues of listeners of others there hold, and no more than its own do"})
	}
	if n := len(q.listeners); n > 1 {
		list = append(list, Evidence{"in all queues", strconv.Itoa(q.length), "Recv-Q of its listening sockets there, together"})
		list = append(list, Evidence{"listeners", strconv.Itoa(n), "sock_diag: LISTEN on the same address (SO_REUSEPORT)"})
	}
	return list
}
