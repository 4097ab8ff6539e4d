package diag

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

var closedFD = &Rule{
	Name:     "closed-fd",
	Title:    "descriptors on TCP sockets that are closed already, or never were connected",
	Severity: Leak,
	Doc: Doc{
		Means: "The descriptor is open and its TCP socket is in no table of the kernel: ss, netstat and /proc/net/tcp do not show it. Either it is not connected (connect was never called, or failed), " +
			"or the connection is dead (reset, timed out, aborted) and the process did not close the descriptor. Only close frees it.",
		Proof: "The descriptor's inode is in no dump of its namespace; the socket itself, asked through a pidfd, says TCP_INFO state CLOSE; " +
			"SO_PEERNAME tells the last peer of a dead one. It was so in two looks at the same inode.",
		Imitates: "A socket of another kind (UDP, unix) has another protocol name. A socket of another network namespace is alive there. A socket between socket() and connect() " +
			"is gone at the second look. A socket that is bound and waits is in the kernel's bind table. A dump under load can pass a living socket over: it is asked and looked up. " +
			"The clocks of a dead connection run on and tell when payload last moved, not when it died, so no rate is made of them. " +
			"A socket that was disconnected to be used again has lost its counters and looks as if it never was connected: the second look tells those that are used soon.",
		Todo: "Close the descriptor when connect fails, and when read or write reports an error.",
		Advice: map[string]string{
			"":       "Close the descriptor after every failed connect and every error of read or write.",
			"node":   "Add an 'error' handler that calls socket.destroy(), and destroy the other socket of a pipe in its 'close' handler.",
			"go":     "Call conn.Close() after an error of Read or Write as well: an error does not close the connection.",
			"java":   "Close the Socket or SocketChannel in a finally block or with try-with-resources: an IOException does not close it.",
			"python": "Close the socket in a finally block or use `with`: an exception keeps it open while a traceback or a list refers to it.",
			"ruby":   "Close the socket in an ensure block.",
			"php":    "Call socket_close or fclose after every error.",
		},
	},
	Check:     checkClosedFD,
	Unsettled: func(p *Pass) bool { return len(p.Proc.Dark) > 0 }, // about to connect or to be closed, perhaps
}

func checkClosedFD(p *Pass) {
	var proved, likely []*DarkSocket
	for i := range p.Proc.Dark {
		d := &p.Proc.Dark[i]
		twice := p.History.Dark(p.Proc, d).Known()
		switch {
		case twice && d.Alive != AliveUnknown:
			proved = append(proved, d)
		case twice || p.Thresholds.Wait() == 0:
			likely = append(likely, d)
		}
		// What only the second of two looks showed is in the making, or on its way out.
	}
	for _, g := range groupByPeer(proved, darkKeyOf) {
		p.Report(darkFinding(p, g, Leak))
	}
	for _, g := range groupByPeer(likely, darkKeyOf) {
		p.Report(darkFinding(p, g, Risk))
	}
}

// darkKeyOf groups the dead by their last peer as the living are: by address where the process had accepted
// the connection.
func darkKeyOf(d *DarkSocket) peerKey {
	if !d.Peer.IsValid() || d.Peer.Port() == 0 {
		return peerKey{}
	}
	if d.Alive == NeverConnected {
		return keyTo(Connected, d.Peer, 0)
	}
	return keyTo(d.Direction, d.Peer, d.Local.Port())
}

func darkFinding(p *Pass, g *peerGroup[*DarkSocket], severity Severity) *Finding {
	f := &Finding{
		Severity: severity, Peer: g.Peer(), Direction: g.direction, LocalPort: g.localPort, Sockets: len(g.items), Samples: make([]Sample, 0, len(g.items)),
		Why: "The kernel has no use for the socket any more and lists it nowhere, but an open descriptor keeps it in memory until it is closed.",
	}
	dead, unknown, told := 0, 0, 0
	errs := map[syscall.Errno]int{}
	var seen Span
	for _, d := range g.items {
		s := darkSample(d)
		s.Held = p.History.Dark(p.Proc, d)
		f.Samples = append(f.Samples, s)
		if d.Told {
			told++
		}
		if d.Err != 0 {
			errs[d.Err]++
		}
		switch d.Alive {
		case Dead:
			dead++
		case AliveUnknown:
			unknown++
		}
		if s.Held.D > seen.D {
			seen = s.Held
		}
	}
	f.Message = fmt.Sprintf("%s holds %s %s", Subject(p.Proc.Process), count(len(g.items),
		"descriptor on a TCP socket that is", "descriptors on TCP sockets that are"), fateOf(g, dead, unknown, seen))
	f.Evidence = []Evidence{{"descriptors", strconv.Itoa(len(g.items)), "/proc/PID/fd, inodes in no sock_diag dump"}}
	how, peers := "TCP_INFO through a pidfd", "SO_PEERNAME"
	if told == len(g.items)-unknown && told > 0 {
		how, peers = "BPF iterator over the process's descriptors", "inet_daddr"
		if unknown == 0 {
			f.Evidence[0].Source = how
		}
	}
	for _, e := range []struct {
		field  string
		n      int
		source string
	}{
		{"dead", dead, how + ": state CLOSE, with counters of a connection; " + peers + ": the last peer"},
		{"never connected", len(g.items) - dead - unknown, how + ": state CLOSE, no counters of a connection, or it was disconnected, which clears them"},
		{"not asked", unknown, "protocol TCP by the descriptor's system.sockprotoname; the socket itself could not be asked"},
	} {
		if e.n > 0 {
			f.Evidence = append(f.Evidence, Evidence{e.field, strconv.Itoa(e.n), e.source})
		}
	}
	if len(errs) > 0 {
		f.Evidence = append(f.Evidence, Evidence{"pending error", errorsOf(errs), "sk_err by a BPF iterator: the process has not asked for it"})
	}
	f.Evidence = append(f.Evidence, g.evidence()...)
	if seen.Known() {
		f.Evidence = append(f.Evidence, Evidence{"dark", seen.String(), seen.Source})
	} else {
		f.Message += "; seen in one look, so it may be about to connect or to be closed"
	}
	return f
}

// errorsOf is the errors by their names, the most frequent first: 3 ECONNRESET, 1 ETIMEDOUT.
func errorsOf(errs map[syscall.Errno]int) string {
	list := slices.SortedFunc(maps.Keys(errs), func(a, b syscall.Errno) int { return cmp.Or(errs[b]-errs[a], cmp.Compare(a, b)) })
	words := make([]string, len(list))
	for i, e := range list {
		words[i] = fmt.Sprintf("%d %s", errs[e], errnoName(e))
	}
	return strings.Join(words, ", ")
}

// errnoNames are those of the errors that Linux leaves on a TCP socket, by their numbers: a file from there may be read elsewhere.
var errnoNames = map[syscall.Errno]string{
	32: "EPIPE", 90: "EMSGSIZE", 92: "ENOPROTOOPT", 100: "ENETDOWN", 101: "ENETUNREACH", 103: "ECONNABORTED", 104: "ECONNRESET", 105: "ENOBUFS",
	110: "ETIMEDOUT", 111: "ECONNREFUSED", 112: "EHOSTDOWN", 113: "EHOSTUNREACH", 71: "EPROTO", 13: "EACCES", 1: "EPERM", 12: "ENOMEM",
}

func errnoName(e syscall.Errno) string {
	if name, ok := errnoNames[e]; ok {
		return name
	}
	return "error " + strconv.Itoa(int(e))
}

// fateOf says what the sockets are, for how long they are known to be that, and whose the connections were.
func fateOf(g *peerGroup[*DarkSocket], dead, unknown int, seen Span) string {
	n := len(g.items)
	never := n - dead - unknown
	known := ""
	if seen.Known() {
		known = " for " + seen.String()
	}
	peer := g.addr != (netip.Addr{})
	switch {
	case unknown == n:
		return "in no table of " + plural(n, "its", "their") + " network namespace" + known + plural(n,
			" (the socket could not be asked, so it may be alive in another)", " (the sockets could not be asked, so they may be alive in another)")
	case never == n && peer:
		return "not connected" + known + ": connecting " + g.towards() + " failed"
	case never == n:
		return "not connected" + known
	case dead == n && (peer || g.others > 0):
		return "dead" + known + plural(n, "; the connection was ", "; the connections were ") + g.towards()
	case dead == n:
		return "dead" + known
	}
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{{dead, "dead"}, {never, "not connected"}, {unknown, "not asked"}} {
		if part.n > 0 {
			parts = append(parts, strconv.Itoa(part.n)+" "+part.what)
		}
	}
	fate := "closed (" + strings.Join(parts, ", ") + ")" + known
	if peer {
		fate += ", all " + g.towards()
	}
	return fate
}
