//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/pipe"
	"github.com/sockleak/sockleak/report"
)

// scenario is one leak of the proxy: what leads to it, what is told of it, and what has to be found. In what is told,
// {silent}, {talking}, {idle} and {answer} stand for numbers.
type scenario struct {
	leak  pipe.Leak
	about string
	// what the clients do, what the pipe fails to do, what the kernel can know of that, and what the fixed pipe does
	clients, bug, kernel, cure string
	finds                      []finding
	looks                      func(place) []report.Command
}

// finding is a rule and how many sockets it has to name for each silent client.
type finding struct {
	rule string
	each int
}

// place is where a phase of a demo goes on: the commands that show its leak need it.
type place struct {
	mode            pipe.Mode
	pid             int // of the pipe
	listen, backend netip.AddrPort
	silent, talking int
}

// leaked is n in the leaky pipe, and nothing in the fixed one.
func (p place) leaked(n int) int {
	if p.mode == pipe.Leaky {
		return n
	}
	return 0
}

// scenarios are in the order of `demo all`.
var scenarios = []*scenario{
	{
		leak:    pipe.NoTimeout,
		about:   "a pipe that waits for ever for peers that fall silent",
		clients: "{silent} clients ask, get their answer and fall silent, as if their cables had been pulled. {talking} others go on talking.",
		bug: "The pipe passes on data and the close. Here comes neither, and it has no keepalive and no time-out: " +
			"for each silent client it keeps two connections.",
		kernel: "The kernel sends nothing on an idle connection without keepalive, so it cannot know whether anybody is still there. " +
			"It keeps the connections until the pipe closes them.",
		cure:  "The fixed pipe closes a connection on which no byte has moved either way for {idle}, and has the kernel probe silent peers.",
		finds: []finding{{"idle-no-keepalive", 2}},
		looks: noTimeoutLooks,
	},
	{
		leak:    pipe.HalfClose,
		about:   "a pipe whose two directions wait for each other",
		clients: "{silent} clients ask, get their answer, end their side with a FIN and wait for the other end. {talking} others go on talking.",
		bug: "The pipe has read each of these clients to the end. It does not pass the FIN on, and closes only when the other direction has ended, too. " +
			"The backend waits for more, so it never does.",
		kernel: "The kernel has told the pipe of the end, and waits for its close: CLOSE-WAIT has no time-out. " +
			"Keepalive is on and finds all peers healthy.",
		cure:  "The fixed pipe passes the FIN on. The backend ends its side, the pipe passes that on, too, and closes both connections.",
		finds: []finding{{"close-wait", 1}, {"half-closed-pair", 1}},
		looks: halfCloseLooks,
	},
	{
		leak:    pipe.ErrorIgnored,
		about:   "a pipe that closes nothing when a connection breaks",
		clients: "{silent} clients ask, get their answer and break off with a reset (RST). {talking} others go on talking.",
		bug:     "Reading fails, and the pipe closes neither the broken connection nor the one to the backend.",
		kernel: "The kernel has dropped the broken connections from its tables, so ss cannot show them; only the descriptors are left. " +
			"On the connections to the backend keepalive is on and finds it healthy.",
		cure:  "The fixed pipe passes the reset on to the backend and closes both connections.",
		finds: []finding{{"closed-fd", 1}, {"half-closed-pair", 1}},
		looks: errorIgnoredLooks,
	},
	{
		leak:    pipe.NoRead,
		about:   "a pipe that does not read an answer to its end",
		clients: "{silent} clients ask for an answer of {answer} bytes and close when it has ended. {talking} others only send.",
		bug: "The pipe passes on the beginning and closes the client properly. The rest of the answer it neither reads nor gives up: " +
			"for each of these clients it keeps the connection to the backend.",
		kernel: "The kernel keeps what has come until somebody reads it. The backend answers keepalive, so no timer ends this.",
		cure:   "The fixed pipe passes on the whole answer. When the client closes, it closes the connection to the backend as well.",
		finds:  []finding{{"unread-data", 1}},
		looks:  noReadLooks,
	},
}

// words writes numbers into a text.
func (s *scenario) words(text string, d *demo) string {
	return strings.NewReplacer("{silent}", fmt.Sprint(d.connections), "{talking}", fmt.Sprint(d.talking()),
		"{idle}", seconds(demoIdle), "{answer}", fmt.Sprint(demoAnswer)).Replace(text)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%g s", d.Seconds()) }

// Of each command, what it shows begins with what it prints: one number, or two between which it is.

func noTimeoutLooks(p place) []report.Command {
	without := fmt.Sprint(p.leaked(2*p.silent+2*p.talking), ": connections without a timer, of which ss cannot tell who is silent and who talks")
	if p.mode == pipe.Leaky { // of those that talk, some have sent what is not acknowledged yet, which has a timer
		without = fmt.Sprint(2*p.silent, " to ", without)
	} else {
		without = "0: each connection has a timer, that of keepalive"
	}
	return []report.Command{
		{Line: fmt.Sprintf("ss -Htnop state established | grep pid=%d, | grep -vc timer:", p.pid), Shows: without},
		p.lsofTCP("ESTABLISHED", p.leaked(2*p.silent)+2*p.talking, "the same by descriptor, with those that have a timer"),
		p.descriptors(p.leaked(2*p.silent)+2*p.talking+1, "the descriptors that they take, and that of the listener"),
	}
}

func halfCloseLooks(p place) []report.Command {
	return []report.Command{
		{
			Line:  fmt.Sprintf(`ss -Htn state close-wait "( sport = :%d )" | wc -l`, p.listen.Port()),
			Shows: fmt.Sprint(p.leaked(p.silent), ": clients that have ended their side, and that the pipe has not closed"),
		},
		{
			Line:  fmt.Sprintf(`ss -Htn state established "( dport = :%d )" | wc -l`, p.backend.Port()),
			Shows: fmt.Sprint(p.leaked(p.silent)+p.talking, ": connections to the backend; those without a client look like the ", p.talking, " that are in use"),
		},
		p.lsofTCP("CLOSE_WAIT", p.leaked(p.silent), "the same clients by descriptor"),
	}
}

func errorIgnoredLooks(p place) []report.Command {
	listed := p.leaked(p.silent) + 2*p.talking + 1
	dead := "as many as descriptors: none is dead"
	if p.mode == pipe.Leaky {
		dead = fmt.Sprintf("sockets that the kernel lists, %d fewer than descriptors: the others are dead", p.silent)
	}
	return []report.Command{
		p.descriptors(p.leaked(p.silent)+listed, "descriptors on sockets"),
		{Line: fmt.Sprintf("ss -Htanp | grep -c pid=%d,", p.pid), Shows: fmt.Sprint(listed, ": ", dead)},
		{
			Line:  fmt.Sprintf("lsof -nP -a -p %d | grep -c 'protocol: TCP'", p.pid),
			Shows: fmt.Sprint(p.leaked(p.silent), ": TCP sockets without an address and a state, which is how lsof shows the dead"),
		},
	}
}

func noReadLooks(p place) []report.Command {
	return []report.Command{
		{
			Line:  fmt.Sprintf(`ss -Htn state established "( dport = :%d )" | awk '$1 > 0' | wc -l`, p.backend.Port()),
			Shows: fmt.Sprint(p.leaked(p.silent), ": connections to the backend with something in Recv-Q, and run again, it has not become less"),
		},
		{
			Line:  fmt.Sprintf("lsof -nP -a -p %d -i TCP -T q | grep -c 'QR=[1-9]'", p.pid),
			Shows: fmt.Sprint(p.leaked(p.silent), ": the same by descriptor, QR being the bytes that wait"),
		},
		p.descriptors(p.leaked(p.silent)+2*p.talking+1, "the descriptors that they take, with those in use and the listener"),
	}
}

func (p place) descriptors(n int, what string) report.Command {
	return report.Command{Line: fmt.Sprintf("ls -l /proc/%d/fd | grep -c socket:", p.pid), Shows: fmt.Sprint(n, ": ", what)}
}

func (p place) lsofTCP(state string, n int, what string) report.Command {
	return report.Command{
		Line: fmt.Sprintf("lsof -nP -a -p %d -i TCP -s TCP:%s | grep -c %s", p.pid, state, state), Shows: fmt.Sprint(n, ": ", what),
	}
}
